"""What `--dry-run` prints: the configuration as it was understood, and the shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lowbg.amounts import bytes_text, counted
from lowbg.config import Existing, Policy, Rule, RunConfig, as_dict
from lowbg.settings import leaves
from lowbg_cli import terminal

if TYPE_CHECKING:
    from lowbg.runs.inputs import Shard


def check_existing(output: Path, existing: Existing, *, grows: bool) -> None:
    """Raises `ConfigError` as the run itself would for what the directory holds.

    `grows`: an incremental run could add to it.

    Makes nothing. Whether a run there can be resumed shows only when it is.
    """
    # The library's check makes a directory that is missing.
    if output.exists():
        from lowbg.jobs.filter import LAYOUT
        from lowbg.runs.directory import OutputDirectory

        OutputDirectory(output, replace(LAYOUT, grows=grows)).check(existing)


def print_plan(where: Mapping[str, object], config: RunConfig, shards: Sequence[Shard]) -> None:
    """Prints, on stdout, where output would go, every setting, and every shard.

    A local shard's format is told by its first bytes; remote ones and stdin aren't touched.
    """
    rows = [*((key, value) for key, value in where.items()), *leaves(as_dict(config))]
    rows += _limits(config.policy)
    width = max(len(key) for key, _ in rows)
    for key, value in rows:
        print(terminal.printable(f"{key:<{width}}  {_spelled(value)}".rstrip()))
    total = sum(shard.size for shard in shards)
    print(f"\n{counted(len(shards), 'shard')}, {bytes_text(total, three_digits=True)}")
    for shard in shards:
        size = bytes_text(shard.size, three_digits=True) if shard.size or _is_local(shard) else "?"
        name = f"{shard.name}  ({shard.path})"
        print(terminal.printable(f"  {size:>8}  {guess_format(shard):<14}  {name}"))


def _limits(policy: Policy) -> list[tuple[str, object]]:
    """What rule `thresholds` comes to in each language, with the rate of each limit."""
    if policy.rule is not Rule.THRESHOLDS:
        return []
    from lowbg.decision.limits import all_limits
    from lowbg.runs.engine import language_tables

    found = all_limits(policy, language_tables(policy))
    return [(f"limits.{code}", limits) for code, limits in found.items()]


def guess_format(shard: Shard) -> str:
    """What a shard seems to hold: "jsonl", "jsonl, zstd"; "?" where nothing was read."""
    from lowbg.errors import LowbgError
    from lowbg.formats import recognise_file

    if not _is_local(shard):
        return "?"
    try:
        found, codec = recognise_file(shard.path)
    except (LowbgError, OSError):
        return "unreadable"
    return found.name if codec == "none" else f"{found.name}, {codec}"


def _is_local(shard: Shard) -> bool:
    return shard.path != "-" and "://" not in shard.path


def _spelled(value: object) -> str:
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
