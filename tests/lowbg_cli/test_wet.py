"""WET through the command line: split, resumed, scored, checked, mixed and kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lowbg_cli.shards import PERSONAL
from tests.lowbg_cli.test_resume import STOPPED
from tests.wet_files import Page, read_again, wet
from typer.testing import Result

pytestmark = pytest.mark.slow

Run = Callable[..., Result]

MACHINE = "As an AI language model, I cannot browse the river, but here is a general answer. " * 6


def pages(count: int) -> list[Page]:
    return [
        Page(
            f"Page {i}. {PERSONAL if i % 3 else MACHINE}".encode(),
            f"https://host{i % 5}.example.org/{i}",
            "2021-05-06T07:08:09Z" if i % 2 else "2024-05-06T07:08:09Z",
            "eng" if i % 2 else "eng,deu",
        )
        for i in range(count)
    ]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "segment").mkdir(parents=True)
    (folder / "segment" / "a.warc.wet.gz").write_bytes(wet(pages(240), gzip=True))
    (folder / "b.wet").write_bytes(wet(pages(100)))
    return folder


def assert_split(out: Path, name: str, count: int) -> None:
    """Both outputs are WETs, and hold the shard's records between them, in order."""
    info, *documents = read_again(wet(pages(count)))
    places = {headers["WARC-Record-ID"]: i for i, (_, headers, _) in enumerate(documents)}
    found = []
    for route in ("human", "ai"):
        first, *others = read_again((out / route / name).read_bytes())
        assert first == info
        numbers = [places[headers["WARC-Record-ID"]] for _, headers, _ in others]
        assert numbers == sorted(numbers)
        assert others == [documents[i] for i in numbers]
        assert others
        found += numbers
    assert sorted(found) == list(range(count))


def test_a_directory_is_split_by_two_workers(run: Run, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("filter", source, "-o", out, "--workers", "2", "-q").exit_code == 0
    assert_split(out, "segment/a.warc.wet.gz", 240)
    assert_split(out, "b.wet", 100)
    assert run("verify", out).exit_code == 0
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert {each["format"] for each in manifest["inputs"]} == {"wet"}
    assert "host1.example.org" in (out / "report.json").read_text()
    (out / "human" / "b.wet").write_bytes(wet(pages(3)))
    assert run("verify", out).exit_code != 0


def test_a_file_without_documents_is_its_description(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.wet").write_bytes(wet([]))
    assert run("filter", tmp_path / "a.wet", "-o", tmp_path / "out", "-q").exit_code == 0
    for route in ("human", "ai"):
        assert (tmp_path / "out" / route / "a.wet").read_bytes() == wet([])


def test_a_killed_run_goes_on(run: Run, source: Path, tmp_path: Path) -> None:
    once, out = tmp_path / "once", tmp_path / "out"
    every = ("--batch-bytes", "20000", "--checkpoint-seconds", "0", "-q")
    assert run("filter", source, "-o", once, *every).exit_code == 0
    args = ["filter", str(source), "-o", str(out), *every]
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED, *args],
        env={**os.environ, "SIGNAL": str(int(signal.SIGKILL))},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert list((out / ".lowbg" / "parts").glob("*.checkpoint.json"))
    assert run(*args, "--resume").exit_code == 0
    for route in ("human", "ai"):
        for name in ("segment/a.warc.wet.gz", "b.wet"):
            assert (out / route / name).read_bytes() == (once / route / name).read_bytes()
    assert run("verify", out).exit_code == 0


def test_scores_have_the_records_names(run: Run, source: Path, tmp_path: Path) -> None:
    assert run("score", source, "-o", tmp_path / "rows", "-q").exit_code == 0
    lines = (tmp_path / "rows" / "segment" / "a.jsonl").read_bytes().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["id"] for row in rows] == [f"<urn:uuid:{i:032d}>" for i in range(240)]
    assert {row["language"] for row in rows} == {"en"}
    assert (tmp_path / "rows" / "b.jsonl").exists()


