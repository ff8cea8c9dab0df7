"""What commands share: the groups of options that become a run's configuration, and its inputs."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TypeAlias

from lowbg.amounts import counted
from lowbg.config import (
    AUTO,
    ExecutorName,
    Extras,
    LmSettings,
    Policy,
    Rule,
    RunConfig,
    Sources,
    Thresholds,
    is_served,
)
from lowbg.errors import ConfigError
from lowbg.settings import SIZE, Heading, Setting, declared, setting, with_changes
from lowbg.storage.objects import is_object_url
from lowbg_cli import first_use, terminal
from lowbg_cli.groups import Changes, changes_of, refuse

if TYPE_CHECKING:
    from lowbg.runs.executors.ray import Share
    from lowbg.runs.inputs import Discovery, Shard

STDIN = "-"
_FILES_NAMED = 5
STDOUT = Path("-")
NO_EXTRAS = Extras()
LM_OF_ROWS = "rows"
"""What stands for the LM that read the documents before, where rows of score are the input."""
_LM = "extras.lm"

Quiet: TypeAlias = Annotated[bool, Setting("Nothing on stderr but errors.", flags="--quiet -q")]
AsJson: TypeAlias = Annotated[bool, Setting("JSON instead of text.", flags="--json")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclude:
    """What of the inputs is not read."""

    exclude: tuple[str, ...] = setting(
        "Inputs to leave out, by name or by path below the input; may be repeated.",
        (),
        unit="GLOB",
        heading=Heading.INPUT,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs(Exclude):
    """What is read."""

    given: tuple[str, ...] = setting(
        "Files, directories, globs, URLs (s3://, https://), or - for stdin.", flags="INPUT"
    )


@dataclass(frozen=True, slots=True)
class ConfigOptions:
    """What the command line says of a run: the policy's file, and what goes on top of it."""

    file: Path | None = setting(
        "The decision (TOML); options given beside it go first.",
        None,
        flags="--policy",
        unit="FILE",
    )
    changes: Changes = changes_of(RunConfig)

    def resolve(self) -> RunConfig:
        """The defaults, the policy file's values on top, and the options on top of these.

        Raises `ConfigError` for a bad file, and for an option that the rule in force ignores.
        """
        policy = Policy()
        if self.file is not None:
            from lowbg.decision.policy import load_policy

            policy = load_policy(self.file)
        self._check(policy)
        config = with_changes(RunConfig(policy=policy), self._values())
        if policy.date_field is not None and "fields.date" not in self.changes.values:
            config = replace(config, fields=replace(config.fields, date=policy.date_field))
        config = self._as_in_table(config)
        if "batch_bytes" not in self.changes.values:
            config = replace(config, batch_bytes=batch_bytes(config.extras))
        return config

    @property
    def hears_rows(self) -> bool:
        """Whether the LM that is asked for is that of rows of score, which are the input."""
        return self.changes.values.get(f"{_LM}.model") == LM_OF_ROWS

    def of_rows(self) -> ConfigOptions:
        """The same where the input is rows of score: without an LM, for none runs.

        Raises `ConfigError` for options that have no effect on rows.
        """
        of_text = ("fields.text", "fields.language", "force")
        refuse(
            [flag for key in of_text for flag in self.changes.within(key)],
            "no effect: of rows of score no text is read",
        )
        said = self.changes.within(_LM)
        if self.hears_rows:
            kept = (f"{_LM}.model", f"{_LM}.probe")
            said = [flag for flag in said if flag not in [*map(self.changes.flags.get, kept)]]
        refuse(
            said,
            f"no LM reads rows of score; --lm {LM_OF_ROWS}: the one that read the text takes part",
        )
        values, flags = (
            {key: value for key, value in each.items() if not key.startswith(f"{_LM}.")}
            for each in (self.changes.values, self.changes.flags)
        )
        return replace(self, changes=Changes(values, flags))

    def _as_in_table(self, config: RunConfig) -> RunConfig:
        """What a source is, as the table of sources says that is named.

        Raises `ConfigError` for options that only the making of a table goes by, or only a table.
        """
        sources = config.policy.sources
        if sources.table is None:
            refuse(self.changes.within("sources.whole"), "only with --sources")
        if sources.table is None or sources.table == AUTO:
            return config
        said = [
            *self.changes.within("sources.by"),
            *self.changes.within("sources.min_documents"),
            *self.changes.within("sources.bound"),
        ]
        refuse(said, f"{sources.table} says it; only with --sources auto, or in making a table")
        if sources.by != Sources().by:
            return config

        from lowbg.decision.source_tables import source_tables

        by = source_tables(sources.table).header.by
        policy = replace(config.policy, sources=replace(sources, by=by))
        return replace(config, policy=policy)

    def _states_all(self, policy: Policy) -> bool:
        """Whether no limit of rule 'thresholds' is left to the target rate."""
        said = self.changes.values
        return all(
            said.get(f"thresholds.{own.path[-1]}", getattr(policy.thresholds, own.path[-1]))
            is not None
            for own in declared(Thresholds)
        )

    def _values(self) -> Mapping[str, Any]:
        """What was said, with the files of sources read."""
        values = dict(self.changes.values)
        if self.changes.within("trust.allow_sources") + self.changes.within("trust.deny_sources"):
            from lowbg.decision.policy import SOURCES, read_sources

            for key in SOURCES & values.keys():
                values[key] = read_sources(values[key], Path())
        return values

    def _check(self, policy: Policy) -> None:
        rule = self.changes.values.get("decision.rule", policy.rule)
        if rule is not Rule.THRESHOLDS:
            refuse(
                self.changes.within("thresholds"),
                f"no effect under rule {rule.value!r}; add --rule thresholds",
            )
        rates = self.changes.within("decision.target_fpr")
        rates += self.changes.within("decision.fpr_bound")
        if rule is Rule.THRESHOLDS and self._states_all(policy):
            flags = ", ".join(own.flag for own in declared(Thresholds))
            refuse(rates, f"no effect: every limit is stated ({flags}); leave one out")
        if policy.min_ai_scores or policy.lm is not None:
            refuse(
                rates,
                f"{self.file} sets scores of its own ([calibration]); take them out, or "
                "calibrate anew for this rate",
            )


