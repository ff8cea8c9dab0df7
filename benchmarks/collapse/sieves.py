"""What is done to a crawl before it is trained on: lowbg's commands, an oracle, and chance."""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from benchmarks.collapse.human_text import Document
from numpy.typing import NDArray

from lowbg.config import Policy, RunConfig, Verdict
from lowbg.jobs.calibrate.calibrate import calibrate
from lowbg.jobs.calibrate.known import KnownBy, read_known
from lowbg.jobs.learn.config import LearnConfig
from lowbg.jobs.learn.learn import learn
from lowbg.jobs.mix.inputs import find
from lowbg.jobs.mix.mix import MixJob, mix_shards
from lowbg.jobs.mix.settings import Mix, MixWeights
from lowbg.jobs.train.config import TrainConfig
from lowbg.jobs.train.train import train
from lowbg.runs.engine import Engine
from lowbg.runs.inputs import survey
from lowbg.runs.judging import TextJudging

TABLES: Final = "en.safetensors"

LEARNED: Final = "learned"
"""Tables that `lowbg learn` makes of the human text and of each crawl as it arrives."""

SITES: Final = 4
"""Over so many sites the documents of each dataset are spread: `learn` wants twenty or more."""

RETRAINED: Final = "retrained"
"""Tables that are trained anew on what the last generation wrote, and calibrated."""

OWN: Final = frozenset({"trained", "calibrated", RETRAINED})
"""Tables that know some of what a generation wrote: those texts are no test of them."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What judges, by the name of its tables: the embedded ones, and a corpus' own.

    `original` and `calibration` are human text of one's own: tables and thresholds come from it.
    """

    engines: dict[str, Engine]
    original: Sequence[Document] = ()
    calibration: Sequence[Document] = ()

    def called_ai(
        self, name: str, documents: Sequence[Document], last: Sequence[Document] = ()
    ) -> NDArray[np.bool_]:
        """Which documents `lowbg filter` would write among the AI-likely; unscored is human.

        `last` is what the last generation wrote, for tables that are trained anew.
        """
        engine = self._retrained(last) if name == RETRAINED else self.engines[name]
        text = pa.array([each.text for each in documents], pa.large_string())
        return np.asarray(engine.judge(text).decisions.verdicts == Verdict.AI.code)

    def learned(self, crawl: Sequence[Document], seed: int) -> NDArray[np.bool_] | None:
        """Which documents of the crawl are called AI by tables that `lowbg learn` made of it.

        OLD is the original, held out is `calibration`. Null where nothing was learned.
        """
        rng = np.random.default_rng(seed)
        sites = [_site(each) for each in self.original]
        with tempfile.TemporaryDirectory() as held:
            parts = [Path(held) / f"{name}.jsonl" for name in ("old", "between", "new")]
            for path, own in zip(parts, (self.original, self.calibration, crawl), strict=True):
                drawn = rng.integers(len(sites), size=len(own)).tolist()
                write_rows(
                    path,
                    [
                        {"text": each.text, "language": "en",
                         "site": sites[at] if each.generated else _site(each)}
                        for each, at in zip(own, drawn, strict=True)
                    ],
                )  # fmt: skip
            old, between, new = parts
            made = Path(held) / "tables"
            config = LearnConfig("en", made, (old,), (new,), (between,), source_field="site")
            if learn(config).refused:
                return None
            engine = Engine(Policy(tables=str(made))).setup()
            text = pa.array([each.text for each in crawl], pa.large_string())
            return np.asarray(engine.judge(text).decisions.verdicts == Verdict.AI.code)

    def policy(self, name: str) -> Policy:
        """What a command judges with."""
        return self.engines[name].policy

    def _retrained(self, last: Sequence[Document]) -> Engine:
        with tempfile.TemporaryDirectory() as held:
            train_tables(self.original, [each.text for each in last], Path(held))
            policy = calibrated(Policy(tables=held), self.calibration)
            return Engine(policy).setup()


def _site(document: Document) -> str:
    """Where a human document is from: one of `SITES` sites of its dataset, models' from any."""
    return f"{document.dataset}-{zlib.crc32(document.text.encode()) % SITES}"


