from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

SENTENCE = "The river rose again in March of {} and carried the old bridge at the mill away. "


def test_writes_one_page_beside_the_table(run: Callable[..., Result], tmp_path: Path) -> None:
    data, page = tmp_path / "labelled.jsonl", tmp_path / "eval.html"
    rows = [
        {"text": SENTENCE.format(i) * 8, "lang": "en", "label": ("human", "ai")[i % 2],
         "dataset": "<b>one</b>"}
        for i in range(60)
    ]  # fmt: skip
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    plain = run("eval", data, "--lang-field", "lang", "--quiet")
    got = run("eval", data, "--lang-field", "lang", "--html", page, "--quiet")
    assert (got.exit_code, got.stdout) == (0, plain.stdout)
    text = page.read_text("utf-8")
    # All documents, by language, by dataset.
    assert text.count('<polyline class="curve"') == 3
    assert "labelled.jsonl" in text
    assert "<b>one" not in text
    assert "&lt;b&gt;one" in text
