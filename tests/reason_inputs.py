"""The inputs of `docs/reasons.md`, by name: what each file or folder there holds."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics

import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq
from pyarrow.parquet.encryption import (
    CryptoFactory,
    EncryptionConfiguration,
    KmsClient,
    KmsConnectionConfig,
)

DOCUMENTS = [{"id": i, "text": text} for i, text in enumerate(sorted(topics.values())[:3])]

OBJECTS = [json.dumps(document) for document in DOCUMENTS]


class _Keys(KmsClient):  # type: ignore[misc]
    """Keeps keys as they are."""

    def __init__(self, _: KmsConnectionConfig) -> None:
        super().__init__()

    def wrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64encode(key)

    def unwrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64decode(key)


def _encrypted(*, plaintext_footer: bool) -> bytes:
    out, rows = io.BytesIO(), pa.table({"id": [1], "text": ["hello"]})
    properties = CryptoFactory(_Keys).file_encryption_properties(
        KmsConnectionConfig(),
        EncryptionConfiguration(
            footer_key="one", column_keys={"two": ["text"]}, plaintext_footer=plaintext_footer
        ),
    )
    with pq.ParquetWriter(out, rows.schema, encryption_properties=properties) as writer:
        writer.write_table(rows)
    return out.getvalue()


def _array() -> bytes:
    return ("[\n" + ",\n".join(OBJECTS) + "\n]\n").encode()


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        archive.add(Path(__file__), "a.jsonl")
    return out.getvalue()


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.jsonl", "\n".join(OBJECTS))
    return out.getvalue()


def _orc() -> bytes:
    out = io.BytesIO()
    pyarrow.orc.write_table(pa.table({"text": ["a"]}), out)
    return out.getvalue()


def _warc() -> bytes:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Hello</html>"
    header = (
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:1>\r\n"
        f"WARC-Target-URI: https://example.org/\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return gzip.compress(header.encode() + block + b"\r\n\r\n")


def _int128() -> bytes:
    """Parquet whose Arrow schema says of a column that it has 128 bits, as Polars writes them."""
    out = io.BytesIO()
    pq.write_table(pa.table({"text": ["hello"], "n": pa.array([1], pa.int64())}), out)
    stored = out.getvalue()
    (schema,) = re.findall(rb"ARROW:schema.{0,8}?([A-Za-z0-9+/]{80,}=*)", stored, re.DOTALL)
    bits = base64.b64decode(schema).replace(b"\x40\0\0\0", b"\x80\0\0\0")
    return stored.replace(schema, base64.b64encode(bits))


def _namesakes() -> bytes:
    out = io.BytesIO()
    columns = [["hello"], ["hello"], [1]]
    pq.write_table(pa.Table.from_arrays(list(map(pa.array, columns)), ["text", "text", "id"]), out)
    return out.getvalue()


def _wrong_checksum() -> bytes:
    stored = bytearray(gzip.compress(_lines(), mtime=0))
    stored[-8] ^= 0xFF
    return bytes(stored)


def _nested() -> bytes:
    out = io.BytesIO()
    row = {"n": 1, "doc": {"body": "a"}, "messages": [{"content": "b"}]}
    pq.write_table(pa.Table.from_pylist([row]), out)
    return out.getvalue()


MAKERS: dict[str, Callable[[], bytes]] = {
    "array.json": _array,
    "array.json.gz": lambda: gzip.compress(_array()),
    "pretty.jsonl": lambda: "\n".join(json.dumps(d, indent=2) for d in DOCUMENTS).encode(),
    "concatenated.json": lambda: "".join(OBJECTS).encode(),
    "commas.jsonl": lambda: ",\n".join(OBJECTS).encode(),
    "sequence.json": lambda: "".join(f"\x1e{each}\n" for each in OBJECTS).encode(),
    "table.csv": lambda: b"id,text\n",
    "table.tsv": lambda: b"id\ttext\n1\thello\n",
    "page.jsonl": lambda: b"\n<!DOCTYPE html>\n<html><title>404</title></html>\n",
    "denied.jsonl": lambda: b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>',
    "lfs.parquet": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "annex.jsonl": lambda: b"/annex/objects/SHA256E-s9--0.jsonl\n",
    "data.jsonl.dvc": lambda: b"outs:\n- md5: 0\n  size: 9\n  path: data.jsonl\n",
    "encrypted.parquet": lambda: _encrypted(plaintext_footer=False),
    "plain-footer.parquet": lambda: _encrypted(plaintext_footer=True),
    "crawl.warc.gz": _warc,
    "rows.avro": lambda: b"Obj\x01\x04\x14avro.codec\x08null",
    "rows.orc": _orc,
    "shards.zip": _zip,
    "shards.tar.gz": _tar,
    "utf16.jsonl": lambda: OBJECTS[0].encode("utf-16"),
    "int128.parquet": _int128,
    "twice.parquet": _namesakes,
    "checksum.jsonl.gz": _wrong_checksum,
    "control.jsonl": lambda: b'{"text": "a\tb"}\n',
    "short.txt": lambda: b"This is a short text.\n",
    "few.jsonl": lambda: b"",
    "body.jsonl": lambda: b'{"doc": {"body": "Some words."}}\n' * 10_000,
    "nested.parquet": _nested,
    "info.warc.gz": lambda: gzip.compress(
        b"WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 5\r\n\r\nhello\r\n\r\n"
    ),
    "empty.jsonl": lambda: b"",
    "groups.toml": lambda: b"[gate.max_ai_share_by]\nhosts = 0.1\n",
}


def _lines() -> bytes:
    return "".join(f"{each}\n" for each in OBJECTS).encode()


FOLDERS: dict[str, dict[str, bytes | str]] = {
    "missing": {"b.jsonl": ".git/annex/objects/SHA256E-s9--0.jsonl"},
    "twice": {"b.jsonl": "a.jsonl"},
    "unknown": {"a.txt": b"Some text.\n"},
    "backup": {"a.jsonl.bak": _lines()},
    "packed": {"b.jsonl.lz4": b"\x04\x22\x4d\x18"},
    "pointer": {"b.jsonl.dvc": b"outs:\n- md5: 0\n"},
}
"""What lies beside a shard `a.jsonl` in a folder: the content, or where a link leads."""


def make(root: Path, name: str) -> None:
    """Makes the input of this name below `root`."""
    if name in MAKERS:
        (root / name).write_bytes(MAKERS[name]())
        return
    (root / name).mkdir()
    (root / name / "a.jsonl").write_bytes(_lines())
    for file, content in FOLDERS[name].items():
        if isinstance(content, bytes):
            (root / name / file).write_bytes(content)
        else:
            (root / name / file).symlink_to(content)
