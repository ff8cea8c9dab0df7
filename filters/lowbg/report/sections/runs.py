"""How the run was made: version, command, configuration, policy and models."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lowbg.report.results import RunInfo
from lowbg.report.sections.base import Block, Code, Column, Facts, Material, Section, Table

_SHOWN = 20


def _collect(material: Material) -> list[RunInfo]:
    return list(material.runs)


def _blocks(runs: list[RunInfo]) -> Sequence[Block]:
    blocks: list[Block] = []
    for run in runs[:_SHOWN]:
        machine = ", ".join(f"{name} {value}" for name, value in run.machine.items())
        blocks.append(
            Facts(
                [
                    ("Version", f"lowbg {run.version}"),
                    ("Command", run.command),
                    ("Started", run.started),
                    ("Finished", run.finished),
                    ("Workers", f"{run.workers} ({run.executor})"),
                    ("Machine", machine),
                    ("Policy SHA-256", run.policy_sha256),
                ]
            )
        )
        lines = [f"{name} version {version}" for name, version in run.scorers.items()]
        lines += [f"{name} {digest}" for name, digest in run.models.items()]
        blocks.append(Code("Scorers and models, with version or SHA-256", "\n".join(lines)))
        if run.limits:
            blocks.append(_limits(run))
        text = json.dumps(run.configuration, indent=2, ensure_ascii=False, sort_keys=True)
        blocks.append(Code("Configuration", text))
    return blocks


def _limits(run: RunInfo) -> Table:
    """The limits of rule `thresholds`, a row a language."""
    names = ("Min perplexity", "Min burstiness", "Max phrase hits")
    columns = [Column("Language")]
    for name in names:
        columns += [Column(name), Column("human text beyond", "percent")]
    rows = []
    for code, own in sorted(run.limits.items()):
        each = (own.min_perplexity, own.min_burstiness, own.max_phrase_hits)
        cells = [cell for limit in each for cell in (f"{limit.value:g}", limit.rate)]
        rows.append([code, *cells, own.together])
    caption = "Limits of rule thresholds, with the share of human text that each calls AI."
    return Table([*columns, Column("all three", "percent")], rows, caption)


SECTION = Section(160, "runs", "The run", _collect, _blocks)
