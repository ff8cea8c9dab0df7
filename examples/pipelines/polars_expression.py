"""A Polars query that streams a shard past lowbg.

    python polars_expression.py sample/crawl-1.parquet human.parquet

Needs `pip install polars`.
"""

import sys

import polars as pl

from lowbg.adapters.polars import annotation


def main(shard: str, output: str) -> None:
    """Filters a Parquet shard."""
    documents = pl.scan_parquet(shard).with_columns(annotation("text", "language", "date", "url"))
    documents.filter(pl.col("lowbg").struct["verdict"] != "ai").sink_parquet(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
