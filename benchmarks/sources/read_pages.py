"""Sources by tables, and with three pages of each read by a causal LM: `… DATA MODEL --cache FILE`.

`python -m benchmarks.sources.read_pages DATA MODEL --cache FILE` judges English sources as `lowbg
sources` and `lowbg sources --lm MODEL --pages 3` do: the whole sites of `DATA/sites/dev`, and
sources of 20 and of 5 documents each made of one collection of `DATA/labelled/dev`, two of each
collection and size. Neither tables nor probe were fitted on either. Writes
`results/read_pages.md`. FILE keeps the probe's verdicts. `--levels` prints how the sites of
`sites/train` lie on the probe's scale, by which `decision/source_pages.py` was set.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
from benchmarks.neural.made import made_by
from benchmarks.neural.unseen_kinds import BASE_MODELS
from benchmarks.neural.verdicts import KeptVerdicts
from benchmarks.sources.quality import auroc, percent, read
from numpy.typing import NDArray

from lowbg.config import FieldNames, LmSettings, Policy, RunConfig, Sources
from lowbg.decision.calibration import in_words
from lowbg.jobs.sources.pages import PagesToRead
from lowbg.jobs.sources.sources import SourcesJob, find_sources
from lowbg.runs.inputs import survey
from lowbg.scorers.lm.shipped import shipped_probes

HERE: Final = Path(__file__).parent
SIZES: Final = (20, 5)
"""Documents of a source that is made; of the smaller ones three say something of it."""
OF_COLLECTION: Final = 2
MIN_WORDS: Final = 75
CUT: Final = 6_000
"""Characters of a document."""


class KeptPages:
    """The shipped probe as what reads pages, with verdicts that are kept."""

    languages = frozenset({"en"})

    def __init__(self, verdicts: KeptVerdicts) -> None:
        self._verdicts = verdicts
        (self._probe,) = shipped_probes()
        self.models: Mapping[str, str] = {"shipped": self._probe.sha256}
        self.read: dict[str, float] = {}

    @property
    def tokens(self) -> int:
        """What was read and not known before."""
        return self._verdicts.tokens

    def z(
        self, texts: Sequence[str], words: NDArray[np.int64], language: str
    ) -> NDArray[np.float64]:
        """As `jobs.sources.pages.ProbePages` has it."""
        human = self._probe.card["human"]
        spread = np.sqrt(human["between"] + human["within"] / in_words(words))
        return np.asarray((self._verdicts(texts) - human["mean"]) / spread)


@dataclass(frozen=True, slots=True)
class Made:
    """Sources: by name who wrote them, and what kind of source it is."""

    is_ai: dict[str, bool]
    group: dict[str, str]


def site_pages(data: Path, split: str) -> Iterator[dict[str, Any]]:
    """The English pages of whole sites that are human or AI."""
    for row in read(data / "sites" / f"{split}.jsonl.zst"):
        if row["lang"] == "en" and row["kind"] in ("human", "ai"):
            yield {"host": row["host"], "text": row["text"], "ai": row["kind"] == "ai"}


def collection_pages(data: Path, size: int) -> Iterator[dict[str, Any]]:
    """Sources of `size` documents made of collections, each document in one of them."""
    groups: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for path in sorted((data / "labelled" / "dev").glob("*.jsonl.zst")):
        for row in read(path):
            base = any(name in str(row.get("generator")).lower() for name in BASE_MODELS)
            whole = row.get("attack") in (None, "", "none", "None")
            if row["lang"] == "en" and whole and len(row["text"].split()) >= MIN_WORDS and not (
                row["label"] == "ai" and base
            ):  # fmt: skip
                groups[row["dataset"], row["label"] == "ai"].append(row["text"][:CUT])
    for (name, ai), texts in sorted(groups.items()):
        texts.sort(key=lambda text: zlib.crc32(text.encode("utf-8", "surrogatepass")))
        for i, text in enumerate(texts[: size * OF_COLLECTION]):
            if len(texts) >= size * (1 + i // size):
                host = f"{name}-{'ai' if ai else 'human'}-{i // size}-of-{size}"
                yield {"host": host, "text": text, "ai": ai}


def write(rows: Iterator[dict[str, Any]], path: Path, group: str, made: Made) -> None:
    """A dump of the rows."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            made.is_ai[row["host"]] = row["ai"]
            made.group[row["host"]] = group
            record = {"text": row["text"], "host": row["host"], "language": "en"}
            file.write(json.dumps(record) + "\n")


