"""What changed since a baseline, with intervals, and which changes are beyond their limits.

An alert needs more than a change beyond the limit: the whole 95 % interval of the change must be
beyond it. So a limit of 10 % is one that has certainly been passed, not one that a lucky draw
passes.
"""

from __future__ import annotations

from math import exp, log, sqrt
from typing import Literal

import numpy as np

from lowbg.errors import ConfigError
from lowbg.jobs.drift.baseline import Baseline, Conditions
from lowbg.jobs.drift.measure import Measured
from lowbg.jobs.drift.profile import DISTRIBUTIONS, FIGURES, FigureKind, Profile, Z
from lowbg.jobs.drift.settings import FALLING, Limits
from lowbg.storage.typed import Closed

Form = Literal["percent", "points", "number", "distance"]
"""How a change is stated: relative, of a share, in the figure's unit, or a distance 0 … 1."""


class Change(Closed, frozen=True):
    """A figure's change since the baseline with its 95 % interval.

    `change`, `low` and `high` are relative (0.1 is 10 % more) in the form "percent", differences in
    "points" and "number", and a Jensen–Shannon distance in "distance", where `baseline` and
    `value` are null. All are null where one side has nothing to measure. `limit` is null for a
    figure that is only reported.
    """

    name: str
    title: str
    form: Form
    baseline: float | None
    value: float | None
    change: float | None
    low: float | None
    high: float | None
    limit: float | None
    alert: bool


def amount(form: Form, change: float | None) -> str:
    """A change as text: +12.3 %, −4.2 points, +0.05, and a distance without a sign."""
    if change is None:
        return "–"
    unit = {"percent": " %", "points": " points", "number": "", "distance": ""}[form]
    return f"{bare_amount(form, change)}{unit}"


def bare_amount(form: Form, change: float) -> str:
    """The same without its unit."""
    if form == "distance":
        return f"{change:.3f}"
    text = f"{change:+.3f}" if form == "number" else f"{100 * change:+.1f}"
    return text.replace("-", "−")


def level_text(form: Form, value: float | None) -> str:
    """A figure's own value as text: 412, 0.0834, 11.52; a share in per cent."""
    if value is None:
        return "–"
    if form == "points":
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def require_alike(baseline: Baseline, conditions: Conditions, path: str) -> None:
    """Raises `ConfigError` that says what differs, where a baseline was made otherwise."""
    differences = baseline.conditions.differences(conditions)
    if differences:
        raise ConfigError(
            f"{path} can't be compared with: (its own, now) {'; '.join(differences)}. Make the "
            "baseline anew, or check with what it was made with."
        )


def compare(baseline: Profile, measured: Measured, limits: Limits) -> list[Change]:
    """Every figure's change, then every distribution's distance, in their fixed order."""
    changes = [_of_figure(kind, baseline, measured, limits) for kind in FIGURES]
    return [*changes, *(_of_distance(name, baseline, measured, limits) for name in DISTRIBUTIONS)]


def _of_figure(kind: FigureKind, before: Profile, measured: Measured, limits: Limits) -> Change:
    old, new = before.figures[kind.name], measured.profile.figures[kind.name]
    form: Form = "percent" if kind.scale == "ratio" else "points" if _is_share(kind) else "number"
    if old.value is None or new.value is None:
        return judge(kind.name, kind.title, form, (old.value, new.value), None, limits)
    if kind.name == "holdout_perplexity" and before.holdout is not None:
        # Both models are asked for the same words: the change is paired, document by document.
        middle = float(measured.holdout_gain[0])
        own = float(measured.holdout_gain[1:].std())
        error = sqrt(own**2 + before.holdout.training_error**2)
    else:
        error = sqrt((old.error or 0.0) ** 2 + (new.error or 0.0) ** 2)
        middle = log(new.value / old.value) if form == "percent" else new.value - old.value
    interval = (middle, middle - Z * error, middle + Z * error)
    if form == "percent":
        interval = (exp(interval[0]) - 1, exp(interval[1]) - 1, exp(interval[2]) - 1)
    return judge(kind.name, kind.title, form, (old.value, new.value), interval, limits)


def _is_share(kind: FigureKind) -> bool:
    return kind.name.endswith("_share")


def _of_distance(name: str, before: Profile, measured: Measured, limits: Limits) -> Change:
    """The distance without what the choice of documents adds to it.

    A divergence between two samples is too high by the sum of their noise (second order of its
    Taylor series, as for the bias of entropy: Miller 1955), which is taken off.
    """
    rows = measured.divergences[name]
    noise = before.distributions[name].noise + measured.profile.distributions[name].noise
    middle = float(rows[0]) - noise
    error = float(rows[1:].std())
    bounds = (middle, middle - Z * error, middle + Z * error)
    distances = np.sqrt(np.clip(bounds, 0.0, 1.0)).tolist()
    title = f"distance of {name.replace('_', ' ')}"
    return judge(f"js_{name}", title, "distance", (None, None), tuple(distances), limits)


def judge(
    name: str,
    title: str,
    form: Form,
    values: tuple[float | None, float | None],
    interval: tuple[float, float, float] | None,
    limits: Limits,
) -> Change:
    """The change as (estimate, low, high) against its limit; no alert where there is none."""
    limit = limits.of(name)
    if interval is None:
        return Change(name, title, form, *values, None, None, None, limit, alert=False)
    middle, low, high = interval
    alert = limit is not None and (high < limit if name in FALLING else low > limit)
    return Change(name, title, form, *values, middle, low, high, limit, alert)
