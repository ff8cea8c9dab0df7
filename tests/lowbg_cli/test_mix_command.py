"""`lowbg mix`, `--reserve`, `lowbg reserve` and the options of provenance, as a user meets them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]


@pytest.fixture
def human(tmp_path: Path) -> Path:
    return documents(tmp_path / "human.jsonl", 20, "2020-01-01")


@pytest.fixture
def synthetic(tmp_path: Path) -> Path:
    return documents(tmp_path / "synthetic.jsonl", 30, "2024-01-01")


def documents(path: Path, count: int, date: str) -> Path:
    rows = [
        {
            "text": f"{path.stem} {i} walked across the river",
            "date": date,
            "url": f"https://h{i % 3}.org/{i}",
            "meta": {"license": "CC-BY-4.0" if i % 2 else None},
        }
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_mix_is_told_on_stderr_and_in_the_manifest(
    run: Run, human: Path, synthetic: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mix"
    ended = run(
        "mix", "--human", human, "--synthetic", synthetic, "--min-human", "2/3", "-o", out,
        "--by", "documents", "--seed", 7,
    )  # fmt: skip
    assert ended.exit_code == 0, ended.stderr
    assert ended.stdout == ""
    assert "human      20 of 20 documents\n" in ended.stderr
    assert "synthetic  10 of 30 documents\n" in ended.stderr
    assert "66.67 % of documents human, floor 66.6667 %" in ended.stderr
    mix = json.loads((out / "manifest.json").read_bytes())["mix"]
    assert mix["min_human"] == "2/3"
    assert mix["seed"] == 7
    assert [(s["role"], s["mixed_documents"]) for s in mix["shards"]] == [
        ("human", 20),
        ("synthetic", 10),
    ]
    assert run("verify", out).exit_code == 0
    assert run("mix", "--human", human, "-o", out, "-q").exit_code == 2
    again = run("mix", "--human", human, "-o", out, "--overwrite", "-q")
    assert (again.exit_code, again.stderr) == (0, "")
    assert not (out / "synthetic").exists()


def test_what_is_left_out_or_in_the_way_is_told(
    run: Run, human: Path, synthetic: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "folder", tmp_path / "mix"
    folder.mkdir()
    human.rename(folder / human.name)
    (folder / "notes.txt").write_text("notes", encoding="utf-8")
    args = ("mix", "--human", folder, "--synthetic", synthetic, "-o", out)
    assert f"left out: {folder / 'notes.txt'}: ending '.txt' is of no" in run(*args).stderr
    refused = run(*args).stderr
    assert "Use --resume to go on with it, --overwrite to replace it" in refused
    weightless = run(*args, "--overwrite", "--token-field", "n").stderr
    assert "the human text has no tokens, so the floor allows no synthetic text" in weightless


def test_several_inputs_after_one_option(
    run: Run, human: Path, synthetic: Path, tmp_path: Path
) -> None:
    ended = run("mix", "--human", human, synthetic, "-o", tmp_path / "mix", "--by", "documents")
    assert "50 of 50 documents" in ended.stderr


def test_no_human_text_allows_nothing(run: Run, synthetic: Path, tmp_path: Path) -> None:
    empty = documents(tmp_path / "none.jsonl", 0, "2020-01-01")
    ended = run("mix", "--human", empty, "--synthetic", synthetic, "-o", tmp_path / "mix")
    assert ended.exit_code == 0
    assert "no human text" in ended.stderr


def test_a_wrong_text_field_shows(run: Run, human: Path, synthetic: Path, tmp_path: Path) -> None:
    out = tmp_path / "mix"
    args = ["--human", human, "--synthetic", synthetic, "-o", out, "--text-field", "txt"]
    ended = run("mix", *args)
    assert ended.exit_code == 3
    assert "no human record could be read" in ended.stderr
    assert "no synthetic record could be read" in ended.stderr
    assert "50 records could not be read" in ended.stderr
    assert len((out / "quarantine/human/human.jsonl.jsonl").read_text().splitlines()) == 20


def test_an_input_that_cannot_be_read_is_named(run: Run, human: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    ended = run("mix", "--human", human, tmp_path / "bad.parquet", "-o", tmp_path / "mix")
    assert ended.exit_code == 3
    assert ended.stderr.count("bad.parquet") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--min-human", "1.5"], "not between 0 and 1"),
        (["--min-human", "half"], "write it like 0.01, 1% or 1/100"),
        (["--exponent", "3"], "--exponent: only with --weights"),
        (["--weights", "--select", "novel"], "choose one"),
        (["--weights", "--compression", "gzip"], "no effect with --weights"),
        (["--source-field", "x"], "only with --max-per-source"),
        (["--by", "words", "--token-field", "n"], "no effect on shares of words"),
        (["--weights", "--upsampling", "0"], "above 0"),
        (["--overwrite", "--resume"], "choose one"),
        (["--synthetic", "-"], "can be read only once"),
        (["--synthetic", "nowhere"], "no such file"),
    ],
)
def test_what_is_refused(
    run: Run, human: Path, tmp_path: Path, args: list[str], message: str
) -> None:
    ended = run("mix", "--human", human, "-o", tmp_path / "mix", *args)
    assert ended.exit_code == 2
    assert message in " ".join(ended.stderr.replace("│", " ").split())
    assert not (tmp_path / "mix").exists()


def test_weights_score(run: Run, human: Path, synthetic: Path, tmp_path: Path) -> None:
    out = tmp_path / "mix"
    ended = run("mix", "--human", human, "--synthetic", synthetic, "--weights", "-o", out)
    assert ended.exit_code == 0, ended.stderr
    rows = (out / "weights" / "synthetic" / "synthetic.jsonl").read_text().splitlines()
    # Too short to be scored: nothing speaks for them.
    assert [json.loads(row) for row in rows[:1]] == [
        {"record": 0, "ai_score": None, "weight": 0.0, "repeats": 0}
    ]
    made = json.loads((out / "manifest.json").read_bytes())
    assert made["models"]
    drawn = sum(made["mix"][role]["mixed_documents"] for role in ("human", "synthetic"))
    wanted = made["mix"]["wanted_draws"]
    assert f"draws      {drawn:,}, wanted {wanted:,}" in ended.stderr
    often = run(
        "mix", "--human", human, "--synthetic", synthetic, "--weights", "--upsampling", "50",
        "-o", tmp_path / "often",
    )  # fmt: skip
    assert ": the floor and --max-repeats allow no more" in often.stderr


def test_provenance_decides_and_is_counted(run: Run, synthetic: Path, tmp_path: Path) -> None:
    denied = tmp_path / "farms"
    denied.write_text("# known farms\nh2.org\n")
    out = tmp_path / "out"
    ended = run(
        "filter", synthetic, "-o", out, "--trust", "meta.license=CC-BY-*", "--allow-source",
        "h0.org", "--deny-source", f"@{denied}", "--count-field", "meta.license",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.stderr
    report = json.loads((out / "report.json").read_bytes())
    assert {r["name"]: (r["human"], r["ai"]) for r in report["provenance"]["rules"]} == {
        "denied source: h2.org": (0, 10),
        "meta.license=CC-BY-*": (10, 0),
        "allowed source: h0.org": (5, 0),
    }
    assert {r["name"]: r["documents"] for r in report["provenance"]["values"]} == {
        "meta.license = CC-BY-4.0": 15,
        "meta.license is absent": 15,
    }
    assert "known by" in ended.stderr
    assert len((out / "ai" / "synthetic.jsonl").read_text().splitlines()) == 10
    scored = run("score", synthetic, "-o", "-", "--deny-source", "h2.org")
    assert json.loads(scored.stdout.splitlines()[2])["reasons"] == ["denied source: h2.org"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--trust", "license"], "write FIELD=VALUE, such as metadata.license=CC-BY-*"),
        (["--allow-source", "two words"], "is no source"),
        (["--deny-source", "@nowhere"], "nowhere: the list of sources cannot be read"),
        (["--reserve", "r"], "nothing says which are"),
        (["--reserve", "OUT/r", "--trust-before", "2022-01-01"], "can't be the same"),
    ],
)
def test_what_provenance_refuses(
    run: Run, human: Path, tmp_path: Path, args: list[str], message: str
) -> None:
    out = tmp_path / "out"
    args = [arg.replace("OUT", str(out)) for arg in args]
    ended = run("filter", human, "-o", out, *args)
    assert ended.exit_code == 2
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_reserve_is_filled_read_and_emptied_by_name(
    run: Run, human: Path, synthetic: Path, tmp_path: Path
) -> None:
    reserve, out = tmp_path / "reserve", tmp_path / "out"
    trusting = ["--trust-before", "2022-11-30", "--reserve", reserve]
    first = run("filter", human, synthetic, "-o", out, *trusting)
    assert "20 documents added, 0 were there" in first.stderr
    resumed = run("filter", human, synthetic, "-o", out, *trusting, "--resume")
    assert "0 documents added, 0 were there" in resumed.stderr
    again = run("filter", human, synthetic, "-o", out, *trusting, "--overwrite")
    assert "0 documents added, 20 were there" in again.stderr
    assert run("verify", reserve).exit_code == 0
    name = hashlib.sha256(b"human 0 walked across the river").hexdigest()
    removed = run("reserve", "remove", reserve, name)
    assert (removed.exit_code, removed.stderr) == (0, f"lowbg: {reserve}: 1 document removed\n")
    assert run("reserve", "remove", reserve, name).exit_code == 2
    mixed = run(
        "mix", "--human", reserve, "--synthetic", synthetic, "-o", tmp_path / "mix", "--by",
        "documents",
    )  # fmt: skip
    assert "human      19 of 19 documents\n" in mixed.stderr
    assert "synthetic  19 of 30 documents\n" in mixed.stderr
    assert run("filter", human, "--reserve", reserve, "--discard-ai").exit_code == 2
