"""The pages' tables of options and of policy keys: `python docs/options.py [--write]`.

They stand between marks and say what `--help` says, from the same declarations. Without `--write`
the pages whose tables are not current are named, with exit code 1.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from lowbg_cli.option_tables import commands, option_table, policy_table

PAGES = tuple(sorted(Path(__file__).parent.rglob("*.md")))
TABLE = re.compile(
    r"<!-- (?:options of lowbg ([a-z -]+)|keys of a policy) -->\n(.*?)<!-- end of table -->\n",
    re.DOTALL,
)
"""A table with its marks; group 1 is the command, none for the policy's keys."""


def current(text: str) -> str:
    """The page `text` with its tables made anew. `KeyError` names a command that there isn't."""
    known = commands()

    def with_rows(found: re.Match[str]) -> str:
        made = option_table(known[found[1]].options) if found[1] else policy_table()
        return f"{found[0].partition(chr(10))[0]}\n\n{made}\n<!-- end of table -->\n"

    return TABLE.sub(with_rows, text)


def main(arguments: list[str]) -> int:
    """Checks the pages, or writes them."""
    stale = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        made = current(text)
        if made != text:
            stale.append(page)
            if arguments == ["--write"]:
                page.write_text(made, encoding="utf-8")
    for page in stale:
        print(page)
    return 1 if stale and arguments != ["--write"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
