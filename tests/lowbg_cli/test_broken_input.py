"""One rule for broken input, whatever the command.

What came before the damage counts, the problem is named with its shard, the other shards go on, and
the exit code is 3; a record that can't be read is left out and counted, and that alone is no fault.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]

ROWS = 120
BEFORE = 40
"""Records of the broken shard that come before its damage, at least."""

NOUNS = ["river", "bridge", "mill", "teacher", "letter", "garden", "kitchen", "winter", "road"]
VERBS = ["carried", "found", "lost", "painted", "kept", "sold", "watched", "mended", "followed"]


def lines(seed: int) -> list[bytes]:
    own = random.Random(seed)
    rows = [
        {
            "text": " ".join(
                f"The {own.choice(NOUNS)} {own.choice(VERBS)} the {own.choice(NOUNS)} in {i + j}."
                for j in range(14)
            ),
            "label": "human" if i % 2 else "ai",
            "language": "en",
            "date": "2019-01-01",
            "id": f"{seed}-{i}",
        }
        for i in range(ROWS)
    ]
    return [f"{json.dumps(row)}\n".encode() for row in rows]


@dataclass(frozen=True)
class Command:
    """A command line, and how to tell how many documents it took."""

    args: Callable[[Path, Path], list[object]]
    taken: Callable[[Path, Result], int]


def written(out: Path, _: Result) -> int:
    files = json.loads((out / "manifest.json").read_bytes())["files"]
    return sum(file["records"] or 0 for file in files if file["kind"] != "quarantine")


def seen(out: Path, _: Result) -> int:
    return int(json.loads(out.read_bytes())["documents_seen"])


def mixed(out: Path, _: Result) -> int:
    return int(json.loads((out / "manifest.json").read_bytes())["mix"]["human"]["documents"])


def gated(out: Path, _: Result) -> int:
    found = json.loads(out.read_bytes())
    return int(found["sample"]["documents"] if found["sample"] else found["scored"])


def evaluated(out: Path, _: Result) -> int:
    rows = json.loads(out.read_bytes())["results"]
    (everything,) = (row for row in rows if row["grouping"] == "all")
    return int(everything["human"] + everything["ai"])


def calibrated(_: Path, result: Result) -> int:
    (row,) = (line for line in result.stderr.splitlines() if line.startswith("en "))
    return int(row.split()[1])


COMMANDS = {
    "filter": Command(lambda data, out: ["filter", data, "-o", out], written),
    "score": Command(lambda data, out: ["score", data, "-o", out], written),
    "gate": Command(
        lambda data, out: ["gate", data, "--max-ai-share", 1, "--json", out], gated
    ),
    "gate-sample": Command(
        lambda data, out: ["gate", data, "--max-ai-share", 1, "--sample", 50, "--json", out], gated
    ),
    "drift": Command(
        lambda data, out: ["drift", "baseline", data, "-o", out, "--documents", 50, "--words", 500],
        seen,
    ),
    "calibrate": Command(
        lambda data, out: [
            "calibrate", data, "--human-before", "2020-01-01", "--target-fpr", 0.3, "-o", out
        ],
        calibrated,
    ),
    "eval": Command(lambda data, out: ["eval", data, "--json", out], evaluated),
    "mix": Command(lambda data, out: ["mix", "--human", data, "-o", out], mixed),
}  # fmt: skip


def invoke(name: str, run: Run, data: Path, out: Path) -> tuple[Result, int]:
    command = COMMANDS[name]
    result = run(*command.args(data, out))
    return result, command.taken(out, result)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a whole shard, to which tests add a broken one that comes first by its size."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(b"".join(lines(1)))
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_a_cut_stream_counts_as_far_as_it_goes(
    name: str, run: Run, data: Path, tmp_path: Path
) -> None:
    whole = gzip.compress(b"".join(lines(2)))
    (data / "b.jsonl.gz").write_bytes(whole[: len(whole) * 7 // 10])
    result, taken = invoke(name, run, data, tmp_path / "out")
    assert result.exit_code == 3, result.stderr
    assert "b.jsonl.gz" in result.stderr
    assert "complete records before it were processed" in result.stderr
    assert ROWS + BEFORE < taken < 2 * ROWS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_record_that_cannot_be_read_is_left_out(
    name: str, run: Run, data: Path, tmp_path: Path
) -> None:
    broken = [*lines(2)]
    broken[50] = b'{"text": "half\n'
    (data / "b.jsonl").write_bytes(b"".join(broken))
    result, taken = invoke(name, run, data, tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert taken == 2 * ROWS - 1
    assert "error" not in result.stderr
    assert "invalid JSON" in result.stderr or "1 record" in result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_that_is_none_of_ours_is_named_and_the_others_go_on(
    name: str, run: Run, data: Path, tmp_path: Path
) -> None:
    (data / "b.jsonl").write_bytes(b"PK\x03\x04" + bytes(range(256)) * 8)
    result, taken = invoke(name, run, data, tmp_path / "out")
    assert result.exit_code == 3, result.stderr
    assert "b.jsonl" in result.stderr
    assert taken == ROWS


def test_a_record_before_the_damage_is_explained(run: Run, tmp_path: Path) -> None:
    whole, cut = gzip.compress(b"".join(lines(2))), tmp_path / "b.jsonl.gz"
    cut.write_bytes(whole[: len(whole) * 7 // 10])
    assert run("explain", cut, "--record", BEFORE).exit_code == 0
    lost = run("explain", cut, "--record", ROWS - 1)
    assert lost.exit_code == 3
    assert "b.jsonl.gz" in lost.stderr
