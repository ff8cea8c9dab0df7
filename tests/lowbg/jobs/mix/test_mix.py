"""Mixes through real files: the floor, the bytes, the seed, and what survives a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowbg.config import Durability, ExecutorName, Existing, FieldNames, RunConfig
from lowbg.errors import ConfigError, OutputError, StoppedError
from lowbg.jobs.mix import copying
from lowbg.jobs.mix.inputs import find
from lowbg.jobs.mix.mix import MixJob, MixOutcome, mix_shards
from lowbg.jobs.mix.settings import Mix, MixSelect, MixUnit, MixWeights
from lowbg.runs.inputs import Shard
from lowbg.runs.manifest import verify

SERIAL = ExecutorName.SERIAL


def write(folder: Path, shards: list[list[int]], *, host: str = "") -> Path:
    """JSONL shards with documents of so many words each; ids say where they stood."""
    folder.mkdir(parents=True, exist_ok=True)
    for s, sizes in enumerate(shards):
        lines = [
            json.dumps({"id": f"{s}/{i}", "text": "word " * size, "url": f"http://{host or s}/"})
            for i, size in enumerate(sizes)
        ]
        (folder / f"{s}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


def mixed(
    human: Path | str | list[str], synthetic: Path | str, out: Path, mix: Mix, **more: Any
) -> MixOutcome:
    given_human = human if isinstance(human, list) else [str(human)]
    shards = find(given_human, [str(synthetic)], out).shards
    config = more.pop("config", RunConfig())
    job = MixJob(shards, out, config, mix=mix, executor=more.pop("executor", SERIAL), **more)
    return mix_shards(job)


def words(folder: Path) -> list[int]:
    """Words of every document below a folder, counted without lowbg."""
    lines = [
        line for path in sorted(folder.rglob("*.jsonl")) for line in path.read_text().splitlines()
    ]
    return [len(json.loads(line)["text"].split()) for line in lines]


def content(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for folder in ("human", "synthetic", "weights", "quarantine")
        for path in sorted((out / folder).rglob("*"))
        if path.is_file()
    }


SIZES = st.lists(st.lists(st.integers(0, 30) | st.just(3_000), max_size=8), min_size=1, max_size=3)


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    SIZES, SIZES, st.fractions(0, 1, max_denominator=20), st.sampled_from(MixUnit),
    st.integers(0, 5),
)  # fmt: skip
def test_the_floor_holds_and_no_more_could_be_taken_by_one_document(
    tmp_path_factory: pytest.TempPathFactory,
    human: list[list[int]],
    synthetic: list[list[int]],
    floor: Fraction,
    unit: MixUnit,
    seed: int,
) -> None:
    root = tmp_path_factory.mktemp("mix")
    h, s, out = write(root / "h", human), write(root / "s", synthetic), root / "out"
    outcome = mixed(h, s, out, Mix(floor, unit, seed))

    def units(sizes: list[int]) -> list[int]:
        return [1] * len(sizes) if unit is MixUnit.DOCUMENTS else sizes

    kept, taken = units(words(out / "human")), units(words(out / "synthetic"))
    total = sum(kept) + sum(taken)
    assert Fraction(sum(kept)) >= floor * total
    assert outcome.share == (Fraction(sum(kept), total) if total else None)
    for path in h.iterdir():
        assert (out / "human" / path.name).read_bytes() == path.read_bytes()
    left = Counter(units(words(s))) - Counter(taken)
    for size in left:
        grown = sum(taken) + size
        assert size == 0 or Fraction(sum(kept)) < floor * (sum(kept) + grown)
    assert verify(out) == []


def test_edges(tmp_path: Path) -> None:
    none, some = write(tmp_path / "n", [[]]), write(tmp_path / "s", [[5, 5, 5]])
    giant = write(tmp_path / "g", [[100_000, 1, 2]])
    half = Mix(Fraction(1, 2), MixUnit.WORDS)
    outcome = mixed(none, some, tmp_path / "1", half)
    assert (outcome.share, outcome.synthetic.mixed_documents) == (None, 0)
    outcome = mixed(some, none, tmp_path / "2", half)
    assert (outcome.share, outcome.human.mixed_documents) == (Fraction(1), 3)
    outcome = mixed(some, giant, tmp_path / "3", half)
    assert words(tmp_path / "3" / "synthetic") == [1, 2]
    assert outcome.share == Fraction(15, 18)
    outcome = mixed(giant, some, tmp_path / "4", half)
    assert outcome.synthetic.mixed_documents == 3
    outcome = mixed(none, some, tmp_path / "5", Mix(Fraction(0)))
    assert outcome.share == 0


@pytest.mark.slow
def test_equal_seeds_give_equal_bytes(tmp_path: Path) -> None:
    h = write(tmp_path / "h", [[20] * 30, [3] * 50])
    s = write(tmp_path / "s", [list(range(1, 60)), list(range(1, 40)), [7] * 40])
    by = Mix(Fraction(1, 2), seed=1)
    mixed(h, s, tmp_path / "1", by)
    small = RunConfig(batch_bytes=300)
    mixed(h, s, tmp_path / "2", by, config=small)
    mixed(h, s, tmp_path / "3", by, workers=3, executor=ExecutorName.PROCESSES)
    mixed(h, s, tmp_path / "4", replace(by, seed=2))
    one, two, three, other = (content(tmp_path / n) for n in "1234")
    assert one == two == three
    assert one != other
    assert {k: v for k, v in one.items() if k < "s"} == {k: v for k, v in other.items() if k < "s"}


def test_a_source_has_no_more_than_its_cap(tmp_path: Path) -> None:
    h = write(tmp_path / "h", [[1_000]])
    s = write(tmp_path / "s", [[6] * 20, [6] * 3], host="farm.net")
    write(tmp_path / "s" / "more", [[6] * 9], host="other.net")
    outcome = mixed(h, s, tmp_path / "o", Mix(unit=MixUnit.WORDS, max_per_source=40))
    rows = _rows(tmp_path / "o/synthetic")
    # Six times 6 is 36, and a seventh would be above 40.
    assert Counter(row["url"] for row in rows) == {"http://farm.net/": 6, "http://other.net/": 6}
    assert outcome.capped == 2
    field = Mix(unit=MixUnit.DOCUMENTS, max_per_source=1, source_field="id")
    outcome = mixed(
        h, s, tmp_path / "f", replace(field, min_human=Fraction(0)),
        config=RunConfig(FieldNames(others=("id",))),
    )  # fmt: skip
    # Three shards have a document 0/0 … of their own: 29 of 32 ids differ.
    assert outcome.synthetic.mixed_documents == len({r["id"] for r in _rows(s)})


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in folder.rglob("*.jsonl")
        for line in path.read_text().splitlines()
    ]


def test_tokens_by_field(tmp_path: Path) -> None:
    def lines(name: str, counts: list[Any]) -> Path:
        path = tmp_path / name
        rows = [{"text": "x", "n": n} for n in counts]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    h = lines("h.jsonl", [70, 30, "5", None, -3])
    s = lines("s.jsonl", [60, None, 60, 45, "x", 1e9])
    outcome = mixed(
        h, s, tmp_path / "o", Mix(token_field="n"), config=RunConfig(FieldNames(others=("n",)))
    )
    assert outcome.human.mixed_units == 105
    assert outcome.human.mixed_documents == 5
    assert outcome.synthetic.mixed_units in (60, 105)
    assert outcome.unsized == 5
    assert {row["n"] for row in _rows(tmp_path / "o" / "synthetic")} <= {60, 45}


def test_rows_and_broken_lines(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a b", "c", None], "x": [1, 2, 3]}), tmp_path / "h.parquet")
    (tmp_path / "s.jsonl").write_bytes(b'{"text":"a  b" , "z":1e2}\nbroken\n\n{"text":"c"}')
    outcome = mixed(tmp_path / "h.parquet", tmp_path / "s.jsonl", tmp_path / "o", Mix())
    assert pq.read_table(tmp_path / "o/human/h.parquet").to_pydict() == {
        "text": ["a b", "c"], "x": [1, 2],
    }  # fmt: skip
    kept = (tmp_path / "o/synthetic/s.jsonl").read_bytes()
    assert kept == b'{"text":"a  b" , "z":1e2}\n{"text":"c"}'
    assert (outcome.human.quarantined, outcome.synthetic.quarantined) == (1, 1)
    assert outcome.complete
    assert verify(tmp_path / "o") == []


def test_a_cut_input_counts_as_far_as_it_goes(tmp_path: Path) -> None:
    import gzip

    data = gzip.compress((write(tmp_path / "h", [[9] * 999]) / "0.jsonl").read_bytes())
    (tmp_path / "h.jsonl.gz").write_bytes(data[: len(data) // 2])
    s = write(tmp_path / "s", [[9] * 999])
    outcome = mixed(tmp_path / "h.jsonl.gz", s, tmp_path / "o", Mix())
    assert 0 < outcome.human.documents < 999
    assert outcome.synthetic.mixed_documents == outcome.human.documents
    assert not outcome.complete
    assert "h.jsonl.gz" in outcome.problems[0]


@pytest.mark.slow
@pytest.mark.parametrize("select", MixSelect)
def test_a_stopped_mix_goes_on_and_comes_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, select: MixSelect
) -> None:
    h = write(tmp_path / "h", [[20] * 30, [3] * 50])
    s = write(tmp_path / "s", [list(range(1, 60)), list(range(1, 40))])
    mix, small = Mix(seed=3, select=select), RunConfig(batch_bytes=500)
    every = Durability(seconds=0.0)
    mixed(h, s, tmp_path / "whole", mix, config=small)
    left = 0

    def write_and_stop(self: copying.CopiedFiles, batch: Any, judged: Any) -> int:
        nonlocal left
        left -= 1
        if not left:
            raise StoppedError("here")
        return original(self, batch, judged)

    original = copying.CopiedFiles.write
    monkeypatch.setattr(copying.CopiedFiles, "write", write_and_stop)
    out, stops = tmp_path / "out", 0
    existing = Existing.REFUSE
    while True:
        left = 2 + stops % 5
        try:
            mixed(h, s, out, mix, config=small, existing=existing, durability=every)
            break
        except (StoppedError, OutputError):
            stops += 1
            assert stops < 100
            assert not (out / "manifest.json").exists()
            existing = Existing.RESUME
    assert stops > 3
    assert content(out) == content(tmp_path / "whole")
    assert verify(out) == []


KILLED = """
import os, signal, sys
import lowbg.runs.checkpoints as checkpoints
import lowbg.jobs.mix.measure as measure
import lowbg.storage.files as base
turn = int(os.environ["TURN"])
original = base.replace_file
def killing(path, data):
    global turn
    turn -= 1
    if turn == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    original(path, data)
