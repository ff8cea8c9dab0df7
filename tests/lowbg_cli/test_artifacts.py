"""Near-certain phrases from one end to the other: filter, report, explain, gate, score agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from examples.make_sample import human_documents
from typer.testing import Result

Run = Callable[..., Result]

SHORT = "As an AI language model, I don't have a body, but these shorts look comfortable."
QUOTING = f'Reviewers were amused. One of them begins: "{SHORT}" Nobody bought the shorts.'


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    long = human_documents()
    texts = [long[0]["text"], SHORT, QUOTING, long[1]["text"] + "\n\n" + SHORT]
    path = tmp_path / "in.jsonl"
    path.write_text(
        "".join(json.dumps({"id": f"d{i}", "text": t}) + "\n" for i, t in enumerate(texts))
    )
    return path


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_filter_report_gate_and_explain_agree(run: Run, shard: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("filter", shard, "-o", out, "--annotate", "-q").exit_code == 0
    assert ids(out / "human" / "in.jsonl") == ["d0", "d2"]
    assert ids(out / "ai" / "in.jsonl") == ["d1", "d3"]
    report = json.loads((out / "report.json").read_text())
    assert report["totals"]["ai"]["documents"] == 2
    assert report["totals"]["scored"] == 3
    assert report["totals"]["ai_share_of_scored"] == pytest.approx(2 / 3)
    gate = ("--max-phrase-hits", "assistant_self_reference=0", "--min-scored-documents", "0")
    assert run("gate", out / "human", *gate).exit_code == 0
    assert run("gate", out / "ai", *gate).exit_code == 1
    assert run("gate", out / "ai", "--max-phrase-hits", "quoted=0", *gate[2:]).exit_code == 0
    explained = run("explain", shard, "--id", "d1").stdout
    assert (
        "contains 'as an ai language model i' (assistant_self_reference): near-certain" in explained
    )
    assert "ai" in explained.splitlines()[0]


def test_only_reported_on_request(run: Run, shard: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("filter", shard, "-o", out, "--artifacts", "report", "-q").exit_code == 0
    assert ids(out / "human" / "in.jsonl") == ["d0", "d1", "d2", "d3"]
    artifacts = json.loads((out / "report.json").read_text())["phrases"]["artifacts"]
    assert [(row["name"], row["documents"]) for row in artifacts] == [
        ("as an ai language model i", 2)
    ]
