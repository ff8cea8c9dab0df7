"""Files of other kinds, told by their first bytes: what they are, and how to make JSONL of them.

Taken for lines, such a file would become thousands of quarantined records. A file of lines of which
some are broken is none of these: where a line holds a JSON object, what else is there is damage.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from typing import Final

import orjson
from msgspec import Struct

HEAD_BYTES: Final = 64 << 10
"""How many first bytes, decompressed, are looked at: a record's first lines, a table's first
rows."""


class Foreign(Struct, frozen=True):
    """A kind of file that is not read: `what` it is, and what to do.

    `filter` is a command that makes JSONL of it, from its standard input to its standard output;
    where there is none, `advice` says what to do, with the file's name for `{file}`.
    """

    what: str
    filter: str = ""
    advice: str = ""

    def told(self, name: str, codec: str, *, has_name: bool) -> str:
        """What to say of the file `name`, which is stored with `codec`; `has_name`: it is a file
        that a command can name."""
        if not self.filter:
            return f"{self.what}; {self.advice.format(file=shlex.quote(name))}"
        if not has_name:
            return f"{self.what}; make JSONL of it on its way: … | {self.filter} | …"
        file, target = shlex.quote(name), shlex.quote(_target(name))
        command = f"{self.filter} < {file} > {target}"
        if codec != "none":
            command = f"{_UNPACK[codec]} {file} | {self.filter} > {target}"
        return f"{self.what}; make JSONL of it: {command}"


_UNPACK: Final = {"gzip": "gzip -dc", "zstd": "zstd -dc", "bz2": "bzip2 -dc", "xz": "xz -dc"}


def _target(name: str) -> str:
    """What to call the JSONL: never as the file itself, which a shell would empty first."""
    stem = re.sub(r"\.(gz|gzip|zst|zstd|bz2|bzip2|xz)$", "", name, flags=re.IGNORECASE)
    stem, _, ending = stem.rpartition(".") if "." in stem.rpartition("/")[2] else (stem, "", "")
    return f"{stem}.lines.jsonl" if ending.lower() == "jsonl" else f"{stem}.jsonl"


def _by_arrow(module: str) -> str:
    return (
        f'make Parquet of it: python -c "import pyarrow.{module} as m, pyarrow.parquet as p, sys; '
        "p.write_table(m.read_table(sys.argv[1]), sys.argv[1] + '.parquet')\" {file}"
    )


ENCRYPTED_PARQUET: Final = Foreign(
    "an encrypted Parquet file",
    advice="it is read without keys only: write it again without encryption (pyarrow reads it with "
    "decryption_properties)",
)

_FETCH: Final = "the data has not been fetched"
_MAGIC: Final = (
    (b"PARE", ENCRYPTED_PARQUET),
    (b"PK\x03\x04", Foreign("a zip archive", advice="unpack it first: unzip {file}")),
    (b"PK\x05\x06", Foreign("an empty zip archive", advice="there is nothing in it")),
    (b"7z\xbc\xaf\x27\x1c", Foreign("a 7z archive", advice="unpack it first: 7z x {file}")),
    (b"Rar!\x1a\x07", Foreign("a rar archive", advice="unpack it first: unrar x {file}")),
    (b"FEA1", Foreign("a Feather file of version 1", advice=_by_arrow("feather"))),
    (b"Obj\x01", Foreign("an Avro file", advice="make JSONL of it: fastavro {file} > out.jsonl")),
    (b"SQLite format 3\0", Foreign(
        "an SQLite database",
        advice="make JSONL of a table: sqlite3 -json {file} 'select * from NAME' | jq -c '.[]' "
        "> out.jsonl",
    )),
    (b"SEQ\x06", Foreign(
        "a Hadoop sequence file", advice="write it as JSONL or Parquet with Spark"
    )),
    (b"\x89HDF\r\n\x1a\n", Foreign("an HDF5 file", advice="write its texts as JSONL or Parquet")),
    (b"%PDF-", Foreign("a PDF", advice="extract the text first: pdftotext {file}")),
    (b"version https://git-lfs.github.com/spec/", Foreign(
        f"a Git LFS pointer: {_FETCH}", advice="git lfs pull --include {file}"
    )),
    (b"/annex/objects/", Foreign(
        f"a git-annex pointer: {_FETCH}", advice="git annex get {file}"
    )),
    (b"outs:\n- md5:", Foreign(f"a DVC pointer: {_FETCH}", advice="dvc pull {file}")),
)  # fmt: skip

_ORC: Final = Foreign("an ORC file", advice=_by_arrow("orc"))
_TAR: Final = Foreign("a tar archive", advice="unpack it first: tar -xf {file}")
_HTML: Final = Foreign(
    "an HTML page, such as a server sends for an error or a login",
    advice="fetch the file again; of crawled pages extract the text first",
)
_XML: Final = Foreign(
    "an XML document, such as a store sends for an error",
    advice="fetch the file again; of XML data extract the texts first",
)
_ARRAY: Final = Foreign("a JSON array, not an object a line", "jq -c '.[]'")
_PRETTY: Final = Foreign("JSON objects of several lines each, not an object a line", "jq -c .")
_CONCATENATED: Final = Foreign("JSON objects without line ends between them", "jq -c .")
_COMMAS: Final = Foreign("JSON objects with commas between them", r"sed 's/,[[:space:]]*$//'")
_SEQUENCE: Final = Foreign("a JSON text sequence (RFC 7464)", r"tr -d '\036'")
_CSV: Final = Foreign("a CSV table", "mlr --icsv --ojsonl cat")
_TSV: Final = Foreign("a TSV table", "mlr --itsv --ojsonl cat")

_MARKS: Final = b"\xef\xbb\xbf \t\r\n"
_CUT: Final = -1
_DECODER: Final = json.JSONDecoder()
_COLUMN = re.compile(r"[^\W\d][\w.-]*")


def binary_kind(head: bytes) -> Foreign | None:
    """The kind of a file by a mark that no text begins with; null: none that is known.

    `head` are its first bytes, 512 of them where there are so many.
    """
    if head[257:262] == b"ustar" and head[262:263] in b"\x00 ":
        return _TAR
    if head.startswith(b"ORC") and not head.isascii():
        return _ORC
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def text_kind(head: bytes, name: str) -> Foreign | None:
    """The kind of a text that holds records otherwise than as lines; null: lines, for all we know.

    `head` are its first `HEAD_BYTES` bytes, decompressed, or all there are.
    """
    start = head.lstrip(_MARKS)
    first = start[:1]
    if first == b"{":
        return _object_kind(head, start)
    if first == b"[":
        return _array_kind(start, len(head) < HEAD_BYTES)
    if first == b"\x1e":
        return _SEQUENCE
    opening = start[:32].lower()
    if opening.startswith((b"<!doctype html", b"<html")):
        return _HTML
    if opening.startswith(b"<?xml"):
        return _XML
    return _table_kind(start, name.lower(), len(head) < HEAD_BYTES) if first else None


def _is_object(line: bytes) -> bool:
    try:
        return bool(line.startswith(b"{") and orjson.loads(line))
    except ValueError:
        return False


def _object_kind(head: bytes, start: bytes) -> Foreign | None:
    lines = start.split(b"\n")
    if _is_object(lines[0]):
        return None
    whole = len(head) < HEAD_BYTES
    text = start.decode("utf-8", "replace")
    try:
        end = _value_end(text, 0, whole)
        rest = "" if end == _CUT else text[end:].lstrip(" \t")
        if rest.startswith(("{", ",")):
            _value_end(text, text.index("{", end), whole)
    except ValueError:
        return None
    has_comma = rest.startswith(",")
    # The last object of a list has no comma.
    if any(_is_object(line) for line in (lines[:-2] if has_comma else lines)):
        return None
    if has_comma:
        return _COMMAS
    if "\n" in (text if end == _CUT else text[:end]):
        return _PRETTY
    return _CONCATENATED if rest.startswith("{") else None


def _array_kind(start: bytes, whole: bool) -> Foreign | None:
    text = start.decode("utf-8", "replace")
    try:
        end = _value_end(text, 0, whole)
    except ValueError:
        return None
    return _ARRAY if end == _CUT or not text[end:].strip() else None


def _value_end(text: str, at: int, whole: bool) -> int:
    """Where the JSON value ends that begins at `at`; `_CUT` where that lies beyond the head.

    Raises `ValueError` where there is no such value.
    """
    try:
        return _DECODER.raw_decode(text, at)[1]
    except json.JSONDecodeError as error:
        # A number, a word or an escape may be cut, too.
        is_cut = error.msg.startswith("Unterminated") or error.pos >= len(text) - 12
        if is_cut and not whole:
            return _CUT
        raise
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _table_kind(start: bytes, name: str, whole: bool) -> Foreign | None:
    lines = start.split(b"\n")
    if any(_is_object(line) for line in lines):
        return None
    text = start.decode("utf-8", "replace")
    for delimiter, kind, ending in ((",", _CSV, ".csv"), ("\t", _TSV, ".tsv")):
        if re.search(re.escape(ending) + r"(\.\w+)?$", name):
            return kind
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        except csv.Error:
            continue
        rows = rows if whole else rows[:-1]
        width = len(rows[0]) if rows else 0
        if (
            min(width, len(rows)) > 1
            and all(len(row) == width for row in rows if row)
            and all(_COLUMN.fullmatch(column) for column in rows[0])
        ):
            return kind
    return None
