"""The results as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.collapse.summary import PERPLEXITY, WRITTEN, minority_dropped

Result = Mapping[str, Any]

LAST: Final = {
    "perplexity": ("perplexity", "{:,.0f}"),
    "unique_tokens": ("unique tokens", "{:,.0f}"),
    "entropy_unigrams": ("entropy, bits", "{:.2f}"),
    "own_bits": ("own bits a token", "{:.2f}"),
    "distinct_2": ("distinct-2", "{:.3f}"),
    "tail_coverage": ("tail coverage", "{:.3f}"),
    "tail_mass": ("tail mass", "{:.4f}"),
    "variance": ("variance", "{:.3f}"),
    "self_similarity": ("self-similarity", "{:.3f}"),
}
"""The figures of the last generation that are shown: title and format."""


UNTREATED: Final = ("human", "replace", "keep10", "accumulate", "reserve50", "none", "calibrated")
"""How the names of the regimes end whose alerts are shown."""

TOLD: Final = {
    "human": "new human text each time",
    "replace": "what the last model wrote",
    "keep10": "the same, with a tenth of the original",
    "accumulate": "the original and all that was written since",
    "reserve50": "half original, half the last model's (`mix --min-human 0.5`)",
    "crawl0_learned": "crawl, none of it generated: `filter`, own tables by `learn`",
    "crawl60_none": "crawl, 60 % of it generated: as it is",
    "crawl60_embedded": "… `filter`, embedded tables",
    "crawl60_trained": "… `filter`, own tables by `train`",
    "crawl60_calibrated": "… `filter`, own tables by `train`, calibrated",
    "crawl60_learned": "… `filter`, own tables by `learn`",
    "crawl60_random": "… as many dropped at random",
    "crawl60_oracle": "… all generated text dropped",
    "crawl60_floor50": "… `mix --min-human 0.5`",
    "crawl60_weights": "… `mix --weights`, own tables",
    "crawl90_none": "crawl, 90 % of it generated: as it is",
    "crawl90_embedded": "… `filter`, embedded tables",
    "crawl90_trained": "… `filter`, own tables by `train`",
    "crawl90_calibrated": "… `filter`, own tables by `train`, calibrated",
    "crawl90_learned": "… `filter`, own tables by `learn`",
    "crawl90_random": "… as many dropped at random",
    "crawl90_oracle": "… all generated text dropped",
    "crawl90_floor50": "… `mix --min-human 0.5`",
    "crawl90_weights": "… `mix --weights`, own tables",
    "ample60_trained": "ample crawl, 60 % generated: `filter`, own tables by `train`",
    "ample60_calibrated": "… `filter`, own tables by `train`, calibrated",
    "ample60_retrained": "… the same, trained anew each time",
    "ample60_learned": "… `filter`, own tables by `learn`",
    "ample60_floor50": "… `mix --min-human 0.5`",
    "ample60_weights": "… `mix --weights`, own tables",
    "ample90_trained": "ample crawl, 90 % generated: `filter`, own tables by `train`",
    "ample90_calibrated": "… `filter`, own tables by `train`, calibrated",
    "ample90_learned": "… `filter`, own tables by `learn`",
    "ample90_floor50": "… `mix --min-human 0.5`",
    "ample90_weights": "… `mix --weights`, own tables",
}
"""The rows of the tables in the docs."""

ALERTED: Final = {
    "human": "new human text each time",
    "crawl30_none": "crawl, 30 % of it generated",
    "crawl60_none": "crawl, 60 % of it generated",
    "crawl90_none": "crawl, 90 % of it generated",
    "accumulate": "the original and all that was written since",
    "keep10": "what the last model wrote, with a tenth of the original",
    "replace": "what the last model wrote",
}
"""The rows of the tables of alerts in the docs."""


def told(result: Result) -> str:
    """The table in the docs: the last generation by regime, with intervals."""
    n = result["settings"]["generations"]
    seeds = {own["seeds"] for own in result["regimes"].values()}
    counted = ["seeds"] if len(seeds) > 1 else []
    lines = _row(
        [f"trained on, {n} times", *counted, "perplexity", "over the first", "unique tokens, %",
         "rare words, %", "human documents dropped"],
        rule=True,
    )  # fmt: skip
    for name, title in TOLD.items():
        if name in result["regimes"]:
            own = result["regimes"][name]
            last = {figure: values[-1] for figure, values in own["figures"].items()}
            dropped, arrived = (
                sum(row[key] for row in own["sifted"]) for key in ("human_dropped", "human_arrived")
            )
            lines += _row(
                [
                    title,
                    *([str(own["seeds"])] if counted else []),
                    f"{last['perplexity'][0]:,.0f}",
                    _interval(last["perplexity_ratio"], "{:.2f}"),
                    _interval(_hundredfold(last["unique_tokens_ratio"]), "{:.0f}"),
                    _interval(_hundredfold(last["tail_coverage_ratio"]), "{:.0f}"),
                    _percent(dropped / arrived, digits=1) if arrived else "–",
                ]
            )
    return "\n".join(lines) + "\n"


def told_alerts(result: Result) -> str:
    """The table of alerts in the docs: when they fire first, and in how many checks."""
    n = result["settings"]["generations"]
    names = [PERPLEXITY, *WRITTEN, "drift: any"]
    lines = _row(["trained on", *(f"`{name}`" for name in names)], rule=True)
    for name, title in ALERTED.items():
        if name in result["regimes"]:
            found = [result["regimes"][name]["alerts"][alert] for alert in names]
            lines += _row([title, *(_fired(own, n) for own in found)])
    return "\n".join(lines) + "\n"


def _fired(found: Result, generations: int) -> str:
    checks = found["chains"] * generations
    text = f"{round(found['rate'] * checks)} of {checks}"
    return f"{text}, first in {found['first']:g}" if found["fired"] else text


def _hundredfold(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else 100 * value for value in values]


def page(result: Result) -> str:
    """All tables of one experiment."""
    settings, machine = result["settings"], result["machine"]
    regimes: Mapping[str, Result] = result["regimes"]
    n = settings["generations"]
    lines = [
        f"# Collapse of the {settings['family']} model",
        "",
        f"Written by `benchmarks/collapse/run.py`: corpora of {settings['documents']} documents of "
        f"{settings['tokens']} tokens, {n} generations after the first, {settings['seeds']} seeds, "
        f"top-p {settings['top_p']:g}; hold-out of {settings['holdout']} documents. "
        f"{machine['cpus']} {machine['processor']} cores, Python {machine['python']}, lowbg "
        f"{settings['lowbg']}. Means over seeds; in brackets the 95 % interval (Student's t).",
        "",
        "## Perplexity on human hold-out text, by generation",
        "",
        "The ratio is taken within each seed.",
        "",
    ]
    shown = [g for g in range(n + 1) if g in (0, 1, 2, 3, 4, 6, 8) or g == n]
    lines += _row(["trained on", "seeds", *(str(g) for g in shown), "last over first"], rule=True)
    for own in regimes.values():
        values = own["figures"]["perplexity"]
        cells = [f"{values[g][0]:,.0f}" for g in shown]
        ratio = _interval(own["figures"]["perplexity_ratio"][-1], "{:.2f}")
        lines += _row([own["title"], str(own["seeds"]), *cells, ratio])
    lines += ["", f"## Generation {n}", ""]
    lines += _row(["trained on", *(title for title, _ in LAST.values())], rule=True)
    first = next(iter(regimes.values()))["figures"]
    human = result["human"]
    known = [
        form.format(human[name][0]) if name in human else "–" for name, (_, form) in LAST.items()
    ]
    lines += _row(["*the human text itself*", *known])
    cells = [form.format(first[name][0][0]) for name, (_, form) in LAST.items()]
    lines += _row(["*generation 0*", *cells])
    for own in regimes.values():
        cells = [
            _interval(own["figures"][name][-1], form) if name == "unique_tokens"
            else form.format(own["figures"][name][-1][0])
            for name, (_, form) in LAST.items()
        ]  # fmt: skip
        lines += _row([own["title"], *cells])
    return "\n".join(
        [*lines, *_filters(regimes), *_seen(regimes), *_minority(regimes), *_alerts(regimes), ""]
    )


def _filters(regimes: Mapping[str, Result]) -> list[str]:
    lines = [
        "",
        "## What treatments drop",
        "",
        "Of what arrives, in the first and the last generation (sums over seeds). Human dropped: "
        "of all generations. Trained on: documents, and human ones of these, in the last one. "
        "Refused: how often `lowbg learn` wrote no tables, and everything passed.",
        "",
    ]
    lines += _row(
        ["trained on", "recall, first", "last", "precision, first", "last", "human dropped",
         "trained on", "human of these"],
        rule=True,
    )  # fmt: skip
    for own in regimes.values():
        rows = own["sifted"]
        if sum(row["dropped"] for row in rows) == 0 and "filter" not in own["title"]:
            continue
        dropped = sum(row["human_dropped"] for row in rows)
        arrived = sum(row["human_arrived"] for row in rows)
        refused = sum(row.get("refused", 0) for row in rows)
        chains = own["seeds"] * len(rows)
        lines += _row(
            [
                own["title"] + (f" (refused {refused:.0f} of {chains})" if refused else ""),
                _percent(rows[0]["recall"]),
                _percent(rows[-1]["recall"]),
                _percent(rows[0]["precision"]),
                _percent(rows[-1]["precision"]),
                f"{dropped:,.0f} of {arrived:,.0f}",
                f"{rows[-1]['documents']:,.0f}",
                f"{rows[-1]['human_documents']:,.0f}",
            ]
        )
    return lines


def _seen(regimes: Mapping[str, Result]) -> list[str]:
    """What each filter says of what models write that no filter has shaped."""
    asked = {name: own for name, own in regimes.items() if own["called_ai"][0]}
    if not asked:
        return []
    names = [
        name.removesuffix("_recall")
        for name in next(iter(asked.values()))["called_ai"][0]
        if name.endswith("_recall")
    ]
    lines = ["", "## What each filter calls AI of what untreated models write", ""]
    lines += _row(["trained on", *(f"{n} tables, first / last" for n in names)], rule=True)
    for own in asked.values():
        first, last = own["called_ai"][0], own["called_ai"][-1]
        cells = [
            f"{_percent(first[f'{name}_recall'])} / {_percent(last[f'{name}_recall'])}"
            for name in names
        ]
        lines += _row([own["title"], *cells])
    if "human" in regimes:
        rows = regimes["human"]["called_ai"]
        means = {name: sum(row[f"{name}_human"] for row in rows) / len(rows) for name in names}
        cells = [_percent(means[name], digits=2) for name in names]
        lines += _row(["*human text that arrives*", *cells])
    return lines


def _minority(regimes: Mapping[str, Result]) -> list[str]:
    lines = [
        "",
        "## The small group",
        "",
        "Its words' share of what the last generation writes (of a hundred thousand words), the "
        "perplexity on text of it that was put aside, and how many of its documents treatments "
        "drop.",
        "",
    ]
    lines += _row(
        ["trained on", "its words, first", "last", "perplexity, first", "last over it", "dropped",
         "others dropped"],
        rule=True,
    )  # fmt: skip
    for own in regimes.values():
        small, small_of, others, others_of = minority_dropped(own)
        share, perplexity = (
            own["figures"][name] for name in ("minority_share", "minority_perplexity")
        )
        lines += _row(
            [
                own["title"],
                f"{1e5 * share[0][0]:.0f}",
                f"{1e5 * share[-1][0]:.0f}",
                f"{perplexity[0][0]:,.0f}",
                _interval(own["figures"]["minority_perplexity_ratio"][-1], "{:.2f}"),
                f"{small} of {small_of}" if small_of else "–",
                f"{others} of {others_of}" if others_of else "–",
            ]
        )
    return lines


def _alerts(regimes: Mapping[str, Result]) -> list[str]:
    lines = [
        "",
        "## Alerts",
        "",
        "First generation in which an alert fires (median), and in how many of the chains, if not "
        "in all; below it the share of all checks in which it fires. The first three look at the "
        "model and at what it writes, against generation 0; those of `drift check` at what "
        "arrives, before it is trained on, against the human corpus.",
        "",
    ]
    shown = {name: own for name, own in regimes.items() if name.split("_")[-1] in UNTREATED}
    drift = sorted(
        {name for own in shown.values() for name in own["alerts"] if name.startswith("drift: ")}
        - {"drift: any"}
    )
    names = [PERPLEXITY, *WRITTEN, "drift: any", *drift]
    lines += _row(["trained on", *names], rule=True)
    for own in shown.values():
        lines += _row([own["title"], *(_alert(own["alerts"].get(name)) for name in names)])
    return lines


def _alert(found: Result | None) -> str:
    if found is None or not found["fired"]:
        return "–"
    text = f"{found['first']:g}"
    if found["fired"] < found["chains"]:
        text += f" ({found['fired']} of {found['chains']})"
    return f"{text}<br>{100 * found['rate']:.0f} %"


def toys_page(found: Result) -> str:
    """The toys' tables."""
    g, d = found["gaussian"], found["discrete"]
    lines = [
        "# Two toys",
        "",
        "Written by `benchmarks/collapse/run.py`; see `toys.py` for the theory.",
        "",
        f"## A Gaussian, {g['samples']} samples a generation",
        "",
    ]
    lines += _row(
        ["generation", "variance, median (10–90 %)", "its geometric mean", "by theory",
         "distance W₂²", "by theory"],
        rule=True,
    )  # fmt: skip
    for n in (0, 10, 50, 100, 200, 300):
        if n < len(g["variance"]):
            lines += _row(
                [
                    f"{n:,}",
                    f"{g['variance'][n]:.3g} ({g['low'][n]:.2g}–{g['high'][n]:.2g})",
                    f"{g['geometric_mean'][n]:.3g}",
                    f"{g['expected_geometric_mean'][n]:.3g}",
                    f"{g['distance'][n]:.3g}",
                    f"{g['expected_distance'][n]:.3g}",
                ]
            )
    lines += [
        "",
        f"## {d['events']:,} events by Zipf's law, {d['samples']:,} samples a generation",
        "",
        f"Rare are the {d['rare']} least probable, a tenth of the probability.",
        "",
    ]
    lines += _row(
        [
            "generation",
            "events left",
            "rare ones left",
            "by theory",
            "their mass, median (10–90 %)",
        ],
        rule=True,
    )
    for n in (0, 1, 2, 5, 10, 20, 50):
        if n < len(d["coverage"]):
            lines += _row(
                [
                    str(n),
                    f"{d['events_left'][n]:,.0f}",
                    _percent(d["coverage"][n], digits=1),
                    _percent(d["expected_coverage"][n], digits=1),
                    f"{d['mass'][n]:.3f} ({d['low'][n]:.3f}–{d['high'][n]:.3f})",
                ]
            )
    return "\n".join([*lines, ""])


def _interval(value: Sequence[float | None], form: str) -> str:
    middle, low, high = value
    assert middle is not None
    if low is None or high is None:
        return form.format(middle)
    return f"{form.format(middle)} ({form.format(low)}–{form.format(high)})"


def _percent(value: float | None, *, digits: int = 0) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _row(cells: Sequence[str], *, rule: bool = False) -> list[str]:
    line = f"| {' | '.join(cells)} |"
    return [line, "|" + "---|" * len(cells)] if rule else [line]
