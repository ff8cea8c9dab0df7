"""What `calibrate` and `eval` read: documents, or rows of score; and what judges them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lowbg.config import Rule
from lowbg.errors import ConfigError
from lowbg_cli import terminal
from lowbg_cli.configure import LM_OF_ROWS, ConfigOptions, standard_input

if TYPE_CHECKING:
    from lowbg.config import Policy, RunConfig
    from lowbg.runs.engine import Engine
    from lowbg.runs.inputs import Shard
    from lowbg.runs.scored_rows import FoundRows, RowsJudging

_HEAD_BYTES = 256 << 10
"""What is looked at of standard input: enough for a row."""


@dataclass(frozen=True, slots=True)
class Read:
    """What is read: `rows` is null where the shards hold documents; `stdin` is what "-" reads.

    `options` are those that remain for it, `probes` where those of the rows' LM lie, if it is said.
    """

    options: ConfigOptions
    rows: FoundRows | None
    stdin: BinaryIO | None
    probes: Path | None = None

    @property
    def models(self) -> dict[str, str]:
        """The models of the rows' LM that take part, name → SHA-256; none of documents."""
        from lowbg.scorers.lm.scorer import models_of

        lm = None if self.rows is None else self.rows.lm
        return {} if lm is None else models_of(lm)


def look_at(shards: Sequence[Shard], options: ConfigOptions) -> Read:
    """Whether the shards hold documents or rows of score, by their first records."""
    from lowbg.runs.heads import take_head
    from lowbg.runs.scored_rows import find_rows

    stdin, head = standard_input(shards), b""
    if stdin is not None:
        taken = take_head(stdin, _HEAD_BYTES)
        stdin, head = taken.stream, taken.data
    rows = find_rows(shards, head, with_lm=options.hears_rows)
    if rows is not None:
        probes = options.changes.values.get("extras.lm.probe")
        return Read(options.of_rows(), rows, stdin, None if probes is None else Path(probes))
    if options.hears_rows and not Path(LM_OF_ROWS).exists():
        raise ConfigError(f"--lm {LM_OF_ROWS}: the input is no rows of score")
    return Read(options, None, stdin)


def engine_of_rows(policy: Policy) -> Engine:
    """What decides on rows under a policy, by their tables; no LM or other scorer is needed."""
    from lowbg.runs.engine import Engine

    return Engine(replace(policy, scorers={}), third_parties=False).setup()


def rows_judging(config: RunConfig, read: Read, *, quiet: bool) -> RowsJudging:
    """What judges rows as `score` would under the policy; says where an LM has no say."""
    from lowbg.runs.scored_rows import RowsJudging, lm_of_rows

    assert read.rows is not None
    policy = config.policy
    if policy.rule is Rule.THRESHOLDS:
        raise ConfigError("rows don't hold all that rule 'thresholds' limits; give the documents")
    engine = engine_of_rows(policy)
    lm = lm_of_rows(read.rows, policy, engine.models, read.probes)
    if not quiet:
        _tell_unheard(read.rows, policy, heard=lm is not None)
    return RowsJudging(config, engine if lm is None else engine.heeding(lm), read.rows, read.stdin)


def tell_unheard() -> None:
    """Says that an LM read the documents of rows, and has no say."""
    terminal.say(f"by the tables alone; --lm {LM_OF_ROWS} lets the LM that read them take part")


def _tell_unheard(rows: FoundRows, policy: Policy, *, heard: bool) -> None:
    if rows.unheard:
        tell_unheard()
    elif rows.lm is None and policy.lm is not None:
        terminal.warning(
            "the policy was calibrated with an LM, and none read the documents of these rows: "
            "verdicts are by the tables alone"
        )
    elif rows.lm is not None and not heard:
        terminal.warning(
            "the LM changed no verdict: nothing is known of its thresholds; lowbg calibrate of "
            f"these rows with --lm {LM_OF_ROWS} makes a policy that fits"
        )
