"""Lines for people: messages on stderr, and text made safe to show."""

from __future__ import annotations

import contextlib
import logging
import sys
import unicodedata
from collections.abc import Callable, Iterator

_wording: Callable[[str], str] = str
"""What puts a library's message into the words of the command that runs."""


@contextlib.contextmanager
def speaking(wording: Callable[[str], str], *, quiet: bool = False) -> Iterator[None]:
    """Within, messages are said in these words, and what the library logs is said, too.

    Of that only errors where it is `quiet`.
    """
    global _wording
    before, logger, handler = _wording, logging.getLogger("lowbg"), _Logged()
    level = logger.level
    _wording = wording
    handler.setLevel(logging.ERROR if quiet else logging.NOTSET)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        _wording = before


class _Logged(logging.Handler):
    """Says what the library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """A line on stderr; `record` came through the logger's level."""
        (warning if record.levelno >= logging.WARNING else say)(record.getMessage())


def worded(message: str) -> str:
    """A message of the library in the words of the command that runs."""
    return _wording(message)


def say(message: str) -> None:
    """One line on stderr; lost, not raised, where stderr is closed."""
    if sys.stderr is None:  # print would take stdout instead.
        return
    with contextlib.suppress(OSError, ValueError):
        print(f"lowbg: {printable(worded(message))}", file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Several lines on stderr, as they are; lost, not raised, where stderr is closed."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


def error(message: str) -> None:
    """What ends a run, or a part of it."""
    say(f"error: {message}")


def warning(message: str) -> None:
    """What the run got over."""
    say(f"warning: {message}")


def is_interactive() -> bool:
    """Whether somebody watches stderr."""
    return sys.stderr is not None and sys.stderr.isatty()


def printable(text: str) -> str:
    """`text` in one line that cannot steer a terminal: white space folded, controls replaced.

    Control characters become their pictures (␛), surrogates and other invisible ones that change
    the direction or the place of text become U+FFFD.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    if character.isspace():
        return " "
    number = ord(character)
    if number < 0x20:
        return chr(0x2400 + number)
    # Soft hyphens and joiners are part of ordinary text, and harmless.
    if unicodedata.category(character) == "Cf" and number in (0xAD, 0x200C, 0x200D):
        return character
    return "\ufffd"
