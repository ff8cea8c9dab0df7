"""Scorers of others: the one of the documentation, installed as a package, and files put here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from pydoc_data.topics import topics
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.pages import DOCS, blocks, read

from lowbg import scorers
from lowbg.config import Policy, RunConfig
from lowbg.errors import FormatError
from lowbg.jobs.explain import explain
from lowbg.jobs.score import ScoreJob, score_shards
from lowbg.report import merge_reports, read_json, write_html
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import discover
from lowbg.runs.job import Outcome

PAGE = DOCS / "extending" / "scorer.md"
CODE = blocks(read(PAGE), "python")[0].text
ENTRY_POINT = blocks(read(PAGE), "toml")[0].text
SETTINGS = blocks(read(PAGE), "toml")[1].text

PROJECT = f"""
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "my-package"
version = "1.0"

{ENTRY_POINT}
"""

BACKEND = '''
"""The least that builds a wheel, so that nothing has to be fetched."""
import tomllib
import zipfile
from pathlib import Path


def build_wheel(folder, config_settings=None, metadata_directory=None):
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    info = "my_package-1.0.dist-info"
    points = "".join(
        f"[{group}]\\n" + "".join(f"{name} = {value}\\n" for name, value in found.items())
        for group, found in project["entry-points"].items()
    )
    files = {
        **{str(path): path.read_text() for path in Path("my_package").glob("*.py")},
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: my-package\\nVersion: 1.0\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{info}/entry_points.txt": points,
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(Path(folder) / "my_package-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "my_package-1.0-py3-none-any.whl"
'''

TEXTS = [topics["exceptions"], "The cat and the Cat and the CAT.", "", topics["naming"]]


def ratio(text: str) -> float | None:
    """As the page's scorer has it with the page's settings."""
    words = text.split()
    return len(set(words)) / len(words) if words else None


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in it, as pip installs it."""
    source = tmp_path_factory.mktemp("source")
    (source / "my_package").mkdir()
    for name, text in (
        ("pyproject.toml", PROJECT),
        ("backend.py", BACKEND),
        ("my_package/__init__.py", ""),
        ("my_package/type_token.py", CODE),
    ):
        (source / name).write_text(text, encoding="utf-8")
    target = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--no-build-isolation", "--disable-pip-version-check", "--target", target, source],
        check=True, capture_output=True,
    )  # fmt: skip
    return target


