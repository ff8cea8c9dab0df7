"""A Dask frame, annotated and without what is AI-likely.

    python dask_map_partitions.py sample/crawl-1.parquet human/

Needs `pip install 'dask[dataframe]'`.
"""

import sys

import dask.dataframe as dd

from lowbg.adapters.dask import annotated


def main(shard: str, output: str) -> None:
    """Filters a Parquet shard, with a partition a group of rows."""
    documents = annotated(dd.read_parquet(shard, split_row_groups=True))
    verdict = documents["lowbg"].map_partitions(lambda said: said.struct.field("verdict"))
    documents[verdict != "ai"].to_parquet(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
