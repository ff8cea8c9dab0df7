"""May an output directory be written to, and what did an earlier run leave there to go on with?"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import lowbg
from lowbg import checkpoints
from lowbg.checkpoints import input_digest, key_of
from lowbg.config import Existing, RunConfig, as_dict
from lowbg.engine import Engine
from lowbg.errors import ConfigError, OutputError
from lowbg.manifest import NAME as MANIFEST
from lowbg.results import ShardResult
from lowbg.shards import InputState, Shard
from lowbg.writers.base import naming

SCHEMA: Final = "lowbg.run/1"

OUTPUT_ENTRIES: Final = (
    "human", "ai", "unscored", "quarantine", "report.json", "report.html", MANIFEST, ".lowbg",
)  # fmt: skip
"""What lowbg makes in an output directory, and what `overwrite` removes there."""

_LOCKS: Final = ("lock", "workers")
_LEFTOVER = re.compile(r"\..+\.\d+\.tmp", re.DOTALL)
"""What `writers.base.AtomicFile` calls a file that has no name yet."""

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier run left: results of finished shards by name, and what to say of them.

    `vanished` are finished shards whose inputs are gone: their outputs stay.
    """

    finished: Mapping[str, ShardResult] = field(default_factory=dict)
    vanished: tuple[ShardResult, ...] = ()
    notes: tuple[str, ...] = ()


def check_output(output: Path, existing: Existing) -> None:
    """Makes the directory if it is missing.

    Raises `ConfigError` when it cannot be used, holds files of others, or holds a run and
    `existing` says to refuse it.
    """
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output} is a file; -o takes a directory")
    try:
        output.mkdir(parents=True, exist_ok=True)
        present = sorted(entry.name for entry in output.iterdir())
    except OSError as error:
        raise ConfigError(f"{output}: {error.strerror}. Choose another -o.") from error
    present = [name for name in present if not _LEFTOVER.fullmatch(name)]
    foreign = [name for name in present if name not in OUTPUT_ENTRIES]
    if foreign:
        some = ", ".join(foreign[:3]) + ("…" if len(foreign) > 3 else "")
        raise ConfigError(
            f"{output} holds files that lowbg did not make ({some}). "
            "Choose an empty directory for -o."
        )
    if _is_occupied(output, present) and existing is Existing.REFUSE:
        what = "a run" if MANIFEST in present else "an unfinished run"
        raise ConfigError(
            f"{output} already holds {what}. Use --resume to go on with it, --overwrite to replace "
            "it, or choose another -o."
        )
    links = [name for name in present if (output / name).is_symlink()]
    if links and existing is Existing.RESUME:
        raise ConfigError(
            f"{output / links[0]} is a symbolic link; lowbg doesn't write through it. "
            "Choose another -o."
        )


def _is_occupied(output: Path, present: Sequence[str]) -> bool:
    if any(name != checkpoints.FOLDER for name in present):
        return True
    # A run that was killed before it noted what it is leaves locks, and `run.json.new`.
    folder = output / checkpoints.FOLDER
    return any((folder / name).exists() for name in ("run.json", "shards", "parts"))


def prepare_output(
    output: Path,
    existing: Existing,
    config: RunConfig,
    engine: Engine,
    shards: Sequence[Shard],
    *,
    digests: bool = False,
) -> Earlier:
    """Clears the directory or takes stock of it, and notes which run it holds from now on.

    Call it under the run's lock. Raises `ConfigError` when an earlier run cannot be gone on with:
    it says what changed. `digests` compares finished inputs by SHA-256.
    """
    check_output(output, existing)
    _remove_leftovers(output)
    earlier = Earlier()
    inputs = {shard.name: InputState.of(shard) for shard in shards}
    old: Mapping[str, Any] = {}
    if existing is Existing.RESUME:
        found = checkpoints.read_record(output)
        if found is None and _is_occupied(output, [entry.name for entry in output.iterdir()]):
            raise ConfigError(
                f"{output} holds a run that notes nothing to go on with. "
                "Use --overwrite to replace it, or choose another -o."
            )
        old = found or {}
    new = identity(config, engine)
    if old:
        earlier = _take_stock(output, old, new, shards, inputs, digests=digests)
    else:
        clear(output)
    with_notes = {name: asdict(state) for name, state in inputs.items()}
    kept = {result.shard: old["inputs"][result.shard] for result in earlier.vanished}
    checkpoints.write_record(output, {**new, "inputs": {**kept, **with_notes}})
    # A directory that has a manifest is whole: from now on this one isn't.
    with naming(output / MANIFEST):
        (output / MANIFEST).unlink(missing_ok=True)
    return earlier


