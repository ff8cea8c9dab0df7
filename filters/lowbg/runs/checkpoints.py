"""What is done and what can be gone on with: the folder `.lowbg/` of an output directory.

`run.json` says which run it is (configuration, models, version, inputs). `shards/KEY.json` holds
the result of a shard whose outputs are whole; it is written before they get their names, so that a
run which is killed in between only has names left to give. `parts/KEY/` holds the outputs of a
shard at work, and `checkpoint.json`: where its reader stood, what was counted, and how much of
each output was safe by then. Every file is replaced at once or not at all.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from lowbg.config import Durability
from lowbg.errors import CheckpointError, OutputError
from lowbg.records import Position
from lowbg.report.results import Problem, ShardResult
from lowbg.report.statistics import Statistics
from lowbg.runs.inputs import InputState, Shard
from lowbg.storage.files import (
    Part,
    PartState,
    WrittenFile,
    file_digest,
    naming,
    replace_file,
    sync_directory,
)

FOLDER: Final = ".lowbg"
SCHEMA: Final = "lowbg.checkpoint/1"

_LASTING_PROBLEMS: Final = ("cutstream", "format")

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Tally:
    """What a shard's loop counts beside the statistics; problems by kind."""

    records: int = 0
    text_bytes: int = 0
    consumed: int = 0
    lenient: int = 0
    blank: int = 0
    routed: int = 0
    ai: int = 0
    quarantined: int = 0
    lm_seconds: float = 0.0
    problems: dict[str, Problem] = field(default_factory=dict)

    def add_problem(self, kind: str, message: str, count: int) -> None:
        """Counts a problem; the first message of a kind is kept."""
        known = self.problems.get(kind)
        if known is None:
            self.problems[kind] = Problem(kind, message, count)
        else:
            self.problems[kind] = Problem(kind, known.message, known.count + count)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A shard between two batches; `turn` counts its checkpoints, `parts` are by output."""

    turn: int
    position: Position
    tally: Tally
    statistics: Statistics
    parts: Mapping[str, PartState]
    seconds: float
    cpu_seconds: float


class Journal:
    """One shard's place in `.lowbg/`: its parts, its checkpoint and its result."""

    def __init__(self, root: Path, shard: Shard, durability: Durability) -> None:
        self.root = root
        self.shard = shard
        self._durability = durability
        self._key = key_of(shard.name)
        self.folder = root / FOLDER / "parts" / self._key
        self._input = InputState.of(shard)
        self._saved_at = time.monotonic()
        self._saved_bytes = 0

    def load(self) -> Checkpoint | None:
        """The checkpoint of an earlier run; null where there is none that can be used."""
        path = self.folder / "checkpoint.json"
        try:
            values = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("%s: cannot be used (%s); the shard starts over", path, error)
            return None
        try:
            checkpoint = _checkpoint(values, self.shard.name)
        except (KeyError, TypeError, ValueError, CheckpointError) as error:
            _log.warning("%s: cannot be used (%r); the shard starts over", path, error)
            return None
        if values.get("input") != asdict(self._input):
            _log.warning("%s: of another input; the shard starts over", path)
            return None
        self._saved_bytes = checkpoint.tally.text_bytes
        return checkpoint

    def part(self, name: str, checkpoint: Checkpoint | None) -> Part:
        """Where the output `name` is kept until it is whole."""
        return Part(self.folder, name, checkpoint.parts.get(name) if checkpoint else None)

    def due(self, text_bytes: int) -> bool:
        """Whether it is time for a checkpoint."""
        return (
            time.monotonic() - self._saved_at >= self._durability.seconds
            or text_bytes - self._saved_bytes >= self._durability.bytes
        )

    def save(self, checkpoint: Checkpoint) -> None:
        """Notes a checkpoint, whose outputs are safe."""
        values = {
            "schema": SCHEMA,
            "shard": self.shard.name,
            "input": asdict(self._input),
            **asdict(replace(checkpoint, statistics=None)),  # type: ignore[arg-type]
            "statistics": checkpoint.statistics.to_dict(),
        }
        replace_file(self.folder / "checkpoint.json", encode(values))
        self._saved_at = time.monotonic()
        self._saved_bytes = checkpoint.tally.text_bytes

    def seal(self, result: ShardResult, parts: Mapping[str, str]) -> ShardResult:
        """Notes the result of a shard whose outputs are whole; `parts` are their paths by part.

        Returns it with the input's digest, where digests are asked for. A result that another run
        may better is not noted.
        """
        if self._durability.digests:
            result = replace(result, input_sha256=input_digest(self.shard))
        lasting = all(p.count or is_lasting(p.kind) for p in result.problems)
        if not result.outputs or not lasting:
            return result
        values = {
            "schema": SCHEMA,
            "input": asdict(self._input),
            "parts": dict(parts),
            "result": result_to_dict(result),
        }
        path = self.root / FOLDER / "shards" / f"{self._key}.json"
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, encode(values))
        return result

    def discard(self) -> None:
        """Removes the parts: they were published, or are of no use."""
        with naming(self.folder), suppress(FileNotFoundError):
            shutil.rmtree(self.folder)


