from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import random
import re
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbg.errors import ConfigError, CutStreamError, FormatError, InputError
from lowbg.storage.compression import CODECS, open_input, open_output, sniff, why_not_opened

TEXT = b"".join(b'{"id":%d,"text":"%x"}\n' % (i, i * 7919) for i in range(30_000))
NOISE = random.Random(7).randbytes(400_000)

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "bz2": bz2.compress,
    "xz": functools.cache(lambda data: lzma.compress(data, preset=1)),
}
CODED = ["gzip", "zstd", "bz2", "xz"]


def read_all(data: bytes, step: int = 1 << 20) -> bytes:
    with open_input(io.BytesIO(data), "x") as stream:
        out = b""
        while part := stream.read(step):
            out += part
        assert stream.consumed == len(data)
        return out


def read_until_fault(data: bytes) -> tuple[bytes, InputError]:
    """What comes out before the fault, and the fault, which must stay."""
    parts = []
    with open_input(io.BytesIO(data), "shard-7.zst") as stream:
        try:
            while part := stream.read_chunk():
                parts.append(part)
        except InputError as fault:
            with pytest.raises(type(fault)):
                stream.read(1)
            return b"".join(parts), fault
    raise AssertionError("ended without a fault")


@pytest.mark.parametrize("codec", COMPRESS)
@pytest.mark.parametrize("content", [b"", b"a", TEXT, NOISE, TEXT + NOISE + TEXT])
def test_content_comes_back_whatever_the_codec(codec: str, content: bytes) -> None:
    stored = COMPRESS[codec](content)
    assert read_all(stored) == content
    with open_input(io.BytesIO(stored), "misnamed.txt") as stream:
        # Noise and nothing at all have no magic to be told by.
        assert stream.codec == codec


@pytest.mark.parametrize("codec", CODED)
def test_all_members_are_read(codec: str) -> None:
    parts = [TEXT, b"", b"x", NOISE]
    assert read_all(b"".join(map(COMPRESS[codec], parts))) == b"".join(parts)


@pytest.mark.parametrize("codec", CODED)
@pytest.mark.parametrize("share", [0.001, 0.34, 0.66, 0.999])
def test_cut_stream_is_an_error_after_its_good_bytes(codec: str, share: float) -> None:
    content = TEXT + NOISE + TEXT
    stored = COMPRESS[codec](content)
    cut = stored[: int(len(stored) * share)]
    out, fault = read_until_fault(cut)
    assert content.startswith(out)
    assert isinstance(fault, CutStreamError)
    assert "shard-7.zst" in str(fault)
    assert codec in str(fault)
    if codec in ("gzip", "zstd"):
        assert len(out) > len(content) * share * 0.5 - 150_000


@pytest.mark.parametrize("codec", CODED)
def test_every_cut_of_a_short_stream_is_found(codec: str) -> None:
    stored = COMPRESS[codec](b'{"text":"a"}\n') * 2
    whole = len(stored) // 2
    for length in range(10, len(stored)):
        if length == whole:
            continue
        out, fault = read_until_fault(stored[:length])
        assert isinstance(fault, CutStreamError), length
        assert (b'{"text":"a"}\n' * 2).startswith(out)


def test_zstd_cut_between_frames_of_any_kind_is_read_to_its_last_block() -> None:
    # 100 frames of one line each: a cut loses the cut frame alone.
    frames = [COMPRESS["zstd"](b"%d\n" % i) for i in range(100)]
    out, _ = read_until_fault(b"".join(frames)[:-1])
    assert out.count(b"\n") >= 99


