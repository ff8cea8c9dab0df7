"""`learn` end to end on written text: what it finds, what it refuses, what it writes."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from examples.make_language import make_rows, make_texts
from examples.make_language import write as write_rows

from lowbg.config import Policy
from lowbg.errors import ConfigError
from lowbg.jobs.learn.config import LearnConfig
from lowbg.jobs.learn.fit import Ngrams
from lowbg.jobs.learn.gather import BETWEEN, NEW, OLD, gather
from lowbg.jobs.learn.learn import Learned, learn
from lowbg.jobs.learn.sorting import sort_by_dumps
from lowbg.jobs.train.kneser_ney import LmConfig
from lowbg.jobs.train.log_odds import OddsConfig
from lowbg.models import open_folder
from lowbg.records import Metadata
from lowbg.runs.engine import Engine

SITES = 24
Rows = list[dict[str, str]]


def of_site(name: str, texts: list[str], date: str) -> Rows:
    rows = make_rows(name + date, texts)
    return [{**row, "url": f"https://{name}.example/{row['id']}", "date": date} for row in rows]


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sites of a writer each, in three dumps; in `new` an assistant writes for half of them."""
    folder = tmp_path_factory.mktemp("dumps")
    assistant = make_texts("assistant", 10 * SITES)
    parts: dict[str, Rows] = {"old": [], "between": [], "new": [], "human": []}
    for k in range(SITES):
        name, texts = f"site-{k}", make_texts(f"site-{k}", 42)
        parts["old"] += of_site(name, texts[:16], "2018-03-01")
        parts["between"] += of_site(name, texts[16:30], "2021-03-01")
        own = of_site(name, texts[30:], "2025-03-01")
        parts["human"] += own + of_site(name, make_texts(f"site-{k}+", 2), "2025-03-01")
        parts["new"] += own
        if k % 2:
            parts["new"] += of_site(name, assistant[9 * (k // 2) :][:9], "2025-04-01")
    for name, rows in parts.items():
        write_rows(folder / f"{name}.jsonl", rows)
    return folder


def config_of(folder: Path, output: Path, new: str = "new") -> LearnConfig:
    return LearnConfig(
        language="eo",
        output=output,
        old=(folder / "old.jsonl",),
        unlabelled=(folder / f"{new}.jsonl",),
        holdout=(folder / "between.jsonl",),
        odds=OddsConfig(order=2, min_windows=5, iterations=10, slots=1 << 15),
        lm=LmConfig(slots=1 << 14),
        folds=3,
        rounds=1,
    )


@pytest.fixture(scope="module")
def learned(dumps: Path, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    return learn(config_of(dumps, tmp_path_factory.mktemp("tables")))


def as_line(row: dict[str, str]) -> str:
    return json.dumps(row) + "\n"


def is_ai(learned: Learned) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array(
        [row.id.rpartition("-")[0].endswith("2025-04-01") for row in learned.dumps.rows]
    )


@pytest.mark.slow
def test_ai_text_is_found_and_human_text_is_not(learned: Learned) -> None:
    assert learned.refused == []
    ai, new = is_ai(learned), learned.dumps.part == NEW
    assert ai.sum() == 9 * SITES // 2
    assert learned.called_ai[ai].mean() > 0.9
    assert learned.called_ai[new & ~ai].mean() < 0.02
    assert learned.figures.new_called.estimate == pytest.approx(ai[new].mean(), abs=0.03)
    assert learned.figures.share.low < ai[new].mean() < learned.figures.share.high
    assert 0 < learned.kept < learned.offered


@pytest.mark.slow
def test_what_is_written_judges_documents(learned: Learned) -> None:
    model = open_folder(learned.path.parent)["eo"]
    told = model.metadata["learned"]
    assert told["figures"] == learned.figures.as_json
    assert told["by_source"] is True
    uses = {row["dataset"]: row["label"] for row in model.metadata["sources"]["rows"]}
    assert uses == {"old": "human", "held-out": "human", "new": "unlabelled"}
    engine = Engine(Policy(tables=str(learned.path.parent))).setup()
    texts = [*make_texts("assistant", 40)[-9:], *make_texts("a new site", 9)]
    eo = pa.array(["eo"] * 18, pa.string())
    metadata = dataclasses.replace(Metadata.unknown(18), language=eo)
    decisions = engine.judge(pa.array(texts, pa.large_string()), metadata).decisions
    assert decisions.called_ai[:9].sum() >= 8
    assert decisions.called_ai[9:].sum() == 0


@pytest.mark.slow
def test_learning_twice_gives_the_same_bytes(learned: Learned, dumps: Path, tmp_path: Path) -> None:
    again = learn(config_of(dumps, tmp_path))
    assert again.path.read_bytes() == learned.path.read_bytes()


@pytest.mark.slow
def test_a_new_dump_without_ai_text_is_refused(dumps: Path, tmp_path: Path) -> None:
    found = learn(config_of(dumps, tmp_path / "out", "human"))
    assert any(reason.startswith("no AI text shows") for reason in found.refused)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_held_out_text_that_has_changed_is_refused(dumps: Path, tmp_path: Path) -> None:
    """It holds what sets the new text apart: that isn't AI's, or this isn't human."""
    later = make_texts("assistant", 22 * SITES)[10 * SITES :]
    rows = [
        row
        for k in range(SITES)
        for row in of_site(f"site-{k}", later[12 * k : 12 * k + 12], "2021-06-01")
    ]
    path = tmp_path / "changed.jsonl"
    path.write_text((dumps / "between.jsonl").read_text() + "".join(map(as_line, rows)))
    config = dataclasses.replace(config_of(dumps, tmp_path / "out"), holdout=(path,))
    found = learn(config)
    assert found.refused
    assert not (tmp_path / "out").exists()


def test_dates_go_before_names(dumps: Path, tmp_path: Path) -> None:
    """Old text that is dated after the cut-off isn't human; new text from before it is."""
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text("".join((dumps / f"{n}.jsonl").read_text() for n in ("old", "between", "new")))
    config = dataclasses.replace(
        config_of(dumps, tmp_path),
        old=(dumps / "human.jsonl", mixed),
        unlabelled=(mixed,),
        holdout=(),
    )
    with pytest.raises(ConfigError, match=r"named as old text and as new"):
        gather(config)
    other = tmp_path / "other.jsonl"
    other.write_text((dumps / "new.jsonl").read_text())
    found = gather(dataclasses.replace(config, unlabelled=(other,), old=(mixed,)))
    assert found.count(OLD) == 16 * SITES
    assert found.count(BETWEEN) == 14 * SITES
    assert found.held == "dated 2021 or later"
    late = 12 * SITES + 9 * SITES // 2
    assert found.count(NEW) == late
    assert found.dropped["dated after the cut-off, though named as human"] == late
    early = dataclasses.replace(config, old=(mixed,), unlabelled=(other,))
    early = dataclasses.replace(early, human_before=dt.date(2019, 1, 1), min_documents=50)
    assert gather(early).held == "a quarter of the old sources"


def test_new_text_from_before_the_cut_off_is_human(dumps: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text("".join((dumps / f"{n}.jsonl").read_text() for n in ("between", "new")))
    config = dataclasses.replace(config_of(dumps, tmp_path), unlabelled=(mixed,), holdout=())
    found = gather(config)
    assert [found.count(part) for part in (OLD, BETWEEN)] == [16 * SITES, 14 * SITES]
    assert found.held == "dated 2021 or later"
    assert found.count(NEW) == 12 * SITES + 9 * SITES // 2


@pytest.mark.slow
def test_only_what_is_probably_ai_s_counts_as_ai_text(dumps: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(config_of(dumps, tmp_path), min_probability=0.8)
    found = gather(config)
    sides, probable = sort_by_dumps(found, Ngrams(found, config), np.zeros(len(found.rows)), config)
    assert not probable[found.known].any()
    assert (sides.ai[probable < 0.8] == 0.0).all()
    assert (sides.ai[probable >= 0.8] > 0.0).all()
    assert (sides.human[probable < 0.8] > 0.0).all()
    assert ((probable > 0.0) & (probable < 0.8)).any()


def test_too_little_text_is_said(dumps: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(config_of(dumps, tmp_path), max_documents=250)
    with pytest.raises(ConfigError, match=r"eo: 250 old documents of 75 words .* 299 are needed"):
        gather(config)
    with pytest.raises(ConfigError, match=r"nl: 0 old documents .*in another language, or none"):
        gather(dataclasses.replace(config, language="nl"))


def test_dumps_of_other_sites_can_t_be_compared(dumps: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.jsonl"
    moved.write_text((dumps / "new.jsonl").read_text().replace("https://", "https://other-"))
    config = dataclasses.replace(config_of(dumps, tmp_path), unlabelled=(moved,))
    with pytest.raises(ConfigError, match=r"only 0 old documents are of a source that both dumps"):
        learn(config)


def test_documents_without_a_source_are_left_out_one_by_one(dumps: Path, tmp_path: Path) -> None:
    config = config_of(dumps, tmp_path)
    assert gather(config).by_source
    fields = dataclasses.replace(config.reading.fields, url="nowhere")
    blind = dataclasses.replace(config, reading=dataclasses.replace(config.reading, fields=fields))
    found = gather(blind)
    assert not found.by_source
    assert set(found.source.tolist()) == {""}
    assert len(set(found.group.tolist())) == len(found.rows)
    by_kind = dataclasses.replace(blind, kind_field="language", source_field="date")
    assert "2025-03-01 eo" in gather(by_kind).source


def test_a_text_is_taken_once(dumps: Path, tmp_path: Path) -> None:
    """What is in the old dump is human, in the new one too."""
    both = tmp_path / "both.jsonl"
    both.write_text((dumps / "new.jsonl").read_text() * 2 + (dumps / "old.jsonl").read_text())
    rows = [json.loads(line) for line in both.read_text().splitlines()]
    both.write_text("".join(json.dumps({**row, "date": None}) + "\n" for row in rows))
    found = gather(dataclasses.replace(config_of(dumps, tmp_path), unlabelled=(both,)))
    late = 12 * SITES + 9 * SITES // 2
    assert found.count(NEW) == late
    assert found.dropped["read before"] == late + 16 * SITES


@pytest.mark.parametrize(
    ("language", "words", "order"), [("nl", 75, 3), ("zh", 120, 4), ("ja", 120, 4)]
)
def test_where_a_word_is_a_character_more_are_needed(
    tmp_path: Path, language: str, words: int, order: int
) -> None:
    config = LearnConfig(language, tmp_path, (), ()).suited()
    assert (config.min_words, config.odds.order) == (words, order)