def is_lasting(kind: str) -> bool:
    """Whether a problem is of the input's bytes: reading them again gives the same."""
    return kind in _LASTING_PROBLEMS


def key_of(name: str) -> str:
    """A shard's file name in `.lowbg/`: shard names may be as long as file names get."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def load_results(root: Path) -> dict[str, tuple[ShardResult, InputState]]:
    """The finished shards by name, with what their inputs were.

    Names that a killed run had still to give are given now. A shard whose outputs are not all
    there, in their sizes, is not finished.
    """
    found: dict[str, tuple[ShardResult, InputState]] = {}
    for path in sorted((root / FOLDER / "shards").glob("*.json")):
        try:
            values = json.loads(path.read_bytes())
            result = result_from_dict(values["result"])
            state = InputState(**values["input"])
            parts = dict(values["parts"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            _log.warning("%s: cannot be used (%r); its shard starts over", path, error)
            continue
        if _publish(root, key_of(result.shard), parts, result):
            found[result.shard] = (result, state)
        else:
            _log.warning("%s: its outputs are not what they were; it starts over", result.shard)
            forget(root, result.shard)
    return found


def forget(root: Path, name: str) -> None:
    """Removes what is noted of a shard."""
    key = key_of(name)
    with naming(root / FOLDER):
        (root / FOLDER / "shards" / f"{key}.json").unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            shutil.rmtree(root / FOLDER / "parts" / key)


def _publish(root: Path, key: str, parts: Mapping[str, str], result: ShardResult) -> bool:
    """Gives sealed parts their names; whether all of a shard's outputs are there then."""
    folder = root / FOLDER / "parts" / key
    for name, target in parts.items():
        if (folder / name).exists():
            with naming(root / target):
                (root / target).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).replace(root / target)
                sync_directory((root / target).parent)
    for file in result.outputs:
        try:
            if (root / file.path).stat().st_size != file.bytes:
                return False
        except OSError:
            return False
    with naming(folder), suppress(FileNotFoundError):
        shutil.rmtree(folder)
    return True


def _checkpoint(values: dict[str, Any], shard: str) -> Checkpoint:
    if values["schema"] != SCHEMA or values["shard"] != shard:
        raise CheckpointError("of another form or shard")
    position = dict(values["position"])
    position["fields"] = tuple(position["fields"])
    position["damaged"] = tuple(position["damaged"])
    tally = dict(values["tally"])
    tally["problems"] = {kind: Problem(**p) for kind, p in tally["problems"].items()}
    return Checkpoint(
        turn=int(values["turn"]),
        position=Position(**position),
        tally=Tally(**tally),
        statistics=Statistics.from_dict(values["statistics"]),
        parts={name: PartState(**state) for name, state in values["parts"].items()},
        seconds=float(values["seconds"]),
        cpu_seconds=float(values["cpu_seconds"]),
    )


def result_to_dict(result: ShardResult) -> dict[str, Any]:
    """A shard's result as plain JSON values."""
    values = asdict(replace(result, statistics=None))  # type: ignore[arg-type]
    return {**values, "statistics": result.statistics.to_dict()}


def result_from_dict(values: Mapping[str, Any]) -> ShardResult:
    """What `result_to_dict` returned."""
    return ShardResult(
        **{
            **values,
            "statistics": Statistics.from_dict(values["statistics"]),
            "outputs": tuple(WrittenFile(**file) for file in values["outputs"]),
            "problems": tuple(Problem(**problem) for problem in values["problems"]),
            "seen_fields": tuple(values["seen_fields"]),
        }
    )


def encode(values: object) -> bytes:
    """JSON in ASCII, so that names and messages with lone surrogates come back."""
    return json.dumps(values, separators=(",", ":")).encode("ascii") + b"\n"


def input_digest(shard: Shard) -> str | None:
    """SHA-256 (hex) of a local input's stored bytes; null where it can't be read again."""
    try:
        return file_digest(Path(shard.path))
    except OSError as error:
        _log.warning("%s: no digest (%s)", shard.path, error)
        return None


def write_record(root: Path, values: Mapping[str, Any]) -> None:
    """Writes `run.json`."""
    path = root / FOLDER / "run.json"
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, encode(values))


def read_record(root: Path) -> dict[str, Any] | None:
    """`run.json`; null where there is none. Raises `OutputError` when it is damaged."""
    path = root / FOLDER / "run.json"
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: damaged ({error}); --overwrite starts again") from error
    return values if isinstance(values, dict) else None
