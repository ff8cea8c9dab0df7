"""Files that commands read and write whole, in an object store: the same as local ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lowbg_cli.shards import AI, HUMAN
from tests.lowbg_cli.stored import data_of, fetched
from tests.s3_server import S3, Fault
from typer.testing import Result

from lowbg.models import embedded_path
from lowbg.storage.objects import ObjectStore
from lowbg.storage.whole_files import add_to_object, write_whole

pytestmark = pytest.mark.slow

Run = Callable[..., Result]


def _rows(first: int, texts: list[str]) -> bytes:
    """Documents with a label, a date and a site."""
    rows = [
        {
            "id": str(first + i),
            "text": text,
            "label": "ai" if text == AI else "human",
            "date": f"20{10 + i % 14}-01-02",
            "url": f"https://h{i % 3}.example/{first + i}",
        }
        for i, text in enumerate(texts)
    ]
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


@pytest.fixture
def lake(s3: S3, request: pytest.FixtureRequest) -> str:
    """The URL of two shards of labelled documents."""
    url = f"s3://lake/{re.sub('[^a-z]', '-', request.node.name.lower())}"
    store = ObjectStore(url)
    store.put("in/a.jsonl", _rows(0, [*HUMAN, AI, AI]))
    store.put("in/b.jsonl", _rows(100, [AI, AI, *HUMAN[:4]]))
    return url


def _both(run: Run, lake: str, folder: Path, *command: object) -> None:
    """Runs a command on the store, and on a copy; `{}` stands for either."""
    for place in (lake, folder):
        result = run(*(str(each).replace("{}", str(place)) for each in command))
        assert result.exit_code == 0, result.stderr


def test_figures_and_thresholds_are_written_there(lake: str, run: Run, tmp_path: Path) -> None:
    local = fetched(lake, tmp_path / "copy")
    _both(run, lake, local, "eval", "{}/in", "-q", "--json", "{}/e.json", "--html", "{}/e.html",
          "--markdown", "{}/e.md")  # fmt: skip
    assert ObjectStore(lake).read("e.md") == (local / "e.md").read_bytes()
    calibrate = ("calibrate", "{}/in", "--target-fpr", "0.4", "--min-documents", "6", "-q")
    _both(run, lake, local, *calibrate, "--label-field", "label", "-o", "{}/policy.toml")
    there = run(*calibrate[:1], f"{lake}/in", *calibrate[2:], "--label-field", "label", "-o",
                f"{lake}/policy.toml")  # fmt: skip
    assert f"{lake}/policy.toml already exists" in there.stderr
    _both(run, lake, local, *calibrate, "--human-before", "2023-01-01", "--update", "-o",
          "{}/policy.toml")  # fmt: skip
    policies = (
        (ObjectStore(lake).read("policy.toml") or b"").decode(),
        (local / "policy.toml").read_text("utf-8"),
    )
    assert policies[0] == policies[1].replace(str(local), lake)
    _both(run, lake, local, "gate", "{}/in", "--policy", "{}/policy.toml", "--max-ai-share", "0.9",
          "--undecided", "pass", "--junit", "{}/g.xml", "--json", "{}/g.json")  # fmt: skip
    _both(run, lake, local, "explain", "{}/in/a.jsonl", "--id", "1", "--html", "{}/x.html")
    said = run("explain", f"{lake}/in/a.jsonl:1", "--json").stdout
    assert said == run("explain", f"{local}/in/a.jsonl:1", "--json").stdout
    assert {"e.json", "e.html", "g.xml", "g.json", "x.html"} <= ObjectStore(lake).list().keys()


def test_a_finished_output_is_judged_rendered_and_reviewed(
    lake: str, run: Run, tmp_path: Path
) -> None:
    assert run("filter", f"{lake}/in", "-o", f"{lake}/out", "-q").exit_code == 0
    local = fetched(lake, tmp_path / "copy")
    limits = ("--max-ai-share", "0.9", "--undecided", "pass")
    for part in ("out", "out/report.json", "out/human"):
        _both(run, lake, local, "gate", f"{{}}/{part}", *limits, "--json", "{}/g.json")
        told = [
            json.loads(data)
            for data in (ObjectStore(lake).read("g.json") or b"", (local / "g.json").read_bytes())
        ]
        assert told[0]["findings"] == told[1]["findings"]
    _both(run, lake, local, "report", "{}/out", "-o", "{}/r.md")
    assert ObjectStore(lake).read("r.md") == (local / "r.md").read_bytes()
    itself = run("report", f"{lake}/out", "--format", "json", "-o", f"{lake}/out/report.json")
    assert "is one of the reports to read" in itself.stderr
    ObjectStore(lake).put("out/report.json", b"{\n}")
    assert "not the report that the run wrote" in run("gate", f"{lake}/out", *limits).stderr
    ObjectStore(lake).delete(["out/manifest.json"])
    assert "the run there didn't finish" in run("gate", f"{lake}/out", *limits).stderr


def test_labels_of_an_output_there(lake: str, run: Run, tmp_path: Path) -> None:
    from lowbg.config import RunConfig
    from lowbg.jobs.review.drawing import texts_of
    from lowbg.jobs.review.labels import Label, LabelLine, LabelsFile
    from lowbg.jobs.review.serve import open_labels

    assert run("filter", f"{lake}/in", "-o", f"{lake}/out", "-q").exit_code == 0
    root, path, config = Path(f"{lake}/out"), Path(f"{lake}/out.labels.jsonl"), RunConfig()
    file = open_labels(root, path, config, 12)
    texts = texts_of(root, file.design, config)
    assert set(texts.values()) <= {text[:20_000] for text in (AI, *HUMAN)}
    for document in range(12):
        said: Label = "ai" if texts[document] == AI else "human"
        file.add(LabelLine(document=document, label=said, reviewer="r"))
    assert len(LabelsFile.open(path).standing()) == 12
    shown = run("review", f"{lake}/out", "--metrics")
    assert shown.exit_code == 0, shown.stderr
    assert "12 count" in shown.stdout
    assert open_labels(root, path, config, 12).design == file.design


def test_a_baseline_and_its_history_are_kept_there(lake: str, run: Run, tmp_path: Path) -> None:
    sample = ("--documents", "20", "--words", "100")
    base = f"{lake}/base.json"
    assert run("drift", "baseline", f"{lake}/in", "-o", base, "-q", *sample).exit_code == 0
    assert "already exists" in run("drift", "baseline", f"{lake}/in", "-o", base, *sample).stderr
    places = (
        "--history",
        f"{lake}/h.jsonl",
        "--json",
        f"{lake}/c.json",
        "--html",
        f"{lake}/c.html",
    )
    for label in ("one", "two"):
        check = run("drift", "check", f"{lake}/in", "--baseline", base, *places, "--label", label)
        assert check.exit_code == 0, check.stderr
    history = (ObjectStore(lake).read("h.jsonl") or b"").splitlines()
    assert [json.loads(line)["label"] for line in history] == ["one", "two"]


def test_nobody_s_line_is_lost(lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody else adds a line between an object's being read and being put."""
    put = ObjectStore._put
    others = [b"first, elsewhere\n", b"second, elsewhere\n"]

    def late(store: ObjectStore, name: str, data: bytes, mode: object) -> str:
        if others:
            line = others.pop(0)
            put(store, name, (store.read(name) or b"") + line, "overwrite")
        return put(store, name, data, mode)

    monkeypatch.setattr(ObjectStore, "_put", late)
    add_to_object(Path(f"{lake}/h"), b"own\n")
    assert ObjectStore(lake).read("h") == b"first, elsewhere\nsecond, elsewhere\nown\n"


