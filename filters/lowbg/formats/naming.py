"""What output files are called."""

from __future__ import annotations

from lowbg.config import Compression
from lowbg.formats import CODEC_ENDINGS, available, without_codec


def codec_of(compression: Compression, read: str) -> str:
    """The codec of an output whose input was stored with the codec `read`."""
    return read if compression is Compression.KEEP else compression.value


def output_name(name: str, compression: Compression) -> str:
    """The name of a shard's output: its own, with the ending of the codec asked for."""
    if compression is Compression.KEEP:
        return name
    return without_codec(name) + CODEC_ENDINGS.get(compression.value, "")


def stem(name: str) -> str:
    """A shard's name without the endings of its codec and format: `a/b.jsonl.zst` → `a/b`."""
    bare = without_codec(name)
    endings = (ending for each in available() for ending in each.endings)
    for ending in sorted(endings, key=len, reverse=True):
        if bare.lower().endswith(ending) and len(bare) > len(ending):
            return bare[: -len(ending)]
    return bare
