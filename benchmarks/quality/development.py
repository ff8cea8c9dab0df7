"""The development data, judged: what the benchmarks and the test of the floors share."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.quality.human_groups import perplexity_deciles
from numpy.typing import NDArray

from lowbg.config import Policy
from lowbg.jobs.eval.evaluate import LabelledScores, length_buckets
from lowbg.jobs.eval.labelled_scores import LabelledScoresBuilder, judge_rows
from lowbg.jobs.train.corpus import Row, list_files, read_rows
from lowbg.models import embedded_names
from lowbg.runs.engine import Engine
from lowbg.storage.files import file_digest

HERE = Path(__file__).parent

WRITTEN, REWRITTEN, TRANSLATED = "written", "rewritten or perturbed", "translated"
"""Where AI text comes from: a prompt, a text that was there before, a human original abroad."""


def digests(data: Path) -> dict[str, str]:
    """The SHA-256 of every development file, by name."""
    return {path.name: file_digest(path) for path in list_files([data / "labelled" / "dev"])}


def judge(
    data: Path,
    policy: Policy,
    choose: Callable[[Iterable[Row]], Iterable[Row]] = lambda rows: rows,
    files: Collection[str] | None = None,
) -> LabelledScores:
    """The rows of every file that `choose` leaves, judged; with `files`, of the files so named.

    Beside the groupings of `judge_rows`: "kind" of human text (`groups.toml`), "length",
    "perplexity decile", "tables": "some" or "none" for the language, and of AI text the "task"
    (`tasks`) and the "model's year" (`model_years`).
    """
    engine, builder = Engine(policy).setup(), LabelledScoresBuilder()
    for path in list_files([data / "labelled" / "dev"]):
        if files is not None and path.name not in files:
            continue
        judge_rows(engine, choose(read_rows(path)), builder)
    j = builder.build()
    task = tasks(j)
    has_tables = np.isin(j.groups["language"], embedded_names())
    more = {
        "kind": kinds(j),
        "length": length_buckets(j.words),
        "perplexity decile": perplexity_deciles(j),
        "tables": np.where(has_tables, "some", "none"),
        "task": task,
    }
    if "generator" in j.groups:
        year = model_years(j.groups["generator"])
        more["model's year"] = np.where(task == WRITTEN, year, "")
    return dataclasses.replace(j, groups={**j.groups, **more})


def kinds(j: LabelledScores) -> NDArray[np.str_]:
    """The kind of every human document, "" where `groups.toml` names none."""
    table = _read("groups.toml")["groups"]
    kind_of = {place: kind for kind, places in table.items() for place in places}
    found = (
        "" if is_ai else kind_of.get(f"{dataset} · {domain}") or kind_of.get(dataset, "")
        for is_ai, dataset, domain in _triples(j)
    )
    return np.array([*found])


def tasks(j: LabelledScores) -> NDArray[np.str_]:
    """Where every AI document comes from; "" of human text. `groups.toml` names translations."""
    table = _read("groups.toml")["translated"]["datasets"]
    translated = _matching(j.groups["dataset"], {TRANSLATED: table})
    attack = j.groups.get("attack", np.zeros(len(j), np.str_))
    task = np.where(attack != "", REWRITTEN, WRITTEN)
    task = np.where(translated != "", TRANSLATED, task)
    return np.where(j.is_ai, task, "")


def model_years(generators: NDArray[np.str_]) -> NDArray[np.str_]:
    """The year of each generator (`generators.toml`); "unknown" where its name states no model."""
    years = {str(own["year"]): own["names"] for own in _read("generators.toml")["year"]}
    found = _matching(generators, years)
    return np.where((generators != "") & (found == ""), "unknown", found)


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / name).read_text(encoding="utf-8"))


def _matching(names: NDArray[np.str_], table: Mapping[str, Sequence[str]]) -> NDArray[np.str_]:
    """For each name the first key with a shell pattern that fits it in any case, or ""."""

    def first(name: str) -> str:
        fits = (
            key
            for key, patterns in table.items()
            if any(fnmatchcase(name.lower(), pattern) for pattern in patterns)
        )
        return next(fits, "")

    unique, inverse = np.unique(names, return_inverse=True)
    return np.array([first(str(name)) for name in unique] or [""])[inverse]


def _triples(j: LabelledScores) -> Iterator[tuple[bool, str, str]]:
    return zip(
        j.is_ai.tolist(), j.groups["dataset"].tolist(), j.groups["domain"].tolist(), strict=True
    )
