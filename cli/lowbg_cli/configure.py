"""Raw options → one frozen configuration. Below this line there are no option values."""

from __future__ import annotations

import datetime as dt
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from lowbg.amounts import counted
from lowbg.config import (
    ExecutorName,
    Extras,
    FieldNames,
    FprBound,
    KenlmSettings,
    LmDtype,
    LmSettings,
    Policy,
    Provenance,
    Rule,
    RunConfig,
    Thresholds,
    Unscored,
)
from lowbg.errors import ConfigError
from lowbg_cli import terminal

if TYPE_CHECKING:
    from lowbg.runs.inputs import Discovery, Shard

T = TypeVar("T")

STDIN = "-"
NO_EXTRAS = Extras()


@dataclass(frozen=True, slots=True)
class ProvenanceOptions:
    """What the command line says of provenance; it adds to what the policy file says."""

    trust: Sequence[str] | None = None
    allow_sources: Sequence[str] | None = None
    deny_sources: Sequence[str] | None = None
    count_fields: Sequence[str] | None = None

    def resolve(self, provenance: Provenance) -> Provenance:
        """Both together. Raises `ConfigError` for a --trust without "=", and for a bad source."""
        if not any((self.trust, self.allow_sources, self.deny_sources, self.count_fields)):
            return provenance
        from lowbg.decision.policy import read_sources

        fields = {name: list(globs) for name, globs in provenance.fields.items()}
        for given in self.trust or ():
            name, equals, glob = given.partition("=")
            if not (name and equals and glob):
                raise ConfigError(
                    f"--trust {given}: write FIELD=VALUE, such as metadata.license=CC-BY-*"
                )
            fields.setdefault(name, []).append(glob)
        allowed = (*provenance.allow_sources, *read_sources(self.allow_sources or (), Path()))
        denied = (*provenance.deny_sources, *read_sources(self.deny_sources or (), Path()))
        return Provenance(
            fields={name: tuple(globs) for name, globs in fields.items()},
            allow_sources=tuple(dict.fromkeys(allowed)),
            deny_sources=tuple(dict.fromkeys(denied)),
            count_fields=(*provenance.count_fields, *(self.count_fields or ())),
        )


@dataclass(frozen=True, slots=True)
class PolicyOptions:
    """What the command line says of the decision; null where it says nothing."""

    file: Path | None = None
    rule: Rule | None = None
    target_fpr: float | None = None
    min_perplexity: float | None = None
    min_burstiness: float | None = None
    max_phrase_hits: int | None = None
    unscored: Unscored | None = None
    trust_before: dt.date | None = None
    fpr_bound: FprBound | None = None
    provenance: ProvenanceOptions = field(default_factory=ProvenanceOptions)

    def resolve(self) -> Policy:
        """The policy file's values (or the defaults) with the options on top.

        Raises `ConfigError` for a bad file, and for an option that the rule in force ignores.
        """
        policy = Policy()
        if self.file is not None:
            from lowbg.decision.policy import load_policy

            policy = load_policy(self.file)
        self._check(policy, _given(self.rule, policy.rule))
        bounds = policy.thresholds
        return replace(
            policy,
            rule=_given(self.rule, policy.rule),
            target_fpr=_given(self.target_fpr, policy.target_fpr),
            fpr_bound=_given(self.fpr_bound, policy.fpr_bound),
            unscored=_given(self.unscored, policy.unscored),
            thresholds=Thresholds(
                min_perplexity=_given(self.min_perplexity, bounds.min_perplexity),
                min_burstiness=_given(self.min_burstiness, bounds.min_burstiness),
                max_phrase_hits=_given(self.max_phrase_hits, bounds.max_phrase_hits),
            ),
            trust_before=_given(self.trust_before, policy.trust_before),
            provenance=self.provenance.resolve(policy.provenance),
        )

    def _check(self, policy: Policy, rule: Rule) -> None:
        bounds = {
            "--min-perplexity": self.min_perplexity,
            "--min-burstiness": self.min_burstiness,
            "--max-phrase-hits": self.max_phrase_hits,
        }
        given = [option for option, value in bounds.items() if value is not None]
        if given and rule is not Rule.THRESHOLDS:
            raise ConfigError(
                f"{', '.join(given)}: no effect under rule {rule.value!r}; add --rule thresholds"
            )
        rates = {"--target-fpr": self.target_fpr, "--fpr-bound": self.fpr_bound}
        option = next((name for name, value in rates.items() if value is not None), None)
        if option is None:
            return
        if rule is Rule.THRESHOLDS:
            raise ConfigError(
                f"{option}: no effect under rule 'thresholds'; set the thresholds themselves "
                f"({', '.join(bounds)}) or use --rule calibrated"
            )
        if policy.min_ai_scores or policy.lm is not None:
            raise ConfigError(
                f"{option}: {self.file} sets scores of its own ([calibration]); take them out, or "
                "calibrate anew for this rate"
            )


@dataclass(frozen=True, slots=True)
class FieldOptions:
    """Which fields of a record hold what; `date` is null where the command line says nothing."""

    text: str
    id: str
    language: str
    date: str | None
    url: str

    def resolve(self, policy: Policy) -> FieldNames:
        """The names; a policy that trusts by date may name the date's field itself."""
        date = self.date or policy.date_field or FieldNames().date
        return FieldNames(self.text, self.id, self.language, date, self.url)


