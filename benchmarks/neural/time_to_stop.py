"""How long a run with a causal LM takes to stop after a signal: `… time_to_stop MODEL`.

`python -m benchmarks.neural.time_to_stop MODEL [--documents 300] [--probe-only]` makes documents of
mixed lengths and runs `lowbg filter` on them: as one shard and as many small ones, which are judged
together, with the model's probe and without (`--lm-probe none`: the whole text). When a run has
taken a second of the processor more than one of a single document took in all, so that the LM
reads, it gets the signal: SIGTERM with one shard, SIGINT with many. Prints JSON: seconds from the
signal to the end, by the clock and of the processor, exit code, what the run said, and the load of
the machine. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.neural.made import probe_digest, today
from benchmarks.neural.run import make_texts


def write(folder: Path, texts: Sequence[str], shards: int) -> Path:
    """Deals the texts to shards."""
    folder.mkdir()
    for k in range(shards):
        with (folder / f"{k:03}.jsonl").open("w") as out:
            for text in texts[k::shards]:
                print(json.dumps({"text": text, "language": "en"}), file=out)
    return folder


def command(inputs: Path, out: Path, options: Sequence[str]) -> list[str]:
    """The run."""
    return [sys.executable, "-m", "lowbg_cli", "filter", str(inputs), "-o", str(out), *options]


def processor_of(pid: int) -> float:
    """Seconds of the processor that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def least(inputs: Path, out: Path, options: Sequence[str]) -> float:
    """Seconds of the processor that a whole run takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command(inputs, out, options), check=True, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def stop(run: Sequence[str], number: signal.Signals, after: float) -> dict[str, Any]:
    """Seconds from the signal to the end of a run that has taken `after` of the processor."""
    process = subprocess.Popen(run, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and processor_of(process.pid) < after:
        time.sleep(0.05)
    taken, before = processor_of(process.pid), resource.getrusage(resource.RUSAGE_CHILDREN)
    at = time.monotonic()
    process.send_signal(number)
    _, told = process.communicate(timeout=600)
    seconds, ended = time.monotonic() - at, resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = ended.ru_utime + ended.ru_stime - before.ru_utime - before.ru_stime
    return {
        "signal": number.name,
        "seconds": round(seconds, 2),
        "processor_seconds": round(whole - taken, 2),
        "exit": process.returncode,
        "told": _told(told, Path(run[run.index("-o") + 1])),
        "load": round(os.getloadavg()[0], 1),
    }


def _told(told: str, out: Path) -> str:
    """The last line that a run wrote, without the folder that was made for it."""
    lines = told.strip().splitlines()
    return lines[-1].replace(str(out), out.name) if lines else ""


def main(argv: Sequence[str]) -> int:
    """Prints how long each run took to stop."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neural.time_to_stop")
    parser.add_argument("model")
    parser.add_argument("--documents", type=int, default=300)
    parser.add_argument("--probe-only", action="store_true")
    options = parser.parse_args(argv)
    # What runs in a shell's background ignores it, and so would what is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    texts = make_texts(options.documents, seed=1)
    found = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        shards = {n: write(folder / f"{n}", texts, n) for n in (1, 30)}
        single = write(folder / "single", texts[:1], 1)
        ways: list[tuple[str, list[str]]] = [("probe", [])]
        if not options.probe_only:
            ways.append(("whole text", ["--lm-probe", "none"]))
        for name, own in ways:
            lm = ["--lm", options.model, *own]
            at_work = 1.0 + least(single, folder / f"{name}-single", lm)
            for n, inputs in shards.items():
                number = signal.SIGTERM if n == 1 else signal.SIGINT
                run = command(inputs, folder / f"{name}-{n}", lm)
                found.append({"reads": name, "shards": n, **stop(run, number, at_work)})
                print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    result = {"date": today(), "probe": probe_digest(), "documents": len(texts), "stops": found}
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
