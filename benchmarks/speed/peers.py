"""What lowbg is measured beside: `python peers.py NAME INPUT.jsonl.zst OUTPUT_DIR [MODEL]`.

Prints a JSON object: `content_bytes`, `documents`, and `cpu_seconds` of the work itself, with
children; importing and loading models is not counted. Where a peer can't be had, exits with 77
and the reason on stderr. Runs in the environment of `requirements.txt`, without lowbg.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import lzma
import os
import shutil
import subprocess
import sys
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import zstandard

SKIPPED = 77

BATCH = 64
"""Documents that a detector gets at a time."""

Work = Callable[[], None]
Keep = Callable[[str], bool]


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a zstd file, with their ends."""
    rest = b""
    with path.open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        while block := stream.read(1 << 20):
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                yield line + b"\n"
    if rest:
        yield rest


def line_filter(source: Path, target: Path, keep: Keep) -> Work:
    """Parses with orjson, asks `keep`, writes the line's bytes at zstd level 3 to one of two."""

    def work() -> None:
        outputs: list[Any] = [
            zstandard.ZstdCompressor(level=3).stream_writer((target / f"{name}.zst").open("wb"))
            for name in ("kept", "dropped")
        ]
        for line in lines(source):
            outputs[0 if keep(orjson.loads(line)["text"]) else 1].write(line)
        for output in outputs:
            output.close()

    return work


def datatrove(source: Path, target: Path, gopher: bool) -> Work:
    """datatrove's local executor, one task: its JSONL reader, a filter, its JSONL writers."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.filters import GopherQualityFilter, LambdaFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    name = "${rank}.jsonl.zst"
    rejected = JsonlWriter(str(target / "dropped"), output_filename=name, compression="zstd")
    chosen = (
        GopherQualityFilter(exclusion_writer=rejected)
        if gopher
        else LambdaFilter(lambda document: len(document.text) % 10 > 0, exclusion_writer=rejected)
    )
    if gopher:  # its word tokenizer is made at first use
        from datatrove.data import Document

        chosen.filter(Document(text="Some text, to be read once.", id="0"))
    steps = [
        JsonlReader(str(source.parent), glob_pattern=source.name, compression="zstd"),
        chosen,
        JsonlWriter(str(target / "kept"), output_filename=name, compression="zstd"),
    ]
    executor = LocalPipelineExecutor(
        steps, tasks=1, workers=1, logging_dir=str(target / "logs"), skip_completed=False
    )

    def work() -> None:
        executor.run()

    return work


def write_arpa(source: Path, path: Path, pieces: Callable[[str], list[str]], words: int) -> None:
    """A small 3-gram model in ARPA form, by absolute discounting, of the first `words` tokens.

    KenLM's estimator is no part of its Python package. Speed depends on a model's size and order,
    not on how well it predicts.
    """
    from collections import Counter
    from math import log10

    counts: list[Counter[tuple[str, ...]]] = [Counter(), Counter(), Counter()]
    seen = 0
    for line in lines(source):
        for sentence in orjson.loads(line)["text"].lower().split("\n"):
            tokens = ["<s>", *pieces(sentence), "</s>"]
            seen += len(tokens)
            for n in (1, 2, 3):
                counts[n - 1].update(zip(*(tokens[i:] for i in range(n)), strict=False))
        if seen > words:
            break
    for n in (1, 2):
        counts[n] = Counter({
            gram: c for gram, c in counts[n].items() if c > 1 and "<unk>" not in gram
        })  # fmt: skip
    counts[2] = Counter({
        gram: c for gram, c in counts[2].items() if gram[:2] in counts[1] and gram[1:] in counts[1]
    })  # fmt: skip
    total = sum(counts[0].values())
    discount = 0.75
    with path.open("w", encoding="utf-8") as out:
        out.write("\\data\\\n")
        out.writelines(
            f"ngram {n}={len(counts[n - 1]) + (n == 1 and ('<unk>',) not in counts[0])}\n"
            for n in (1, 2, 3)
        )
        for n in (1, 2, 3):
            out.write(f"\n\\{n}-grams:\n")
            if n == 1 and ("<unk>",) not in counts[0]:
                out.write("-7.0\t<unk>\n")
            for gram, count in counts[n - 1].items():
                before = counts[n - 2][gram[:-1]] if n > 1 else total
                log_p = log10(max(count - discount, 0.1) / before)
                out.write(f"{log_p:.5f}\t{' '.join(gram)}" + ("\t-0.4\n" if n < 3 else "\n"))
        out.write("\n\\end\\\n")


def kenlm_words(source: Path, target: Path, model: Path) -> Work:
    """KenLM perplexity of lower-cased text split at white space, line by line."""
    import kenlm

    arpa = model / "words.arpa"
    if not arpa.exists():
        write_arpa(source, arpa, str.split, 2_000_000)
    scorer = kenlm.Model(str(arpa))
    return line_filter(source, target, _perplexity_below(scorer, str.split))


def kenlm_pieces(source: Path, target: Path, model: Path) -> Work:
    """The same as CCNet does it: accents off, digits to 0, split by SentencePiece."""
    import kenlm
    import sentencepiece

    trained = model / "pieces.model"
    if not trained.exists():
        texts = (orjson.loads(line)["text"] for line in islice(lines(source), 1500))
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(row for text in texts for row in text.split("\n") if row),
            model_prefix=str(trained.with_suffix("")), vocab_size=16_000, character_coverage=0.9995,
            minloglevel=2, hard_vocab_limit=False, num_threads=1,
        )  # fmt: skip
    cutter = sentencepiece.SentencePieceProcessor(model_file=str(trained))

    def pieces(text: str) -> list[str]:
        folded = "".join(
            "0" if c.isdigit() else c
            for c in unicodedata.normalize("NFD", text)
            if unicodedata.category(c) != "Mn"
        )
        return list(cutter.encode(folded, out_type=str))

    arpa = model / "pieces.arpa"
    if not arpa.exists():
        write_arpa(source, arpa, pieces, 500_000)
    scorer = kenlm.Model(str(arpa))
    return line_filter(source, target, _perplexity_below(scorer, pieces))


def _perplexity_below(scorer: Any, pieces: Callable[[str], list[str]]) -> Keep:
    def keep(text: str) -> bool:
        log10, words = 0.0, 0
        for sentence in text.lower().split("\n"):
            tokens = pieces(sentence)
            log10 += scorer.score(" ".join(tokens))
            words += len(tokens) + 1
        return bool(10.0 ** (-log10 / words) < 1000.0)

    return keep


PRELUDE = (
    "It is important to note that the following points play a crucial role. Furthermore, in "
    "conclusion, this comprehensive overview underscores the importance of a multifaceted "
    "approach. As an AI language model, I hope this helps. Delve into the rich tapestry of "
    "possibilities, and embark on a transformative journey that fosters innovation. "
) * 8


def compression(source: Path, target: Path, compress: Callable[[bytes], bytes]) -> Work:
    """AI-likely where a prelude of AI text makes the text smaller: the published idea of ZipPy.

    The score is the ratio of the prelude with the text, less that of the prelude alone.
    """
    prelude = PRELUDE.encode()
    alone = len(compress(prelude)) / len(prelude)

    def keep(text: str) -> bool:
        both = prelude + text.encode()
        return len(compress(both)) / len(both) - alone > 0.25

    return line_filter(source, target, keep)


NAMES_OF_C23 = """
#include <stdlib.h>
long __isoc23_strtol(const char *s, char **e, int b) { return strtol(s, e, b); }
long long __isoc23_strtoll(const char *s, char **e, int b) { return strtoll(s, e, b); }
unsigned long long __isoc23_strtoull(const char *s, char **e, int b) { return strtoull(s, e, b); }
"""
"""What is-it-slop 0.6 asks glibc for, which has it from 2.38 on; its wheel's tag says 2.28."""


