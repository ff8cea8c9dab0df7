"""Every exception that lowbg raises on purpose.

    LowbgError                 anything below
    ├── ConfigError            the caller's options, policy or paths are wrong (exit 2)
    │   └── LockedError        another run is writing to the output directory
    ├── InputError             an input cannot be read, or not to its end (exit 3)
    │   ├── CutStreamError     compressed data ends early; what came before it is good
    │   └── FormatError        the bytes are not the format that they claim to be
    ├── OutputError            an output cannot be written (exit 3)
    ├── CheckpointError        a checkpoint is no use any more: its shard starts over
    ├── StoppedError           a run was asked to stop, and did so at a checkpoint (exit 128 + n)
    ├── ModelError             a model file is missing, cut, or not the one that was pinned
    ├── ScorerError            a scorer failed, or its columns aren't what it declares (exit 3)
    └── ConservationError      records in ≠ human + ai + unscored + quarantined: a defect of lowbg

A message says what happened, where, and what to do about it.
"""

from __future__ import annotations


class LowbgError(Exception):
    """Anything that lowbg raises on purpose.

    `key` is the setting that it is about, as `lowbg.settings` calls it; `file` the file that says
    so, which heads the message. Who took the setting elsewhere, as from a command line, adds how it
    is called there: the library doesn't know.
    """

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


class CutStreamError(InputError):
    """Compressed data ended before its end mark, or is damaged; what was read before is good."""


class FormatError(InputError):
    """The bytes are not in the format that they claim to be."""


class OutputError(LowbgError):
    """An output could not be written."""


class CheckpointError(LowbgError):
    """An interrupted shard cannot be gone on with: its parts or input aren't what they were."""


class StoppedError(LowbgError):
    """The work was asked to stop and did so between two batches; what was done is kept."""


class ModelError(LowbgError):
    """A model file is missing, cut, of the wrong shape or not the one that was pinned."""


class ScorerError(LowbgError):
    """A scorer failed, or gave columns that aren't what it declares; its author has to know."""


class ConservationError(LowbgError):
    """Records in and records out of a shard differ: a defect of lowbg, never of the data."""


def cause(error: BaseException) -> str:
    """What went wrong, without the path that an `OSError` names too: the message has it."""
    return getattr(error, "strerror", None) or str(error)
