"""The reference: parses every line with orjson and re-emits its bytes at zstd level 3.

`python reference.py OUT SHARD.jsonl.zst…`; nothing else is done, and no object is kept.
"""

from __future__ import annotations

import sys
from pathlib import Path

import orjson
import zstandard


def copy(source: Path, target: Path) -> int:
    """Copies one shard; returns the bytes of its content."""
    size = 0
    rest = b""
    loads = orjson.loads
    with source.open("rb") as stored, target.open("wb") as out:
        reader = zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True)
        writer = zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()
        while block := reader.read(1 << 20):
            end = block.rfind(b"\n") + 1
            whole, rest = rest + block[:end], block[end:] if end else rest + block
            if not end:
                continue
            for line in whole.split(b"\n"):
                if line:
                    loads(line)
            size += len(whole)
            out.write(writer.compress(whole))
        if rest:
            loads(rest)
            out.write(writer.compress(rest))
        out.write(writer.flush())
    return size + len(rest)


def main(argv: list[str]) -> int:
    """Copies every shard."""
    target, *shards = map(Path, argv)
    for shard in shards:
        copy(shard, target / shard.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
