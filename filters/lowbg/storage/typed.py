"""lowbg's own files, typed: what is in one is said by a struct, and checked here.

A file that can't be used is reported where it is wrong: the file, the path inside it, what is there
and what was expected, and what to do. `Closed` structs are parts of files that lowbg alone writes:
a key that they don't have is an error. `Open` ones are parts of files to which keys may be added
within a version: what they don't have is passed over.

A file's struct names its schema as `tag=…, tag_field=SCHEMA_KEY`; that is all there is to a tag.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Generic, NoReturn, TypeVar, get_args

import msgspec
from msgspec import Struct

from lowbg import __version__
from lowbg.errors import LowbgError, cause

SCHEMA_KEY: Final = "schema"

Count = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Interval = Annotated[list[Share], msgspec.Meta(min_length=2, max_length=2)]
"""The 95 % interval of a share, [low, high]."""

_Content = TypeVar("_Content")


class Closed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a file that lowbg alone writes."""


class Open(msgspec.Struct, frozen=True):
    """A part of a file to which keys may be added within a version."""


def to_plain(value: Any) -> Any:
    """Structs, data classes, enums and what has `to_plain` as plain JSON values."""
    return msgspec.to_builtins(value, enc_hook=lambda other: other.to_plain(), str_keys=True)


def from_plain(plain: Any, content: Any) -> Any:
    """What plain JSON values hold, as the type `content`.

    Raises `ValueError` that says where they are wrong; what has `from_plain` makes itself of them.
    """
    try:
        return _converted(plain, content)
    except (ValueError, OverflowError) as error:
        raise ValueError(_located(error, plain, content)) from error


_NOT_PLAIN: Final = re.compile("[^ -~]+")


def compact(plain: Any) -> bytes:
    """One line in ASCII, so that names and messages with lone surrogates come back."""
    found = swiftly(plain)
    if found is None:
        return json.dumps(plain, separators=(",", ":")).encode("ascii") + b"\n"
    if not found.isascii() or b"\x7f" in found:
        escaped = _NOT_PLAIN.sub(lambda odd: json.dumps(odd[0])[1:-1], found.decode())
        found = escaped.encode("ascii")
    return found + b"\n"


def swiftly(plain: Any, *, indent: bool = False) -> bytes | None:
    """What Python's own writer makes of plain values, in UTF-8, in a fifth of its time.

    Numbers must be finite: others come back as null.
    With `indent` it has lines, two spaces a level, and sorted keys. None where it isn't known to be
    the same: there are lone surrogates, or numbers so small that the two may spell them otherwise.
    """
    import orjson  # Not at the top: options are declared by types of this module.

    try:
        data = orjson.dumps(
            plain, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS if indent else 0
        )
    except TypeError:
        return None
    return None if b"0.0000" in data or _has_exponent(data) else data


def _has_exponent(data: bytes) -> bool:
    """Whether there is a negative power of ten in JSON, or what looks like one in a string."""
    at = data.find(b"e-")
    while at > 0:
        if data[at - 1 : at].isdigit() and data[at + 2 : at + 3].isdigit():
            return True
        at = data.find(b"e-", at + 2)
    return False


def swift(plain: Any) -> bytes:
    """In UTF-8 where it can be, in a fifth of the time; else as `compact`."""
    import orjson

    try:
        return orjson.dumps(plain)
    except TypeError:
        return compact(plain)


def line(plain: Any) -> bytes:
    """One line in UTF-8."""
    import orjson

    return orjson.dumps(plain, option=orjson.OPT_APPEND_NEWLINE)


