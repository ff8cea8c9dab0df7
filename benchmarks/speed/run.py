"""lowbg beside its peers in one sitting: `python benchmarks/speed/run.py --prose DIR`.

Makes the corpus if `--corpus` has none, runs every contender once a round, `--rounds` times, and
writes `results/DATE-MACHINE.{json,md,svg}`. Run it with the Python that lowbg is installed in;
`--peers` names the one of `requirements.txt`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import corpus
import measuring
import rendering
import stages
from measuring import CommandError
from peers import SKIPPED

HERE = Path(__file__).parent
LOWBG = [sys.executable, "-m", "lowbg_cli"]
PEERS = {
    "datatrove, trivial filter": 8.0,
    "datatrove, GopherQualityFilter": 2.0,
    "is-it-slop": 4.0,
    "KenLM, words": 8.0,
    "KenLM, SentencePiece": 3.0,
    "zlib ratio": 12.0,
    "lzma ratio": 1.5,
}
"""Peers and how much they get to work on, in MB: a few seconds' worth. Their speed doesn't depend
on it, since their start isn't counted."""


ENGLISH = "english"
"""Where below the corpus another one is, of the same size, of the prose's files `en-*`."""

ENLARGED = 4
"""How many times the corpus those get that are compared by wall time."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A command over `content` bytes; `own_clock` where it prints the CPU seconds that count."""

    name: str
    command: Sequence[str]
    content: int
    own_clock: bool = False


