"""Quality floors: what figures a set of labelled documents has to reach, read from a TOML file.

    seed = 1
    per_group = 120
    margin = 0.5

    [[floor]]
    name = "assistant answers"
    figure = "recall"
    value = 0.67
    where.dataset = ["alpaca_eval"]

`figure` is "recall" or "fpr" (at the shipped threshold, of scored documents), "auroc", or "scored".
`where` names groups by grouping; "*" stands for any but none. Of each dataset, domain, label and
language `per_group` documents are drawn, and `value` is what these gave. The same documents may be
worse by `margin` standard errors: for what a change of arithmetic moves across a threshold.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lowbg.errors import ConfigError
from lowbg.jobs.eval.evaluate import Floats, LabelledScores, auroc
from lowbg.jobs.train.corpus import Row

Figure = Literal["recall", "fpr", "auroc", "scored"]
SMALLER_IS_BETTER: Final = ("fpr",)


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure of the documents that were chosen, its standard error, and how many they are.

    `error` is that of a figure `expected` measured on as many documents. The figure is NaN where
    there are none.
    """

    value: float
    error: float
    documents: int


@dataclass(frozen=True, slots=True)
class Floor:
    """A figure of some documents and the value that it may not fall short of."""

    name: str
    figure: Figure
    where: Mapping[str, tuple[str, ...]]
    value: float

    def measure(self, j: LabelledScores) -> Measured:
        """The figure, and the standard error that `value` has on as many documents.

        Of shares it is the binomial one (with at least one document expected), of AUROC that of
        Hanley & McNeil 1982, eq. 2.
        """
        inside = chosen(j, self.where)
        scored = ~np.isnan(j.score)
        if self.figure == "auroc":
            human, ai = j.score[inside & scored & ~j.is_ai], j.score[inside & scored & j.is_ai]
            error = _auroc_error(self.value, len(human), len(ai))
            return Measured(auroc(human, ai), error, len(human) + len(ai))
        if self.figure == "scored":
            own, hits = inside, scored
        else:
            own = inside & scored & (j.is_ai if self.figure == "recall" else ~j.is_ai)
            hits = j.called_ai
        n = int(own.sum())
        if not n:
            return Measured(float("nan"), float("nan"), 0)
        p = min(max(self.value, 1 / n), 1 - 1 / n) if n > 1 else 0.5
        return Measured(float(hits[own].mean()), float(np.sqrt(p * (1 - p) / n)), n)

    def holds(self, found: Measured, margin: float) -> bool:
        """Whether the figure is at most `margin` standard errors worse than `value`; NaN is not."""
        worse = found.value - self.value
        if self.figure not in SMALLER_IS_BETTER:
            worse = -worse
        return worse <= margin * found.error


@dataclass(frozen=True, slots=True)
class Floors:
    """The file: how documents are drawn, and what they have to reach."""

    seed: int
    per_group: int
    margin: float
    floors: tuple[Floor, ...]


def chosen(j: LabelledScores, where: Mapping[str, Sequence[str]]) -> NDArray[np.bool_]:
    """Which documents are in the groups that `where` names, by grouping; "*" is any but none.

    Raises `ConfigError` for a grouping that there is not.
    """
    mask = np.ones(len(j), np.bool_)
    for grouping, names in where.items():
        if grouping not in j.groups:
            raise ConfigError(f"no grouping {grouping!r}; there are {', '.join(sorted(j.groups))}")
        groups = j.groups[grouping]
        mask &= np.isin(groups, list(names)) | (("*" in names) & (groups != ""))
    return mask


def load(path: Path) -> Floors:
    """The floors of a TOML file. Raises `ConfigError` for one that is not as it has to be."""
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        floors = tuple(_floor(entry) for entry in values["floor"])
        return Floors(
            int(values["seed"]), int(values["per_group"]), float(values["margin"]), floors
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not a file of floors ({error!r})") from error


def _floor(entry: Mapping[str, Any]) -> Floor:
    unknown = set(entry) - {"name", "figure", "value", "where"}
    if unknown or entry["figure"] not in get_args(Figure):
        raise ValueError(f"unknown: {unknown or entry['figure']}")
    where = {key: tuple(map(str, names)) for key, names in entry.get("where", {}).items()}
    return Floor(str(entry["name"]), entry["figure"], where, float(entry["value"]))


def updated(text: str, floors: Floors, j: LabelledScores, *, may_lower: bool) -> str:
    """The text of the floors' file with the values that `j` gives, comments kept.

    Raises `ConfigError` where a figure got worse, unless it `may_lower` floors.
    """
    values = []
    for floor in floors.floors:
        found = floor.measure(j)
        if not may_lower and not floor.holds(found, 0.0):
            raise ConfigError(
                f"floor {floor.name!r}: {found.value:.4f} is worse than {floor.value:.4f}. Say "
                "--lower-floors if that has to be"
            )
        # Rounded to the lenient side, so that the same documents hold the floor.
        scale = np.ceil if floor.figure in SMALLER_IS_BETTER else np.floor
        values.append(float(scale(found.value * 10_000) / 10_000))
    remaining = iter(values)
    return re.sub(
        r"^value = .*$", lambda _: f"value = {next(remaining):.4f}", text, flags=re.MULTILINE
    )


def sample(rows: Iterable[Row], floors: Floors) -> Iterator[Row]:
    """At most `per_group` rows of each dataset, domain, label and language, in whatever order."""
    groups: dict[tuple[str, ...], list[tuple[bytes, int, Row]]] = {}
    for i, row in enumerate(rows):
        key = f"{floors.seed}\0{row.id}\0{row.text}".encode("utf-8", "replace")
        rank = hashlib.blake2b(key, digest_size=8).digest()
        group = (row.dataset, row.domain, row.label, row.language)
        groups.setdefault(group, []).append((rank, i, row))
    for _, own in sorted(groups.items()):
        yield from (row for _, _, row in sorted(own, key=lambda e: e[:2])[: floors.per_group])


def _auroc_error(area: float, human: int, ai: int) -> float:
    if not human or not ai:
        return float("nan")
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread: Floats = np.array(
        [area * (1 - area), (ai - 1) * (q1 - area**2), (human - 1) * (q2 - area**2)]
    )
    return float(np.sqrt(max(0.0, float(spread.sum())) / (human * ai)))