Lowbg = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def lowbg(installed: Path, tmp_path: Path) -> Lowbg:
    """Runs a command where the package is installed; two shards and a policy lie there."""
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        lines = [json.dumps({"id": f"{name}{i}", "text": text}) for i, text in enumerate(TEXTS)]
        (tmp_path / "in" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "p.toml").write_text(SETTINGS)

    def run(*args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-m", "lowbg_cli", *args],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "100"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == code, ended.stderr
        return ended

    return run


@pytest.mark.slow
def test_an_installed_scorer_is_in_rows_and_report(lowbg: Lowbg, tmp_path: Path) -> None:
    score = ("score", "in", "--policy", "p.toml", "-q")
    lowbg(*score, "-o", "two", "--workers", "2")
    lowbg(*score, "-o", "one", "--workers", "1")
    lowbg(*score, "-o", "parquet", "--as", "parquet", "--workers", "2")
    for name in ("a", "b"):
        lines = (tmp_path / "two" / f"{name}.jsonl").read_text()
        assert lines == (tmp_path / "one" / f"{name}.jsonl").read_text()
        rows = [json.loads(line) for line in lines.splitlines()]
        assert [list(row)[-1] for row in rows] == ["type_token_ratio"] * len(TEXTS)
        assert [row["type_token_ratio"] for row in rows] == [ratio(text) for text in TEXTS]
        column = pq.read_table(tmp_path / "parquet" / f"{name}.parquet")["type_token_ratio"]
        assert column.type == pa.float64()
        assert column.to_pylist() == [ratio(text) for text in TEXTS]

    report = read_json(tmp_path / "two" / "report.json")
    plain = json.loads((tmp_path / "two" / "report.json").read_text())
    counted = plain["histograms"]["type_token_ratio"]
    assert counted["title"] == "Type–token ratio"
    assert len(counted["edges"]) == 21
    assert sum(sum(counted[verdict]["counts"]) for verdict in ("human", "ai", "unscored")) == 6
    assert plain["runs"][0]["scorers"]["type_token"] == 1
    assert plain["runs"][0]["policy"]["scorers"] == {"type_token": {"ignore_case": False}}
    assert "Type–token ratio" in (tmp_path / "two" / "report.html").read_text("utf-8")

    # Without settings it doesn't run; the reports of both kinds of run merge.
    lowbg("score", "in", "-o", "without", "-q")
    without = read_json(tmp_path / "without" / "report.json")
    assert "type_token_ratio" not in (tmp_path / "without" / "a.jsonl").read_text()
    merged = merge_reports([without, report, report])
    write_html(merged, tmp_path / "merged.html")
    assert "Type–token ratio" in (tmp_path / "merged.html").read_text("utf-8")
    names = set(merged.counters.histograms)
    assert names == {*without.counters.histograms, "type_token_ratio"}
    once, twice = (r.counters.histograms["type_token_ratio"] for r in (report, merged))
    assert twice == [[2 * n for n in row] for row in once]

    plain["histograms"]["type_token_ratio"]["edges"][0] = -1.0
    (tmp_path / "other.json").write_text(json.dumps(plain))
    with pytest.raises(FormatError, match=r"report 2 of 2: histograms\.type_token_ratio"):
        merge_reports([report, read_json(tmp_path / "other.json")])


@pytest.mark.slow
def test_an_installed_scorer_is_listed_and_explained(lowbg: Lowbg, tmp_path: Path) -> None:
    listed = {scorer["name"]: scorer for scorer in json.loads(lowbg("scorers", "--json").stdout)}
    assert listed["type_token"]["settings"] == ["ignore_case"]
    assert listed["type_token"]["columns"][0]["type"] == "double"
    assert "type_token_ratio [0 … 1]: distinct words over words" in lowbg("scorers").stdout

    (tmp_path / "cat.txt").write_text(TEXTS[1])
    explained = lowbg("explain", "cat.txt", "--policy", "p.toml").stdout
    assert "type_token_ratio" in explained
    assert "0 … 1: distinct words over words" in explained
    plain = json.loads(lowbg("explain", "cat.txt", "--policy", "p.toml", "--json").stdout)
    assert plain["features"][-1]["value"] == ratio(TEXTS[1])

    (tmp_path / "typo.toml").write_text("[scorers.type_token]\nignore_cas = true\n")
    ended = lowbg("score", "in", "-o", "typo", "--policy", "typo.toml", code=2)
    assert "[scorers.type_token] unknown key 'ignore_cas'; did you mean 'ignore_case'?" in (
        " ".join(ended.stderr.split())
    )


SHOUTING = """
import pyarrow as pa

from lowbg.scorers.base import Column, Scorer, Span

LOUD = Column("shouted", pa.list_(pa.string()), meaning="words in capitals")


class Shouting(Scorer):
    name = "shouting"
    version = 2
    columns = (LOUD, Column("capitals", pa.int16(), meaning="their number"))

    def score(self, documents):
        words = [[w for w in t.split() if w.isupper()] for t in documents.text.to_pylist()]
        counts = pa.array([len(w) for w in words], pa.int16())
        return {"shouted": pa.array(words, LOUD.type), "capitals": counts}

    def notes(self, documents, i, values):
        return [f"{values['capitals']} in capitals"]

    def spans(self, documents):
        return [
            Span(i, text.index(word), text.index(word) + len(word), "loud", word)
            for i, text in enumerate(documents.text.to_pylist())
            for word in text.split()
            if word.isupper()
        ]


def create(models):
    return Shouting()
"""

Drop = Callable[[str, str], None]


@pytest.fixture
def drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drop]:
    """Puts a file into a copy of the package's folder, in whose place that is from now on."""
    copy = tmp_path / "scorers"
    shutil.copytree(str(Path(scorers.__file__).parent), copy)
    monkeypatch.setattr(scorers, "__path__", [str(copy)])
    dropped: list[str] = []

    def put(name: str, code: str) -> None:
        (copy / f"{name}.py").write_text(code)
        dropped.append(name)

    yield put
    for name in dropped:
        module = sys.modules.pop(f"lowbg.scorers.{name}", None)
        assert isinstance(module, ModuleType)
        delattr(scorers, name)


