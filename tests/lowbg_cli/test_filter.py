from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from tests.lowbg_cli.shards import AI, HUMAN, dump, lines
from typer.testing import Result

Run = Callable[..., Result]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return dump(tmp_path)


def read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def test_into_a_directory(run: Run, shard: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("filter", shard.parent, "-o", out, "--executor", "serial")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    kept = read(out / "human" / "dump.jsonl") + read(out / "ai" / "dump.jsonl")
    assert sorted(kept.splitlines()) == sorted(
        stored for stored in shard.read_bytes().splitlines() if stored != b"{broken"
    )
    assert "dump.jsonl:21: invalid JSON" in result.stderr
    report = json.loads(read(out / "report.json"))
    assert report["totals"]["records"] == 22
    assert report["runs"][0]["command"].startswith("lowbg")
    assert run("verify", out).exit_code == 0


def test_trusting_by_a_date_that_nothing_has_is_said(run: Run, shard: Path, tmp_path: Path) -> None:
    said = "no document has a date in the field 'crawled', so none is trusted as dated before 2020"
    trusting = ("--trust-before", "2020-01-01", "--date-field", "crawled")
    assert said in run("filter", shard, "-o", tmp_path / "out", *trusting).stderr
    assert said in run("score", shard, "-o", "-", *trusting).stderr
    row = {"text": HUMAN[0], "crawled": "2019-05-01"}
    shard.write_bytes(shard.read_bytes() + f"{json.dumps(row)}\n".encode())
    assert said not in run("filter", shard, "-o", tmp_path / "dated", *trusting).stderr
    assert said not in run("filter", shard, "-o", tmp_path / "no").stderr


@pytest.mark.parametrize(
    "date",
    [
        1609459200,
        "20210101",
        "2021/01/01",
        "Fri, 01 Jan 2021 00:00:00 GMT",
        {"$date": 1609459200000},
    ],
)
def test_every_use_reads_a_date_alike(run: Run, tmp_path: Path, date: object) -> None:
    shard = tmp_path / "in.jsonl"
    shard.write_text(json.dumps({"text": HUMAN[0], "date": date}) + "\n")
    result = run("filter", shard, "-o", tmp_path / "out", "--trust-before", "2022-11-30")
    said = " ".join(result.stderr.split())
    assert "by year 2021 0.0 %" in said
    assert "known by dated before 2022-11-30 1" in said
    assert "dates" not in said


def test_dates_that_are_none_are_counted_with_an_example(run: Run, tmp_path: Path) -> None:
    shard = tmp_path / "in.jsonl"
    dates = ["2021-99-99", "2021-99-99", "soon", "1970-01-01", None]
    rows = [{"text": HUMAN[i], "date": date} for i, date in enumerate(dates)]
    shard.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    result = run("filter", shard, "-o", tmp_path / "out", "--trust-before", "2022-11-30")
    said = " ".join(result.stderr.split())
    assert "3 dates not understood, such as '2021-99-99'." in said
    assert "1 date left at a default (1970-01-01 or 1900-01-01)" in said
    assert "field 'date' that is one, such as 2021-01-31, so none is trusted" in said
    dates = json.loads(read(tmp_path / "out" / "report.json"))["dates"]
    assert dates == {
        "read": 0, "absent": 1, "placeholder": 1, "not_understood": 3,
        "examples": [
            {"written": "2021-99-99", "documents": 2}, {"written": "soon", "documents": 1},
        ],
    }  # fmt: skip
    assert "2021-99-99" in read(tmp_path / "out" / "report.html").decode()


def test_a_path_says_what_records_do_not(run: Run, tmp_path: Path) -> None:
    for day, rows in (
        ("2021-01-01", [{"text": HUMAN[0]}, {"text": HUMAN[1], "dt": "2024-05-01"}]),
        ("2024-01-01", [{"text": HUMAN[2]}]),
    ):
        folder = tmp_path / "in" / f"dt={day}"
        folder.mkdir(parents=True)
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / "part.jsonl").write_text(lines)
    trusting = ("--trust-before", "2022-11-30", "--date-field", "dt")
    for threads in ("1", "2"):
        out = tmp_path / threads
        result = run("filter", tmp_path / "in", "-o", out, *trusting, "--threads", threads)
        said = " ".join(result.stderr.split())
        assert "by year 2021 0.0 % · 2024 0.0 %" in said
        assert "known by dated before 2022-11-30 1" in said


