"""The shipped models' figures on a fixed sample of the development data, where that is at hand."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import zstandard
from benchmarks.quality import floors
from benchmarks.quality.development import judge

from lowbg.config import Policy
from lowbg.errors import ConfigError
from lowbg.jobs.eval.evaluate import LabelledScores
from lowbg.jobs.train.corpus import Row
from lowbg.models import embedded_names, open_embedded
from lowbg.storage.files import file_digest

ROOT = Path(__file__).resolve().parents[3]
QUALITY = ROOT / "benchmarks" / "quality"
VARIABLE = "LOWBG_QUALITY_DATA"
DATA = Path(os.environ.get(VARIABLE) or ROOT.parent / "shared" / "data")
RESULTS = json.loads((QUALITY / "results" / "dev.json").read_bytes())
FLOORS = floors.load(QUALITY / "floors.toml")


@pytest.fixture(scope="module")
def judged() -> LabelledScores:
    if not (DATA / "labelled" / "dev").is_dir():
        pytest.skip(f"no labelled/dev below {DATA}; {VARIABLE} names a folder that has it")
    return judge(DATA, Policy(), lambda rows: floors.sample(rows, FLOORS), RESULTS["data"])


@pytest.mark.parametrize("name", RESULTS["data"])
def test_a_file_that_floors_were_measured_on_is_as_it_was(name: str) -> None:
    """A file that came later harms nothing: it is not judged until `run.py` has measured it."""
    path = DATA / "labelled" / "dev" / name
    if not path.parent.is_dir():
        pytest.skip(f"no labelled/dev below {DATA}; {VARIABLE} names a folder that has it")
    assert file_digest(path) == RESULTS["data"][name], "measure again: benchmarks.quality.run"


def test_a_new_file_is_not_judged(tmp_path: Path) -> None:
    folder = tmp_path / "labelled" / "dev"
    folder.mkdir(parents=True)
    for name in ("known", "new"):
        row = {"id": name, "text": "Some words of a row.", "label": "human", "dataset": name}
        row |= dict.fromkeys(("domain", "generator", "attack", "lang"), "en")
        line = (json.dumps(row) + "\n").encode()
        (folder / f"{name}.jsonl.zst").write_bytes(zstandard.compress(line))
    found = judge(tmp_path, Policy(), files={"known.jsonl.zst"})
    assert found.groups["dataset"].tolist() == ["known"]
    assert len(judge(tmp_path, Policy())) == 2


@pytest.mark.slow
@pytest.mark.parametrize("floor", FLOORS.floors, ids=lambda floor: floor.name)
def test_the_shipped_models_hold_their_floors(judged: LabelledScores, floor: floors.Floor) -> None:
    found = floor.measure(judged)
    assert found.documents >= 50
    assert floor.holds(found, FLOORS.margin), (
        f"{floor.figure} {found.value:.4f} of {found.documents} documents; it was "
        f"{floor.value:.4f} ± {FLOORS.margin * found.error:.4f}"
    )


def test_floors_and_results_are_of_the_shipped_models() -> None:
    shipped = {name: open_embedded(name).sha256 for name in embedded_names()}
    assert RESULTS["models"] == shipped, "run benchmarks.quality.run again"


def test_the_model_card_names_the_shipped_models() -> None:
    models = ROOT / "filters" / "lowbg" / "models"
    pinned: Mapping[str, str] = json.loads((models / "digests.json").read_bytes())
    rows = [
        [cell.strip(" `…") for cell in line.split("|")[1:-1]]
        for line in (models / "MODEL_CARD.md").read_text(encoding="utf-8").splitlines()
        if line.count("|") > 7 and "`" in line
    ]
    on_card = {row[0]: row[-1] for row in rows}
    languages = set(pinned) - {"characters"}
    assert set(on_card) == languages
    for name in languages:
        assert len(on_card[name]) >= 12
        assert pinned[name].startswith(on_card[name]), name


def labelled_scores(score: float, n: int = 100) -> LabelledScores:
    """`n` documents of each label, human ones at 0.1, AI ones at `score`; called AI from 0.5."""
    scores = np.repeat([0.1, score], n)
    return LabelledScores(
        is_ai=np.repeat([False, True], n),
        score=scores,
        called_ai=scores >= 0.5,
        words=np.full(2 * n, 200),
        groups={"dataset": np.repeat(["a", "b"], n)},
    )


def floor(figure: floors.Figure, value: float, **where: tuple[str, ...]) -> floors.Floor:
    return floors.Floor("x", figure, where, value)


def test_a_floor_allows_for_chance_and_no_more() -> None:
    half = floor("recall", 0.5)
    assert half.measure(labelled_scores(0.9)).value == 1.0
    assert half.measure(labelled_scores(0.9)).error == pytest.approx(0.05)
    for value, holds in [(0.5, True), (0.36, True), (0.34, False), (0.9, True)]:
        assert half.holds(floors.Measured(value, 0.05, 100), 3.0) is holds
    rate = floor("fpr", 0.0)
    assert rate.measure(labelled_scores(0.9)).error == pytest.approx(0.00995, abs=1e-5)
    for value, is_held in [(0.0, True), (0.02, True), (0.04, False)]:
        assert rate.holds(floors.Measured(value, 0.00995, 100), 3.0) is is_held
    assert not half.holds(half.measure(labelled_scores(0.1)), 3.0)
    assert not half.holds(floors.Measured(float("nan"), float("nan"), 0), 3.0)


def test_auroc_and_its_error() -> None:
    found = floor("auroc", 0.9).measure(labelled_scores(0.9))
    assert found.value == 1.0
    # Hanley & McNeil 1982, with Q1 = 0.818, Q2 = 0.853.
    assert found.error == pytest.approx(0.02263, abs=1e-5)


def test_where_chooses_groups() -> None:
    j = labelled_scores(0.9)
    assert floors.chosen(j, {"dataset": ["a"]}).sum() == 100
    assert floors.chosen(j, {"dataset": ["*"]}).sum() == 200
    with pytest.raises(ConfigError, match="dataset"):
        floors.chosen(j, {"colour": ["red"]})


def test_a_floor_is_lowered_on_request_alone(tmp_path: Path) -> None:
    path = tmp_path / "floors.toml"
    path.write_text(
        'seed = 1\nper_group = 9\nmargin = 3.0\n\n# keep me\n[[floor]]\nname = "r"\n'
        'figure = "recall"\nvalue = 0.9000\n',
        encoding="utf-8",
    )
    text, own = path.read_text(encoding="utf-8"), floors.load(path)
    assert "value = 1.0000" in floors.updated(text, own, labelled_scores(0.9), may_lower=False)
    with pytest.raises(ConfigError, match="--lower-floors"):
        floors.updated(text, own, labelled_scores(0.1), may_lower=False)
    lowered = floors.updated(text, own, labelled_scores(0.1), may_lower=True)
    assert lowered == text.replace("0.9000", "0.0000")


@pytest.mark.parametrize(
    "text", ["", "seed = 1", "seed = 1\nper_group = 1\nmargin = 1\n[[floor]]\nfigure = 'x'"]
)
def test_what_is_no_file_of_floors_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "floors.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="not a file of floors"):
        floors.load(path)


def test_the_sample_is_the_same_in_any_order() -> None:
    own = floors.Floors(seed=1, per_group=3, margin=3.0, floors=())
    rows = [
        Row(f"text {i}", label, dataset, "", "", "", "", "", "en", str(i))
        for i, label, dataset in itertools.product(range(20), ("human", "ai"), ("a", "b"))
    ]
    drawn = [*floors.sample(rows, own)]
    assert len(drawn) == 12
    assert [*floors.sample(reversed(rows), own)] == drawn
    assert [*floors.sample(rows, floors.Floors(2, 3, 3.0, ()))] != drawn