def test_the_date_and_any_header_say_where_a_document_is_from(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.wet").write_bytes(wet(pages(40)))
    args = ("filter", tmp_path / "a.wet", "-o", tmp_path / "out", "-q")
    assert run(*args, "--trust-before", "2022-11-30").exit_code == 0
    human = read_again((tmp_path / "out" / "human" / "a.wet").read_bytes())
    assert sum(h["WARC-Date"].startswith("2021") for _, h, _ in human) == 20
    result = run("explain", tmp_path / "a.wet", "--id", f"<urn:uuid:{3:032d}>", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["verdict"] == "ai"


def test_a_cut_and_a_damaged_file(run: Run, tmp_path: Path) -> None:
    stored = wet(pages(100), gzip=True)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cut.warc.wet.gz").write_bytes(stored[:-3_000])
    broken = wet(pages(9)).replace(b"Page 4.", b"Page \xff.")
    (tmp_path / "in" / "latin.wet").write_bytes(broken)
    result = run("filter", tmp_path / "in", "-o", tmp_path / "out", "-q")
    assert result.exit_code == 3
    assert "cut.warc.wet.gz: gzip data ends early" in result.stderr
    quarantined = (tmp_path / "out" / "quarantine" / "latin.wet.jsonl").read_bytes().splitlines()
    (row,) = [json.loads(line) for line in quarantined]
    assert (row["record"], row["reason"], row["encoding"]) == (4, "invalid_utf8", "warc")
    parts = [
        read_again((tmp_path / "out" / route / "cut.warc.wet.gz").read_bytes())[1:]
        for route in ("human", "ai")
    ]
    assert 80 < sum(map(len, parts)) < 100
    assert run("verify", tmp_path / "out").exit_code == 3


def test_a_warc_of_pages_is_refused_and_the_others_go_on(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    html = [Page(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>Words.")]
    (tmp_path / "in" / "crawl.warc.gz").write_bytes(wet(html, gzip=True, kind="response"))
    (tmp_path / "in" / "a.wet").write_bytes(wet(pages(9)))
    result = run("filter", tmp_path / "in", "-o", tmp_path / "out", "-q")
    assert result.exit_code == 3
    assert "crawl.warc.gz: holds crawled pages" in result.stderr
    assert not (tmp_path / "out" / "human" / "crawl.warc.gz").exists()
    assert_split(tmp_path / "out", "a.wet", 9)


def test_lines_alone_go_down_a_stream(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.wet").write_bytes(wet(pages(9)))
    result = run("filter", tmp_path / "a.wet", "--discard-ai")
    assert result.exit_code == 2
    assert "is WET, and stdout takes JSONL lines only" in result.stderr
    refused = run("filter", "-", "--discard-ai", stdin=wet(pages(9)))
    assert refused.exit_code == 2
    assert "this input is WET" in refused.stderr


@pytest.mark.parametrize("codec", ["zstd", "gzip", "none"])
def test_outputs_in_another_codec(codec: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.warc.wet.gz").write_bytes(wet(pages(30), gzip=True))
    out = tmp_path / "out"
    args = ("filter", tmp_path / "a.warc.wet.gz", "-o", out, "--compression", codec, "-q")
    assert run(*args).exit_code == 0
    name = "a.warc.wet" + {"zstd": ".zst", "gzip": ".gz", "none": ""}[codec]
    assert run("verify", out).exit_code == 0
    again = run("filter", out / "human" / name, out / "ai" / name, "-o", tmp_path / "plain",
                "--compression", "none", "-q")  # fmt: skip
    assert again.exit_code == 0
    whole = b"".join(p.read_bytes() for p in sorted((tmp_path / "plain").rglob("*.warc.wet")))
    assert len([1 for kind, _, _ in read_again(whole) if kind == "conversion"]) == 30


def test_annotated_records_stay_records(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.warc.wet.gz").write_bytes(wet(pages(9), gzip=True))
    args = ("filter", tmp_path / "a.warc.wet.gz", "-o", tmp_path / "out", "--annotate", "-q")
    assert run(*args).exit_code == 0
    _, *ai = read_again((tmp_path / "out" / "ai" / "a.warc.wet.gz").read_bytes())
    assert {json.loads(headers["lowbg"])["verdict"] for _, headers, _ in ai} == {"ai"}
    assert [h["WARC-Target-URI"] for _, h, _ in ai] == [pages(9)[i].url for i in (0, 3, 6)]


def test_the_reserve_and_mixes_hold_wet(run: Run, source: Path, tmp_path: Path) -> None:
    reserve, trust = tmp_path / "reserve", ("--trust-before", "2022-11-30")
    args = ("filter", source / "segment", "-o", tmp_path / "out", "--reserve", reserve, *trust)
    assert run(*args, "-q").exit_code == 0
    (pack,) = (reserve / "packs").iterdir()
    assert pack.name.endswith(".warc.wet.gz")
    kept = [headers for kind, headers, _ in read_again(pack.read_bytes()) if kind == "conversion"]
    assert len(kept) == 120
    assert run("verify", reserve).exit_code == 0
    (tmp_path / "machine.wet").write_bytes(wet(pages(30)))
    mixed = run("mix", "--human", pack, "--synthetic", tmp_path / "machine.wet",
                "--min-human", "0.9", "-o", tmp_path / "mix", "-q")  # fmt: skip
    assert mixed.exit_code == 0, mixed.stderr
    assert run("verify", tmp_path / "mix").exit_code == 0
