from __future__ import annotations

import datetime as dt
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from examples.make_sample import ai_documents, human_documents
from tests.pages import DOCS, blocks, read, recipe_commands
from tests.pieces import pieces
from typer.testing import Result

from lowbg_cli.commands.drift import DRIFT

Run = Callable[..., Result]
SMALL = ("--documents", 120, "--words", 6_000)


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def crawls(tmp_path: Path) -> dict[str, Path]:
    """Two crawls of one kind, and one that is AI text."""
    human, ai = pieces(human_documents()), pieces(ai_documents())
    return {
        "january": write(tmp_path / "january.jsonl", human[::2]),
        "february": write(tmp_path / "february.jsonl", human[1::2]),
        "march": write(tmp_path / "march.jsonl", ai * 12),
    }


@pytest.fixture
def base(run: Run, crawls: dict[str, Path], tmp_path: Path) -> Path:
    path = tmp_path / "base.json"
    got = run("drift", "baseline", crawls["january"], "-o", path, *SMALL)
    assert got.exit_code == 0, got.stderr
    assert got.stdout == ""
    assert "120 of 300 documents, 6,000 words" in got.stderr
    return path


def test_check_of_the_next_crawl(
    run: Run, crawls: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    places = [tmp_path / name for name in ("history.jsonl", "trend.html", "check.json")]
    to = ("--history", places[0], "--html", places[1], "--json", places[2])
    calm = run("drift", "check", crawls["february"], "--baseline", base, *to)
    assert calm.exit_code == 0, calm.stderr + calm.stdout
    assert "ALERT" not in calm.stdout
    assert calm.stderr == "lowbg: no drift beyond the limits\n"
    loud = run("drift", "check", crawls["march"], "--baseline", base, *to, "--label", "march")
    assert loud.exit_code == 1
    alerted = [line for line in loud.stdout.splitlines() if line.endswith("ALERT")]
    assert any(line.startswith("AI share") for line in alerted)
    assert "error: drift: hold-out perplexity, unique tokens" in loud.stderr
    lines = [json.loads(line) for line in places[0].read_text("utf-8").splitlines()]
    assert [bool(line["alerts"]) for line in lines] == [False, True]
    assert json.loads(places[2].read_text("utf-8")) == lines[1]
    page = places[1].read_text("utf-8")
    assert page.count("<svg") >= 5
    assert "march" in page


def test_checks_of_one_minute_have_labels_of_their_own(
    run: Run, crawls: dict[str, Path], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Stopped:
            return cls(2026, 11, 30, 4, 30, 7, tzinfo=tz)

    monkeypatch.setattr("lowbg_cli.commands.drift.dt.datetime", Stopped)
    history = tmp_path / "history.jsonl"
    for _ in range(4):
        run("drift", "check", crawls["february"], "--baseline", base, "--history", history)
    labels = [json.loads(line)["label"] for line in history.read_text("utf-8").splitlines()]
    assert labels == [
        "2026-11-30 04:30",
        "2026-11-30 04:30:07",
        "2026-11-30 04:30:07 (2)",
        "2026-11-30 04:30:07 (3)",
    ]


def test_limits_are_options(run: Run, crawls: dict[str, Path], base: Path) -> None:
    off = ("--max-perplexity-rise", 1e9, "--min-unique-tokens", 0, "--max-entropy-fall", 99,
           "--max-js-distance", 1, "--max-ai-share-rise", 1, "--max-tail-fall", 1)  # fmt: skip
    check = ("drift", "check", crawls["march"], "--baseline", base)
    assert run(*check, *off).exit_code == 0
    for place in range(0, len(off) - 2, 2):  # one limit at a time
        got = run(*check, *off[:place], *off[place + 2 :])
        assert (got.exit_code, got.stdout.count("ALERT") > 0) == (1, True), off[place]


@pytest.mark.parametrize("columns", [40, 66, 80])
def test_narrow_terminal_and_quiet(
    run: Run,
    crawls: dict[str, Path],
    base: Path,
    columns: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    got = run("drift", "check", crawls["february"], "--baseline", base, "-q")
    assert got.stderr == ""
    lines = got.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    # No word is broken, whatever the width.
    (line,) = (line for line in lines if line.startswith("distance of sentence"))
    values = line if columns > 40 else lines[lines.index(line) + 1]
    assert values.rstrip().endswith("0.050")
    # Every change that there is has its interval.
    assert got.stdout.count(" … ") >= 13
    assert re.search(r"\d +\(?[\d.]+ … [\d.]+", values)


def test_other_conditions_are_refused(
    run: Run, crawls: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    check = ("drift", "check", crawls["february"], "--baseline", base)
    policy = tmp_path / "policy.toml"
    policy.write_text("[decision]\ntarget_fpr = 0.05\n")
    got = run(*check, "--policy", policy)
    assert got.exit_code == 2
    assert "can't be compared with: (its own, now) policy: " in got.stderr
    value = json.loads(base.read_text("utf-8"))
    value["conditions"]["version"] = "0.0.1"
    base.write_text(json.dumps(value))
    got = run(*check)
    assert got.exit_code == 2
    assert "version: 0.0.1, " in got.stderr


def test_dates_that_are_not_understood_are_told_where_they_count(
    run: Run, crawls: dict[str, Path], tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[trust]\nbefore = 2022-11-30\n")
    rows = [json.loads(line) for line in crawls["january"].read_text("utf-8").splitlines()]
    for i, row in enumerate(rows):
        row["date"] = "2021-05-01" if i % 3 else "long ago"
    odd = write(tmp_path / "odd.jsonl", rows)
    to = ("-o", tmp_path / "b.json", *SMALL)
    told = "lowbg: warning: 100 dates not understood, such as 'long ago'"
    got = run("drift", "baseline", odd, *to, "--policy", policy)
    assert (got.exit_code, told in got.stderr.splitlines()) == (0, True)
    check = ("drift", "check", odd, "--baseline", tmp_path / "b.json", "--policy", policy)
    assert told in run(*check).stderr.splitlines()
    assert run(*check, "-q").stderr == ""
    assert "not understood" not in run("drift", "baseline", odd, *to).stderr  # They decide nothing.


def test_too_small_a_corpus_is_refused(run: Run, base: Path, tmp_path: Path) -> None:
    few = write(tmp_path / "few.jsonl", pieces(human_documents())[:60])
    got = run("drift", "check", few, "--baseline", base)
    assert got.exit_code == 2
    assert "has 60 readable documents, and the sample is of 120" in got.stderr
    assert "baseline anew with --documents 60" in got.stderr
    assert run("drift", "baseline", few, "-o", tmp_path / "b.json").exit_code == 2
    assert not (tmp_path / "b.json").exists()


def test_wrong_text_field_names_the_fields(run: Run, tmp_path: Path) -> None:
    odd = write(tmp_path / "odd.jsonl", [{"body": "some words"}] * 30)
    got = run("drift", "baseline", odd, "-o", tmp_path / "b.json")
    assert got.exit_code == 3
    assert "text is in: body" in got.stderr


def test_an_input_of_which_nothing_can_be_read_ends_with_3(
    run: Run, base: Path, tmp_path: Path
) -> None:
    junk = tmp_path / "junk.jsonl"
    junk.write_text("no JSON\nat all\n")
    got = run("drift", "check", junk, "--baseline", base)
    assert got.exit_code == 3
    assert "none of 2 records could be read as text; is the input JSONL" in got.stderr
    assert got.stdout == ""


def test_cut_input_ends_with_3(
    run: Run, crawls: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    import gzip

    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(crawls["march"].read_bytes())[:-20])
    got = run("drift", "check", cut, "--baseline", base)
    assert got.exit_code == 3  # though its beginning alerts: a part is no judgement of the whole
    assert "cut.jsonl.gz" in got.stderr
    cut.write_bytes(cut.read_bytes()[:200])
    got = run("drift", "check", cut, "--baseline", base)
    assert got.exit_code == 3
    assert "too few for a sample of 120" in got.stderr


def test_odd_history_is_refused_before_the_work(run: Run, base: Path, tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text("nonsense\n")
    got = run("drift", "check", tmp_path / "none", "--baseline", base, "--history", history)
    assert got.exit_code == 2
    assert "history.jsonl:1" in got.stderr


@pytest.mark.slow
def test_standard_input_is_a_corpus(
    crawls: dict[str, Path], base: Path, run: Run, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = start("drift", "check", "-", "--baseline", base, stdin=subprocess.PIPE)
    out, err = process.communicate(crawls["march"].read_bytes())
    assert process.returncode == 1, err
    assert b"ALERT" in out


def test_canary(run: Run, tmp_path: Path) -> None:
    def scores(name: str, factor: float) -> Path:
        rows = [{"shard": "h", "record": i, "lm_perplexity": factor * (20 + i)} for i in range(50)]
        path = tmp_path / name
        path.mkdir()
        (path / "h.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (path / "manifest.json").write_text("{}")
        return path

    first, second, third = scores("s0", 1.0), scores("s1", 1.05), scores("s2", 1.3)
    history, page = tmp_path / "canary.jsonl", tmp_path / "canary.html"
    to = ("--baseline", first, "--history", history, "--html", page)
    calm = run("drift", "canary", second, *to, "--label", "1000")
    assert calm.exit_code == 0, calm.stderr
    assert "+5.0 %" in calm.stdout
    loud = run("drift", "canary", third, *to, "--label", "2000")
    assert loud.exit_code == 1
    assert "+30.0 %" in loud.stdout
    assert page.read_text("utf-8").count("<circle") == 2
    assert run("drift", "canary", third, "--baseline", first, "--max-perplexity-rise", 0.5,
               ).exit_code == 0  # fmt: skip


PAGE = DOCS / "commands" / "drift.md"


def test_the_page_s_recipes_run_as_written(
    run: Run, crawls: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for month, name in (("2026-10", "january"), ("2026-11", "february")):
        (tmp_path / "crawl" / month).mkdir(parents=True)
        crawls[name].rename(tmp_path / "crawl" / month / "shard.jsonl")
    for step in ("step-0", "step-2000"):
        rows = [{"shard": "h", "record": i, "lm_perplexity": 20.0 + i} for i in range(50)]
        (tmp_path / "scores" / step).mkdir(parents=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "scores" / step / "h.jsonl").write_text(text)
    monkeypatch.chdir(tmp_path)
    commands = [command.removeprefix("lowbg ") for command in recipe_commands(PAGE)]
    assert [command.split()[1] for command in commands] == ["baseline", "check", "canary"]
    for command in commands:
        size = SMALL if " baseline " in command else ()  # there is less text here
        got = run(*shlex.split(command), *size)
        assert got.exit_code == 0, got.stderr
    for name in ("base.json", "drift.jsonl", "drift.html", "canary.jsonl", "canary.html"):
        assert (tmp_path / name).stat().st_size > 0


@pytest.mark.slow
def test_the_page_s_cron_line_mails_when_it_alerts(
    crawls: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    (cron,) = blocks(read(PAGE), "crontab")
    *_, line = cron.text.strip().split(maxsplit=5)
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, script in (
        ("lowbg", f'exec "{sys.executable}" -m lowbg_cli "$@"'),
        ("mail", 'echo "$@" >>mail.txt; cat >>mail.txt'),
    ):
        (bin_folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin_folder / name).chmod(0o755)
    # cron turns an escaped per cent sign into a plain one.
    line = line.replace("\\%", "%").replace("/srv/crawl", shlex.quote(str(tmp_path)))
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    night = tmp_path / dt.date.today().isoformat()
    for name, mailed in (("february", False), ("march", True)):
        night.mkdir(exist_ok=True)
        crawls[name].replace(night / "shard.jsonl")
        subprocess.run(["/bin/sh", "-c", line], env=environment, check=True)
        assert (tmp_path / "mail.txt").exists() is mailed
    assert "ALERT" in (tmp_path / "mail.txt").read_text("utf-8")
    assert len((tmp_path / "drift.jsonl").read_text("utf-8").splitlines()) == 2


@pytest.mark.parametrize("name", ["baseline", "check", "canary"])
def test_help_is_light_whole_and_fits_a_terminal(run: Run, name: str) -> None:
    code = (
        f"import sys; sys.argv = ['lowbg', 'drift', '{name}', '--help']\n"
        "from lowbg_cli.app import main\n"
        "try: main()\n"
        "finally: print({'numpy', 'pyarrow', 'rich', 'jinja2'} & set(sys.modules), file=sys.stderr)"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert got.stderr.strip() == "set()"
    assert max(map(len, got.stdout.splitlines())) <= 100
    for option in DRIFT.commands[name].options:
        assert option.setting.help, option.name
