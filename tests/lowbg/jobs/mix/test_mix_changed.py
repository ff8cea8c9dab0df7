"""Mixes whose inputs or outputs change between readings and runs: the floor holds all the same."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from lowbg.config import ExecutorName, Existing, FieldNames, RunConfig
from lowbg.errors import ConfigError, InputError
from lowbg.jobs.mix import counts
from lowbg.jobs.mix import mix as mixing
from lowbg.jobs.mix.inputs import find
from lowbg.jobs.mix.mix import MixJob, MixOutcome, mix_shards
from lowbg.jobs.mix.settings import Mix, MixSelect, MixUnit
from lowbg.runs.manifest import verify


def write(path: Path, sizes: list[int], **more: Any) -> Path:
    rows = [{"text": f"{chr(97 + i % 26)} " * size, **more} for i, size in enumerate(sizes)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def mixed(
    human: Path,
    synthetic: Path,
    out: Path,
    mix: Mix,
    existing: Existing = Existing.REFUSE,
    fields: FieldNames | None = None,
) -> MixOutcome:
    shards = find([str(human)], [str(synthetic)], out).shards
    config = RunConfig(fields or FieldNames())
    return mix_shards(
        MixJob(shards, out, config, mix=mix, executor=ExecutorName.SERIAL, existing=existing)
    )


def test_resume_removes_nothing_that_it_has_no_notes_of(tmp_path: Path) -> None:
    h, s, out = write(tmp_path / "h", [9]), write(tmp_path / "s", [9]), tmp_path / "out"
    (out / "human").mkdir(parents=True)
    kept = write(out / "human" / "a.jsonl", [9])
    with pytest.raises(ConfigError, match="notes nothing to go on with"):
        mixed(h, s, out, Mix(), Existing.RESUME)
    assert kept.exists()


def test_a_finished_mix_of_novel_documents_can_be_resumed(tmp_path: Path) -> None:
    h, s, out = write(tmp_path / "h", [9] * 9), write(tmp_path / "s", [5] * 9), tmp_path / "out"
    mix = Mix(select=MixSelect.NOVEL)
    first = mixed(h, s, out, mix)
    again = mixed(h, s, out, mix, Existing.RESUME)
    assert (again.resumed, again.coverage, again.share) == (2, first.coverage, first.share)
    assert verify(out) == []


@pytest.mark.parametrize("which", ["h", "s"])
def test_an_input_that_is_written_to_meanwhile_fails_the_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """As many records as before, but not of the size that the floor was reckoned with."""
    h, s, out = write(tmp_path / "h", [90] * 5), write(tmp_path / "s", [90] * 5), tmp_path / "out"

    def count_and_write(*args: Any) -> counts.Counts:
        counted = counts.count(*args)
        write(tmp_path / which, [1 if which == "h" else 900] * 5)
        return counted

    monkeypatch.setattr(mixing, "count", count_and_write)
    with pytest.raises(InputError, match=f"{which}: was changed while"):
        mixed(h, s, out, Mix(Mix().min_human, MixUnit.WORDS))
    assert not (out / "manifest.json").exists()


def test_an_input_that_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    """The mix then comes out as if nothing had happened, with what the floor allows now."""
    h, s, out = tmp_path / "h.jsonl.gz", write(tmp_path / "s", [9] * 99), tmp_path / "out"
    whole = gzip.compress(write(tmp_path / "plain", [9] * 99).read_bytes(), mtime=0)
    # Of the same size and time: a disk that fails for a while leaves no trace on either.
    h.write_bytes(whole[:-9] + bytes(9))
    os.utime(h, ns=(1, 1))
    assert not mixed(h, s, out, Mix()).complete
    h.write_bytes(whole)
    os.utime(h, ns=(1, 1))
    outcome = mixed(h, s, out, Mix(), Existing.RESUME)
    assert outcome.complete
    assert outcome.human.documents == 99
    assert outcome.human.mixed_units == outcome.synthetic.mixed_units
    assert gzip.decompress((out / "human" / h.name).read_bytes()) == gzip.decompress(whole)
    assert verify(out) == []


def test_numbers_of_tokens_that_are_none_do_not_overflow(tmp_path: Path) -> None:
    h = write(tmp_path / "h", [1] * 2_000, n=1 << 53)
    s, out = write(tmp_path / "s", [1] * 5, n=10), tmp_path / "out"
    outcome = mixed(h, s, out, Mix(token_field="n"), fields=FieldNames(others=("n",)))
    assert outcome.unsized == 2_000
    assert outcome.synthetic.mixed_documents == 0