@pytest.mark.parametrize("codec", CODED)
def test_damage_is_an_error(codec: str) -> None:
    stored = bytearray(COMPRESS[codec](NOISE))
    stored[len(stored) // 2] ^= 0xFF
    _, fault = read_until_fault(bytes(stored))
    assert isinstance(fault, CutStreamError)


def test_gzip_bytes_before_damage_are_kept_to_the_last() -> None:
    stored = bytearray(gzip.compress(TEXT))
    stored[-6] ^= 0xFF  # In the checksum: all of the content is before it.
    out, _ = read_until_fault(bytes(stored))
    assert out == TEXT


@pytest.mark.parametrize(
    ("codec", "after", "tolerated"),
    [
        ("gzip", b"\x00", True),
        ("gzip", b"\x00" * 100_000, True),
        ("gzip", b"\x00" * 512 + b"x", False),
        ("gzip", b"x", False),
        ("gzip", b"garbage", False),
        ("zstd", b"\x00\x00\x00\x00", False),
        ("zstd", b"x", False),
        ("zstd", b"garbage", False),
        ("bz2", b"garbage", False),
        ("xz", b"\x00" * 8, True),
        ("xz", b"garbage", False),
    ],
)
def test_bytes_after_the_end_are_never_dropped_in_silence(
    codec: str, after: bytes, tolerated: bool
) -> None:
    stored = COMPRESS[codec](TEXT) + after
    if tolerated:
        assert read_all(stored) == TEXT
    else:
        out, _ = read_until_fault(stored)
        assert out == TEXT


def test_zstd_skippable_frames_are_skipped() -> None:
    skippable = b"\x53\x2a\x4d\x18" + (300_000).to_bytes(4, "little") + b"z" * 300_000
    frame = COMPRESS["zstd"](TEXT)
    assert read_all(skippable + frame + skippable + frame) == TEXT * 2
    _, fault = read_until_fault(frame + skippable[:-1])
    assert isinstance(fault, CutStreamError)


def test_zstd_windows_of_long_mode_are_read() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    assert read_all(compressor.compress(TEXT) + compressor.flush()) == TEXT


def test_zstd_dictionary_is_named() -> None:
    samples: list[bytes | bytearray | memoryview] = [
        b'{"id":%d,"text":"%x"}' % (i, i * 7919) for i in range(5000)
    ]
    dictionary = zstandard.train_dictionary(4096, samples)
    stored = zstandard.ZstdCompressor(dict_data=dictionary).compress(TEXT)
    _, fault = read_until_fault(stored)
    assert isinstance(fault, FormatError)
    assert str(dictionary.dict_id()) in str(fault)


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODED)
def test_a_bomb_streams_in_bounded_chunks(codec: str) -> None:
    size, step = 64 << 20, 1 << 20
    out = io.BytesIO()
    bomb = open_output(out, codec)
    for _ in range(size // step):
        bomb.write(bytes(step))
    bomb.finish()
    assert len(out.getvalue()) < 100_000
    tracemalloc.start()
    try:
        with open_input(io.BytesIO(out.getvalue()), "bomb") as stream:
            total = 0
            while part := stream.read_chunk():
                assert len(part) <= 1 << 18
                total += len(part)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == size
    assert peak < 16 << 20


@pytest.mark.parametrize(
    ("head", "codec"),
    [
        (b"", "none"),
        (b'{"text":"a"}', "none"),
        (b"\xef\xbb\xbf{", "none"),
        (b"BZh is how this text starts", "none"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x28\xb5\x2f\xfd\x00", "zstd"),
        (b"\x50\x2a\x4d\x18", "zstd"),
        (b"\x5f\x2a\x4d\x18", "zstd"),
        (b"BZh91AY&SY", "bz2"),
        (b"\xfd7zXZ\x00", "xz"),
    ],
)
def test_sniff_tells_codecs_apart(head: bytes, codec: str) -> None:
    assert sniff(head) == codec


@pytest.mark.parametrize(
    ("head", "word"),
    [
        ('{"text":"a"}'.encode("utf-16"), "UTF-16"),
        ('{"text":"a"}'.encode("utf-16-le"), "UTF-16"),
        ('{"text":"a"}'.encode("utf-16-be"), "UTF-16"),
        ('{"text":"a"}'.encode("utf-32"), "UTF-32"),
        (b"\x25\xb5\x2f\xfd", "zstd"),
    ],
)
def test_sniff_says_what_cannot_be_read(head: bytes, word: str) -> None:
    with pytest.raises(FormatError, match=word):
        sniff(head)


@settings(deadline=None, max_examples=15)
@given(
    pieces=st.lists(st.integers(0, 1_500_000), max_size=5),
    codec=st.sampled_from(["none", "gzip", "zstd"]),
)
def test_output_depends_on_content_alone(pieces: list[int], codec: str) -> None:
    content = (TEXT + NOISE)[: sum(pieces)]
    once = written(codec, content, [len(content)])
    assert written(codec, content, pieces) == once
    assert read_all(once) == content


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_output_does_not_depend_on_chunks_for_any_codec(codec: str) -> None:
    content = TEXT + NOISE
    once = written(codec, content, [len(content)])
    assert written(codec, content, [1, 65_536, 2_000_000, len(content)]) == once


def written(codec: str, content: bytes, sizes: list[int]) -> bytes:
    out = io.BytesIO()
    stream = open_output(out, codec)
    at = 0
    for size in sizes:
        stream.write(memoryview(content)[at : at + size])
        at += size
    stream.finish()
    return out.getvalue()


class _Sizes:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def write(self, data: bytes) -> None:
        self.sizes.append(len(data))


def test_chunks_are_of_a_fixed_size() -> None:
    sink = _Sizes()
    stream = open_output(sink, "none")
    for size in (1, 3 << 20, 0, 5, (1 << 20) - 6, 7):
        stream.write(bytes(size))
    stream.finish()
    stream.finish()
    assert sink.sizes == [1 << 20] * 4 + [7]


def test_gzip_output_has_neither_time_nor_name() -> None:
    out = io.BytesIO()
    stream = open_output(out, "gzip")
    stream.finish()
    assert out.getvalue()[3:8] == bytes(5)


def test_zstd_output_carries_a_checksum() -> None:
    out = io.BytesIO()
    stream = open_output(out, "zstd")
    stream.write(TEXT)
    stream.finish()
    assert zstandard.get_frame_parameters(out.getvalue()).has_checksum


def test_unknown_codec_is_refused() -> None:
    with pytest.raises(ConfigError, match="lz4"):
        open_output(io.BytesIO(), "lz4")


def test_urls_are_opened_through_fsspec() -> None:
    import fsspec

    with fsspec.open("memory://compression/a.zst", "wb") as file:
        file.write(COMPRESS["zstd"](TEXT))
    with open_input("memory://compression/a.zst") as stream:
        assert stream.codec == "zstd"
        assert stream.read(len(TEXT) + 1) == TEXT


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.jsonl"):
        open_input(tmp_path / "absent.jsonl")
    with pytest.raises(InputError, match="absent"):
        open_input("memory://absent")
    with pytest.raises(ConfigError, match="nosuch"):
        open_input("nosuch://bucket/a")


class _Failing(io.RawIOBase):
    """Yields a few bytes, then an I/O error."""

    def __init__(self) -> None:
        self._reads = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self._reads += 1
        if self._reads > 3:
            raise OSError(5, "Input/output error")
        return b"abc" * 200


class _Answered(Exception):
    """What aiohttp raises of an answer that is none."""

    status, message = 503, "Service Unavailable"


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (_Answered(), "the server answers 503 Service Unavailable"),
        (ConnectionRefusedError(111, "Connect call failed"), "[Errno 111] Connect call failed"),
        (TimeoutError(), "no answer in time"),
        (FileNotFoundError("memory://a"), "there is no such file"),
    ],
)
def test_what_a_store_says_is_told_by_its_cause(cause: Exception, said: str) -> None:
    """fsspec makes "not found" of whatever went wrong."""
    error = FileNotFoundError("https://example.org/a.jsonl")
    error.__cause__ = cause
    assert why_not_opened(error) == said