@dataclass(frozen=True, slots=True)
class ExtraOptions:
    """What the command line says of the optional scorers; null where it says nothing."""

    lm: str | None = None
    performer: str | None = None
    band: str | None = None
    context: int | None = None
    dtype: LmDtype = LmDtype.AUTO
    device: str = "auto"
    batch_tokens: int | None = None
    kenlm: str | None = None
    kenlm_sentencepiece: str | None = None
    kenlm_normalise: bool = False
    watermark: str | None = None

    def resolve(self) -> Extras:
        """Their settings. Raises `ConfigError` for an option without the one that it belongs to."""
        self._check()
        lm = kenlm = None
        if self.lm is not None:
            lm = LmSettings(
                self.lm, self.performer, _band(self.band), self.context, self.dtype, self.device,
                self.batch_tokens,
            )  # fmt: skip
        if self.kenlm is not None:
            kenlm = KenlmSettings(self.kenlm, self.kenlm_sentencepiece, self.kenlm_normalise)
        return Extras(lm, kenlm, self.watermark)

    def _check(self) -> None:
        of_lm = {
            "--lm-performer": self.performer,
            "--lm-band": self.band,
            "--lm-context": self.context,
            "--lm-dtype": self.dtype is not LmDtype.AUTO,
            "--lm-device": self.device != "auto",
            "--lm-batch-tokens": self.batch_tokens,
        }
        of_kenlm = {
            "--kenlm-sentencepiece": self.kenlm_sentencepiece,
            "--kenlm-normalise": self.kenlm_normalise,
        }
        for owner, value, options in (
            ("--lm MODEL", self.lm, of_lm),
            ("--kenlm FILE", self.kenlm, of_kenlm),
        ):
            given = [option for option, said in options.items() if said]
            if given and value is None:
                raise ConfigError(f"{', '.join(given)}: only with {owner}")


def _band(text: str | None) -> tuple[float, float] | None:
    """`0.2:0.9` as a pair."""
    if text is None:
        return None
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise ConfigError(f"--lm-band {text}: write it LOW:HIGH, like 0.2:0.9") from None


LM_BATCH_BYTES = 128 << 10
"""Input read at a time where a causal LM runs on the CPU: a run can only stop between batches."""


def batch_bytes(given: int | None, extras: Extras = NO_EXTRAS) -> int:
    """How much input is read at a time."""
    if given is not None:
        return given
    by_cpu = extras.lm is not None and not _gpus(extras.lm.device)
    return LM_BATCH_BYTES if by_cpu else RunConfig().batch_bytes


def _gpus(device: str) -> int:
    """The GPUs that a run uses with this `--lm-device`; one that is named by number is one."""
    from lowbg.scorers.lm import extras

    models = extras.load("lowbg.scorers.lm.models", extra="lm", wanted_by="--lm")
    if device == "cpu":
        return 0
    return min(1, int(models.gpus())) if ":" in device else int(models.gpus())


def _given(value: T | None, default: T) -> T:
    return default if value is None else value


BYTES_A_WORKER = 16 << 20
"""Stored input that makes another worker worth what it takes to have more than one."""


MOST_THREADS = 4
"""Threads beyond which one shard's reader and writer, each a thread, are what takes the time."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Who does the work; null where the command line says nothing."""

    workers: int | None = None
    executor: ExecutorName | None = None
    threads: int | None = None

    def resolve(
        self, shards: Sequence[Shard], extras: Extras = NO_EXTRAS
    ) -> tuple[int, ExecutorName]:
        """How many workers, and what runs them.

        With a causal LM there is one a GPU, or a single one, which uses all cores.

        Standard input belongs to this process, so a run that reads it is serial. Unless told
        otherwise, another worker is used for every `BYTES_A_WORKER` of stored input: below that,
        starting it costs more than it saves.
        """
        from lowbg.runs.machine import available_cores

        executor = self.executor or ExecutorName.PROCESSES
        if any(shard.path == STDIN for shard in shards):
            executor = ExecutorName.SERIAL
        if self.executor is ExecutorName.SERIAL and (self.workers or 1) > 1:
            raise ConfigError(f"--executor serial has one worker, not {self.workers}")
        if extras.lm is not None:
            return self.workers or max(1, _gpus(extras.lm.device)), executor
        worth = 1 + sum(shard.size for shard in shards) // BYTES_A_WORKER
        return self.workers or min(available_cores(), worth), executor

    def threads_each(self, workers: int, shards: Sequence[Shard]) -> int:
        """Threads of each of `workers`; unless told otherwise, the cores that are left over."""
        from lowbg.runs.machine import available_cores

        busy = max(1, min(workers, len(shards)))
        return self.threads or max(1, min(available_cores() // busy, MOST_THREADS))


def ready_workers(
    workers: int, executor: ExecutorName, shards: Sequence[Shard], module: str
) -> None:
    """Starts what several workers come from, while this process still imports what it needs.

    `module` is where their tasks are at home.
    """
    if executor is ExecutorName.PROCESSES and min(workers, len(shards)) > 1:
        from lowbg.runs.executors import server

        if not server.start(module):
            # Workers are started afresh: they, too, import nothing from the current folder.
            os.environ.setdefault("PYTHONSAFEPATH", "1")


def find_shards(
    inputs: Sequence[str], output: Path | None, *, quiet: bool, may_be_empty: bool = False
) -> Discovery:
    """The shards that the inputs stand for; says what lies among them and isn't read."""
    from lowbg.runs.inputs import survey

    found = survey(inputs, output=output, may_be_empty=may_be_empty)
    tell_left_out(found, quiet=quiet)
    return found


def tell_left_out(found: Discovery, *, quiet: bool) -> None:
    """Says what lies among the shards and isn't read."""
    if found.skipped and not quiet:
        some = ", ".join(found.skipped[:3]) + (", …" if len(found.skipped) > 3 else "")
        terminal.say(f"{counted(len(found.skipped), 'other file')} left out: {some}")


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
