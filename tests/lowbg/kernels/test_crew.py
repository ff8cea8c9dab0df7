"""Kernels that are missing are compiled by several processes, whatever happens to these."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

BEFORE = """
import json, os, sys
from lowbg import kernels
from lowbg.kernels import compiler, crew
said = []
kernels.compile_together(2, lambda: said.append("compiling"))
"""

SENTENCES = """
import numpy as np
from lowbg.kernels import json_bytes, json_lines, sentences
def uneven(lengths):
    out = np.empty(1, np.float32)
    sentences.goh_barabasi(np.array(lengths, np.int32), np.array([0, len(lengths)]), out)
    return float(out[0])
result = uneven([1, 5])
{then}
print(json.dumps([result, said, crew.missing(sorted(compiler.KERNELS))]))
"""


def run(cache: Path, script: str = SENTENCES, then: str = "") -> Any:
    """What the script prints, in a process of its own with its own place for kernels."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEFORE + script.replace("{then}", then)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_what_is_missing_is_said_once_and_compiled_together(tmp_path: Path) -> None:
    uneven, said, missing = run(tmp_path, then="crew._crew.compile_all()")
    assert uneven == pytest.approx(-0.2)
    assert said == ["compiling"]
    assert missing == []
    # Now all is there: nothing is said, nobody is started.
    assert run(tmp_path, then="assert crew._crew is None") == [uneven, [], []]


def test_where_no_process_can_be_started_it_is_compiled_here(tmp_path: Path) -> None:
    broken = "sys.executable = '/dev/null/none'\n"
    done = run(tmp_path, broken + SENTENCES, "crew._crew.compile_all()")
    assert done == [pytest.approx(-0.2), ["compiling"], []]


def test_a_process_that_dies_costs_nothing(tmp_path: Path) -> None:
    """Its kernel is compiled here once it is called."""
    broken = "crew._ASSISTANT = 'import sys; sys.stdin.readline()'\n"
    then = """
block = np.frombuffer(b"a\\n" + 64 * b"\\n", np.uint8)
assert json_lines.count_ends(block, 2) == 1
"""
    uneven, said, missing = run(tmp_path, broken + SENTENCES, then)
    assert (uneven, said) == (pytest.approx(-0.2), ["compiling"])
    assert "lowbg.kernels.json_lines:count_ends" not in missing


def test_a_caller_of_the_library_compiles_alone_and_hears_nothing(tmp_path: Path) -> None:
    uneven, said, missing = run(tmp_path, "kernels.compile_alone()\n" + SENTENCES)
    assert (uneven, said) == (pytest.approx(-0.2), [])
    assert "lowbg.kernels.json_lines:scan" in missing


def test_compiling_ahead_is_not_announced(tmp_path: Path) -> None:
    script = """
from lowbg.kernels import sentences
names = ["lowbg.kernels.sentences:goh_barabasi"]
crew.compile_ahead(names, 2)
print(json.dumps([said, crew.missing(names), kernels.together() is None]))
"""
    assert run(tmp_path, script) == [[], [], False]


def test_nobody_is_at_it_any_more_behind_the_block(tmp_path: Path) -> None:
    script = f"""
import threading
kernels.compile_alone()
with crew.at_work(2, lambda: said.append("compiling")):
    exec({SENTENCES.replace("{then}", "")!r})
assert threading.active_count() == 1, threading.enumerate()
assert kernels.together() is None
assert crew._crew is None
"""
    assert run(tmp_path, script)[:2] == [pytest.approx(-0.2), ["compiling"]]
