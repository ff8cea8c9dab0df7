from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.lowbg_cli.shards import PERSONAL, lines
from typer.testing import Result

from lowbg.jobs.explain import Explanation, FeatureValue, NgramNote, PhraseSpan, SentenceNote
from lowbg_cli.explanation import print_explanation

Run = Callable[..., Result]
TEXT = "As an AI language model, I cannot say. We walked home through the rain, and had toast."
NOTE = Explanation(
    language="en",
    words=9,
    verdict="ai",
    ai_score=0.91234,
    threshold=0.5,
    reasons=("phrase", "steering \x1b[2J"),
    features=(
        FeatureValue("perplexity", 35.25, "per word", "how surprising"),
        FeatureValue("burstiness", None, "−1 … 1", "how uneven"),
    ),
    ngrams=(NgramNote("as an\x1b", 1.25), NgramNote("it is", -0.5)),
    sentences=(
        SentenceNote(
            "Well,  as an\tAI\x1b model it is. ", 6, 41.0, 0.25, (PhraseSpan(7, 22, "self", "ai"),)
        ),
        SentenceNote("中文。", 2, None, None, ()),
    ),
)


def plain(explanation: Explanation, columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    print_explanation(explanation, stream)
    stream.seek(0)
    return stream.read()


def test_the_plain_form(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plain(NOTE, 80, monkeypatch) == (
        "ai, en, 9 words\n"
        "  ai_score 0.912, AI from 0.500\n"
        "  phrase\n"
        "  steering ␛[2J\n"
        "\n"
        "perplexity  35.2  per word: how surprising\n"
        "burstiness     -  −1 … 1: how uneven\n"
        "\n"
        "nats  what weighs most (+ AI, − human)\n"
        "+1.2  as an␛\n"
        "−0.5  it is\n"
        "\n"
        "perplexity  log-odds  sentence\n"
        "        41      0.25  Well, ⟦as an AI␛ model⟧ it is.\n"
        "                        self:ai\n"
        "         -         -  中文。\n"
    )


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_it_fits(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = plain(NOTE, columns, monkeypatch).splitlines()
    assert max(map(len, lines)) <= columns
    assert not any(line != line.rstrip() for line in lines)


def test_a_long_reason_stays_indented(monkeypatch: pytest.MonkeyPatch) -> None:
    long = replace(NOTE, reasons=("a reason " * 9,))
    reasons = plain(long, 40, monkeypatch).partition("\n\n")[0].splitlines()[1:]
    assert len(reasons) > 2
    assert all(line.startswith("  ") for line in reasons)


def test_a_text(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "essay.txt"
    file.write_text(TEXT, encoding="utf-8")
    result = run("explain", file)
    assert result.exit_code == 0, result.stderr
    assert "⟦As an AI language model, I⟧" in result.stdout
    assert result.stderr == ""
    assert run("explain", "-", stdin=TEXT.encode()).stdout == result.stdout


def test_what_is_quoted_is_marked_as_that(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "essay.txt"
    file.write_text(f"That is how ChatGPT talks. {TEXT}", encoding="utf-8")
    shown = run("explain", file).stdout
    assert shown.startswith("unscored, en")
    assert "quoted:as an ai language model i" in shown
    assert "assistant_self_reference" not in shown


@pytest.mark.parametrize(
    ("text", "verdict", "reason"),
    [
        (PERSONAL, "human", "ai_score "),
        ("hello world this is", "unscored", "too short: 4 words, too few to tell the language"),
    ],
)
def test_nothing_is_said_twice(
    text: str, verdict: str, reason: str, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "essay.txt"
    file.write_text(text, encoding="utf-8")
    headline, *reasons = run("explain", file).stdout.partition("\n\n")[0].splitlines()
    assert headline.startswith(f"{verdict}, ")
    assert len(reasons) == 1
    assert reasons[0].startswith(f"  {reason}")
    assert "recognised" not in headline
    assert "score" not in headline.removeprefix(verdict)


def test_json(run: Run, tmp_path: Path) -> None:
    shard = tmp_path / "a.jsonl"
    shard.write_text(f'{{"id": "x", "text": "no"}}\n{{"id": "y", "text": {json.dumps(TEXT)}}}\n')
    explained = [
        json.loads(run("explain", shard, "--json", *choice).stdout)
        for choice in (["--record", "1"], ["--id", "y"])
    ]
    assert explained[0] == explained[1]
    assert "".join(note["text"] for note in explained[0]["sentences"]) == TEXT


def test_a_record_s_number_as_it_is_written_elsewhere(run: Run, tmp_path: Path) -> None:
    shard = tmp_path / "a.jsonl"
    shard.write_text('{"text": "no"}\n' * 1_924 + '{"text": "Here it is."}\n')
    explained = json.loads(run("explain", shard, "--json", "--record", "1,924").stdout)
    assert explained["sentences"][0]["text"] == "Here it is."


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["nowhere.txt"], 2, "nowhere.txt: no such file"),
        ([""], 2, "the document's file has no name"),
        (["."], 2, ".: is a directory; give one file of it"),
        (["{shard}", "--id", "z"], 2, "no record with the identifier 'z'"),
        (["{shard}", "--record", "7"], 2, "no record number 7"),
        (["{shard}", "--record", "1,924"], 2, "no record number 1,924"),
        (["{shard}", "--record", "1"], 3, "invalid JSON"),
        (["{shard}", "--record", "0", "--id", "x"], 2, "give one"),
        (["-", "--record", "0"], 2, "not from stdin"),
    ],
)
def test_what_cannot_be_explained(
    args: list[str], code: int, message: str, run: Run, tmp_path: Path
) -> None:
    shard = tmp_path / "a.jsonl"
    shard.write_text('{"id": "x", "text": "no"}\n{broken\n', encoding="utf-8")
    result = run("explain", *(arg.format(shard=shard) for arg in args))
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert "quarantined" not in result.stderr


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="the system has no /dev/fd")
def test_what_a_shell_substitutes_is_a_text(run: Run) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, TEXT.encode())
    os.close(write_end)
    result = run("explain", f"/dev/fd/{read_end}")
    os.close(read_end)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == run("explain", "-", stdin=TEXT.encode()).stdout


def test_invalid_utf8_is_said(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "latin.txt"
    file.write_bytes("Ein schöner Tag.".encode("latin-1"))
    result = run("explain", file)
    assert result.exit_code == 0
    assert "invalid UTF-8 at byte 7" in result.stderr


def test_a_record_by_its_place_behind_the_name(run: Callable[..., Result], tmp_path: Path) -> None:
    shard = tmp_path / "a:1.jsonl"
    shard.write_bytes(lines("The first of them.", "The second of them, and no other."))
    got = run("explain", f"{shard}:1", "--json")
    assert json.loads(got.stdout)["words"] == 7
    assert run("explain", f"{shard}:2").exit_code == 2
    refused = run("explain", f"{shard}:1", "--record", "0")
    assert refused.exit_code == 2
    assert "leave out --record and --id" in " ".join(refused.stderr.split())
    page = tmp_path / "page.html"
    assert run("explain", f"{shard}:1", "--html", page).stdout == ""
    assert "<title>a:1.jsonl:1 · lowbg explain</title>" in page.read_text("utf-8")
    assert run("explain", shard, "--report", tmp_path).exit_code == 2


@pytest.mark.parametrize("data", [bytes(range(128, 256)) * 9, b"\x7fELF" + bytes(400)])
def test_bytes_that_are_no_text_get_no_verdict(
    run: Callable[..., Result], tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "essay.txt"
    path.write_bytes(data)
    got = run("explain", path)
    assert got.exit_code == 3
    assert got.stdout == ""
    assert "essay.txt: is no text in UTF-8" in " ".join(got.stderr.split())
