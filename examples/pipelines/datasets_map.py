"""A Hugging Face dataset, annotated and without what is AI-likely.

    python datasets_map.py sample/crawl-1.parquet human/

Needs `pip install datasets`.
"""

import sys

import datasets

from lowbg.adapters import Annotate


def main(shard: str, output: str) -> None:
    """Filters a Parquet shard."""
    documents = datasets.Dataset.from_parquet(shard)
    # As Arrow tables: nothing is turned into Python's objects and back.
    annotated = documents.with_format("arrow").map(Annotate(), batched=True)
    human = annotated.with_format(None).filter(lambda row: row["lowbg"]["verdict"] != "ai")
    human.save_to_disk(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