def test_trusted_documents_without_a_score_are_in_no_share(run: Run, tmp_path: Path) -> None:
    """The share keeps its denominator, whatever is trusted; so do limits on it."""
    shard = tmp_path / "in.jsonl"
    texts = [*HUMAN[-2:], AI, "Too short to be scored.", "Short as well.", "And this one."]
    years = [2024, 2024, 2024, 2020, 2020, 2024]
    rows = [{"text": t, "date": f"{y}-01-01"} for t, y in zip(texts, years, strict=True)]
    shard.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for trusting in ((), ("--trust-before", "2022-11-30")):
        out = tmp_path / f"out{len(trusting)}"
        result = run("filter", shard, "-o", out, *trusting, "--fail-above", "0.3")
        assert result.exit_code == 1
        assert "the AI share of the 3 scored documents is 0.3333" in result.stderr
        assert "33.3 % of 3 scored documents" in result.stderr
        assert "by year 2024 33.3 % by" in " ".join(result.stderr.split())  # nothing of 2020
        report = json.loads(read(out / "report.json"))
        assert report["totals"]["scored"] == report["shards"][0]["scored"] == 3
        assert report["totals"]["human"]["documents"] == (4 if trusting else 2)
        by_year = {row["name"]: row for row in report["years"]}
        assert by_year["2020"]["ai_share_of_scored"] is None
        assert report["languages"][0]["scored"] == 3
        policy = tmp_path / "p.toml"
        trust = "[trust]\nbefore = 2022-11-30\n" if trusting else ""
        gate = "[gate]\nmax_ai_share = 0.3\nmin_scored_documents = 4\nmin_group_documents = 1\n"
        policy.write_text(f"{trust}{gate}max_ai_share_by = {{shard = 0.3}}\n")
        for judged in (shard, out):
            gated = run("gate", judged, "--policy", policy)
            assert gated.exit_code == 1
            assert "33.3 %" in gated.stdout + gated.stderr
            assert "3 scored" in gated.stdout + gated.stderr


