"""CPU time of every stage per MB of content: `python benchmarks/speed/stages.py SHARD…`.

The stages are called one after the other on each batch, as the pipeline calls them, with a clock
around each; medians over `--repeat` passes. Behind them come the parts of the reference, and what
lowbg may take beside decompressing and compressing to be half as fast as that, start-up included.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import zstandard

from lowbg.config import Policy, RunConfig
from lowbg.decision.decide import Features
from lowbg.decision.unscored import is_prose
from lowbg.formats import open_reader
from lowbg.report.statistics import Statistics
from lowbg.runs.engine import Engine
from lowbg.runs.shard import statistics_batch
from lowbg.runs.sinks import Place, RoutedFiles
from lowbg.scorers.base import Documents
from lowbg.storage.compression import open_input
from lowbg.text import languages
from lowbg.text.tokens import tokenize

SPOKEN = {"perplexity": "n-grams: perplexity and log-odds", "phrases": "named phrases"}
"""Scorers by what they cost: the look-ups of both are the first one's."""


IN_FRAMES = "compress, in frames of 8 MiB"
"""What the reference doesn't do: each frame in one call."""


class Clock:
    """CPU seconds of the whole process by stage."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds what is spent within to the stage."""
        started = time.process_time()
        yield
        self.seconds[name] += time.process_time() - started


def one_pass(shards: list[str], engine: Engine) -> tuple[dict[str, float], int]:
    """CPU seconds by stage, and bytes of content."""
    clock = Clock()
    content = 0
    for shard in shards:
        with clock.stage("decompress"), open_input(shard) as stream:
            while stream.read_chunk():
                pass
    counted = Statistics()
    with tempfile.TemporaryDirectory() as folder:
        for shard in shards:
            config = RunConfig()
            reader = open_reader(shard, config, Path(shard).name)
            sinks = RoutedFiles(Path(folder), Place(Path(shard).name), reader, config)
            batches = iter(reader)
            while True:
                with clock.stage("read"):
                    batch = next(batches, None)
                if batch is None:
                    break
                content += int(batch.sizes.sum())
                with clock.stage("language"):
                    language = languages.detect(batch.text, batch.metadata.language)
                with clock.stage("tokens"):
                    tokens = tokenize(batch.text, engine._foldings[language])
                documents = Documents(batch.text, tokens, language, languages.CODES)
                columns: dict[str, Any] = {}
                for scorer in engine.scorers:
                    with clock.stage(scorer.name):
                        columns.update(scorer.score(documents))
                with clock.stage("judge (all of it)"):
                    judged = engine.judge(batch.text, batch.metadata)
                with clock.stage("decide"):
                    engine._decider.decide(
                        Features(
                            language, languages.CODES, tokens.words_per_document,
                            is_prose(tokens.counts), columns, judged.known,
                        )
                    )  # fmt: skip
                with clock.stage("write"):
                    sinks.write(batch, judged)
                with clock.stage("statistics"):
                    counted.add(statistics_batch(batch, judged))
            with clock.stage("write"):
                sinks.end_shard()
            sinks.abort()
            reader.close()
    return dict(clock.seconds), content


def measure(shards: list[str], repeat: int) -> dict[str, float]:
    """Milliseconds of CPU per MB (10^6 bytes) of content, by stage; medians."""
    engine = Engine(Policy()).setup()
    engine.warm_up()
    passes = [one_pass(shards, engine) for _ in range(repeat)]
    result = {
        stage: 1e9 * statistics.median(seconds[stage] / content for seconds, content in passes)
        for stage in passes[0][0]
    }
    result["parse"] = result.pop("read") - result["decompress"]
    return {SPOKEN.get(stage, stage): cost for stage, cost in result.items()}


def reference_pass(shards: list[str]) -> tuple[dict[str, float], int]:
    """CPU seconds of the parts of `reference.py`, and bytes of content."""
    clock = Clock()
    content = 0
    for shard in shards:
        stored = io.BytesIO(Path(shard).read_bytes())
        reader = zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True)
        blocks: list[bytes] = []
        with clock.stage("decompress"):
            while block := reader.read(1 << 20):
                blocks.append(block)
        lines = b"".join(blocks).split(b"\n")
        with clock.stage("parse"):
            for line in lines:
                if line:
                    orjson.loads(line)
        with clock.stage("compress"):
            writer = zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()
            for block in blocks:
                writer.compress(block)
            writer.flush()
        with clock.stage(IN_FRAMES):
            for k in range(0, len(blocks), 8):
                zstandard.ZstdCompressor(level=3).compress(b"".join(blocks[k : k + 8]))
        content += sum(map(len, blocks))
    return dict(clock.seconds), content


def reference(shards: list[str], repeat: int) -> dict[str, float]:
    """Milliseconds of CPU per MB of content by part of the reference; medians."""
    passes = [reference_pass(shards) for _ in range(repeat)]
    return {
        stage: 1e9 * statistics.median(seconds[stage] / content for seconds, content in passes)
        for stage in passes[0][0]
    }


def main(argv: list[str]) -> int:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args(argv)
    for stage, cost in measure(given.shards, given.repeat).items():
        print(f"{stage:32} {cost:7.2f} ms/MB")
    parts = reference(given.shards, given.repeat)
    for part, cost in parts.items():
        print(f"{'reference: ' + part:32} {cost:7.2f} ms/MB")
    for ratio in (0.5, 0.6):
        shared = parts["decompress"] + parts["compress"]
        left = (shared + parts["parse"]) / ratio - shared
        print(f"{f'left for the rest at {ratio} x':32} {left:7.2f} ms/MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