def _remove_leftovers(output: Path) -> None:
    """Removes temporary files of runs that were killed."""
    folders = [output, *(output / name for name in ("human", "ai", "unscored", "quarantine"))]
    for folder in folders:
        for path in folder.glob(".*.tmp") if folder is output else folder.rglob(".*.tmp"):
            if _LEFTOVER.fullmatch(path.name):
                with naming(path):
                    path.unlink(missing_ok=True)


def identity(config: RunConfig, engine: Engine) -> dict[str, Any]:
    """Everything that decides what the outputs are, beside the inputs, as plain JSON values."""
    configuration = as_dict(config)
    for name in ("batch_bytes", "threads"):  # They never change a result.
        del configuration[name]
    if configuration["extras"]["lm"] is not None:
        del configuration["extras"]["lm"]["batch_tokens"]  # Nor does this.
    return {
        "schema": SCHEMA,
        "version": lowbg.__version__,
        "configuration": configuration,
        "models": engine.model_digests(),
        "scorers": engine.scorer_versions(),
    }


def clear(output: Path) -> None:
    """Removes what lowbg makes, but for its locks. Raises `OutputError` where it can't."""
    folder = output / checkpoints.FOLDER
    paths = [output / name for name in OUTPUT_ENTRIES if name != checkpoints.FOLDER]
    if folder.is_dir():
        paths += [entry for entry in folder.iterdir() if entry.name not in _LOCKS]
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: cannot be removed ({error.strerror})") from error


def _take_stock(
    output: Path,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    shards: Sequence[Shard],
    inputs: Mapping[str, InputState],
    *,
    digests: bool,
) -> Earlier:
    changed = list(differences({k: v for k, v in old.items() if k != "inputs"}, new))
    if changed:
        raise _refusal(output, changed)
    finished = checkpoints.load_results(output)
    before = {name: InputState(**state) for name, state in old["inputs"].items()}
    by_name = {shard.name: shard for shard in shards}
    for name, (result, state) in finished.items():
        if name in inputs and not _same(by_name[name], inputs[name], state, result, digests):
            changed.append(_changed_input(by_name[name], state, inputs[name]))
    for name in sorted(before.keys() & inputs.keys() - finished.keys()):
        begun = (output / checkpoints.FOLDER / "parts" / key_of(name)).exists()
        if begun and before[name] != inputs[name]:
            changed.append(_changed_input(by_name[name], before[name], inputs[name]))
    if changed:
        raise _refusal(output, changed)
    gone = sorted(before.keys() - inputs.keys())
    for name in gone:
        if name not in finished:
            checkpoints.forget(output, name)
    notes = []
    if gone:
        kept = sum(name in finished for name in gone)
        notes.append(
            f"{_some(gone)}: no longer among the inputs; {kept} of {len(gone)} had been finished, "
            "and their outputs stay"
        )
    return Earlier(
        {name: result for name, (result, _) in finished.items() if name in inputs},
        tuple(finished[name][0] for name in gone if name in finished),
        tuple(notes),
    )


def _same(
    shard: Shard, now: InputState, then: InputState, result: ShardResult, digests: bool
) -> bool:
    """Whether a finished shard's input is what it was; a digest, where asked for, decides."""
    if now.size != then.size:
        return False
    if digests and result.input_sha256 is not None:
        return input_digest(shard) == result.input_sha256
    return now.mtime_ns == then.mtime_ns


def _changed_input(shard: Shard, then: InputState, now: InputState) -> str:
    if then.size != now.size:
        return f"{shard.path} had {then.size:,} bytes, has {now.size:,}"
    return f"{shard.path} was written to"


def _refusal(output: Path, changed: Sequence[str]) -> ConfigError:
    return ConfigError(
        f"{output} holds a run that can't be gone on with, since it would come out mixed: "
        f"{_some(changed)}. Use --overwrite to start again, or choose another -o."
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return "; ".join(names[:_NAMED]) + (f"; and {more:,} more" if more > 0 else "")


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """What differs between two trees of JSON values, a line a leaf."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            inner = f"{path}.{key}" if path else str(key)
            yield from differences(old.get(key), new.get(key), inner)
    elif old != new:
        yield f"{path} was {_spelled(old)}, is {_spelled(new)}"


def _spelled(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
