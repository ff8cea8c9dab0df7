"""The development data, judged: what the benchmarks and the test of the floors share."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
from benchmarks.quality.fairness import perplexity_deciles
from numpy.typing import NDArray

from lowbg.config import Policy
from lowbg.jobs.eval.evaluate import LabelledScores, length_buckets
from lowbg.jobs.eval.labelled_scores import LabelledScoresBuilder, judge_rows
from lowbg.jobs.train.corpus import Row, list_files, read_rows
from lowbg.models import embedded_names
from lowbg.runs.engine import Engine
from lowbg.storage.files import file_digest

HERE = Path(__file__).parent


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
    "perplexity decile", and "tables": "some" or "none" for the language.
    """
    engine, builder = Engine(policy).setup(), LabelledScoresBuilder()
    for path in list_files([data / "labelled" / "dev"]):
        if files is not None and path.name not in files:
            continue
        judge_rows(engine, choose(read_rows(path)), builder)
    j = builder.build()
    has_tables = np.isin(j.groups["language"], embedded_names())
    more = {
        "kind": kinds(j),
        "length": length_buckets(j.words),
        "perplexity decile": perplexity_deciles(j),
        "tables": np.where(has_tables, "some", "none"),
    }
    return dataclasses.replace(j, groups={**j.groups, **more})


def kinds(j: LabelledScores) -> NDArray[np.str_]:
    """The kind of every human document, "" where `groups.toml` names none."""
    table = tomllib.loads((HERE / "groups.toml").read_text(encoding="utf-8"))["groups"]
    kind_of = {place: kind for kind, places in table.items() for place in places}
    found = (
        "" if is_ai else kind_of.get(f"{dataset} · {domain}") or kind_of.get(dataset, "")
        for is_ai, dataset, domain in _triples(j)
    )
    return np.array([*found])


def _triples(j: LabelledScores) -> Iterator[tuple[bool, str, str]]:
    return zip(
        j.is_ai.tolist(), j.groups["dataset"].tolist(), j.groups["domain"].tolist(), strict=True
    )
