"""Options that take several values at once: `--human a.jsonl b.jsonl --ai c.jsonl`."""

from __future__ import annotations

from typing import Any, Final

from lowbg_cli.helping import PlainCommand

INPUT: Final = "INPUT"
"""What options stand for whose values are files, directories or globs."""


class TakesSeveral(PlainCommand):
    """A command with list options: loose words belong to the list option before them.

    So a shell's globs work: `--human books/*.jsonl`. Where there are arguments these go first, and
    only lists of inputs take more words than one.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeats each list option in front of every value after its first."""
        arguments = any(p.param_type_name == "argument" for p in self.params)
        lists = {
            name
            for p in self.params
            if getattr(p, "multiple", False) and (not arguments or p.metavar == INPUT)
            for name in p.opts
        }
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
