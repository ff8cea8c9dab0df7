"""The table of human text that detectors wrong most: what is drawn for it, and what it counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from benchmarks.neural.guards import GUARDS, draw_guards, line


def write_rows(data: Path, name: str, rows: list[dict[str, str]]) -> None:
    folder = data / "labelled" / "dev"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_human_documents_of_the_sets_are_drawn(tmp_path: Path) -> None:
    own = {"dataset": "liang_bias", "domain": "essay-nonnative", "lang": "en", "label": "human"}
    text = "A long enough text of a learner. " * 6
    others = [
        {"label": "ai"},
        {"lang": "de"},
        {"attack": "polish"},
        {"domain": "news"},
        {"text": "x"},
    ]
    rows = [{"text": f"{i} {text}", "id": str(i), **own} for i in range(5)]
    rows += [{"text": text, "id": f"other-{i}", **own, **other} for i, other in enumerate(others)]
    write_rows(tmp_path, "liang_bias.jsonl", rows)
    found = dict(draw_guards(tmp_path, 3))
    assert len(found) == len(GUARDS)
    drawn = found.pop("essays of the TOEFL | liang_bias")
    assert len(drawn) == 3
    assert not any(found.values())
    every = dict(draw_guards(tmp_path, 9))["essays of the TOEFL | liang_bias"]
    assert {row.id for row in every} == set("01234")
    assert drawn == every[:3]


def test_a_line_counts_what_is_called_ai() -> None:
    tables = np.array([np.nan, -1.0, 0.0, 2.0, 5.0])
    probe = np.array([np.nan, np.nan, -1.0, -1.0, 5.0])
    both = np.array([1.0, -1.0, 0.5, -1.0, 5.0])
    chosen = np.array([True, True, True, True, False])
    told = line("poetry | a", (tables, probe, both), chosen)
    assert told == "| poetry | a | 4 | 3 | 2 (50.0%) | 0 (0.0%) | 2 (50.0%) |"
