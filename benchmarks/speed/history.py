"""The stored results of `quick.py`: read, stored, and drawn over versions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from math import log2
from pathlib import Path
from typing import Any

from benchmarks.speed.rendering import table

Result = dict[str, Any]

FOLDER = "quick"


def read(results: Path) -> list[Result]:
    """All that are stored, the oldest first."""
    found = [json.loads(path.read_text("utf-8")) for path in (results / FOLDER).glob("*.json")]
    return sorted(found, key=lambda result: str(result["date"]))


def store(results: Path, result: Result) -> None:
    """Stores a result, in place of one of the same version and day, and draws all."""
    folder = results / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['version']}-{result['date'][:10]}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    found = read(results)
    (results / "history.md").write_text(as_markdown(found), encoding="utf-8")
    (results / "history.svg").write_text(as_svg(found), encoding="utf-8")


def as_table(results: Sequence[Result]) -> str:
    """A row a ratio, a column a result: medians, with least and largest of the last one."""
    names = dict.fromkeys(name for result in results for name in result["ratios"])
    head = ["", *(f"{r['version']}, {r['date'][:10]}" for r in results)]
    rows = [[name, *(_cell(r, name, last=r is results[-1]) for r in results)] for name in names]
    return table(head, rows)


def _cell(result: Result, name: str, *, last: bool) -> str:
    own = result["ratios"].get(name)
    if own is None:
        return "–"
    text = f"{own['median']:.2f}"
    return f"{text} ({own['min']:.2f}–{own['max']:.2f})" if last else text


def as_markdown(results: Sequence[Result]) -> str:
    """The page: what the ratios are, the newest twelve results, and the drawing."""
    last = results[-1]
    return "\n".join([
        "# Speed over versions\n",
        "CPU time, or memory where it says so, of lowbg as a multiple of what it is compared with "
        "in the same round: the loop that parses with orjson and copies at the same zstd level; "
        "for start-up, importing pyarrow and numpy. Less is better. Medians; made by `quick.py`, "
        f"start-up included, on {last['mb']:g} MB a corpus.\n",
        as_table(results[-12:]),
        f"The newest: {last['rounds']} rounds on {last['machine']['processor']}, "
        f"{last['machine']['cores']} cores, Python {last['machine']['python']}; load average "
        f"{last['load_before']} before.\n",
        "![Ratios over versions](history.svg)\n",
    ])  # fmt: skip


_WIDTH, _LEFT, _RIGHT, _ROW = 760, 150, 60, 64


def as_svg(results: Sequence[Result]) -> str:
    """A strip a ratio: its medians from result to result, by their logarithms, all strips alike."""
    names = list(dict.fromkeys(name for result in results for name in result["ratios"]))
    height = _ROW * len(names) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
    ]
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(results) - 1, 1)
    for row, name in enumerate(names):
        own = [(i, r["ratios"][name]["median"]) for i, r in enumerate(results)
               if name in r["ratios"]]  # fmt: skip
        middle, base = row * _ROW + _ROW / 2, own[0][1]
        points = [
            # Half a strip up or down is twice, or half, what it was at first.
            (_LEFT + i * step, middle - max(-1.0, min(1.0, log2(value / base))) * _ROW * 0.4, value)
            for i, value in own
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
        parts.append(
            f'<path d="M{_LEFT} {middle}H{_WIDTH - _RIGHT}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 10}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>'
            f'<polyline points="{line}" fill="none" stroke="#2a6f97" stroke-width="2"/>'
        )
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#2a6f97"/>' for x, y, _ in points]
        x, y, value = points[-1]
        parts.append(f'<text x="{x + 7:.1f}" y="{y + 4:.1f}">{value:.2f} ×</text>')
    for i, result in enumerate(results):
        if i in (0, len(results) - 1):
            parts.append(
                f'<text x="{_LEFT + i * step:.1f}" y="{height - 8}" text-anchor="middle">'
                f"{escape(result['version'])}, {result['date'][:10]}</text>"
            )
    return "".join([*parts, "</svg>\n"])
