"""An explanation as one HTML page: sentences shaded by what they add, phrases underlined."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lowbg.amounts import counted, share_text
from lowbg.jobs.explain import Explanation, FeatureValue, SentenceNote
from lowbg.report import Report
from lowbg.report.render_html import render_page
from lowbg.report.sections.histograms import SECTION as HISTOGRAMS
from lowbg.report.sections.histograms import Distribution

_SHADES: Final = (0.05, 0.3, 1.0)
"""What a sentence adds to the score's argument, from which on it is shaded, and more."""


@dataclass(frozen=True, slots=True)
class Percentile:
    """The share of a report's human-likely and AI-likely documents that have a lower value."""

    human: float | None
    ai: float | None


def percentiles(explanation: Explanation, report: Report) -> dict[str, Percentile]:
    """Where the document's features lie among the documents of a report.

    Within a bin documents are taken to lie evenly. Features without a histogram have none.
    """
    values: dict[str, Any] = {f.name: f.value for f in explanation.features}
    values |= {"ai_score": explanation.ai_score, "words": explanation.words}
    found = {}
    for name, own in report[HISTOGRAMS].items():
        value = values.get(name)
        if isinstance(value, (int, float)):
            found[name] = Percentile(
                *(_below(own, each.below, each.counts, each.above, float(value))
                  for each in (own.human, own.ai))
            )  # fmt: skip
    return found


def _below(
    own: Distribution, below: int, counts: Sequence[int], above: int, value: float
) -> float | None:
    total = below + sum(counts) + above
    if not total:
        return None
    edges = own.edges
    if value < edges[0]:
        return 0.0
    if value >= edges[-1]:
        return (total - above) / total
    i = bisect_right(edges, value) - 1
    inside = (value - edges[i]) / (edges[i + 1] - edges[i])
    return float(below + sum(counts[:i]) + inside * counts[i]) / total


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a sentence; `phrase` is the category and name of what stands there, else empty."""

    text: str
    phrase: str


def render_explanation(
    explanation: Explanation, name: str, among: Mapping[str, Percentile] | None = None
) -> str:
    """The page; `name` says which document it is, `among` where its features lie."""
    rows = [_row(feature, explanation, among or {}) for feature in explanation.features]
    score = FeatureValue("ai_score", explanation.ai_score, "0 … 1", "the score")
    rows.insert(0, _row(score, explanation, among or {}))
    return render_page(
        "explain",
        name=name,
        e=explanation,
        verdict=_verdict(explanation),
        sentences=shaded_sentences(explanation),
        rows=rows,
        compared=among is not None,
        argument=sum(own.part for own in explanation.parts),
    )


def shaded_sentences(
    explanation: Explanation,
) -> list[tuple[SentenceNote, int, list[Piece]]]:
    """Each sentence, how strongly it is shaded (−3 human to 3 AI), and its parts."""
    return [(s, _shade(s.part), [*_pieces(s)]) for s in explanation.sentences]


def _verdict(e: Explanation) -> str:
    told = "" if e.language is None else f" in the language {e.language}"
    text = f"{e.verdict}: {counted(e.words, 'word')}{told}"
    if e.ai_score is None:
        return f"{text}, without a score. It would take {e.needs}."
    limit = "" if e.threshold is None else f"; AI from {e.threshold:.3f}"
    return f"{text}, score {e.ai_score:.3f}{limit}."


def _row(
    feature: FeatureValue, e: Explanation, among: Mapping[str, Percentile]
) -> tuple[str, str, str, str, str, str]:
    """Name, value, percentiles among human and AI documents, part in the score, meaning."""
    value = feature.value
    if isinstance(value, list):
        shown = ", ".join(map(str, value)) or "–"
    elif isinstance(value, float):
        shown = f"{value:,.4g}"
    else:
        shown = "–" if value is None else f"{value}"
    own = among.get(feature.name, Percentile(None, None))
    part = next((f"{p.part:+.3f}" for p in e.parts if p.name == feature.name), "–")
    meaning = f"{feature.unit}: {feature.meaning}" if feature.unit else feature.meaning
    return feature.name, shown, share_text(own.human), share_text(own.ai), part, meaning


def _shade(part: float | None) -> int:
    if part is None:
        return 0
    level = bisect_right(_SHADES, abs(part))
    return level if part > 0 else -level


def _pieces(sentence: SentenceNote) -> Iterator[Piece]:
    at = 0
    for span in sorted(sentence.phrases, key=lambda span: (span.start, -span.end)):
        if span.start < at:
            continue
        yield Piece(sentence.text[at : span.start], "")
        yield Piece(sentence.text[span.start : span.end], f"{span.category}: {span.name}")
        at = span.end
    yield Piece(sentence.text[at:], "")
