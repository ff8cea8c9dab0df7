"""What output files are called."""

from __future__ import annotations

from pathlib import PurePath

from lowbg.config import Compression
from lowbg.errors import ConfigError
from lowbg.formats import (
    CODEC_ENDINGS,
    UNPACKED_BY,
    available,
    by_name,
    codec_by_name,
    without_codec,
)


def codec_of(compression: Compression, read: str) -> str:
    """The codec of an output whose input was stored with the codec `read`."""
    return read if compression is Compression.KEEP else compression.value


def codec_of_lines(name: str) -> str:
    """The codec of an output of lines, by its name.

    Raises `ConfigError` where it is called as what it wouldn't be: another format, or a compression
    that isn't written.
    """
    ending = PurePath(name).suffix
    if ending.lower() in UNPACKED_BY:
        endings = ", ".join(CODEC_ENDINGS.values())
        raise ConfigError(
            f"{name}: {ending} isn't written; end the name with {endings}, or with none of them"
        )
    form = by_name(name)
    if form is not None and not form.takes_stream:
        raise ConfigError(
            f"{name}: lines go there, and its name says {form.title}; call it .jsonl, or use a "
            "directory (`output=…`)"
        )
    return codec_by_name(name)


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
