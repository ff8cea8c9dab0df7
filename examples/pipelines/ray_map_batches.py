"""A Ray dataset, annotated by as many workers as Ray has cores for.

    python ray_map_batches.py sample/crawl-1.parquet annotated/

Needs `pip install 'ray[data]'`.
"""

import sys

import ray

from lowbg.adapters import Annotate


def main(shard: str, output: str) -> None:
    """Annotates a Parquet shard."""
    documents = ray.data.read_parquet(shard)
    annotated = documents.map_batches(Annotate(), batch_format="pyarrow", batch_size=1_000)
    annotated.write_parquet(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