def filters(
    trained: Path | None, original: Sequence[Document], calibration: Sequence[Document]
) -> Filters:
    """The embedded tables, and those of the folder as they are and calibrated on human text."""
    policies = {"embedded": Policy()}
    if trained is not None:
        policies["trained"] = own = Policy(tables=str(trained))
        policies["calibrated"] = calibrated(own, calibration)
    engines = {name: Engine(policy).setup() for name, policy in policies.items()}
    return Filters(engines, original, calibration)


def calibrated(policy: Policy, human: Sequence[Document]) -> Policy:
    """`lowbg calibrate`: the policy with a threshold that is set on the human text."""
    with tempfile.TemporaryDirectory() as held:
        path = Path(held) / "human.jsonl"
        write_rows(path, [_labelled(each.text, "human", each.dataset) for each in human])
        engine = Engine(policy).setup()
        shards = survey([str(path)]).shards
        judging = TextJudging(RunConfig(policy=policy), engine)
        known = read_known(shards, judging, KnownBy(label_field="label"))
        return calibrate(known, engine).policy


def train_tables(human: Sequence[Document], generated: Sequence[str], folder: Path) -> None:
    """`lowbg train` on human text of one's own, and on what the first model wrote."""
    if (folder / TABLES).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as held:
        inputs = [Path(held) / "human.jsonl", Path(held) / "generated.jsonl"]
        rows = [(each.text, "human", each.dataset) for each in human]
        write_rows(inputs[0], [_labelled(*row) for row in rows])
        write_rows(inputs[1], [_labelled(text, "ai", "generation-0") for text in generated])
        made = Path(held) / TABLES
        train(TrainConfig("en", made, (inputs[0],), (inputs[1],)))
        made.replace(folder / TABLES)


def _labelled(text: str, label: str, dataset: str | None) -> dict[str, object]:
    return {"text": text, "label": label, "dataset": dataset, "lang": "en"}


def write_rows(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """A shard of the rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def with_floor(
    human: Sequence[Document], synthetic: Sequence[Document], min_human: float, seed: int
) -> list[Document]:
    """`lowbg mix --human … --synthetic … --min-human …`: what it takes."""
    mix = Mix(min_human=Fraction(str(min_human)), seed=seed)
    with tempfile.TemporaryDirectory() as held:
        output = _mixed(Path(held), human, synthetic, mix, RunConfig())
        taken = []
        for role, given in (("human", human), ("synthetic", synthetic)):
            for line in (output / role / f"{role}.jsonl").read_text(encoding="utf-8").splitlines():
                taken.append(given[json.loads(line)["id"]])
    return taken


def by_weights(documents: Sequence[Document], policy: Policy, seed: int) -> list[Document]:
    """`lowbg mix --weights`: each document as often as it would be drawn.

    Nothing is known of any document: all are given as synthetic, and without a floor. The command
    wants some human text; it gets one document, which isn't used.
    """
    mix = Mix(min_human=Fraction(0), seed=seed, weights=MixWeights())
    with tempfile.TemporaryDirectory() as held:
        output = _mixed(Path(held), documents[:1], documents, mix, RunConfig(policy=policy))
        rows = (output / "weights" / "synthetic" / "synthetic.jsonl").read_text(encoding="utf-8")
        repeats = [json.loads(line)["repeats"] for line in rows.splitlines()]
    return [each for each, n in zip(documents, repeats, strict=True) for _ in range(n)]


def _mixed(
    folder: Path,
    human: Sequence[Document],
    synthetic: Sequence[Document],
    mix: Mix,
    config: RunConfig,
) -> Path:
    inputs = []
    for role, documents in (("human", human), ("synthetic", synthetic)):
        inputs.append(folder / f"{role}.jsonl")
        rows = [{"id": i, "text": each.text} for i, each in enumerate(documents)]
        write_rows(inputs[-1], [dict[str, object](row) for row in rows])
    output = folder / "mix"
    found = find([str(inputs[0])], [str(inputs[1])], output)
    mix_shards(MixJob(found.shards, output, config, mix=mix))
    return output
