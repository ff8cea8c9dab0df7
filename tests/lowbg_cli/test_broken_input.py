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

from lowbg.runs.reading import TRIED_RECORDS

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


@pytest.fixture
def without_text(tmp_path: Path) -> Path:
    """More records than are tried, none with a text where it is looked for."""
    path = tmp_path / "in" / "wrong.jsonl"
    path.parent.mkdir()
    row = json.dumps({"doc": {"body": "Some words."}, "turns": [{"said": "x"}], "text": None})
    path.write_text(f"{row}\n" * (TRIED_RECORDS + 5), encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["filter", "score"])
def test_a_shard_without_text_is_given_up(
    command: str, run: Run, without_text: Path, tmp_path: Path
) -> None:
    other = without_text.with_name("z.jsonl")
    other.write_text('{"text": "Some words."}\n', encoding="utf-8")
    out = tmp_path / "out"
    ended = run(command, without_text.parent, "-o", out)
    assert ended.exit_code == 3
    (said,) = [line for line in ended.stderr.splitlines() if "wrong.jsonl" in line]
    assert "has a text in 'text'; text is in: doc.body, turns[].said. Name the field with" in said
    assert said.endswith("--text-field, or go on with --force")
    assert sorted(path.name for path in out.rglob("*.jsonl")) == ["z.jsonl"] * (
        2 if command == "filter" else 1
    )
    assert run("verify", out).exit_code == 3

    assert run(command, without_text.parent, "-o", out, "--resume", "--force", "-q").exit_code == 0
    rows = (out / "quarantine" / "wrong.jsonl.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) == TRIED_RECORDS + 5


@pytest.mark.parametrize("more", [["--discard-ai"], ["--ai-to", "{out}"]])
def test_a_pipe_says_once_which_fields_there_are(
    more: list[str], run: Run, without_text: Path, tmp_path: Path
) -> None:
    options = [each.format(out=tmp_path / "ai.jsonl") for each in more]
    for given, stdin in (("-", without_text.read_bytes()), (without_text, b"")):
        ended = run("filter", given, *options, stdin=stdin)
        assert (ended.exit_code, ended.stdout) == (3, "")
        assert ended.stderr.count("text is in: doc.body, turns[].said") == 1
        assert ended.stderr.count("--text-field") == 1
        assert "no record could be read" not in ended.stderr


def test_the_longest_text_is_named_first(run: Run, tmp_path: Path) -> None:
    shard = tmp_path / "wrong.jsonl"
    row = {"author": "A. B.", "body": "Some words that are the text. " * 9, "title": "A title"}
    other = {"author": "C. D.", "body": None, "url": "https://example.com/a/rather/long/path"}
    shard.write_text("".join(f"{json.dumps(each)}\n" for each in (row, other)), encoding="utf-8")
    named = "text is in: body, url, author, title."
    for command in (
        ["filter", shard, "--discard-ai"],
        ["drift", "baseline", shard, "-o", tmp_path / "base.json"],
    ):
        assert named in run(*command).stderr
    out = tmp_path / "out"
    run("filter", shard, "-o", out)
    (problem,) = json.loads((out / "report.json").read_bytes())["problems"]
    assert problem["advice"].startswith("Text is in the fields body, url, author, title.")


def test_fewer_records_or_a_single_text_are_read_to_the_end(
    run: Run, without_text: Path, tmp_path: Path
) -> None:
    lines = without_text.read_bytes().splitlines(keepends=True)
    text = b'{"text": "Some words."}\n'
    for name, content in (("few", lines[: TRIED_RECORDS - 1]), ("one", [text, *lines])):
        without_text.write_bytes(b"".join(content))
        ended = run("filter", without_text, "-o", tmp_path / name)
        assert "none of its first" not in ended.stderr
        assert ended.exit_code == (3 if name == "few" else 0)


def test_other_commands_give_up_too(run: Run, without_text: Path) -> None:
    ended = run("gate", without_text, "--max-ai-share", "1")
    assert ended.exit_code == 3
    assert "Name the field with --text-field, or go on with --force" in " ".join(
        ended.stdout.split()
    )
    assert (
        "none of its first"
        not in run("gate", without_text, "--max-ai-share", "1", "--force").stderr
    )


def test_bytes_in_quarantine_have_a_limit(run: Run, tmp_path: Path) -> None:
    shard, out = tmp_path / "a.jsonl", tmp_path / "out"
    shard.write_bytes(b'{"text": "a"}\n' + b"broken\n" * 10)
    ended = run("filter", shard, "-o", out, "--max-quarantine-bytes", "20")
    assert ended.exit_code == 0
    assert "of 8 unreadable records quarantine keeps place and SHA-256" in ended.stderr
    assert "--max-quarantine-bytes" in ended.stderr
    rows = (out / "quarantine" / "a.jsonl.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["encoding"] for row in rows] == ["line"] * 2 + ["sha256"] * 8
    assert [json.loads(row)["offset"] for row in rows] == [14 + 7 * i for i in range(10)]