def indented(plain: Any) -> bytes:
    """UTF-8, keys sorted, two spaces; lone surrogates (file names may hold them) written out."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    try:
        return orjson.dumps(plain, option=options)
    except TypeError:
        return orjson.dumps(_encodable(plain), option=options)


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(item) for item in value]
    return value


class FileType(Struct, Generic[_Content], frozen=True):
    """One type of file: its `content`, what to call it, and how it is written.

    `name` is as in "not NAME"; `error` is raised for one that can't be used, and `advice` says what
    to do then, a sentence. `written` makes bytes of plain JSON values; `writers` finds the
    versions of lowbg in them that wrote the file, which are named where one is another.
    """

    content: Any
    name: str
    error: type[LowbgError]
    advice: str
    written: Callable[[Any], bytes] = compact
    writers: Callable[[Any], Iterable[Any]] = lambda plain: [plain["version"]]

    def encode(self, content: _Content) -> bytes:
        """The file's bytes."""
        return self.written(to_plain(content))

    def read(self, path: Path) -> _Content:
        """What a file or object holds. Raises `error` where it can't be read, or used."""
        from lowbg.storage.whole_files import address, read_bytes  # It is of files of other types.

        where = address(path)
        try:
            data = read_bytes(path)
        except OSError as error:
            raise self.error(f"{where}: cannot be read ({cause(error)}). {self.advice}") from error
        return self.decode(data, where)

    def read_if_there(self, path: Path) -> _Content | None:
        """What a file or object holds; None where there is none. Raises as `read` does."""
        try:
            return self.read(path)
        except self.error as error:
            if isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
                return None
            raise

    def decode(self, data: bytes, where: str) -> _Content:
        """What bytes hold that messages call `where`. Raises `error` where they can't be used."""
        try:
            plain = _parsed(data)
        except (ValueError, RecursionError) as error:
            self._refuse(where, f"not {self.name}, or a damaged one ({error})", error)
        return self.convert(plain, where)

    def convert(self, plain: Any, where: str) -> _Content:
        """What plain JSON values hold, which may be changed by it where `error` is raised."""
        schemas = [tag for kind in _members(self.content) if (tag := _tag(kind)) is not None]
        if schemas:
            found = plain.get(SCHEMA_KEY) if isinstance(plain, dict) else None
            if not isinstance(found, str):
                self._refuse(where, f"not {self.name}")
            if found not in schemas:
                reads = " or ".join(schemas)
                self._refuse(where, f"not {self.name} of this version ({found!r}, not {reads})")
        try:
            content: _Content = from_plain(plain, self.content)
        except ValueError as error:
            self._refuse(where, f"{error}{self._written_by(plain)}", error)
        return content

    def _written_by(self, plain: Any) -> str:
        """What to add where another version of lowbg wrote the file."""
        found: set[str] = set()
        with suppress(KeyError, TypeError):
            found = {str(version) for version in self.writers(plain)}
        return f"; lowbg {', '.join(sorted(found))} wrote it" if found - {__version__} else ""

    def _refuse(self, where: str, what: str, why: BaseException | None = None) -> NoReturn:
        raise self.error(f"{where}: {what}. {self.advice}") from why


def _members(content: Any) -> tuple[Any, ...]:
    return get_args(content) or (content,)


def _tag(kind: Any) -> str | None:
    return kind.__struct_config__.tag if hasattr(kind, "__struct_config__") else None


def _parsed(data: bytes) -> Any:
    import orjson

    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        # It may hold a lone surrogate, escaped, which only Python's own reader lets through.
        return json.loads(data, parse_constant=_no_constant)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _converted(plain: Any, content: Any) -> Any:
    return msgspec.convert(plain, content, dec_hook=lambda kind, value: kind.from_plain(value))


_MESSAGE = re.compile(r"(.*?)(?: - at `\$(.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_KEY = re.compile(r"Object (?:contains (unknown) field|(missing) required field) `(.*)`", re.DOTALL)


def _located(error: Exception, plain: Any, content: Any) -> str:
    """msgspec's message as "path inside the file: what is wrong", with the keys it leaves out."""
    match = _MESSAGE.fullmatch(str(error))
    assert match is not None  # It matches any text.
    what, here, place = match[1], plain, ""
    for key, index in _STEP.findall(match[2] or ""):
        if index.isdecimal():
            here, place = here[int(index)], f"{place}[{index}]"
            continue
        if index:
            key = _culprit(error, plain, here, content)
        here, place = here[key], f"{place}.{key}"
    if odd := _KEY.fullmatch(what):
        place, what = f"{place}.{odd[3]}", "unknown key" if odd[1] else "missing"
    what = what[:1].lower() + what[1:].replace("`", "")
    return f"{place.removeprefix('.')}: {what}" if place else what


def _culprit(error: Exception, plain: Any, here: dict[str, Any], content: Any) -> str:
    """Which key of `here`, a part of `plain`, the error is of: msgspec only says "[...]"."""
    whole, keys = dict(here), list(here)
    while len(keys) > 1:
        half = keys[: len(keys) // 2]
        here.clear()
        here.update((key, whole[key]) for key in half)
        try:
            _converted(plain, content)
            found = ""
        except (ValueError, OverflowError) as again:
            found = str(again)
        keys = half if found == str(error) else keys[len(half) :]
    here.clear()
    here.update(whole)
    return keys[0]
