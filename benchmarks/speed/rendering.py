"""A result of `run.py` as Markdown tables and as a bar chart (SVG)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import log10
from typing import Any

Result = dict[str, Any]


def as_markdown(result: Result) -> str:
    """Every figure that there is: contenders, ratios, start-up, stages, scale."""
    m, c = result["machine"], result["corpus"]
    before, after = result["load_before_and_after"]
    parts = [
        f"# Speed, {result['date'][:10]}\n",
        f"{m['processor']}, {m['cores']} cores, {m['memory_gb']} GB, {m['system']}, Python "
        f"{m['python']}; lowbg {m['lowbg']} ({result['commit']}), numba {m['numba']}, pyarrow "
        f"{m['pyarrow']}, orjson {m['orjson']}. Corpus: {c['content_bytes'] / 1e6:.0f} MB in "
        f"{c['shards']} shards, seed {c['seed']}. Medians of {result['rounds']} rounds, least and "
        f"largest in brackets. Load average before and after: {before}, {after}"
        f"{' (**not a quiet machine**)' if before > 0.5 else ''}.\n",
        "## Contenders\n",
        table(
            ("", "MB/s of CPU", "MB/s of wall", "peak memory, MB"),
            [
                (name, _spread(costs["mb_per_cpu_s"]), _wall(name, costs),
                 f"{costs['peak_mb']['max']:.0f}")
                for name, costs in result["contenders"].items()
            ],
        ),
        *(f"Skipped: {name}: {why}\n" for name, why in result["skipped"].items()),
        "## Ratios, round by round\n",
        table(
            ("", "measured", "budget", ""),
            [
                (r["name"], _spread(r, 2), *_judged(r)) for r in result["ratios"]
            ],
        ),
    ]  # fmt: skip
    if "scale" in result:
        parts += _whole(result)
    return "\n".join(parts)


def _whole(result: Result) -> list[str]:
    """What a run that isn't limited to some contenders has beside them."""
    return [
        "## Start-up, seconds of wall\n",
        table(
            ("", "measured"),
            [(name, _spread(s, 2)) for name, s in result["start_up_s"].items()],
        ),
        "## CPU by stage\n",
        table(
            ("stage", "ms of CPU per MB"),
            [(stage, f"{ms:.2f}") for stage, ms in result["stages_ms_per_mb"].items()],
        ),
        "## Scale: one stream, 1 thread, start-up included\n",
        table(
            ("content, MB", "ms of CPU per MB", "peak memory, MB"),
            [
                (f"{row['content_mb']:.0f}", f"{row['cpu_ms_per_mb']:.1f}", f"{row['peak_mb']:.0f}")
                for row in result["scale"]
            ],
        ),
        "## 100 TB on 64 nodes\n",
        _plan(result),
    ]  # fmt: skip


NODES, CORES, CONTENT_TB, PRICE = 64, 32, 100, 0.04
"""Of the plan: nodes, cores a node, decompressed TB, and an assumed price of a core-hour in $."""


def _plan(result: Result) -> str:
    """What the measured figures come to on a cluster, on paper: one worker a core."""
    rate = 1e3 / result["scale"][-1]["cpu_ms_per_mb"]  # MB of content per CPU-second
    stored = result["corpus"]["stored_bytes"] / result["corpus"]["content_bytes"]
    hours = CONTENT_TB * 1e6 / (rate * NODES * CORES) / 3600
    memory = result["contenders"]["lowbg, jsonl.zst"]["peak_mb"]["max"] * CORES / 1e3
    network = CONTENT_TB * 1e6 * stored / NODES / (hours * 3600)
    rows = [
        ("content, and stored as jsonl.zst", f"{CONTENT_TB} TB, {CONTENT_TB * stored:.0f} TB"),
        ("MB of content per CPU-second (the longest stream above)", f"{rate:.1f}"),
        (f"time with {NODES} × {CORES} cores", f"{hours:.1f} hours"),
        ("core-hours, and their price at an assumed $0.04",
         f"{hours * NODES * CORES:.0f}, ${hours * NODES * CORES * PRICE:.0f}"),
        ("bytes read, and as many written", f"{CONTENT_TB * stored:.0f} TB"),
        ("network or disk a node, each way", f"{network:.0f} MB/s"),
        ("memory a node", f"{memory:.0f} GB"),
    ]  # fmt: skip
    return table(("", "on paper"), rows)


def _judged(ratio: dict[str, Any]) -> tuple[str, str]:
    """The budget of a ratio, and whether it is met."""
    if ratio["budget"] is None:
        return "–", "–"
    met = ratio["median"] >= ratio["budget"]
    return f"≥ {ratio['budget']:g}", "met" if met else "**missed**"


def _wall(name: str, costs: dict[str, dict[str, float]]) -> str:
    # A peer's wall time holds its imports, which dwarf its slice of the corpus.
    own = name.startswith(("datatrove", "is-it-slop", "KenLM", "zlib", "lzma"))
    return "–" if own else _spread(costs["mb_per_s"])


def _spread(values: dict[str, float], digits: int | None = None) -> str:
    def number(value: float) -> str:
        places = digits if digits is not None else 2 if value < 10 else 1
        return f"{value:.{places}f}"

    return f"{number(values['median'])} ({number(values['min'])}–{number(values['max'])})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are of numbers."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    escaped = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in escaped)


_WIDTH, _LEFT, _ROW = 760, 250, 24


def as_svg(result: Result) -> str:
    """MB/s of CPU of every contender, on a logarithmic axis, with least and largest."""
    bars = {name: costs["mb_per_cpu_s"] for name, costs in result["contenders"].items()}
    low = 10.0 ** int(log10(min(b["min"] for b in bars.values())) - 1)
    high = max(b["max"] for b in bars.values()) * 1.6

    def x(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 70) * log10(value / low) / log10(high / low)

    height = _ROW * (len(bars) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
    ]
    tick = low
    while tick < high:
        parts.append(
            f'<path d="M{x(tick):.1f} 0V{height - _ROW}" stroke="#ddd"/>'
            f'<text x="{x(tick):.1f}" y="{height - 8}" text-anchor="middle">{tick:g}</text>'
        )
        tick *= 10
    for i, (name, bar) in enumerate(bars.items()):
        y = 4 + i * _ROW
        colour = "#2a6f97" if name.startswith("lowbg") else "#b8b8b8"
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{_LEFT}" y="{y}" width="{x(bar["median"]) - _LEFT:.1f}" height="16" '
            f'fill="{colour}"/><path d="M{x(bar["min"]):.1f} {y + 8}H{x(bar["max"]):.1f}" '
            'stroke="#000"/>'
            f'<text x="{x(bar["max"]) + 6:.1f}" y="{y + 13}">{bar["median"]:.3g}</text>'
        )
    parts.append(
        f'<text x="{_WIDTH - 6}" y="{height - 8}" text-anchor="end">MB a CPU-second</text></svg>\n'
    )
    return "".join(parts)