def tables(
    folder: Path, judge: KeptPages, model: str, min_documents: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """By way the rows of its table, by source; what was read is printed."""
    by = Sources(by="field:host", min_documents=min_documents)
    policy = replace(Policy(), sources=by)
    config = RunConfig(fields=FieldNames(others=("host",)), policy=policy)
    found = {}
    for name, pages in (
        ("tables", None),
        ("tables, 3 pages of the unsure", PagesToRead(LmSettings(model), 3)),
        ("tables, 3 pages of all", PagesToRead(LmSettings(model), 3, every=True)),
    ):
        output = folder.with_suffix(".parquet")
        job = SourcesJob(survey([str(folder)]).shards, output, config, pages=pages)
        outcome = find_sources(job, judge=judge if pages is not None else None)
        if outcome.read is not None:
            read_ = outcome.read
            print(name, read_.sources, "sources", read_.pages, "pages", file=sys.stderr)
        found[name] = {row["source"]: row for row in pq.read_table(output).to_pylist()}
    return found


def as_markdown(found: dict[str, dict[str, dict[str, Any]]], made: Made) -> str:
    """A row a way and group of sources."""
    lines = [
        "# Sources, with and without three pages read by a causal LM",
        "",
        made_by(
            "benchmarks.sources.read_pages DATA MODEL --cache FILE",
            "sites/dev and English text of labelled/dev",
        ),
        "",
        "SmolLM2-135M-Instruct, its shipped probe, 192 tokens a page. Sources of at least 10 "
        "scored documents, those of 5 documents of at least 3. Intervals are 95 %.",
        "",
        "| sources | judged by | human, AI | pages read | AUROC of the AI share | AI found | "
        "human called AI | unknown or mixed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group in sorted({*made.group.values()}):
        for name, rows in found.items():
            own = [
                row for s, row in sorted(rows.items())
                if made.group[s] == group and row["ai_share"] is not None
            ]  # fmt: skip
            ai = [row for row in own if made.is_ai[row["source"]]]
            human = [row for row in own if not made.is_ai[row["source"]]]
            shares = [np.array([row["ai_share"] for row in side]) for side in (ai, human)]
            called = [sum(row["verdict"] == "ai" for row in side) for side in (ai, human)]
            open_ = sum(row["verdict"] in ("unknown", "mixed") for row in own)
            lines.append(
                f"| {group} | {name} | {len(human)}, {len(ai)} | "
                f"{sum(len(row['lm_pages']) for row in own)} | {auroc(*shares):.3f} | "
                f"{percent(called[0], len(ai))} | {percent(called[1], len(human))} | {open_} |"
            )
        whole = found["tables, 3 pages of all"]
        read_ = [s for s in whole if made.group[s] == group and whole[s]["lm_z"] is not None]
        ai_z, human_z = (
            np.array([whole[s]["lm_z"] for s in read_ if made.is_ai[s] is side])
            for side in (True, False)
        )
        alone = f"{auroc(ai_z, human_z):.3f}"
        lines.append(f"| {group} | the pages' mean z | – | – | {alone} | – | – | – |")
    wrong = [
        f"{name} ({way}: {rows[name]['verdict']}, z {rows[name]['lm_z']})"
        for way, rows in found.items()
        for name in sorted(rows)
        if rows[name]["ai_share"] is not None
        and rows[name]["verdict"] == ("human" if made.is_ai[name] else "ai")
    ]
    lines += ["", f"Called the contrary: {'; '.join(wrong) or 'none'}."]
    return "\n".join(lines) + "\n"


def levels(data: Path, judge: KeptPages) -> None:
    """Prints the levels of the sites of `sites/train`, three pages each."""
    by: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for row in site_pages(data, "train"):
        if len(row["text"].split()) >= MIN_WORDS:
            by[row["ai"], row["host"]].append(row["text"])
    for ai in (False, True):
        z = []
        for (is_ai, _), texts in sorted(by.items()):
            texts.sort(key=lambda text: zlib.crc32(text.encode("utf-8", "surrogatepass")))
            if is_ai is ai and len(texts) >= 3:
                words = np.array([len(text.split()) for text in texts[:3]])
                z.append(judge.z(texts[:3], words, "en"))
        of = np.array(z)
        within = np.sqrt(of.var(axis=1, ddof=1).mean())
        level = of.mean(axis=1)
        print(
            f"{'AI' if ai else 'human'}: {len(of)} sites, level {level.mean():.2f}, spread "
            f"{level.std():.2f}, within {within:.2f}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and writes `results/read_pages.md`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sources.read_pages")
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--levels", action="store_true")
    given = parser.parse_args(arguments)
    judge = KeptPages(KeptVerdicts(given.model, given.cache))
    if given.levels:
        levels(given.data, judge)
        return
    made = Made({}, {})
    found: dict[str, dict[str, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for size in SIZES:
            dump = Path(name) / f"of-{size}"
            dump.mkdir()
            few = size < Sources().min_documents
            if not few:
                write(site_pages(given.data, "dev"), dump / "sites.jsonl", "sites", made)
            rows = collection_pages(given.data, size)
            write(rows, dump / "made.jsonl", f"of {size} documents", made)
            for way, table in tables(dump, judge, given.model, 3 if few else 10).items():
                found.setdefault(way, {}).update(table)
    text = as_markdown(found, made)
    (HERE / "results" / "read_pages.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
