"""Writes the JSON Schema of reports anew: run it after a change of a section's struct."""

from __future__ import annotations

from pathlib import Path

import lowbg.report
from lowbg.report.render_json import json_schema

path = Path(lowbg.report.__file__).with_name("report.schema.json")
path.write_bytes(json_schema())
print(path)
