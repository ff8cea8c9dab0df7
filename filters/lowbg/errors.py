"""Every exception that lowbg raises on purpose.

    LowbgError                 anything below
    ├── ConfigError            the caller's options, policy or paths are wrong (exit 2)
    │   └── LockedError        another run is writing to the output directory
    ├── InputError             an input cannot be read, or not to its end (exit 3)
    │   ├── CutStreamError     compressed data ends early; what came before it is good
    │   └── FormatError        the bytes are not the format that they claim to be
    │       └── NoTextError    none of the first records has a text
    ├── OutputError            an output cannot be written (exit 3)
    ├── CheckpointError        a checkpoint is no use any more: its shard starts over
    ├── StoppedError           a run was asked to stop, and did so at a checkpoint (exit 128 + n)
    ├── ModelError             a model file is missing, cut, or not the one that was pinned
    ├── ScorerError            a scorer failed, or its columns aren't what it declares (exit 3)
    └── ConservationError      records in ≠ human + ai + unscored + quarantined: a defect of lowbg

A message says what happened, where, and what to do about it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final

PROBLEMS_VERSION: Final = 1
"""Of `ProblemKind`. It rises when a kind comes or its meaning changes; a value is never reused."""


class ProblemKind(StrEnum):
    """What can be wrong with an input, as reports, manifests and checkpoints spell it.

    Of a shard as a whole, which counts as not read whole:
    `INPUT` it cannot be read, or not to its end, for a reason that may pass; `CUT_STREAM` its
    compressed data is cut or damaged; `FORMAT` its bytes aren't in the form that they claim;
    `NO_TEXT` none of its first records has a text where it is looked for;
    `OUTPUT` what came of it cannot be written; `WORKER` the process that worked on it ended.

    Of records in it, which go to quarantine and are counted: `INVALID_JSON`, `INVALID_UTF8`,
    `NOT_AN_OBJECT`, `MISSING_TEXT` (no such field), `NULL_TEXT`, `TEXT_NOT_STRING`, `TOO_LARGE`,
    `CUT` (the last one, where its stream breaks off), `UNREADABLE` (a row group), `MALFORMED` (no
    record of the format).
    """

    INPUT = "input"
    CUT_STREAM = "cutstream"
    FORMAT = "format"
    NO_TEXT = "no_text"
    OUTPUT = "output"
    WORKER = "worker"
    INVALID_JSON = "invalid_json"
    INVALID_UTF8 = "invalid_utf8"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_TEXT = "missing_text"
    NULL_TEXT = "null_text"
    TEXT_NOT_STRING = "text_not_string"
    TOO_LARGE = "too_large"
    CUT = "cut"
    UNREADABLE = "unreadable"
    MALFORMED = "malformed"

    @property
    def of_records(self) -> bool:
        """Whether it concerns single records; if not, the shard as a whole."""
        return self not in _OF_SHARDS

    @property
    def lasting(self) -> bool:
        """Whether it is of the input's bytes: reading them again gives the same."""
        return self.of_records or self in _LASTING


_LASTING: Final = frozenset({ProblemKind.CUT_STREAM, ProblemKind.FORMAT, ProblemKind.NO_TEXT})
_OF_SHARDS: Final = frozenset(
    {
        ProblemKind.INPUT,
        ProblemKind.NO_TEXT,
        ProblemKind.CUT_STREAM,
        ProblemKind.FORMAT,
        ProblemKind.OUTPUT,
        ProblemKind.WORKER,
    }
)


class LowbgError(Exception):
    """Anything that lowbg raises on purpose.

    `problem` is what a shard's result calls it, where it ends that shard alone. `key` is the
    setting that it is about, as `lowbg.settings` calls it; `file` the file that says so, which
    heads the message. Who took the setting elsewhere, as from a command line, adds how it is
    called there: the library doesn't know.
    """

    problem: ClassVar[ProblemKind] = ProblemKind.WORKER

    def __init__(self, message: str = "", *, key: str | None = None, file: str | None = None):
        super().__init__(message)
        self.key = key
        self.file = file

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.file is None else f"{self.file}: {message}"


class ConfigError(LowbgError):
    """Options, a policy or paths are wrong; nothing was processed."""


class LockedError(ConfigError):
    """Another run is writing to the output directory."""


class InputError(LowbgError):
    """An input could not be read, or not to its end."""

    problem = ProblemKind.INPUT


class CutStreamError(InputError):
    """Compressed data ended before its end mark, or is damaged; what was read before is good."""

    problem = ProblemKind.CUT_STREAM


class FormatError(InputError):
    """The bytes are not in the format that they claim to be."""

    problem = ProblemKind.FORMAT


class NoTextError(FormatError):
    """None of an input's first records has a text where it is looked for."""

    problem = ProblemKind.NO_TEXT


class OutputError(LowbgError):
    """An output could not be written."""

    problem = ProblemKind.OUTPUT


class CheckpointError(LowbgError):
    """An interrupted shard cannot be gone on with: its parts or input aren't what they were."""


class StoppedError(LowbgError):
    """The work was asked to stop and did so; the batches that were done are kept."""


class ModelError(LowbgError):
    """A model file is missing, cut, of the wrong shape or not the one that was pinned."""


class ScorerError(LowbgError):
    """A scorer failed, or gave columns that aren't what it declares; its author has to know."""


class ConservationError(LowbgError):
    """Records in and records out of a shard differ: a defect of lowbg, never of the data."""


def cause(error: BaseException) -> str:
    """What went wrong, without the path that an `OSError` names too: the message has it."""
    return getattr(error, "strerror", None) or str(error)