LM_BATCH_BYTES = 128 << 10
"""Input read at a time where a causal LM runs on the CPU: a run can only stop between batches."""


def batch_bytes(extras: Extras = NO_EXTRAS) -> int:
    """How much input is read at a time, unless the command line says it."""
    by_cpu = extras.lm is not None and not _gpus(extras.lm)
    return LM_BATCH_BYTES if by_cpu else RunConfig().batch_bytes


def _gpus(lm: LmSettings) -> int:
    """The GPUs that a run uses with `--lm-device`; one that is named by number is one.

    None where a server has the model.
    """
    from lowbg.scorers.lm import extras

    if is_served(lm.model):
        return 0
    device = lm.device

    models = extras.load("lowbg.scorers.lm.models", extra="lm", wanted_by="`extras.lm.model`")
    if device == "cpu":
        return 0
    return min(1, int(models.gpus())) if ":" in device else int(models.gpus())


BYTES_A_WORKER = 16 << 20
"""Stored input that makes another worker worth what it takes to have more than one."""


MOST_THREADS = 4
"""Threads beyond which one shard's reader and writer, each a thread, are what takes the time."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Who does the work; null where the command line says nothing."""

    workers: int | None = setting(
        "Processes, each with a shard at a time.", None, unit="N", least=1, shown="one a core"
    )
    threads: int | None = setting(
        "Of a worker, for one shard: one writes, the others score.",
        None,
        unit="N",
        heading=Heading.RUNNING,
        least=1,
        shown="free cores, up to 4",
    )
    executor: ExecutorName | None = setting(
        "What maps shards over workers.", None, heading=Heading.RUNNING, shown="processes"
    )
    ray_address: str | None = setting(
        "With --executor ray: the cluster.",
        None,
        unit="ADDRESS",
        heading=Heading.RUNNING,
        shown="RAY_ADDRESS, or this machine's",
    )
    ray_cpus: float | None = setting(
        "With --executor ray: cores that a task takes.",
        None,
        unit="N",
        heading=Heading.RUNNING,
        least=0.1,
        shown="1",
    )
    ray_gpus: float | None = setting(
        "… and GPUs; several tasks share one at 0.5 or less.",
        None,
        unit="N",
        heading=Heading.RUNNING,
        least=0.0,
        shown="0",
    )
    ray_memory: int | None = setting(
        "… and memory.", None, unit=SIZE, heading=Heading.RUNNING, shown="not counted"
    )

    def resolve(
        self, shards: Sequence[Shard], extras: Extras = NO_EXTRAS, *, beside: int = 0
    ) -> tuple[int, ExecutorName]:
        """How many workers, and what runs them; `beside`: bytes of what they read beside shards.

        With a causal LM there is one a GPU, or a single one, which uses all cores; where more are
        asked for on a CPU, they share the cores.

        Standard input belongs to this process, so a run that reads it is serial. Unless told
        otherwise, another worker is used for every `BYTES_A_WORKER` of stored input: below that,
        starting it costs more than it saves.
        """
        from lowbg.kernels.machine import available_cores

        executor = self.executor or ExecutorName.PROCESSES
        if any(shard.path == STDIN for shard in shards):
            executor = ExecutorName.SERIAL
        self._find_ray()
        if self.executor is ExecutorName.SERIAL and (self.workers or 1) > 1:
            raise ConfigError(f"--executor serial has one worker, not {self.workers}")
        if extras.lm is not None:
            gpus = _gpus(extras.lm)
            workers = self.workers or max(1, gpus)
            busy = min(workers, len(shards))
            if busy > 1 and not gpus:  # torch looks for it as a worker loads it
                os.environ.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // busy)))
            return workers, executor
        worth = 1 + (beside + sum(shard.size for shard in shards)) // BYTES_A_WORKER
        return self.workers or min(available_cores(), worth), executor

    def _find_ray(self) -> None:
        """Says to Ray which cluster is meant. Raises `ConfigError` where it isn't asked for."""
        if self.executor is not ExecutorName.RAY:
            names = ("ray_address", "ray_cpus", "ray_gpus", "ray_memory")
            for name in names:
                if getattr(self, name) is not None:
                    raise ConfigError(f"--{name.replace('_', '-')}: only with --executor ray")
            return
        if self.workers is not None:
            raise ConfigError("--executor ray uses every core of the cluster; leave out --workers")
        if self.ray_address is not None:
            os.environ["RAY_ADDRESS"] = self.ray_address

    def share(self) -> Share:
        """What a task on a Ray cluster takes of its node."""
        from lowbg.runs.executors.ray import Share

        return Share(
            1.0 if self.ray_cpus is None else self.ray_cpus,
            self.ray_gpus or 0.0,
            self.ray_memory or 0,
        )

    def threads_each(self, workers: int, shards: Sequence[Shard]) -> int:
        """Threads of each of `workers`; unless told otherwise, the cores that are left over."""
        from lowbg.kernels.machine import available_cores

        if self.executor is ExecutorName.RAY:
            return self.threads or max(1, min(int(self.ray_cpus or 1), MOST_THREADS))
        busy = max(1, min(workers, len(shards)))
        return self.threads or max(1, min(available_cores() // busy, MOST_THREADS))


def ready_workers(
    workers: int, executor: ExecutorName, shards: Sequence[Shard], module: str
) -> None:
    """Starts what several workers come from, while this process still imports what it needs.

    `module` is where their tasks are at home.
    """
    from lowbg.runs.shards import PIECE_BYTES

    tasks = sum(max(1, shard.size // PIECE_BYTES) for shard in shards)  # At most.
    if executor is ExecutorName.PROCESSES and min(workers, tasks) > 1:
        from lowbg.runs.executors import server

        if not server.start(module, compiling=first_use.message()):
            # Workers are started afresh: they, too, import nothing from the current folder.
            os.environ.setdefault("PYTHONSAFEPATH", "1")


def find_shards(
    inputs: Inputs, output: Path | None, *, quiet: bool, may_be_empty: bool = False
) -> Discovery:
    """The shards that the inputs stand for; says what lies among them and isn't read."""
    from lowbg.runs.inputs import survey

    if output is not None and is_object_url(output):
        output = None  # Whether an input lies there is looked at where the URL is known.
    found = survey(inputs.given, output=output, may_be_empty=may_be_empty, exclude=inputs.exclude)
    tell_left_out(found, quiet=quiet)
    return found


def tell_left_out(found: Discovery, *, quiet: bool) -> None:
    """Says what lies among the shards and isn't read: why, where that may be data."""
    from lowbg.storage.left_out import LeftOutKind

    missing = [each for each in found.left_out if each.kind is LeftOutKind.BROKEN_LINK]
    others = [each for each in found.left_out if each.kind.may_be_data and each not in missing]
    for paths, speak in ((missing, terminal.error), ([] if quiet else others, terminal.warning)):
        for each in paths[:_FILES_NAMED]:
            speak(f"left out: {each.text}")
        if len(paths) > _FILES_NAMED:
            speak(f"left out: {counted(len(paths) - _FILES_NAMED, 'more file')}")
    if quiet:
        return
    for kind, what in (
        (LeftOutKind.OUTPUT, "outputs of lowbg left out"),
        (LeftOutKind.METADATA, "metadata left out"),
        (LeftOutKind.EXCLUDED, "excluded"),
    ):
        names = [each.path for each in found.left_out if each.kind is kind]
        if names:
            some = ", ".join(names[:3]) + (f", … ({len(names):,})" if len(names) > 3 else "")
            terminal.say(f"{what}: {some}")


def standard_input(shards: Sequence[Shard]) -> BinaryIO | None:
    """Standard input, if it is among the shards. Raises `ConfigError` when it is closed."""
    if all(shard.path != STDIN for shard in shards):
        return None
    if sys.stdin is None:
        raise ConfigError("stdin is closed; there is nothing to read from -")
    return sys.stdin.buffer


def standard_output() -> BinaryIO:
    """Standard output, for data. Raises `ConfigError` when it is closed."""
    if sys.stdout is None:
        raise ConfigError("stdout is closed; what should go there has nowhere to go")
    return sys.stdout.buffer


def command_line() -> str:
    """This command as a shell would take it, for the report."""
    return shlex.join(["lowbg", *sys.argv[1:]])