@pytest.mark.parametrize("content", [b"x" * 10, bytes(range(256)) * 1000])
def test_a_wrong_gzip_checksum_is_told_where_it_is(content: bytes) -> None:
    stored = bytearray(gzip.compress(content))
    stored[-8] ^= 0xFF
    read, fault = read_until_fault(bytes(stored))
    found = re.search(r"isn't that of its checksum\) at byte (\d+)", str(fault))
    assert read == content
    assert found is not None
    assert len(stored) - 8 <= int(found[1]) < len(stored)


def test_a_read_error_comes_after_the_bytes_before_it() -> None:
    with open_input(_Failing(), "disk.jsonl") as stream:  # type: ignore[arg-type]
        assert stream.read(10_000) == b"abc" * 600
        with pytest.raises(InputError, match=r"disk\.jsonl: .*byte 1800.*Input/output"):
            stream.read(1)


def test_readinto_and_peek() -> None:
    with open_input(io.BytesIO(gzip.compress(b"abcdef")), "x") as stream:
        assert stream.peek(3) == b"abc"
        buffer = bytearray(4)
        assert stream.readinto(buffer) == 4
        assert buffer == b"abcd"
        assert stream.peek(10) == b"ef"
        assert stream.read(10) == b"ef"
        assert stream.peek(1) == b""


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_readers_that_stop_at_the_first_frame_lose_nothing_of_a_usual_shard(codec: str) -> None:
    sink = io.BytesIO()
    out = open_output(sink, codec)
    piece = bytes(64 << 20)
    for _ in range(8):
        out.write(piece)
    out.finish()
    first: Any = zlib.decompressobj(31)
    if codec == "zstd":
        first = zstandard.ZstdDecompressor().decompressobj()
    stored = sink.getvalue()
    size = 0
    for at in range(0, len(stored), 4096):
        size += len(first.decompress(stored[at : at + 4096]))
    assert first.eof
    assert size == 8 * len(piece)