def score(tmp_path: Path, text: str) -> Outcome:
    source = tmp_path / "a.jsonl"
    source.write_text(json.dumps({"text": text}) + "\n")
    out = tmp_path / "out"
    return score_shards(ScoreJob(tuple(discover([str(source)], output=out)), out, RunConfig()))


def test_a_new_file_is_a_scorer(drop: Drop, tmp_path: Path) -> None:
    drop("shouting", SHOUTING)
    text = "Stop. Go AWAY and STAY there!"
    score(tmp_path, text)
    row = json.loads((tmp_path / "out" / "a.jsonl").read_text())
    assert list(row)[-2:] == ["shouted", "capitals"]
    assert (row["shouted"], row["capitals"]) == (["AWAY", "STAY"], 2)

    explanation = explain(Engine(Policy()).setup(), text)
    assert [(f.name, f.value) for f in explanation.features[-2:]] == [
        ("shouted", ["AWAY", "STAY"]), ("capitals", 2),
    ]  # fmt: skip
    notes = [(note.scorer, note.text) for note in explanation.notes]
    assert [name for name, _ in notes] == ["style", "shouting"]
    assert notes[1] == ("shouting", "2 in capitals")
    spans = [
        (s.text[p.start : p.end], p.category) for s in explanation.sentences for p in s.phrases
    ]
    assert [span for span in spans if span[1] == "loud"] == [("AWAY", "loud"), ("STAY", "loud")]
    plain = json.loads(json.dumps(explanation.as_dict()))
    assert plain["notes"][1:] == [{"scorer": "shouting", "text": "2 in capitals"}]
    assert "notes" not in replace(explanation, notes=()).as_dict()


def test_a_scorer_that_breaks_its_word_costs_its_shard(drop: Drop, tmp_path: Path) -> None:
    drop("shouting", SHOUTING.replace("pa.array(words, LOUD.type)", "pa.array([])"))
    outcome = score(tmp_path, "text")
    assert not outcome.complete
    (problem,) = outcome.shards[0].problems
    assert "scorer 'shouting' (version 2): column 'shouted' is of type null" in problem.message
    assert not (tmp_path / "out" / "a.jsonl").exists()


@pytest.mark.parametrize(
    ("kind", "values", "written"),
    [
        ("pa.decimal128(4, 2)", '[decimal.Decimal("1.50")]', "1.50"),
        ("pa.binary()", '[b"\\x00a"]', "AGE="),
        ("pa.date32()", "[datetime.date(2020, 1, 2)]", "2020-01-02"),
        ("pa.duration('s')", "[90]", 90.0),
        ("pa.struct({'x': pa.int8()})", "[{'x': 1}]", {"x": 1}),
        ("pa.dictionary(pa.int8(), pa.string())", "['a']", "a"),
        ("pa.bool_()", "[True]", True),
        ("pa.uint64()", "[2 ** 64 - 1]", 2**64 - 1),
    ],
)
def test_any_type_has_a_form_in_json(
    kind: str, values: str, written: object, drop: Drop, tmp_path: Path
) -> None:
    drop(
        "typed",
        f"""
import datetime, decimal
import pyarrow as pa
from lowbg.scorers.base import Column, Scorer
class Typed(Scorer):
    name = "typed"
    version = 1
    columns = (Column("x", {kind}, meaning="of some type"),)
    def score(self, documents):
        return {{"x": pa.array({values}, {kind})}}
def create(models):
    return Typed()
""",
    )
    assert score(tmp_path, "text").complete
    assert json.loads((tmp_path / "out" / "a.jsonl").read_text())["x"] == written
