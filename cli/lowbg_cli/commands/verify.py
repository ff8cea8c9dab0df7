"""`lowbg verify`: is what the manifest says still what is there?"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

from lowbg.amounts import counted
from lowbg.errors import ConfigError
from lowbg.settings import Setting
from lowbg.storage.objects import is_object_url, object_url
from lowbg_cli import terminal
from lowbg_cli.configure import AsJson, Quiet
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import command


@command
def verify_command(
    *,
    directory: Annotated[
        Path, Setting("The output of a run; a directory, or its URL in a store.", flags="DIR")
    ],
    fast: Annotated[
        bool, Setting("Names, sizes and sums only; reads no data.", flags="--fast")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> ExitCode:
    """Check an output directory against its manifest.

    Its files, their digests and record counts, and the sums over them.

    Findings go to stdout, one a line; exit 1 when there are any, 3 when all that is found are
    inputs that the run itself did not process whole, or that were not there.
    """
    from lowbg.runs.manifest import NAME, verify

    shown = str(directory)
    if is_object_url(directory):
        from lowbg.runs.verify_store import verify_store

        shown = object_url(directory)
        findings = verify_store(shown, deep=not fast)
    elif not (directory / NAME).is_file():
        raise ConfigError(
            f"{directory}: no {NAME} in it; either its run didn't finish, or it is no output "
            "directory of lowbg"
        )
    else:
        findings = verify(directory, deep=not fast)
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(terminal.printable(f"{finding.kind}: {finding.message}"))
    if not quiet:
        found = counted(len(findings), "finding") if findings else "as the manifest says"
        terminal.say(f"{shown}: {found}")
    if all(finding.kind == "incomplete" for finding in findings):
        return ExitCode.INCOMPLETE if findings else ExitCode.FINISHED
    return ExitCode.JUDGED_BAD
