"""`lowbg reserve`: take documents out of a reserve, by name. `lowbg filter --reserve` fills it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lowbg.amounts import counted
from lowbg.settings import Setting
from lowbg.storage.whole_files import address
from lowbg_cli import terminal
from lowbg_cli.configure import Quiet
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import Group, command


@command
def remove_command(
    *,
    directory: Annotated[Path, Setting("The reserve.", flags="DIR")],
    names: Annotated[
        tuple[str, ...], Setting("SHA-256 of a document's text (UTF-8), in hex.", flags="NAME")
    ],
    quiet: Quiet = False,
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
        terminal.say(f"{address(directory)}: {counted(removed, 'document')} removed")
    return ExitCode.FINISHED


RESERVE = Group("Remove documents from a reserve, which filter fills.", {"remove": remove_command})