class Bench:
    """The corpus, scratch space, and what was measured so far."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.work: Path = given.corpus
        self.peers: str = given.peers
        self.out = self.work / "out"
        found = json.loads((self.work / "corpus.json").read_text())
        self.content: int = found["content_bytes"]
        self.skipped: dict[str, str] = {}
        self.only: str = given.only
        self.costs: dict[str, list[dict[str, float]]] = {}
        if not (self.work / ENGLISH / "corpus.json").exists():
            self.skipped["English"] = "the corpus has none; make it anew, of prose with files en-*"

    def shards(self, kind: str) -> list[Path]:
        """The corpus in one of its formats."""
        return sorted((self.work / kind).iterdir())

    def _english(self, loop: Sequence[str]) -> list[Contender]:
        """The reference and lowbg over the English corpus, where there is one."""
        if "English" in self.skipped:
            return []
        folder = self.work / ENGLISH
        size = json.loads((folder / "corpus.json").read_text())["content_bytes"]
        shards = [str(path) for path in sorted((folder / "jsonl.zst").iterdir())]
        return [
            Contender("orjson loop, English", [*loop, *shards], size),
            self._filter("lowbg, jsonl.zst, English", folder / "jsonl.zst", content=size),
        ]

    def stream(self, megabytes: float | None = None) -> tuple[Path, int]:
        """One zstd file of the whole corpus, or of about so many MB, and its content in bytes.

        Frames come one after another, again and again where more is asked for than there is.
        """
        shards = self.shards("jsonl.zst")
        each = self.content / len(shards)
        if megabytes is not None and megabytes * 1e6 < each:
            return self._slice(megabytes)
        copies = len(shards) if megabytes is None else round(megabytes * 1e6 / each)
        path = self.work / f"stream-{copies}.jsonl.zst"
        if not path.exists():
            with path.open("wb") as out:
                for i in range(copies):
                    out.write(shards[i % len(shards)].read_bytes())
        return path, round(copies * each)

    def enlarged(self, copies: int) -> Path:
        """The zstd shards again, each holding its content so many times."""
        folder = self.work / f"jsonl.zst-{copies}"
        folder.mkdir(exist_ok=True)
        for shard in self.shards("jsonl.zst"):
            if not (folder / shard.name).exists():
                (folder / shard.name).write_bytes(shard.read_bytes() * copies)
        return folder

    def _slice(self, megabytes: float) -> tuple[Path, int]:
        path = self.work / f"slice-{megabytes:g}.jsonl.zst"
        with corpus.open_input(str(self.shards("jsonl.zst")[0])) as stream:
            data = stream.read(int(megabytes * 1e6))
        data = data[: data.rindex(b"\n") + 1]
        if not path.exists():
            path.write_bytes(corpus.zstandard.ZstdCompressor(level=3).compress(data))
        return path, len(data)

    def contenders(self) -> list[Contender]:
        """All of them, the references first."""
        zst = [str(path) for path in self.shards("jsonl.zst")]
        # For the shell of the command: $f and $OUT are its own.
        copy = 'for f; do zstd -dcq "$f" | zstd -3qfo "$OUT/${f##*/}" || exit 1; done'
        loop = [sys.executable, str(HERE / "reference.py"), str(self.out)]
        halves = [shlex.join([*loop, *zst[i::2]]) for i in range(2)]
        found = [
            Contender("zstd -dc | zstd -3", ["bash", "-o", "pipefail", "-c", copy, "-", *zst],
                      self.content),
            Contender("orjson loop", [*loop, *zst], self.content),
            Contender("orjson loop, 2 processes",
                      ["bash", "-c", f"{halves[0]} & {halves[1]} && wait $!"], self.content),
            self._filter("lowbg, jsonl.zst", self.work / "jsonl.zst"),
            *self._english(loop),
            self._filter("lowbg, jsonl.gz", self.work / "jsonl.gz"),
            self._filter("lowbg, Parquet", self.work / "parquet"),
        ]  # fmt: skip
        # Start-up, which no second core shortens, is a fifth of the time on the corpus itself.
        large, size = self.enlarged(ENLARGED), ENLARGED * self.content
        stream, stream_size = self.stream(size / 1e6)
        found += [
            self._filter("lowbg, 1 worker", large, content=size),
            self._filter("lowbg, 2 workers", large, workers=2, content=size),
            self._filter("lowbg, one stream, 1 thread", stream, content=stream_size),
            self._filter("lowbg, one stream, 2 threads", stream, threads=2, content=stream_size),
        ]
        for name, megabytes in PEERS.items():
            path, size = self._slice(megabytes)
            command = [self.peers, str(HERE / "peers.py"), name, str(path), str(self.out),
                       str(self.work / "models")]  # fmt: skip
            found.append(Contender(name, command, size, own_clock=True))
        return [contender for contender in found if self.only in contender.name]

    def _filter(
        self,
        name: str,
        source: Path,
        *,
        workers: int = 1,
        threads: int = 1,
        content: int | None = None,
    ) -> Contender:
        command = [*LOWBG, "filter", str(source), "-o", str(self.out), "--quiet",
                   "--workers", str(workers), "--threads", str(threads)]  # fmt: skip
        return Contender(name, command, content or self.content)

    def measure(self, contender: Contender) -> None:
        """One run of one contender; a peer that can't be had is left out with its reason."""
        if contender.name in self.skipped:
            return
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        try:
            cost = measuring.run(contender.command, {"OUT": str(self.out)})
        except (CommandError, OSError) as error:
            if contender.own_clock and getattr(error, "code", SKIPPED) == SKIPPED:
                self.skipped[contender.name] = str(error).splitlines()[-1]
                return
            raise SystemExit(f"{contender.name}: {error}") from error
        cpu, content = cost.cpu, contender.content
        if contender.own_clock:
            told = json.loads(cost.output.splitlines()[-1])
            cpu, content = told["cpu_seconds"], told["content_bytes"]
        self.costs.setdefault(contender.name, []).append({
            "mb_per_cpu_s": content / cpu / 1e6, "mb_per_s": content / cost.wall / 1e6,
            "cpu_s": cpu, "wall_s": cost.wall, "peak_mb": cost.memory / 1e6,
        })  # fmt: skip

    def start_up(self, rounds: int) -> dict[str, dict[str, float]]:
        """Wall seconds of `--help`, and of a fresh process up to its first verdict."""
        one = self.work / "one.jsonl"
        with corpus.open_input(str(self.shards("jsonl.zst")[0])) as stream:
            one.write_bytes(stream.read(1 << 20).split(b"\n")[0] + b"\n")
        commands = {
            "lowbg --help": [*LOWBG, "--help"],
            "first verdict": [*LOWBG, "filter", str(one), "--discard-ai", "--quiet"],
        }
        return {
            name: spread([measuring.run(command).wall for _ in range(rounds)])
            for name, command in commands.items()
        }

    def scale(self, sizes: Sequence[float]) -> list[dict[str, float]]:
        """CPU per MB and peak memory over streams of very different length, start included."""
        rows = []
        for megabytes in sizes:
            path, content = self.stream(megabytes)
            shutil.rmtree(self.out, ignore_errors=True)
            cost = measuring.run(self._filter("", path).command)
            rows.append({
                "content_mb": content / 1e6, "cpu_ms_per_mb": 1e9 * cost.cpu / content,
                "peak_mb": cost.memory / 1e6,
            })  # fmt: skip
        return rows


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


