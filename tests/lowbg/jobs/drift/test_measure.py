from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from lowbg.errors import ConfigError
from lowbg.jobs.drift.measure import HELD_OUT, level, measure, take
from lowbg.jobs.drift.profile import DISTRIBUTIONS, FIGURES, OTHER
from lowbg.jobs.drift.sampling import Sample
from lowbg.jobs.drift.settings import Size
from lowbg.runs.engine import Engine

AsSample = Callable[[Sequence[str]], Sample]
SIZE = Size(250, 15_000)


def test_level_gives_exactly_the_total_as_evenly_as_can_be() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        lengths = rng.integers(0, 50, rng.integers(1, 30))
        total = int(rng.integers(1, lengths.sum() + 2))
        taken = level(lengths, total)
        if total > lengths.sum():
            assert taken is None
            continue
        assert taken is not None
        assert taken.sum() == total
        assert (taken <= lengths).all()
        # Nobody who has more to give gives less than the others, but for one word.
        short = taken < lengths
        assert not short.any() or taken[short].min() >= taken.max() - 1


def test_take_takes_the_first_words() -> None:
    words = np.arange(10, dtype=np.uint64)
    taken, owners = take(words, np.array([0, 4, 4, 10]), np.array([2, 0, 3]))
    assert taken.tolist() == [0, 1, 4, 5, 6]
    assert owners.tolist() == [0, 0, 2, 2, 2]


def test_profile_has_every_figure_inside_its_interval(
    human: list[str], as_sample: AsSample, engine: Engine
) -> None:
    profile = measure(as_sample(human[:250]), SIZE, engine).profile
    assert list(profile.figures) == [kind.name for kind in FIGURES]
    for name, figure in profile.figures.items():
        assert figure.value is not None, name
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high, name
        if name != "ai_share":
            assert figure.low < figure.high, name
    figures = profile.figures
    assert figures["distinct_1"].value == figures["unique_tokens"].value / SIZE.words  # type: ignore[operator]
    assert figures["tail_share"].value == pytest.approx(0.1, abs=0.01)
    deciles = [figures[f"perplexity_decile_{k}"].value for k in range(1, 10)]
    assert deciles == sorted(deciles, key=lambda value: value or 0.0)
    assert list(profile.distributions) == list(DISTRIBUTIONS)
    assert profile.distributions["words"].counts.sum() == SIZE.words
    assert profile.distributions["languages"].counts.sum() == SIZE.documents
    assert all(d.names[-1] == OTHER for d in profile.distributions.values())


def test_intervals_are_as_wide_as_the_figures_scatter(
    human: list[str], as_sample: AsSample, engine: Engine
) -> None:
    """Over disjoint samples the spread of a figure is what its standard error says."""
    parts = [human[i::5][:110] for i in range(5)]
    profiles = [measure(as_sample(part), Size(110, 6_000), engine).profile for part in parts]
    for name in ("perplexity", "unique_tokens", "sentence_words"):
        values = np.log(np.array([p.figures[name].value for p in profiles], np.float64))
        error = np.mean([p.figures[name].error or 0.0 for p in profiles])
        # Of five values: a standard deviation within a factor of 2.5, if the error is right.
        assert error / 2.5 < values.std(ddof=1) < error * 2.5, name


def test_same_sample_same_profile(human: list[str], as_sample: AsSample, engine: Engine) -> None:
    one, two = (measure(as_sample(human[:250]), SIZE, engine).profile for _ in range(2))
    assert one.figures == two.figures


def test_hold_out_is_human_and_not_in_the_sample(
    human: list[str], ai: list[str], as_sample: AsSample, engine: Engine
) -> None:
    texts = list(human[:250])
    texts[0], texts[HELD_OUT] = ai[0], texts[1]  # AI text; and a text that the sample holds, too
    holdout = measure(as_sample(texts), SIZE, engine).profile.holdout
    assert holdout is not None
    assert len(holdout.openings) == SIZE.documents // HELD_OUT - 2


def test_a_copy_of_the_hold_out_is_not_learned_from(
    human: list[str], as_sample: AsSample, engine: Engine
) -> None:
    baseline = measure(as_sample(human[:250]), SIZE, engine).profile
    aside = human[:250:HELD_OUT]
    other = [text for text in human[250:] if text not in aside]
    clean = measure(as_sample(other[:250]), Size(250, 12_000), engine, baseline)
    # The same, with every hold-out document in place of a document that would be learned from.
    leaky = [*other[:250]]
    places = [i for i in range(250) if i % HELD_OUT][: len(aside)]
    for i, text in zip(places, aside, strict=True):
        leaky[i] = text
    leaked = measure(as_sample(leaky), Size(250, 12_000), engine, baseline)
    values = [m.profile.figures["holdout_perplexity"].value for m in (clean, leaked)]
    assert values[0] is not None
    assert values[1] is not None
    assert values[1] > 0.8 * values[0]  # Known by heart, it would be a tenth.


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (Size(300, 15_000), "has 250 readable documents, and the sample is of 300. Give `docu"),
        (
            Size(250, 90_000),
            "words to count, and the sample is of 90,000. Give `words=19572` at most",
        ),
    ],
)
def test_too_small_an_input_is_refused(
    human: list[str], as_sample: AsSample, engine: Engine, size: Size, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        measure(as_sample(human[:250]), size, engine)


def test_text_without_words_or_models(as_sample: AsSample, engine: Engine) -> None:
    greek = ["Η μικρή γάτα κοιμάται κάτω από το παλιό τραπέζι της κουζίνας μας."] * 30
    profile = measure(as_sample(greek), Size(30, 200), engine).profile
    assert profile.figures["perplexity"].value is None
    assert profile.figures["ai_share"].value is None
    assert profile.tail_from is None
    assert profile.holdout is None  # every document is a copy of one in the sample
    with pytest.raises(ConfigError, match="There is nothing to measure"):
        measure(as_sample([""] * 30), Size(30, 200), engine)