def load_names_of_c23(folder: Path) -> None:
    """Gives them to what is imported later, where glibc has none and there is a C compiler."""
    if hasattr(ctypes.CDLL(None), "__isoc23_strtoll"):
        return
    source, library = folder / "c23.c", folder / "c23.so"
    compiler = shutil.which("cc")
    if compiler is None:
        raise ImportError("glibc before 2.38, and no C compiler to add the names that it lacks")
    source.write_text(NAMES_OF_C23)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def slop(source: Path, target: Path, folder: Path) -> Work:
    """is-it-slop: TF-IDF and a classifier in ONNX; the class it gives, `BATCH` texts at a time."""
    load_names_of_c23(folder)
    from is_it_slop import is_this_slop_batch

    is_this_slop_batch(["Some text, to be read once, so that its model is loaded."] * 2)

    def work() -> None:
        outputs: list[Any] = [
            zstandard.ZstdCompressor(level=3).stream_writer((target / f"{name}.zst").open("wb"))
            for name in ("kept", "dropped")
        ]
        left = lines(source)
        while batch := [*islice(left, BATCH)]:
            for line, found in zip(
                batch,
                is_this_slop_batch([orjson.loads(line)["text"] for line in batch]),
                strict=True,
            ):
                outputs[found.classification == "AI"].write(line)
        for output in outputs:
            output.close()

    return work


def work_of(name: str, source: Path, target: Path, model: Path) -> Work:
    """What `name` does, with everything loaded."""
    if name == "orjson loop":
        return line_filter(source, target, lambda text: True)
    if name.startswith("datatrove"):
        return datatrove(source, target, gopher="Gopher" in name)
    if name == "is-it-slop":
        return slop(source, target, model)
    if name == "KenLM, words":
        return kenlm_words(source, target, model)
    if name == "KenLM, SentencePiece":
        return kenlm_pieces(source, target, model)
    if name == "zlib ratio":
        return compression(source, target, lambda data: zlib.compress(data, 9))
    if name == "lzma ratio":
        return compression(source, target, lzma.compress)
    raise SystemExit(f"no peer {name!r}")


def cpu_seconds() -> float:
    """Of this process and the children that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main(argv: list[str]) -> int:
    """Runs one peer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("model", type=Path)
    given = parser.parse_args(argv)
    for folder in (given.target, given.model):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        work = work_of(given.name, given.source, given.target, given.model)
    except ImportError as error:
        print(f"{given.name}: {error}; pip install -r requirements.txt", file=sys.stderr)
        return SKIPPED
    started = cpu_seconds()
    work()
    spent = cpu_seconds() - started
    rows = [len(line) for line in lines(given.source)]
    print(json.dumps({"content_bytes": sum(rows), "documents": len(rows), "cpu_seconds": spent}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