base.replace_file = checkpoints.replace_file = measure.replace_file = killing
import lowbg.formats.jsonl.writer as jsonl
jsonl.replace_file = killing
sys.argv[0] = "lowbg"
from lowbg_cli.app import main
main()
"""


@pytest.mark.slow
def test_a_killed_mix_goes_on_and_comes_to_the_same(tmp_path: Path) -> None:
    h, s = write(tmp_path / "h", [[20] * 40]), write(tmp_path / "s", [list(range(1, 80))])
    mixed(h, s, tmp_path / "whole", Mix())
    out = tmp_path / "out"
    args = ["mix", "--human", h, "--synthetic", s, "-o", out, "-q", "--batch-bytes", "900"]
    args += ["--checkpoint-seconds", "0", "--executor", "serial", "--resume"]
    command = [sys.executable, "-c", KILLED, *map(str, args)]
    codes = []
    for turn in (2, 6, 11, 99_999):
        env = {**os.environ, "TURN": str(turn)}
        ended = subprocess.run(command, env=env, capture_output=True, check=False)
        codes.append(ended.returncode)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert codes[-1] == 0
    assert len(codes) > 2
    assert content(out) == content(tmp_path / "whole")
    assert verify(out) == []


def test_another_mix_is_refused(tmp_path: Path) -> None:
    h, s, out = write(tmp_path / "h", [[9]]), write(tmp_path / "s", [[9]]), tmp_path / "o"
    mixed(h, s, out, Mix())
    with pytest.raises(ConfigError, match="already holds a run"):
        mixed(h, s, out, Mix())
    with pytest.raises(ConfigError, match=r"mix\.seed was 0, is 1"):
        mixed(h, s, out, Mix(seed=1), existing=Existing.RESUME)
    write(tmp_path / "s", [[9, 9]])
    with pytest.raises(ConfigError, match=r"inputs.synthetic/0.jsonl.*was"):
        mixed(h, s, out, Mix(), existing=Existing.RESUME)
    mixed(h, s, out, Mix(), existing=Existing.OVERWRITE)
    assert mixed(h, s, out, Mix(), existing=Existing.RESUME).resumed == 2


def test_nothing_is_put_beside_human_text_that_could_not_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    h, s, out = write(tmp_path / "h", [[9]]), write(tmp_path / "s", [[9]]), tmp_path / "o"

    def fail(self: Any) -> None:
        raise OutputError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(copying.CopiedFiles, "end_shard", fail)
        with pytest.raises(OutputError, match=r"0 of 1 records were copied.*no space"):
            mixed(h, s, out, Mix())
    assert not (out / "synthetic").exists()
    assert not (out / "manifest.json").exists()
    assert mixed(h, s, out, Mix(), existing=Existing.RESUME).complete


def test_inputs(tmp_path: Path) -> None:
    h, s = write(tmp_path / "h", [[9]]), write(tmp_path / "s", [[9]])
    with pytest.raises(ConfigError, match="both as human and as synthetic"):
        find([str(h)], [str(h / "0.jsonl")], tmp_path / "o")
    with pytest.raises(ConfigError, match="can be read only once"):
        find([str(h)], ["-"], tmp_path / "o")
    # An output of lowbg stands for the half that the role names.
    mixed(h, s, tmp_path / "mix", Mix())
    (tmp_path / "mix/human/added.jsonl").write_text("")
    shards = find([str(tmp_path / "mix")], [str(tmp_path / "mix")], tmp_path / "o").shards
    assert [(x.name, Path(x.path).parent.name) for x in shards] == [
        ("human/0.jsonl", "human"),
        ("synthetic/0.jsonl", "synthetic"),
    ]
    names = [shard.name for shard in find([str(s), str(h)], [], tmp_path / "o").shards]
    assert names == ["human/h/0.jsonl", "human/s/0.jsonl"]
    assert isinstance(shards[0], Shard)


def test_novel_takes_what_is_thin_and_copies_once(tmp_path: Path) -> None:
    common = "the cat sat on the mat and the dog ran off with the ball again today"
    rare = "quartz veins crosscut weathered gneiss beside glacial erratics near fjords"
    h, s = tmp_path / "h.jsonl", tmp_path / "s.jsonl"
    h.write_text("".join(json.dumps({"text": common}) + "\n" for _ in range(10)))
    texts = [common, rare, rare, common, rare.replace("fjords", "lakes")]
    s.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    outcome = mixed(h, s, tmp_path / "o", Mix(unit=MixUnit.DOCUMENTS, select=MixSelect.NOVEL))
    taken = [row["text"] for row in _rows(tmp_path / "o" / "synthetic")]
    # Nothing that human text has enough of, and of equal texts one; "near lakes" is new as well.
    assert common not in taken
    assert taken.count(rare) <= 1
    assert any("fjords" in text for text in taken)
    assert any("lakes" in text for text in taken)
    coverage = outcome.coverage
    assert coverage is not None
    assert coverage.human == len(set(zip(common.split(), common.split()[1:], strict=False)))
    assert coverage.human == coverage.mixed < coverage.buckets


def test_novel_prefers_many_thin_bigrams_for_few_words(tmp_path: Path) -> None:
    filler = " ".join(["the same words"] * 40)
    h, s = tmp_path / "h.jsonl", tmp_path / "s.jsonl"
    # Either would fit, and not both.
    h.write_text(json.dumps({"text": filler + " x" * 40}) + "\n")
    diluted = filler + " one new thing"
    dense = " ".join(f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrst")
    s.write_text("".join(json.dumps({"text": t}) + "\n" for t in (diluted, dense)))
    for seed in range(3):
        out = tmp_path / f"o{seed}"
        mix = Mix(unit=MixUnit.WORDS, select=MixSelect.NOVEL, seed=seed)
        mixed(h, s, out, mix)
        assert [row["text"] for row in _rows(out / "synthetic")] == [dense]


def test_coverage_counts_what_was_taken(tmp_path: Path) -> None:
    rare = "quartz veins crosscut weathered gneiss"
    h, s = tmp_path / "h.jsonl", tmp_path / "s.jsonl"
    h.write_text("".join(json.dumps({"text": t}) + "\n" for t in (rare, rare, "x", "y")))
    s.write_text(json.dumps({"text": f"{rare}. " * 3 + "so new"}) + "\n")
    mix = Mix(Fraction(0), MixUnit.WORDS, select=MixSelect.NOVEL)
    coverage = mixed(h, s, tmp_path / "o", mix).coverage
    assert coverage is not None
    assert (coverage.human, coverage.mixed, coverage.everything) == (0, 4, 4)


def test_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {"low": 0.0, "middle": 0.5, "high": 1.0, "none": np.nan}

    class Scoring:
        limits: dict[str, Any] = {}  # noqa: RUF012
        models: dict[str, Any] = {}  # noqa: RUF012

        def __init__(self, _: object) -> None: ...
        def setup(self) -> Any:
            return self

        def prepare(self) -> None: ...
        def model_digests(self) -> dict[str, str]:
            return {}

        def scorer_versions(self) -> dict[str, int]:
            return {}

        def judge_batches(self, batches: Any) -> Any:
            return [self.judge(batch.text, batch.metadata) for batch in batches]

        def judge(self, text: Any, metadata: Any) -> Any:
            values = np.array([scores[t] for t in text.to_pylist()], np.float32)
            column = pa.array(values, mask=np.isnan(values))
            verdicts = np.zeros(len(values), np.int8)
            known = {"score": column, "verdicts": verdicts, "scored": ~np.isnan(values)}
            decided = type("D", (), known)
            return type("J", (), {"decisions": decided, "second": None})

    for module in ("lowbg.jobs.mix.measure", "lowbg.jobs.mix.mix"):
        monkeypatch.setattr(f"{module}.Engine", Scoring)
    h, s = tmp_path / "h.jsonl", tmp_path / "s.jsonl"
    h.write_text("".join(json.dumps({"text": t}) + "\n" for t in ["low", "high", "none"] * 50))
    s.write_text("".join(json.dumps({"text": t}) + "\n" for t in [*scores] * 100))
    by = MixWeights(exponent=1.0, upsampling=1.5, max_repeats=3)
    mix = Mix(Fraction(1, 2), MixUnit.DOCUMENTS, weights=by)
    outcome = mixed(h, s, tmp_path / "o", mix)
    human = _rows(tmp_path / "o/weights/human")
    synthetic = _rows(tmp_path / "o/weights/synthetic")
    assert [row["record"] for row in human] == list(range(150))
    assert [row["weight"] for row in human[:3]] == [1.0, 0.0, 1.0]
    assert [row["weight"] for row in synthetic[:4]] == [1.0, 0.5, 0.0, 0.0]
    assert human[2]["ai_score"] is None
    assert min(row["repeats"] for row in human) == 1
    assert max(row["repeats"] for row in [*human, *synthetic]) == 3
    drawn = [sum(row["repeats"] for row in rows) for rows in (human, synthetic)]
    assert drawn[1] <= drawn[0]
    assert outcome.share == Fraction(drawn[0], sum(drawn))
    assert not any(row["repeats"] for row in synthetic if row["weight"] == 0)
    # Without a floor: 550 documents draw 825, of which 200 of weight 1 draw 3 each, which is their
    # cap, and 100 of weight 0.5 the rest.
    free = mixed(h, s, tmp_path / "f", replace(mix, min_human=Fraction(0)))
    middle = [r["repeats"] for r in _rows(tmp_path / "f/weights/synthetic") if r["weight"] == 0.5]
    assert sum(middle) / len(middle) == pytest.approx(225 / 100, abs=0.15)
    assert free.synthetic.mixed_documents > outcome.synthetic.mixed_documents
    assert verify(tmp_path / "o") == []
    assert not (tmp_path / "o" / "human").exists()
