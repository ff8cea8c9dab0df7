"""A datatrove pipeline that keeps human-likely documents and writes the others elsewhere.

    python datatrove_filter.py sample/ filtered/

Needs `pip install 'datatrove[io]' zstandard`.
"""

import sys
from pathlib import Path

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

from lowbg.adapters.datatrove import LowbgFilter


def main(dump: str, output: str) -> None:
    """Filters the JSONL shards of a folder."""
    removed = JsonlWriter(f"{output}/removed", compression=None)
    pipeline = [
        JsonlReader(dump, glob_pattern="*.jsonl*"),
        LowbgFilter(exclusion_writer=removed),
        JsonlWriter(f"{output}/kept", compression=None),
    ]
    logs = Path(output) / "logs"
    LocalPipelineExecutor(pipeline, tasks=2, workers=1, logging_dir=str(logs)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
