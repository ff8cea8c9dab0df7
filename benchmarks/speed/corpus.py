"""Makes the benchmark's corpus: `python benchmarks/speed/corpus.py --prose DIR --out DIR`.

Documents are stretches of the prose in DIR's JSONL files (field `text`; any codec that lowbg
reads), each from one file, cut at white space to log-normal lengths between 300 B and 20 KB, with
the nested metadata that crawl dumps have. The same arguments give the same bytes. Where more is
asked for than there is prose, it comes again, cut at other places.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from lowbg.runs.inputs import discover
from lowbg.storage.compression import open_input

SHORTEST, MEDIAN, LONGEST, SIGMA = 300, 2_000, 20_000, 1.0
"""Of a document's text, in UTF-8 bytes; sigma of the logarithm."""

FORMATS = ("jsonl.zst", "jsonl.gz", "parquet")


@dataclass(slots=True)
class _Prose:
    """The text of one file, end to end, and how far it has been used."""

    name: str
    text: bytes
    at: int = 0

    def cut(self, size: int) -> str:
        """The next `size` bytes, about: up to white space if there is some nearby."""
        if self.at + size > len(self.text):
            self.at = 0
        end = min(self.at + size, len(self.text))
        space = max(self.text.rfind(b" ", self.at, end), self.text.rfind(b"\n", self.at, end))
        if space > self.at + size // 2:
            end = space + 1
        while end < len(self.text) and self.text[end] & 0xC0 == 0x80:
            end -= 1  # not within a character
        piece = self.text[self.at : end]
        self.at = end
        return piece.decode("utf-8").strip()


def read_prose(sources: Sequence[Path]) -> list[_Prose]:
    """The prose of every JSONL file that there is, or that lies below, one after the other."""
    found = []
    for shard in discover([*map(str, sources)]):
        if not shard.name.endswith(".parquet"):
            with open_input(shard.path) as stream:
                texts = (
                    orjson.loads(line).get("text")
                    for line in stream.read(1 << 40).split(b"\n")
                    if line.strip()
                )
                joined = "\n\n".join(text for text in texts if isinstance(text, str))
            if len(joined) > LONGEST:
                found.append(_Prose(shard.name, joined.encode()))
    if not found:
        raise SystemExit(f"{sources[0]}: no JSONL file with at least {LONGEST} bytes of `text`")
    return found


def documents(prose: Sequence[_Prose], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Endlessly: documents from all files, each as often as its share of the bytes."""
    sizes = np.array([len(source.text) for source in prose], np.float64)
    number = 0
    while True:
        lengths = np.exp(rng.normal(np.log(MEDIAN), SIGMA, 4096))
        lengths = np.clip(lengths, SHORTEST, LONGEST).astype(int)
        for which, length in zip(
            rng.choice(len(prose), 4096, p=sizes / sizes.sum()).tolist(),
            lengths.tolist(),
            strict=True,
        ):
            text = prose[which].cut(length)
            if not text:
                continue
            yield _record(number, text, prose[which].name, rng)
            number += 1


def _record(number: int, text: str, source: str, rng: np.random.Generator) -> dict[str, Any]:
    day, host = f"{2013 + number % 12}-{1 + number % 11:02d}-17", f"www.site{number % 997}.example"
    return {
        "id": f"<urn:uuid:{rng.integers(1 << 62):016x}-{number}>",
        "text": text,
        "url": f"https://{host}/{source.split('.')[0]}/{number}",
        "date": f"{day}T04:13:29Z",
        "metadata": {
            "dump": "CC-MAIN-2024-10",
            "warc": {"offset": number * 41_017, "length": len(text), "digest": f"{number:040x}"},
            "headers": {"content-type": "text/html; charset=utf-8", "status": 200},
            "quality": {"language_score": round(float(rng.random()), 4), "boilerplate": [0, 1, 0]},
        },
    }  # fmt: skip


def make(
    prose: Sequence[Path],
    out: Path,
    megabytes: float,
    shards: int,
    formats: Sequence[str],
    seed: int = 1,
) -> int:
    """Writes the corpus below `out`, a folder a format; returns its content in bytes."""
    rng = np.random.default_rng(seed)
    source = documents(read_prose(prose), rng)
    total = 0
    for shard in range(shards):
        lines: list[bytes] = []
        size = 0
        while size < megabytes * 1e6 / shards:
            lines.append(orjson.dumps(next(source), option=orjson.OPT_APPEND_NEWLINE))
            size += len(lines[-1])
        total += size
        for name in formats:
            (out / name).mkdir(parents=True, exist_ok=True)
            _write(out / name / f"part-{shard:05d}.{name}", lines)
    manifest = {
        "prose": " ".join(path.name for path in prose), "content_bytes": total,
        "shards": shards, "seed": seed, "formats": list(formats),
    }  # fmt: skip
    (out / "corpus.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return total


def _write(path: Path, lines: Sequence[bytes]) -> None:
    if path.name.endswith(".parquet"):
        pq.write_table(
            pa.Table.from_pylist([orjson.loads(line) for line in lines]),
            path, compression="zstd", row_group_size=10_000,
        )  # fmt: skip
        return
    data = b"".join(lines)
    if path.name.endswith(".gz"):
        data = gzip.compress(data, 6, mtime=0)
    elif path.name.endswith(".zst"):
        data = zstandard.ZstdCompressor(level=3).compress(data)
    path.write_bytes(data)


def main(argv: list[str]) -> int:
    """Makes one corpus as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prose", type=Path, required=True, help="folder of JSONL files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mb", type=float, default=240.0, help="content, in 10^6 bytes")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(argv)
    size = make([given.prose], given.out, given.mb, given.shards, given.formats, given.seed)
    print(f"{size} bytes of content in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
