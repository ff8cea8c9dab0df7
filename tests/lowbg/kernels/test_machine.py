"""What lowbg sets for its own processes, and for nobody else's."""

from __future__ import annotations

import json
import subprocess
import sys


def test_only_its_own_processes_switch_often() -> None:
    script = """
import json, sys
before = sys.getswitchinterval()
import lowbg.runs.overlap
from lowbg_cli import app
imported = sys.getswitchinterval()
sys.argv = ["lowbg", "--version"]
try:
    app.main()
except SystemExit:
    print(json.dumps([before, imported, sys.getswitchinterval()]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    before, imported, run = json.loads(done.stdout.splitlines()[-1])
    assert imported == before
    assert run < before / 10
