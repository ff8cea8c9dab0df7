"""`train` end to end on written text, and its parts."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lowbg.decision.calibration import FPR_GRID
from lowbg.errors import ConfigError, FormatError
from lowbg.jobs.train import calibration, held_out, log_odds
from lowbg.jobs.train.config import TrainConfig
from lowbg.jobs.train.corpus import as_text, list_files, read_rows
from lowbg.jobs.train.fit import genre_of, sample_of
from lowbg.jobs.train.gather import gather
from lowbg.jobs.train.kneser_ney import LmConfig
from lowbg.jobs.train.log_odds import OddsConfig, Sample
from lowbg.jobs.train.regression import Sparse, fit_logistic
from lowbg.jobs.train.train import train
from lowbg.jobs.train.windows import Vocabulary, count_ngrams, cut
from lowbg.kernels.characters import LATIN
from lowbg.kernels.tables import probe
from lowbg.models import open_model, save_arrays
from lowbg.scorers.base import Documents
from lowbg.scorers.phrases.odds import create_odds
from lowbg.text.tokens import tokenize

HUMAN = [
    "so",
    "we",
    "went",
    "up",
    "the",
    "hill",
    "and",
    "then",
    "it",
    "rained",
    "all",
    "day",
    "and",
    "nobody",
    "minded",
    "much",
]
MACHINE = [
    "moreover",
    "it",
    "is",
    "crucial",
    "to",
    "delve",
    "into",
    "the",
    "vibrant",
    "tapestry",
    "of",
    "modern",
    "life",
]


def write(path: Path, label: str, count: int, **fields: str) -> Path:
    generator = np.random.default_rng(count)
    words = HUMAN if label == "human" else MACHINE
    with path.open("w", encoding="utf-8") as stream:
        for i in range(count):
            text = " ".join(generator.permutation(words * 8)) + "."
            row = {"text": text, "label": label, "lang": "en", "id": f"{label}{i}", **fields}
            stream.write(json.dumps(row) + "\n")
    return path


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    human = tuple(
        write(tmp_path / f"human{k}.jsonl", "human", 30 + k, dataset=f"human{k}") for k in range(3)
    )
    ai = write(tmp_path / "ai.jsonl", "ai", 40, dataset="ai")
    return TrainConfig(
        language="en",
        output=tmp_path / "out" / "en.safetensors",
        human=human,
        ai=(ai,),
        folds=3,
        min_documents=30,
        odds=OddsConfig(order=2, min_windows=3, slots=1024),
        lm=LmConfig(order=2, slots=1024),
    )


@pytest.mark.slow
def test_training_twice_gives_the_same_bytes(config: TrainConfig, tmp_path: Path) -> None:
    first = train(config).path.read_bytes()
    second = train(replace(config, output=tmp_path / "again.safetensors")).path.read_bytes()
    assert first == second


def test_what_a_model_file_holds(config: TrainConfig) -> None:
    model = open_model(train(config).path)
    assert set(model.arrays) == {"lm_slots", "odds_slots"}
    assert model.metadata["language"] == "en"
    thresholds = model.metadata["calibration"]["thresholds"]
    assert thresholds == sorted(thresholds, reverse=True)
    assert set(model.metadata["human_collections"]) == {"human0", "human1", "human2"}
    rows = model.metadata["sources"]["rows"]
    assert sum(row["share"] for row in rows) == pytest.approx(1.0, abs=1e-3)
    assert len(model.metadata["sources"]["files"]) == 4


def test_the_trained_table_separates(config: TrainConfig, tmp_path: Path) -> None:

    from lowbg.scorers.base import Documents

    text = pa.array([" ".join(HUMAN * 8), " ".join(MACHINE * 8)], pa.large_string())
    tokens = tokenize(text, np.full(2, LATIN, np.uint8))
    one = Documents(text, tokens, np.zeros(2, np.int8), ("en",))
    scored = create_odds({"en": open_model(train(config).path)}).score(one)
    assert scored["nb"][0] < 0 < scored["nb"][1]
    assert scored["lr"][0] < 0 < scored["lr"][1]


def test_forbidden_licences_are_left_out(config: TrainConfig, tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.jsonl", "human", 9, dataset="bad", license="CC BY-NC-SA 4.0")
    config = replace(config, human=(*config.human, bad))
    assert "bad" not in {row.dataset for row in gather(config).rows}
    material = gather(replace(config, calibrate_only=("bad",)))
    fitted = {row.dataset for row, f in zip(material.rows, material.fitted, strict=True) if f}
    assert "bad" in {row.dataset for row in material.rows}
    assert "bad" not in fitted


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("CC BY-NC 4.0", False), ("CC-BY-NC-SA (LICENSE.CCBYNCSA.txt)", False),
        ("CC BY-NC-SA 4.0 / CC BY-NC-ND 4.0", False), ("CLARIN PUB+BY+NC+SA", False),
        ("Brown: non-commercial research", False),
        ("none stated (Stanford Alpaca: CC BY-NC 4.0)", False),
        ('none stated; README: "for study and exchange only"', False),
        ("CC BY-SA 4.0", True), ("none stated", True), ("Apache-2.0", True),
        ("CC BY / CC BY-NC per story", False), ("public domain (US government)", True),
        ("unstated (BBC, research use)", True),
    ],
)  # fmt: skip
def test_licences(tmp_path: Path, config: TrainConfig, licence: str, allowed: bool) -> None:
    path = write(tmp_path / "x.jsonl", "human", 2, dataset="x", license=licence)
    rows = gather(replace(config, human=(*config.human, path))).rows
    assert ("x" in {row.dataset for row in rows}) is allowed


def test_no_human_text_is_an_error(config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match=r"^fr: 0 human documents of 75 words or more"):
        gather(replace(config, language="fr"))
    with pytest.raises(ConfigError, match="no such file"):
        gather(replace(config, ai=(Path("/nowhere"),)))


def test_a_broken_line_is_located(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"text": "a"}\n{"text": \n', encoding="utf-8")
    with pytest.raises(FormatError, match=r"broken\.jsonl:2"):
        list(read_rows(path))


def test_kinds_weigh_alike_inside_their_label_and_labels_alike() -> None:
    sizes = {("a", True): 100, ("b", True): 400, ("b", False): 50, ("c", False): 25}
    rows = [key for key, n in sizes.items() for _ in range(n)]
    sample = Sample(
        is_ai=np.array([is_ai for _, is_ai in rows]),
        collection=np.array([name for name, _ in rows]),
        document=np.arange(len(rows)),
        base=np.linspace(0.5, 1.0, len(rows)),
        genre=np.full(len(rows), ""),
    )
    weights = log_odds.balance(sample)
    mass = {key: weights[[row == key for row in rows]].sum() for key in sizes}
    assert mass["a", True] == pytest.approx(0.5) == pytest.approx(mass["b", True])
    assert mass["b", False] == pytest.approx(2 / 3)  # c has half of the documents that count fully
    assert mass["c", False] == pytest.approx(1 / 3)


def test_labels_weigh_alike_inside_a_genre() -> None:
    rows = [*[("a", True, "story")] * 60, *[("b", True, "")] * 60]
    rows += [(name, False, "story") for name in "cde" for _ in range(60)] + [("f", False, "")] * 60
    names, labels, genres = (np.array(each) for each in zip(*rows, strict=True))
    sample = Sample(labels, names, np.arange(len(rows)), np.ones(len(rows)), genres)
    weights = log_odds.balance(sample)
    mass = [weights[(names == name) & (genres == "story")].sum() for name in "acde"]
    # Stories weighed 1 and 3, so each gets √3, the human ones a third of it; the rest weighs 1.
    assert mass[0] == pytest.approx(np.sqrt(3) / (np.sqrt(3) + 1)) == pytest.approx(sum(mass[1:]))
    assert mass[1] == pytest.approx(mass[2]) == pytest.approx(mass[3])


def test_a_genre_is_the_first_with_a_word_in_the_domain() -> None:
    genres = {"peer review": ["peer"], "review": ["review", "rating"]}
    found = [genre_of(d, genres) for d in ("peer_review", "review-film", "rating", "news")]
    assert found == ["peer review", "review", "review", ""]


def test_only_so_many_documents_of_a_kind_are_fitted(config: TrainConfig) -> None:
    def fitted(most: int) -> Counter[str]:
        small = replace(config, max_documents=most)
        material = gather(small)
        windows = cut(material.tokens.word_starts, 25, 4)
        sample = sample_of(material, windows, small)
        return Counter(sample.collection[sample.base > 0].tolist())

    assert fitted(1_000) == {"human0": 30, "human1": 31, "human2": 32, "ai": 40}
    assert set(fitted(20).values()) == {20}


def test_naive_bayes_is_the_log_ratio_of_smoothed_rates() -> None:
    matrix = Sparse(np.array([0, 1, 2, 3, 3]), np.array([0, 0, 0], np.int32), np.ones(4), 1)
    labels = np.array([True, True, False, False])
    found = log_odds.naive_bayes(matrix, labels, np.ones(4), smoothing=1.0)
    prior = (1.0 + 0.5) / 2 + 0.5
    assert found[0] == pytest.approx(np.log((2 + prior) / 3) - np.log((1 + prior) / 3))


def test_logistic_regression_reaches_the_optimum() -> None:
    generator = np.random.default_rng(5)
    dense = generator.random((200, 6)) < 0.4
    truth = np.array([1.5, -2.0, 0.7, 0.0, 3.0, -1.0])
    labels = generator.random(200) < 1 / (1 + np.exp(-(dense @ truth)))
    starts = np.concatenate([[0], np.cumsum(dense.sum(1))]).astype(np.int64)
    matrix = Sparse(starts, np.nonzero(dense)[1].astype(np.int32), np.ones(200), 6)
    weights, intercept = fit_logistic(matrix, labels, np.ones(200), l2=1e-3, iterations=200)
    residual = (1 / (1 + np.exp(-(dense @ weights + intercept))) - labels) / 200
    assert dense.T @ residual + 1e-3 * weights == pytest.approx(np.zeros(6), abs=1e-4)
    assert residual.sum() == pytest.approx(0.0, abs=1e-4)


def test_quantised_weights_are_read_back(config: TrainConfig) -> None:
    generator = np.random.default_rng(2)
    hashes = np.sort(generator.integers(0, 2**63, 50).astype(np.uint64))
    weights = log_odds.Weights(generator.normal(size=50), generator.normal(size=50))
    vocabulary = Vocabulary(hashes, np.ones(50, np.uint8), np.ones(50, np.int64))
    table, scales, lost = log_odds.make_table(vocabulary, weights, 256)
    assert lost == 0
    payloads = np.array([probe(table, h) for h in hashes])
    steps = (payloads >> 8) - 128
    assert steps * scales[0] == pytest.approx(weights.naive_bayes, abs=scales[0] * 0.51)
    steps = (payloads & 0xFF) - 128
    read = steps * np.abs(steps) * scales[1]
    assert read == pytest.approx(weights.logistic, abs=scales[1] * 128)
    assert np.abs(read).max() == pytest.approx(np.abs(weights.logistic).max())


def test_the_table_scores_as_the_fit_does(config: TrainConfig) -> None:
    material = gather(config)
    windows = cut(material.tokens.word_starts, 25, 4)
    vocabulary, matrix = count_ngrams(material.tokens.words, windows, 2, 3)
    sample = Sample(
        is_ai=np.array([row.is_ai for row in material.rows])[windows.document],
        collection=np.array([row.dataset for row in material.rows])[windows.document],
        document=windows.document,
        genre=np.full(len(windows), ""),
        base=np.ones(len(windows)),
    )
    weights = log_odds.fit(matrix, sample, config.odds)
    table, scales, _ = log_odds.make_table(vocabulary, weights, 4096)
    path = config.output.parent.parent / "table.safetensors"
    save_arrays(path, {"odds_slots": table}, {"odds": {"order": 2, "scales": scales}})
    text = as_text(material.rows)
    documents = Documents(
        text,
        tokenize(text, np.full(len(text), LATIN, np.uint8)),
        np.zeros(len(text), np.int8),
        ("en",),
    )
    scored = create_odds({"en": open_model(path)}).score(documents)
    root = np.sqrt(windows.words)
    for name, own in (("nb", weights.naive_bayes), ("lr", weights.logistic)):
        expected = matrix.times(own) / root
        assert scored[name] == pytest.approx(expected, abs=0.02 * np.abs(expected).max())


def test_windows_are_equal_pieces_and_spread_over_long_documents() -> None:
    starts = np.array([0, 10, 10, 710, 4010])
    windows = cut(starts, min_words=10, max_windows=4)
    assert windows.document.tolist() == [0, 2, 2, 2, 3, 3, 3, 3]
    assert windows.words[0] == 10
    assert windows.words[1:4].sum() == 700
    assert windows.first[4] == 710
    assert windows.end[-1] == 4010
    assert windows.words.max() <= 300


def test_ngrams_are_counted_once_a_window() -> None:
    words = np.array([7, 7, 8, 7, 7, 8, 9], np.uint64)
    windows = cut(np.array([0, 3, 7]), min_words=1, max_windows=4)
    vocabulary, matrix = count_ngrams(words, windows, 2, 1)
    counts = dict(zip(vocabulary.hashes.tolist(), vocabulary.frequency.tolist(), strict=True))
    assert counts[7] == 2
    assert counts[9] == 1
    assert len(matrix.columns) == matrix.starts[-1] == 4 + 6


def test_folds_leave_collections_out_whole() -> None:
    sizes = {"h1": 400, "h2": 30, "h3": 20, "mixed": 40, "m1": 60, "m2": 50}
    collections = [name for name, n in sizes.items() for _ in range(n)]
    is_ai = np.array([name[0] == "m" for name in collections])
    is_ai[np.flatnonzero(np.array(collections) == "mixed")[::2]] = False
    fold = held_out.folds(collections, is_ai, 3)
    of = {name: set(fold[np.array(collections) == name].tolist()) for name in sizes}
    assert all(len(found) == 1 for found in of.values())
    assert {*of["h1"], *of["h2"], *of["h3"], *of["mixed"]} == {0, 1, 2}
    assert of["m1"] != of["m2"]
    assert of["m1"] | of["m2"] <= set(range(3, 3 + held_out.AI_FOLDS))


def test_no_fold_takes_all_of_a_label() -> None:
    fold = np.array([0] * 20 + [1] * 2 + [3] * 10)
    own, texts = np.arange(32) < 22, [str(i) for i in range(32)]
    kept, folds = fold.copy(), range(4)
    assert not held_out.scatter(fold, own, np.ones(32, np.bool_), texts, folds, least=2)
    assert (fold == kept).all()
    usable = np.arange(32) != 21  # One document would be left: too few.
    assert held_out.scatter(fold, own, usable, texts, folds, least=2)
    assert set(fold[:22]) == {0, 1, 2, 3}
    assert (fold[22:] == 3).all()


def test_spread_recovers_both_variance_parts() -> None:
    generator = np.random.default_rng(8)
    words = generator.choice([80, 150, 400, 500], 40_000)
    x = generator.normal(-0.3, np.sqrt(0.05 + 8.0 / words))
    spread = calibration.fit_spread(x, words, np.ones(len(x)))
    assert spread.mean == pytest.approx(-0.3, abs=0.01)
    assert spread.between == pytest.approx(0.05, rel=0.1)
    assert spread.within == pytest.approx(8.0, rel=0.1)


def test_few_collections_hold_a_lower_rate() -> None:
    z = [3.0, 2.8, 2.5, 2.0, 1.8, 1.5, 1.2, 0.8, 0.0]
    many = {str(k): {"documents": 50, "z": z} for k in range(10)}
    assert calibration.thresholds(many)[3] == pytest.approx(2.0, abs=2e-3)
    few = dict(list(many.items())[:5])
    assert calibration.thresholds(few)[3] == pytest.approx(2.5, abs=2e-3)  # 0.5 %
    assert calibration.thresholds({"a": many["0"]})[3] == pytest.approx(3.0, abs=2e-3)  # 0.1 %


def test_thresholds_of_documents_are_of_the_documents_themselves() -> None:
    """Of few ones a kind, too, between whose quantiles most of a tail lies."""
    generator = np.random.default_rng(5)
    z = generator.normal(size=1_600) + np.repeat(generator.normal(0, 0.3, 40), 40)
    names = np.repeat([f"kind {k}" for k in range(40)], 40)
    found = calibration.document_thresholds(z, names)
    assert found == sorted(found, reverse=True)
    shares = np.array([np.mean(z[names == name] >= np.array(found)[:, None], 1)
                       for name in np.unique(names)])  # fmt: skip
    error = shares.std(0) / np.sqrt(40)
    assert error.min() > 0.0002
    np.testing.assert_allclose(shares.mean(0) + calibration.SURE * error, FPR_GRID, atol=2 / 1_600)
    stored = {
        name: {"documents": 40, "z": calibration.quantiles(z[names == name])}
        for name in np.unique(names)
    }
    by_quantiles = calibration.thresholds(stored)[FPR_GRID.index(0.01)]
    assert np.mean(z >= by_quantiles) > 0.012
    # Kinds count alike, those of few documents less, and few kinds hold a lower rate.
    large = np.append(z, np.full(4_000, -9.0))
    of_large = np.append(names, np.full(4_000, "kind 0"))
    at = calibration.document_thresholds(large, of_large)[FPR_GRID.index(0.01)]
    each = [np.mean(large[of_large == name] >= at) for name in np.unique(of_large)]
    assert 0.006 <= np.mean(each) <= 0.01
    few = np.isin(names, ["kind 0", "kind 1", "kind 2"])
    at = calibration.document_thresholds(z[few], names[few])[FPR_GRID.index(0.05)]
    assert np.mean(z[few] >= at) <= 0.05 * 3 * 0.8 / 10
    # Equal ones are called AI together.
    tied = np.repeat([3.0, 0.0], [30, 1_570])
    at = calibration.document_thresholds(tied, names)[FPR_GRID.index(0.01)]
    assert at > 3.0


def test_text_that_is_all_alike_has_a_spread() -> None:
    spread = calibration.fit_spread(np.full(9, 2.0), np.arange(80, 89), np.ones(9))
    assert spread.standardise(np.array([2.0]), np.array([80])) == pytest.approx([0.0], abs=1e-6)
    assert spread.deviation(80) > 0.0


def test_paths_without_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"no shards in .*searched for \*\.jsonl"):
        list_files([tmp_path])
    with pytest.raises(ConfigError, match="gone: no such file or directory"):
        list_files([tmp_path / "gone"])
    shard = tmp_path / "a" / "b.jsonl"
    shard.parent.mkdir()
    shard.touch()
    assert list_files([tmp_path, shard]) == [shard]
