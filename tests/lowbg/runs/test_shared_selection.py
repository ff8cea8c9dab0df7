"""A budget that runs over parts of the shards spend as one run would; the LM is a stand-in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.stand_in_lm import Seen, policy_for, stand_in

from lowbg.config import ExecutorName, Existing, Extras, LmSettings, RunConfig
from lowbg.errors import ConfigError
from lowbg.jobs.filter import FilterJob, filter_shards
from lowbg.jobs.merge import merge_outputs
from lowbg.runs import lm_selection
from lowbg.runs.inputs import Shard, discover
from lowbg.runs.splitting import Split

COUNT = 3
KINDS = (
    "The mill by the river was sold to a teacher who kept bees and painted the wall white. ",
    "A ferry left the quay at dawn with nine crates of pears, two goats and a broken clock. ",
    "Furthermore, it is important to note that renewable energy plays a crucial role in fostering "
    "a sustainable future. ",
)
NOTES = ".lm-selection-*.json"


@pytest.fixture
def lm(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return stand_in(monkeypatch)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of each first pass, how many shards it reads; from 150 documents a rule is learnt."""
    seen: list[int] = []
    candidates = lm_selection._candidates

    def counting(shards: Sequence[Shard], *more: Any) -> Any:
        seen.append(len(shards))
        return candidates(shards, *more)

    monkeypatch.setattr(lm_selection, "_candidates", counting)
    monkeypatch.setattr(lm_selection, "SAMPLE", 150)
    return seen


@pytest.fixture
def shards(tmp_path: Path) -> tuple[Shard, ...]:
    """Five shards of unlike sizes, each with texts of its own kind; some texts are in all."""
    for k in range(5):
        path = tmp_path / "in" / f"{k}.jsonl"
        path.parent.mkdir(exist_ok=True)
        with path.open("w") as out:
            for i in range(60 + 20 * k):
                name = "all" if i % 5 == 0 else f"{k}"
                text = f"{name} {i}: {KINDS[(k + i) % 3] * (2 if i % 4 else 6 + i % 7)}"
                print(json.dumps({"id": f"{k}-{i}", "text": text, "language": "en"}), file=out)
    return tuple(discover([str(tmp_path / "in")]))


def job(shards: tuple[Shard, ...], output: Path, budget: str = "20%") -> FilterJob:
    extras = Extras(LmSettings("stand-in", budget=budget))
    plain = Extras(LmSettings("stand-in"))
    config = RunConfig(policy=policy_for(plain), extras=extras)
    return FilterJob(shards, output, config, executor=ExecutorName.SERIAL)


def part(whole: FilterJob, index: int) -> FilterJob:
    split = Split(index, COUNT)
    note = split.note(whole.shards)
    return replace(
        whole,
        shards=tuple(whole.shards[i] for i in note.places),
        output=split.folder(whole.output),
        split=note,
        whole=whole.shards,
    )


def told(output: Path) -> Any:
    """What the report says of the LM, but for how long it took."""
    report = json.loads((output / "report.json").read_bytes())
    return {**report["second_look"], "seconds": None}, report["counters"]


def written(output: Path) -> dict[str, bytes]:
    return {str(p.relative_to(output)): p.read_bytes() for p in output.glob("*/*.jsonl")}


def test_parts_read_what_one_run_reads(
    lm: Seen, passes: list[int], shards: tuple[Shard, ...], tmp_path: Path
) -> None:
    filter_shards(job(shards, tmp_path / "one"))
    one = {text for call in lm for text in call}
    assert 60 < len(one) < 140
    lm.clear()
    whole = job(shards, tmp_path / "out")
    for index in (2, 0, 1):
        filter_shards(replace(part(whole, index), config=replace(whole.config, batch_bytes=3000)))
    assert {text for call in lm for text in call} == one
    assert passes == [5, 5]  # Of the parts the first alone.
    merged = merge_outputs([tmp_path / "out"], tmp_path / "merged")
    assert merged.complete
    assert written(tmp_path / "merged") == written(tmp_path / "one") != {}
    look, _ = told(tmp_path / "one")
    assert told(tmp_path / "merged") == told(tmp_path / "one")
    assert look["changed"]
    assert look["missed"]["unread"] > 0
    # What is merged is gone on with under the same rule.
    again = filter_shards(replace(job(shards, tmp_path / "merged"), existing=Existing.RESUME))
    assert again.resumed == 5
    assert passes == [5, 5]


def test_a_part_that_finds_no_note_learns_the_same(
    lm: Seen, passes: list[int], shards: tuple[Shard, ...], tmp_path: Path
) -> None:
    whole = job(shards, tmp_path / "out")
    kept = []
    for index in range(COUNT):
        filter_shards(part(whole, index))
        (note,) = whole.output.glob(NOTES)
        kept.append(note.read_bytes())
        if index:
            note.unlink()
        else:
            note.write_bytes(note.read_bytes()[:-9])
    assert kept[1:] == kept[:-1]
    assert passes == [5, 5, 5]
    assert merge_outputs([whole.output], tmp_path / "merged").parts == COUNT


def test_a_note_serves_runs_of_the_same_alone(
    lm: Seen, passes: list[int], shards: tuple[Shard, ...], tmp_path: Path
) -> None:
    whole = job(shards, tmp_path / "out")
    filter_shards(part(whole, 0))
    filter_shards(part(job(shards, tmp_path / "out", "10%"), 1))
    filter_shards(part(job(shards[1:], tmp_path / "out"), 2))
    assert passes == [5, 5, 4]
    assert len(list(whole.output.glob(NOTES))) == 3
    for first, second in ((0, 1), (0, 2)):
        parts = [Split(i, COUNT).folder(whole.output) for i in (first, second)]
        with pytest.raises(ConfigError, match=r"budget was|parts of different inputs|selection"):
            merge_outputs(parts, tmp_path / "merged")


def test_a_part_has_to_know_all_shards(lm: Seen, shards: tuple[Shard, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name these, too"):
        filter_shards(replace(part(job(shards, tmp_path / "out"), 0), whole=()))


def test_a_note_is_for_others_to_read(lm: Seen, shards: tuple[Shard, ...], tmp_path: Path) -> None:
    whole = job(shards, tmp_path / "out")
    filter_shards(part(whole, 0))
    (note,) = whole.output.glob(NOTES)
    record = json.loads((whole.output / f"part-00000-of-0000{COUNT}/.lowbg/run.json").read_bytes())
    assert json.loads(note.read_bytes())["selection"] == record["selection"]
    filter_shards(job(shards, tmp_path / "one"))
    assert not list((tmp_path / "one").parent.glob(NOTES))
    assert msgspec.json.decode((tmp_path / "one/.lowbg/run.json").read_bytes())["selection"]