RATIOS: tuple[tuple[str, str, str, str, float | None], ...] = (
    ("CPU, all default scorers : orjson loop",
     "lowbg, jsonl.zst", "orjson loop", "mb_per_cpu_s", 0.45),
    ("CPU, all default scorers, English : orjson loop, English",
     "lowbg, jsonl.zst, English", "orjson loop, English", "mb_per_cpu_s", 0.5),
    ("CPU : datatrove, GopherQualityFilter",
     "lowbg, jsonl.zst", "datatrove, GopherQualityFilter", "mb_per_cpu_s", 60.0),
    ("CPU : is-it-slop",
     "lowbg, jsonl.zst", "is-it-slop", "mb_per_cpu_s", None),
    ("CPU : KenLM, words", "lowbg, jsonl.zst", "KenLM, words", "mb_per_cpu_s", 20.0),
    ("CPU : KenLM, SentencePiece (as CCNet)",
     "lowbg, jsonl.zst", "KenLM, SentencePiece", "mb_per_cpu_s", 20.0),
    ("wall, 2 workers : 1",
     "lowbg, 2 workers", "lowbg, 1 worker", "mb_per_s", 1.8),
    ("wall, one stream, 2 threads : 1",
     "lowbg, one stream, 2 threads", "lowbg, one stream, 1 thread", "mb_per_s", 1.6),
    ("wall, orjson loop in 2 processes : 1 (what the machine has to give)",
     "orjson loop, 2 processes", "orjson loop", "mb_per_s", None),
)  # fmt: skip
"""Name, contender, what it is compared with, by what, and the budget, if it has one."""


def ratios(costs: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Each ratio round by round, so that what slows a round down slows both."""
    rows = []
    for name, ours, theirs, by, budget in RATIOS:
        if ours in costs and theirs in costs:
            each = [a[by] / b[by] for a, b in zip(costs[ours], costs[theirs], strict=True)]
            rows.append({"name": name, "budget": budget, **spread(each)})
    return rows


def main(argv: list[str]) -> int:
    """Everything, stored below `results/`."""
    given = _arguments(argv)
    if not (given.corpus / "corpus.json").exists():
        if given.prose is None:
            raise SystemExit(f"{given.corpus} holds no corpus; make one with --prose DIR")
        corpus.make([given.prose], given.corpus, given.mb, 8, corpus.FORMATS)
    english = [] if given.prose is None else sorted(given.prose.glob("en-*"))
    if english and not (given.corpus / ENGLISH / "corpus.json").exists():
        corpus.make(english, given.corpus / ENGLISH, given.mb, 8, ["jsonl.zst"])
    bench = Bench(given)
    before = measuring.load()
    # Compiles the kernels and brings the corpus into the page cache, for all alike.
    for contender in bench.contenders():
        bench.measure(contender)
    bench.costs.clear()
    for number in range(given.rounds):
        for contender in bench.contenders():
            _say(f"round {number + 1} of {given.rounds}: {contender.name}")
            bench.measure(contender)
    result: dict[str, Any] = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": measuring.machine(),
        "load_before_and_after": [before, measuring.load()],
        "commit": _commit(),
        "corpus": {
            **json.loads((bench.work / "corpus.json").read_text()),
            "stored_bytes": sum(path.stat().st_size for path in bench.shards("jsonl.zst")),
        },
        "rounds": given.rounds,
        "contenders": {
            name: {key: spread([run[key] for run in runs]) for key in runs[0]}
            for name, runs in bench.costs.items()
        },
        "skipped": bench.skipped,
        "ratios": ratios(bench.costs),
    }
    if not given.only:
        _say("start-up, stages, scale")
        result["start_up_s"] = bench.start_up(given.rounds)
        shard = str(bench.shards("jsonl.zst")[0])
        result["stages_ms_per_mb"] = stages.measure([shard], given.rounds)
        result["scale"] = bench.scale(given.scale)
    shutil.rmtree(bench.out, ignore_errors=True)
    where = re.sub(r"[^A-Za-z0-9]+", "-", f"{result['machine']['processor']}").strip("-").lower()
    stem = f"{result['date'][:10]}-{where}-{result['machine']['cores']}c"
    if given.only:
        stem += "-" + re.sub(r"[^A-Za-z0-9]+", "-", given.only).strip("-").lower()
    given.results.mkdir(exist_ok=True)
    renderings: dict[str, Callable[[dict[str, Any]], str]] = {
        "json": lambda r: json.dumps(r, indent=1) + "\n",
        "md": rendering.as_markdown,
        "svg": rendering.as_svg,
    }
    for ending, render in renderings.items():
        (given.results / f"{stem}.{ending}").write_text(render(result), encoding="utf-8")
    print(rendering.as_markdown(result))
    return 0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prose", type=Path, help="folder of JSONL files to make the corpus from")
    parser.add_argument("--corpus", type=Path, default=Path("speed-corpus"))
    parser.add_argument("--mb", type=float, default=240.0, help="content of a new corpus")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=sys.executable, help="Python of requirements.txt")
    parser.add_argument("--scale", type=float, nargs="*", default=[10.0, 100.0, 1000.0],
                        metavar="MB")  # fmt: skip
    parser.add_argument("--only", default="", metavar="TEXT",
                        help="contenders whose names hold this; a result apart")  # fmt: skip
    parser.add_argument("--results", type=Path, default=HERE / "results")
    return parser.parse_args(argv)


def _commit() -> str:
    found = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout.strip()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main(sys.argv[1:]))