def test_a_line_whose_answer_is_lost_is_there_once(lake: str, s3: S3) -> None:
    lost: list[str] = []

    def plan(method: str, path: str, before: int) -> Fault | None:
        if method != "PUT" or before:
            return None
        lost.append(path)
        return "lost"

    s3.requests.clear()
    s3.plan = plan
    add_to_object(Path(f"{lake}/h"), b"one\n")
    s3.requests.clear()
    add_to_object(Path(f"{lake}/h"), b"two\n")
    assert len(lost) == 2
    assert ObjectStore(lake).read("h") == b"one\ntwo\n"


def test_tables_of_sources_are_added_up_there(lake: str, run: Run, tmp_path: Path) -> None:
    local = fetched(lake, tmp_path / "copy")
    for index in range(2):
        _both(run, lake, local, "sources", "{}/in", "-o", "{}/part.parquet", "-q",
              "--shard-index", index, "--shard-count", 2)  # fmt: skip
    parts = sorted(local.glob("part-*.parquet"))
    assert len(parts) == 2
    whole = run("sources", *parts, "-o", local / "whole.parquet", "-q")
    assert whole.exit_code == 0, whole.stderr
    added = run("sources", f"{lake}/part-*.parquet", "-o", f"{lake}/whole.parquet", "--list",
                f"{lake}/list.txt")  # fmt: skip
    assert added.exit_code == 0, added.stderr
    store = ObjectStore(lake)
    assert store.read("whole.parquet") == (local / "whole.parquet").read_bytes()
    assert (store.read("list.txt") or b"").startswith(b"#")
    again = run(
        "sources", f"{lake}/whole.parquet", f"{lake}/whole.parquet", "-o", f"{lake}/x.parquet"
    )
    assert f"{lake}/whole.parquet: the same table as {lake}/whole.parquet" in again.stderr
    lacking = run("sources", f"{lake}/{parts[0].name}", "-o", f"{lake}/y.parquet")
    assert "missing, so that the parts aren't all" in lacking.stderr
    itself = run("sources", f"{lake}/whole.parquet", "-o", f"{lake}/whole.parquet", "--overwrite")
    assert "is read; name another file" in itself.stderr
    listed = run("filter", local / "in", "-o", tmp_path / "f", "-q", "--deny-source",
                 f"@{lake}/list.txt")  # fmt: skip
    assert listed.exit_code == 0, listed.stderr


