"""Tables that follow from declarations, of options and of policy keys: `python docs/options.py`.

Each page has the tables of its command between marks. They say what `--help` says, from the same
declarations. Without `--write` the pages whose tables are not current are named, with exit code 1.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from lowbg_cli.option_tables import commands, option_table, policy_table

PAGES = Path(__file__).parent / "commands"
POLICY = Path(__file__).parent / "policy.md"
TABLE = re.compile(
    r"<!-- options of lowbg ([a-z -]+) -->\n(.*?)<!-- end of options -->\n", re.DOTALL
)
KEYS = re.compile(r"<!-- keys of a policy -->\n.*?<!-- end of keys -->\n", re.DOTALL)


def current(text: str) -> str:
    """The page `text` with its tables made anew. `KeyError` names a command that there isn't."""
    known = commands()

    def made(found: re.Match[str]) -> str:
        name = found[1]
        mark = found[0].partition("\n")[0]
        table = option_table(known[name].options)
        return f"{mark}\n\n{table}\n<!-- end of options -->\n"

    keys = f"<!-- keys of a policy -->\n\n{policy_table()}\n<!-- end of keys -->\n"
    return KEYS.sub(lambda _: keys, TABLE.sub(made, text))


def main(arguments: list[str]) -> int:
    """Checks the pages, or writes them."""
    stale = []
    for page in [*sorted(PAGES.glob("*.md")), POLICY]:
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
