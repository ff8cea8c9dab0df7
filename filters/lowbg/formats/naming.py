"""Kept records → output files: atomic, byte-faithful; and what those files are called."""

from __future__ import annotations

from lowbg.config import Compression

_CODEC_ENDINGS = {"zstd": ".zst", "gzip": ".gz", "bz2": ".bz2", "xz": ".xz", "none": ""}
_FORMAT_ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet", ".pq")


def codec_of(compression: Compression, read: str) -> str:
    """The codec of a JSONL output whose input was stored with the codec `read`."""
    return read if compression is Compression.KEEP else compression.value


def output_name(name: str, compression: Compression) -> str:
    """The name of a JSONL shard's output: its own, with the ending of the codec asked for."""
    if compression is Compression.KEEP:
        return name
    return _without_codec(name) + _CODEC_ENDINGS[compression.value]


def stem(name: str) -> str:
    """A shard's name without the endings of its codec and format: `a/b.jsonl.zst` → `a/b`."""
    bare = _without_codec(name)
    for ending in _FORMAT_ENDINGS:
        if bare.lower().endswith(ending) and len(bare) > len(ending):
            return bare[: -len(ending)]
    return bare


def _without_codec(name: str) -> str:
    for ending in _CODEC_ENDINGS.values():
        if ending and name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name