def test_scores_that_lie_there_are_counted(lake: str, run: Run, tmp_path: Path) -> None:
    for form in ("jsonl", "parquet"):
        scored = run("score", f"{lake}/in", "-o", f"{lake}/{form}", "--as", form, "-q",
                     "--keep-field", "url")  # fmt: skip
        assert scored.exit_code == 0, scored.stderr
        local = fetched(f"{lake}/{form}", tmp_path / form)
        for place, name in ((f"{lake}/{form}", "there"), (local, "here")):
            counted = run("sources", place, "-o", tmp_path / f"{form}-{name}.parquet", "-q")
            assert counted.exit_code == 0, counted.stderr
    tables = {path.read_bytes() for path in tmp_path.glob("*.parquet")}
    assert len(tables) == 1


def test_a_policy_s_tables_lie_beside_it(lake: str, run: Run, tmp_path: Path) -> None:
    """In the store as on a disk; one that is written there says where local ones are."""
    tables = embedded_path("en").read_bytes()
    write_whole(Path(f"{lake}/policies/own/en.safetensors"), tables)
    write_whole(Path(f"{lake}/policies/p.toml"), b'[decision]\ntables = "own"\n')
    local = fetched(lake, tmp_path / "copy")
    _both(run, lake, local, "filter", "{}/in", "-o", "{}/out", "-q", "--policy",
          "{}/policies/p.toml")  # fmt: skip
    copy = fetched(f"{lake}/out", tmp_path / "out")
    assert data_of(copy) == data_of(local / "out")
    assert f"{lake}/policies/own" in (copy / "report.json").read_text("utf-8")
    lacking = run("filter", f"{lake}/in", "-o", tmp_path / "x", "--tables", f"{lake}/in")
    assert f"{lake}/in: no tables in it" in lacking.stderr
    made = run("calibrate", f"{lake}/in", "--label-field", "label", "--target-fpr", "0.4",
               "--min-documents", "6", "-q", "--tables", local / "policies" / "own", "-o",
               f"{lake}/made.toml")  # fmt: skip
    assert made.exit_code == 0, made.stderr
    assert (
        f'tables = "{local}/policies/own"' in (ObjectStore(lake).read("made.toml") or b"").decode()
    )


def test_what_is_written_bit_by_bit_stays_on_local_disks(
    lake: str, run: Run, tmp_path: Path
) -> None:
    for option in ("--ai-to", "--quarantine-to", "--log-file", "--scratch"):
        refused = run("filter", f"{lake}/in", option, f"{lake}/x")
        assert refused.exit_code == 2
        assert "is a URL, and this is written to local paths alone" in " ".join(
            refused.stderr.split()
        )


def test_a_bucket_is_a_folder(lake: str) -> None:
    from lowbg.runs.inputs import discover

    name = lake.removeprefix("s3://lake/")
    assert f"{name}/in/a.jsonl" in {shard.name for shard in discover(["s3://lake"])}


@pytest.mark.parametrize("given", ["in", "in/", "in/*.jsonl", "in/?.jsonl", "in/[ab].jsonl"])
def test_no_object_of_an_input_is_written_to(given: str, lake: str, run: Run) -> None:
    store = ObjectStore(lake)
    before = store.read("in/a.jsonl")
    result = run("gate", f"{lake}/{given}", "--max-ai-share", 0.9, "--json", f"{lake}/in/a.jsonl")
    assert result.exit_code == 2
    assert f"--json {lake}/in/a.jsonl: {lake}/in/a.jsonl is read; name another" in result.stderr
    assert store.read("in/a.jsonl") == before
