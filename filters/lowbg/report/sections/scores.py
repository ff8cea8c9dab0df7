"""How the scores lie, from which one on a document is AI, and how many human ones that costs."""

from __future__ import annotations

from collections.abc import Sequence

from lowbg.amounts import count_text, share_text
from lowbg.report.sections.base import Block, Facts, Material, Note, Section
from lowbg.report.sections.histograms import Distribution, distribution, histogram_block
from lowbg.schema import AI_SCORE
from lowbg.storage.typed import Count, Open, Share

_NAMED = 6


class Scores(Open, frozen=True):
    """The scores of all documents, and where the line is drawn.

    `thresholds` are the scores from which a document is AI, by language, of those that occur;
    empty under `rule = "thresholds"`. `expected_false_positives`: were all of the `scored`
    documents human, so many would be called AI at `target_fpr`; null where runs differ in it.
    """

    distribution: Distribution | None
    thresholds: dict[str, Share]
    target_fpr: float | None
    scored: Count
    expected_false_positives: float | None


def _collect(material: Material) -> Scores:
    found = material.bins.get(AI_SCORE.name)
    own = None
    if found is not None:
        own = distribution(found, material.statistics.histograms[AI_SCORE.name])
    targets = {run.policy.get("target_fpr") for run in material.runs}
    target = targets.pop() if len(targets) == 1 else None
    scored = int(material.statistics.scored()[0])
    thresholds: dict[str, float] = {}
    for run in material.runs:
        thresholds.update(run.thresholds)
    return Scores(
        distribution=own,
        thresholds={n: v for n, v in thresholds.items() if n in material.statistics.languages},
        target_fpr=target,
        scored=scored,
        expected_false_positives=None if target is None else round(target * scored, 1),
    )


def _blocks(scores: Scores) -> Sequence[Block]:
    own = scores.distribution
    if own is None or not scores.scored:
        return (Note("No document was scored."),)
    blocks: list[Block] = []
    rows = []
    if scores.thresholds:
        items = sorted(scores.thresholds.items())
        more = f" and {len(items) - _NAMED} more languages" if len(items) > _NAMED else ""
        listed = ", ".join(f"{name} {value:.3f}" for name, value in items[:_NAMED])
        rows.append(("AI from this score on", listed + more))
    if scores.target_fpr is not None and scores.expected_false_positives is not None:
        rows.append(("Target false-positive rate", share_text(scores.target_fpr)))
        rows.append(
            (
                "False positives to expect",
                f"at most about {count_text(round(scores.expected_false_positives))} of "
                f"{count_text(scores.scored)} scored documents, were all of them human",
            )
        )
    if rows:
        blocks.append(Facts(rows))
    marks = [(value, f"AI from {value:.3f}") for value in sorted(set(scores.thresholds.values()))]
    if len(marks) > 1:
        low, high = marks[0][0], marks[-1][0]
        marks = [(low, f"lowest threshold, {low:.3f}"), (high, f"highest threshold, {high:.3f}")]
    blocks.append(histogram_block(own, marks))
    return blocks


SECTION = Section(
    78, "scores", "Scores and threshold", _collect, _blocks,
    weak="The target rate holds on average over the kinds of human text that the threshold was set "
    "on. A kind that is not among them may be called AI more often: set thresholds from your own "
    "text with lowbg calibrate.",
)  # fmt: skip
