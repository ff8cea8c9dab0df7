"""Fits the style's weights, one set for all languages: `… style_weights DATA -o STYLE.json`.

Reads `DATA/labelled/train` alone; the output is `filters/lowbg/models/style.json`. Every document
is measured against the human text of its language; kinds count alike inside a language and label,
labels and languages too. Besides the weights of everything, those of `FOLDS` fits are kept that
each left out some projects in all languages (`project_of`), for scores of text that a fit never
saw. Prints how well those rank.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowbg.jobs.eval.evaluate import auroc
from lowbg.jobs.train.config import FORBIDDEN_LICENCES
from lowbg.jobs.train.corpus import Row, list_files, read_rows
from lowbg.jobs.train.regression import Floats
from lowbg.jobs.train.style import alike, fit_style, human_style, log_odds, measure_rows
from lowbg.text.style import standardise

FOLDS = 5
MAX_ROWS, MIN_KIND = 200, 20
"""Documents read of a kind, and the least of one that is ranked."""

MIN_BYTES = 600
"""Of UTF-8: shorter documents say little of their style."""

TRANSLATIONS = frozenset({"coop-iot", "iot-human-translations"})
"""Translations by a model or of its lessons: what they count as is policy."""

LANGUAGES = ("cs", "de", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "zh")
"""Those with two kinds of either label."""


@dataclass(frozen=True, slots=True)
class Material:
    """One entry a document; `kind` is its language, dataset and label."""

    deviations: Floats
    is_ai: NDArray[np.bool_]
    dataset: NDArray[np.str_]
    language: NDArray[np.str_]
    kind: NDArray[np.str_]

    def weights(self, chosen: NDArray[np.bool_]) -> Floats:
        """Kinds alike in each language and label; 0 for documents that aren't `chosen`."""
        weights = np.zeros(len(self.is_ai))
        for language in np.unique(self.language):
            for label in (False, True):
                own = chosen & (self.language == language) & (self.is_ai == label)
                if own.any():
                    each = alike(self.kind[own])
                    weights[own] = each / each.sum()
        return weights


def project_of(dataset: str) -> str:
    """What a dataset is a part of: one project is often there in several languages."""
    bare = re.sub(r"^(es4|pt4|fr4|ru|pl|cs|en4|ja4|ko4|zh4)-", "", dataset)
    return re.sub(r"-(es|fr|de|it|nl|pt|23)$", "", bare)


def gather(data: Path) -> Material:
    """At most `MAX_ROWS` documents of each kind, chosen by hash."""
    forbidden = re.compile(FORBIDDEN_LICENCES, re.IGNORECASE)
    groups: dict[tuple[str, str, bool], list[Row]] = defaultdict(list)
    for path in list_files([data / "labelled" / "train"]):
        for row in read_rows(path, "human"):
            language = row.language.split("-")[0]
            useful = language in LANGUAGES and row.dataset not in TRANSLATIONS
            if useful and not row.attack and not forbidden.search(row.license):
                if len(row.text.encode("utf-8", "replace")) >= MIN_BYTES:
                    groups[language, row.dataset, row.is_ai].append(row)
    chosen: dict[str, list[Row]] = defaultdict(list)
    for (language, _, _), rows in sorted(groups.items()):
        rows.sort(key=lambda row: zlib.crc32((row.id or row.text).encode("utf-8", "replace")))
        chosen[language].extend(rows[:MAX_ROWS])
    parts = [_measured(rows, language) for language, rows in sorted(chosen.items())]
    return Material(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _measured(rows: list[Row], language: str) -> tuple[NDArray[np.generic], ...]:
    features = measure_rows(rows, language)
    is_ai = np.array([row.is_ai for row in rows])
    dataset = np.array([row.dataset for row in rows])
    mean, spread = human_style(features[~is_ai], alike(dataset[~is_ai]))
    kind = np.array([f"{language}/{row.dataset}/{row.label}" for row in rows])
    return standardise(features, mean, spread), is_ai, dataset, np.full(len(rows), language), kind


def fit(material: Material) -> list[tuple[list[str], Floats]]:
    """The fits: which datasets each left out, and its weights; that of everything first."""
    datasets = np.unique(material.dataset).tolist()
    projects = sorted({project_of(name) for name in datasets}, key=lambda p: zlib.crc32(p.encode()))
    fold = {project: k % FOLDS for k, project in enumerate(projects)}
    fits = []
    for k in (None, *range(FOLDS)):
        out = [name for name in datasets if fold[project_of(name)] == k]
        weights = material.weights(~np.isin(material.dataset, out))
        used = weights > 0
        found = fit_style(material.deviations[used], material.is_ai[used], weights[used])
        fits.append((out, found))
    return fits


def ranks(material: Material, fits: list[tuple[list[str], Floats]]) -> dict[str, float]:
    """AUROC of kinds of AI text against kinds of human text, all left out, by language."""
    score = np.zeros(len(material.is_ai))
    for out, weights in fits[1:]:
        own = np.isin(material.dataset, out)
        score[own] = log_odds(material.deviations[own], weights)
    found = {}
    for language in np.unique(material.language).tolist():
        groups: dict[bool, list[Floats]] = {False: [], True: []}
        for label, each in groups.items():
            mine = (material.language == language) & (material.is_ai == label)
            for kind in np.unique(material.kind[mine]):
                own = score[material.kind == kind]
                if len(own) >= MIN_KIND:
                    each.append(own)
        areas = [auroc(human, ai) for human in groups[False] for ai in groups[True]]
        found[language] = float(np.mean(areas))
    return found


def main(argv: list[str]) -> int:
    """Writes the fits as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables.style_weights")
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(argv)
    material = gather(options.data)
    fits = fit(material)
    for language, area in ranks(material, fits).items():
        print(f"{language}  AUROC {area:.3f}")
    written = [{"left_out": out, "weights": [round(float(w), 5) for w in x]} for out, x in fits]
    options.output.write_text(json.dumps({"fits": written}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
