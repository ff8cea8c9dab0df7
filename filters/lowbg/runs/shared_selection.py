"""One selection for all runs that share the shards out: each reads what a single run would have.

Every such run learns it from all shards, its own and the others'. The first that has it notes it
beside the parts, from where the others take it: so a first pass over everything is made once where
one part starts ahead, and else by each that finds no note. What comes out is the same.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from lowbg.errors import CheckpointError, ConfigError, OutputError
from lowbg.lm_budget import LmSelection
from lowbg.runs.directory import Layout
from lowbg.runs.engine import Engine
from lowbg.runs.heads import Head
from lowbg.runs.job import Job
from lowbg.runs.lm_selection import learn_selection
from lowbg.runs.resume import identity
from lowbg.storage.files import replace_file
from lowbg.storage.typed import SCHEMA_KEY, Closed, FileType, to_plain

_log = logging.getLogger(__name__)


class _Shared(Closed, frozen=True, tag="lowbg.lm-selection/1", tag_field=SCHEMA_KEY):
    """A selection; `of` is the digest of all that it follows from."""

    of: str
    selection: LmSelection


_SHARED: Final[FileType[_Shared]] = FileType(
    _Shared, "a note on what an LM reads", CheckpointError, "It is learnt again"
)


def job_selection(
    job: Job, engine: Engine, layout: Layout, head: Head | None = None
) -> LmSelection | None:
    """What the job's LM reads within its budget; null without one.

    `head` is that of standard input, as in `learn_selection`. `engine` is one of the job's
    configuration, prepared. Raises `ConfigError` as `learn_selection` does, and for a part of
    unknown shards.
    """
    lm = job.config.extras.lm
    if lm is None or lm.budget is None:
        return None
    if job.split is not None and not job.whole:
        raise ConfigError(
            "what a part reads is shared out over all shards: name these, too",
            key="extras.lm.budget",
        )
    note = None if job.split is None else _Note(job, engine, layout)
    found = note.read() if note is not None else None
    if found is None:
        found = learn_selection(job.whole or job.shards, job.config, engine, job.crew, head)
        if note is not None and found is not None:
            note.write(found)
    return found


class _Note:
    """Where runs over parts of the same shards find the selection that one of them learnt.

    It lies beside their directories, hidden, and serves only runs of the same shards,
    configuration, models and version. A run whose output is in a store has none.
    """

    def __init__(self, job: Job, engine: Engine, layout: Layout) -> None:
        assert job.split is not None
        record = replace(identity(job.config, engine, layout), command="")
        plain = [job.split.sha256, to_plain(record)]
        self._of = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
        self._path: Path | None = None
        if job.published is None:
            self._path = job.output.parent / f".lm-selection-{self._of[:16]}.json"

    def read(self) -> LmSelection | None:
        """What another run noted; null where none did, or nothing that can be used."""
        if self._path is None:
            return None
        try:
            found = _SHARED.read_if_there(self._path)
        except CheckpointError as error:
            _log.warning("%s", error)
            return None
        return found.selection if found is not None and found.of == self._of else None

    def write(self, selection: LmSelection) -> None:
        """Notes it for the others, if it can be: they learn it themselves else."""
        if self._path is None:
            return
        try:
            replace_file(self._path, _SHARED.encode(_Shared(self._of, selection)))
        except OutputError as error:
            _log.warning("%s; each part makes a first pass over all shards", error)
