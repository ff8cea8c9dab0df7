"""Options that take several values at once: `--human a.jsonl b.jsonl --ai c.jsonl`."""

from __future__ import annotations

from typing import Any

from lowbg_cli.helping import PlainCommand


class TakesSeveral(PlainCommand):
    """A command with list options: loose words belong to the list option before them.

    So a shell's globs work: `--human books/*.jsonl`. Arguments, where there are any, go first.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeats each list option in front of every value after its first."""
        lists = {name for p in self.params if getattr(p, "multiple", False) for name in p.opts}
        return super().parse_args(ctx, repeat_options(args, lists))


def repeat_options(args: list[str], lists: set[str]) -> list[str]:
    """`args` with `--x a b` as `--x a --x b` for each option `--x` of `lists`."""
    repeated: list[str] = []
    current = ""
    taken = 0
    for arg in args:
        if arg.startswith("-") and arg != "-":
            current, taken = (arg, 0) if arg in lists else ("", 0)
        elif current:
            if taken:
                repeated.append(current)
            taken += 1
        repeated.append(arg)
    return repeated
