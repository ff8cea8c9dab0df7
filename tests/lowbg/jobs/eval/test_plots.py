"""The page of `lowbg eval --html`."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from lowbg.jobs.eval.evaluate import LabelledScores, auroc, evaluate
from lowbg.jobs.eval.plots import HEIGHT, WIDTH, as_html, roc

EVIL = '<script>alert("x")</script>'


def labelled_scores(n: int = 600) -> LabelledScores:
    generator = np.random.default_rng(0)
    is_ai = np.arange(n) % 2 == 1
    score = 1.0 / (1.0 + np.exp(-generator.normal(is_ai * 3.0 - 3.0, 1.5)))
    score[:40] = np.nan
    group = np.where(np.arange(n) < n // 2, "a", EVIL)
    return LabelledScores(
        is_ai=is_ai,
        score=score,
        called_ai=np.nan_to_num(score) > 0.5,
        words=np.full(n, 200),
        groups={"dataset": group, "generator": np.where(is_ai, "gpt", "")},
    )


def test_the_area_under_the_curve_is_auroc() -> None:
    generator = np.random.default_rng(3)
    human, ai = generator.normal(0, 1, 70).round(1), generator.normal(1, 1, 50).round(1)
    fpr, tpr = roc(human, ai)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0.0, 0.0, 1.0, 1.0)
    area = ((tpr[1:] + tpr[:-1]) / 2 * np.diff(fpr)).sum()
    assert area == pytest.approx(auroc(human, ai))


def page() -> str:
    j = labelled_scores()
    return as_html(j, evaluate(j, rounds=20), [("Version", EVIL)])


def test_every_plotted_group_has_a_curve_inside_its_box() -> None:
    text = page()
    curves = re.findall(r'<polyline class="curve" points="([^"]*)"', text)
    # All, and two datasets; generators have a table alone.
    assert len(curves) == 3
    for curve in curves:
        points = np.array([point.split(",") for point in curve.split()], np.float64)
        assert (points >= 0).all()
        assert (points <= (WIDTH, HEIGHT)).all()
        assert (np.diff(points[:, 0]) >= 0).all()
        assert (np.diff(points[:, 1]) <= 0).all()
        assert points[-1].tolist() == [WIDTH, 0.0]
    assert text.count('<rect class="ai"') > 20
    assert text.count('<rect class="human"') > 20


def test_loads_nothing_and_escapes_everything() -> None:
    class Tags(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found.append(tag)
            assert not {"src", "onload"} & {name for name, _ in attrs}

    text, tags = page(), Tags()
    tags.feed(text)
    assert tags.found.count("script") == 1  # the page's own
    assert "link" not in tags.found
    assert "&lt;script&gt;" in text
    assert text.count("</section>") == 4


def test_a_group_of_one_label_has_no_curve() -> None:
    j = labelled_scores()
    human = LabelledScores(~j.is_ai & False, j.score, j.called_ai, j.words, j.groups)
    text = as_html(human, evaluate(human, rounds=20), [])
    assert "polyline class" not in text
    assert "<table" in text
