"""Fits SynthID's Bayesian detector to your own keys: `… keys.toml MARKED UNMARKED -o FOLDER`.

MARKED and UNMARKED are JSONL files with a field `text`: what your model wrote with the watermark,
and text without it (people's, or the same model's), hundreds of either, as long as the texts to be
judged. `detector = "FOLDER"` in keys.toml then gives `watermark_posterior`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from lowbg.errors import LowbgError
from lowbg.scorers.watermark import fit_detector


def texts(path: Path) -> list[str]:
    """The texts of a JSONL file."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def main(argv: Sequence[str]) -> int:
    """Writes the detector's parameters."""
    parser = argparse.ArgumentParser(prog="python examples/fit_synthid.py")
    parser.add_argument("keys", type=Path)
    parser.add_argument("marked", type=Path)
    parser.add_argument("unmarked", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(argv)
    try:
        detector = fit_detector(options.keys, texts(options.marked), texts(options.unmarked))
    except LowbgError as error:
        print(error, file=sys.stderr)
        return 2
    detector.save(options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
