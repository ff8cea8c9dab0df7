"""A causal LM that reads samples: it teaches tables, and reads pages of sources."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from examples.make_language import make_texts
from typer.testing import Result

pytest.importorskip("torch", reason="needs the extra lm: pip install 'lowbg[lm]'")
pytest.importorskip("transformers", reason="needs the extra lm: pip install 'lowbg[lm]'")

from tests.lowbg_cli.test_lm_probe import labelled, machine_prose, model, probe
from tests.tiny_lm import prose

from lowbg.models import open_embedded, open_folder

__all__ = ("labelled", "model", "probe")

pytestmark = [pytest.mark.slow, pytest.mark.lm]

Run = Callable[..., Result]

SITES = 24


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sites of a writer each, before and after an assistant began to write for every second one.

    The LM reads how documents begin, and n-grams tell the writers of what follows.
    """
    folder = tmp_path_factory.mktemp("dumps")
    assistant = iter(make_texts("assistant", 8 * SITES))

    def row(site: int, year: int, begin: str, text: str) -> str:
        ai = begin.startswith("It is")
        return json.dumps(
            {"id": f"{site}", "url": f"https://site-{site}.example/{zlib.crc32(text.encode())}",
             "text": f"{begin} {text}", "date": f"{year}-05-01", "language": "en", "ai": ai}
        ) + "\n"  # fmt: skip

    with (folder / "old.jsonl").open("w") as old, (folder / "new.jsonl").open("w") as new:
        for site in range(SITES):
            texts = make_texts(f"site-{site}", 31)
            for i in range(18):
                old.write(row(site, 2018 if i < 11 else 2021, prose(100 * site + i, 4), texts[i]))
            for i in range(18, 31):
                ai = site % 2 == 1 and i < 26
                begin = machine_prose(100 * site + i, 4) if ai else prose(100 * site + i, 4)
                new.write(row(site, 2025, begin, next(assistant) if ai else texts[i]))
    return folder


def test_a_probe_teaches_tables(
    run: Run, dumps: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    told = tmp_path / "told.json"
    args = ("--teacher", model, "--lm-probe", probe, "--teacher-documents", 240, "--json", told)
    ended = run("learn", dumps / "new.jsonl", "--old", dumps / "old.jsonl", *args, "-o", tmp_path)
    assert ended.exit_code == 0, ended.stderr
    stderr = " ".join(ended.stderr.split())
    assert "the teacher read 140 new and 100 human documents" in stderr
    assert "without it old and new text say the same of" in stderr
    assert "beside the embedded tables, of the new text" in stderr
    teacher = json.loads(told.read_text())["teacher"]
    assert teacher["tokens"] == 240 * 40
    assert teacher["dumps_alone"]["agree"] > 0.9
    odds = open_folder(tmp_path)["en"].metadata["odds"]
    assert odds["grown_on"] == open_embedded("en").sha256
    assert odds["stored"] > open_embedded("en").metadata["odds"]["stored"]
    out = tmp_path / "out"
    ended = run("filter", dumps / "new.jsonl", "--tables", tmp_path, "-o", out)
    assert ended.exit_code == 0, ended.stderr
    found = {
        name: [
            json.loads(line)["ai"] for line in (out / name / "new.jsonl").read_text().splitlines()
        ]
        for name in ("human", "ai")
    }
    assert sum(found["ai"]) > 0.9 * SITES / 2 * 8
    assert len(found["ai"]) - sum(found["ai"]) <= 12  # of 216


def test_a_teacher_that_does_not_read_the_language_is_refused(
    run: Run, dumps: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    new = dumps / "new.jsonl"
    for args, message in (
        (("--lm-probe", probe, "--lang", "de"), "serves 'de'; there is one of en: --lm-probe"),
        ((), "missing option '--lang'"),
        (("--lang", "en"), "no probe of"),
        (("--lm-probe", probe), "0 old documents"),
    ):
        ended = run("learn", new, "--teacher", model, *args, "-o", tmp_path / "t")
        assert ended.exit_code == 2
        assert message in " ".join(ended.stderr.split())
    ended = run("learn", new, "--unlabelled", new, "--lang", "en", "--lm-probe", probe, "-o", "t")
    assert ended.exit_code == 2
    assert "--lm-probe: only with --teacher" in ended.stderr
    assert not (tmp_path / "t").exists()


def test_pages_of_sources_are_read(
    run: Run, dumps: Path, model: Path, probe: Path, tmp_path: Path
) -> None:
    table = tmp_path / "t.parquet"
    args = ("sources", dumps / "new.jsonl", "--lm", model, "--lm-probe", probe, "--pages-of", "all")
    ended = run(*args, "--pages", 2, "-o", table)
    assert ended.exit_code == 0, ended.stderr
    stderr = " ".join(ended.stderr.split())
    assert f"the LM read {2 * SITES} pages of {SITES} sources: {2 * SITES * 40:,} tokens" in stderr
    assert "changed" in stderr
    rows = pq.read_table(table, columns=["source", "lm_z", "lm_pages"]).to_pylist()
    assert len(rows) == SITES
    assert {len(row["lm_pages"]) for row in rows} == {2}
    by_site = {row["source"]: row["lm_z"] for row in rows}
    assert by_site["site-0.example"] < 2.0
    assert max(by_site.values()) > 3.0
    again = tmp_path / "again.parquet"
    ended = run("sources", table, "-o", again)
    assert ended.exit_code == 0, ended.stderr
    assert again.read_bytes() == table.read_bytes()
    shard = dumps / "new.jsonl"
    ended = run("filter", shard, "--sources", table, "-o", tmp_path / "out", "--annotate")
    assert ended.exit_code == 0, ended.stderr
    told = [path.read_text() for path in (tmp_path / "out").glob("*/new.jsonl")]
    assert any("and pages that a causal LM read" in text for text in told)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("new.jsonl", "--pages", 2), "--pages: only with --lm"),
        (("t.parquet", "--lm", "MODEL"), "--lm: there are no documents to read pages of"),
        (("-", "--lm", "MODEL"), "--lm: pages are picked in a second pass"),
        (("new.jsonl", "--lm", "MODEL"), "no probe of"),
    ],
)
def test_pages_that_cannot_be_read_are_refused(
    run: Run,
    dumps: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new.jsonl").write_text((dumps / "new.jsonl").read_text())
    assert run("sources", "new.jsonl", "-o", "t.parquet", "-q").exit_code == 0
    given = [model if arg == "MODEL" else arg for arg in args]
    ended = run("sources", *given, "-o", "out.parquet")
    assert ended.exit_code == 2
    assert message in " ".join(ended.stderr.split())
    assert not (tmp_path / "out.parquet").exists()