def test_an_output_is_replaced_only_on_request(run: Run, shard: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("filter", shard, "-o", out, "-q").exit_code == 0
    again = run("filter", shard, "-o", out, "-q")
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    assert run("filter", shard, "-o", out, "-q", "--overwrite").exit_code == 0


def test_quiet_is_quiet(run: Run, tmp_path: Path) -> None:
    shard = tmp_path / "a.jsonl"
    shard.write_bytes(lines(*HUMAN[:3]))
    result = run("filter", shard, "-o", tmp_path / "out", "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_strict_makes_quarantine_an_error(run: Run, shard: Path, tmp_path: Path) -> None:
    result = run("filter", shard, "-o", tmp_path / "out", "-q", "--strict")
    assert result.exit_code == 3
    assert "error: dump.jsonl:21" in result.stderr


@pytest.mark.parametrize(("share", "code"), [("0", 1), ("0.5", 0)])
def test_fail_above(share: str, code: int, run: Run, shard: Path, tmp_path: Path) -> None:
    result = run("filter", shard, "-o", tmp_path / "out", "-q", "--fail-above", share)
    assert result.exit_code == code
    assert ("--fail-above 0" in result.stderr) == (code == 1)


def test_an_incomplete_input_goes_before_the_judgement(run: Run, tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl.zst"
    whole = zstandard.ZstdCompressor().compress(lines(AI) * 50)
    cut.write_bytes(whole[:-10])
    assert run("filter", cut, "-o", tmp_path / "o", "-q", "--fail-above", "0").exit_code == 3


def test_a_cut_shard_ends_with_3_and_keeps_its_whole_records(run: Run, tmp_path: Path) -> None:
    stored = lines(*HUMAN)
    writer = zstandard.ZstdCompressor().compressobj()
    data = writer.compress(stored) + writer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    (tmp_path / "cut.jsonl.zst").write_bytes(data)
    result = run("filter", tmp_path / "cut.jsonl.zst", "-o", tmp_path / "out", "-q")
    assert result.exit_code == 3
    assert "cut.jsonl.zst" in result.stderr
    kept = b"".join(
        zstandard.ZstdDecompressor()
        .stream_reader(read(tmp_path / "out" / route / "cut.jsonl.zst"))
        .read()
        for route in ("human", "ai")
    )
    assert sorted(kept.splitlines()) == sorted(stored.splitlines())


def test_a_wrong_text_field_is_explained(run: Run, tmp_path: Path) -> None:
    shard = tmp_path / "a.jsonl"
    shard.write_bytes(b'{"body": "b", "title": "t"}\n' * 3)
    result = run("filter", shard, "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert "body, title" in result.stderr
    assert "--text-field" in result.stderr
    assert run("filter", shard, "-o", tmp_path / "o2", "--text-field", "body").exit_code == 0


def test_dry_run_makes_nothing(run: Run, tmp_path: Path) -> None:
    for name, data in (("a.jsonl", b""), ("b.jsonl.gz", gzip.compress(b"{}\n"))):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "notes.txt").write_text("no shard", encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    result = run("filter", tmp_path, "-o", tmp_path / "out", "--dry-run", "--target-fpr", "0.02")
    assert result.exit_code == 0
    assert sorted(tmp_path.iterdir()) == before
    shown = {tuple(row.split()[:2]) for row in result.stdout.splitlines() if row}
    assert {("policy.target_fpr", "0.02"), ("fields.text", "text"), ("2", "shards,")} <= shown
    assert "jsonl, gzip" in result.stdout
    assert f"left out: {tmp_path / 'notes.txt'}: ending '.txt'" in result.stderr


@pytest.mark.parametrize("held", ["manifest.json", "mine.txt"])
def test_dry_run_refuses_what_the_run_refuses(held: str, run: Run, tmp_path: Path) -> None:
    shard, out = tmp_path / "a.jsonl", tmp_path / "out"
    shard.write_bytes(b"")
    out.mkdir()
    (out / held).write_bytes(b"")
    real = run("filter", shard, "-o", out)
    dry = run("filter", shard, "-o", out, "--dry-run")
    assert (dry.exit_code, dry.stdout, dry.stderr) == (2, "", real.stderr)
    assert [path.name for path in out.iterdir()] == [held]
    replaced = run("filter", shard, "-o", out, "--dry-run", "--overwrite")
    assert replaced.exit_code == (0 if held == "manifest.json" else 2)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-o", "{out}", "--ai-to", "ai.jsonl"], "--ai-to: only without -o"),
        (["-o", "{out}", "--report", "r.json"], "--report: only without -o"),
        (["-o", "{out}", "--policy", "nowhere.toml"], "nowhere.toml"),
        (["-o", "{out}", "--min-perplexity", "3"], "--rule thresholds"),
        (["-o", "{in}"], "inside the output directory"),
        (["--discard-ai", "--workers", "2"], "--workers: only with -o"),
        (["--discard-ai", "--overwrite"], "--overwrite: only with -o"),
        (["--discard-ai", "--unscored", "separate"], "separate"),
        ([], "--ai-to FILE keeps them"),
        (["--ai-to", "ai.jsonl", "--discard-ai"], "choose one"),
        (["--ai-to", "-"], "this can't go to stdout; name a file"),
        (["--ai-to", "{shard}"], "is read; name another file"),
        (["--ai-to", "x", "--report", "x"], "writes to it; name another file"),
        (["--ai-to", "{in}"], "is a directory"),
    ],
)
def test_contradictions_end_with_2(
    args: list[str], message: str, run: Run, shard: Path, tmp_path: Path
) -> None:
    names = {"in": shard.parent, "shard": shard, "out": tmp_path / "out"}
    before = sorted(tmp_path.rglob("*"))
    result = run("filter", shard, *(arg.format(**names) for arg in args))
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.startswith("lowbg: error: ")
    assert sorted(tmp_path.rglob("*")) == before


def test_missing_input_ends_with_2(run: Run, tmp_path: Path) -> None:
    result = run("filter", tmp_path / "no.jsonl", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "no.jsonl: no such file" in result.stderr
    assert not (tmp_path / "out").exists()
