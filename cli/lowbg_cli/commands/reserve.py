"""`lowbg reserve`: take documents out of a reserve, by name. `lowbg filter --reserve` fills it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lowbg.amounts import counted
from lowbg_cli import options, terminal
from lowbg_cli.exits import ExitCode, guarded
from lowbg_cli.helping import PlainGroup

reserve_app = typer.Typer(
    cls=PlainGroup,
    help="Remove documents from a reserve, which filter fills.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def remove_command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The reserve.")],
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="SHA-256 of a document's text (UTF-8), in hex."),
    ],
    quiet: options.Quiet = False,
) -> ExitCode:
    """Remove documents for good, by name; they aren't added again.

    A name is the SHA-256 of the text. Where one isn't there, nothing is removed.

    \b
      jq -j .text record.json | sha256sum
      lowbg reserve remove reserve/ 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
    """
    from lowbg.jobs.reserve import remove

    removed = remove(directory, names)
    if not quiet:
        terminal.say(f"{directory}: {counted(removed, 'document')} removed")
    return ExitCode.FINISHED


@reserve_app.callback()
def _reserve() -> None:
    """Take documents out of a reserve; filter --reserve fills it."""


reserve_app.command("remove")(guarded(remove_command))
