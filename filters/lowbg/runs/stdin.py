"""What standard input is called where its records go into files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import BinaryIO

from lowbg.errors import InputError
from lowbg.formats import CODEC_ENDINGS, DEFAULT, named, recognise
from lowbg.formats.base import SNIFF_BYTES, Opened
from lowbg.runs.inputs import STDIN, STDIN_NAME, Shard


def named_by_content(shards: Sequence[Shard], stdin: BinaryIO) -> tuple[Shard, ...]:
    """The shards with standard input called as a file of its content would be: `stdin.jsonl.zst`.

    Nothing of `stdin` is taken; what cannot be told from its first bytes is JSONL.
    """
    return tuple(
        replace(shard, name=STDIN_NAME + _ending(stdin)) if shard.path == STDIN else shard
        for shard in shards
    )


def _ending(stream: BinaryIO) -> str:
    head = Opened(io.BytesIO(_first_bytes(stream)), STDIN_NAME)
    form, codec = named(DEFAULT), "none"
    with suppress(InputError):
        codec = head.content.codec
        form = recognise(head)
    return form.endings[0] + CODEC_ENDINGS.get(codec, "")


def _first_bytes(stream: BinaryIO) -> bytes:
    with suppress(OSError, ValueError):  # What can't be read is said by who reads it.
        if isinstance(stream, io.BufferedReader):
            return stream.peek(SNIFF_BYTES)
        if stream.seekable():
            start, head = stream.tell(), stream.read(io.DEFAULT_BUFFER_SIZE)
            stream.seek(start)
            return head
    return b""
