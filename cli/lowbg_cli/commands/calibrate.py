"""`lowbg calibrate`: thresholds for a target false-positive rate on the user's own human text."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import lowbg
from lowbg.amounts import counted
from lowbg.errors import ConfigError
from lowbg.settings import ABOVE_ZERO, SHARE, Written, setting
from lowbg.storage.files import identity
from lowbg.storage.objects import is_object_url
from lowbg.storage.whole_files import address, is_there, read_bytes, write_whole
from lowbg_cli import terminal
from lowbg_cli.configure import ConfigOptions, Inputs, Quiet, find_shards
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import Only, command
from lowbg_cli.judging import Read, engine_of_rows, look_at, tell_unheard
from lowbg_cli.outcome import tell_broken, tell_dates
from lowbg_cli.progress import progress_line
from lowbg_cli.writing import refuse_existing

if TYPE_CHECKING:
    from lowbg.config import Policy, RunConfig
    from lowbg.decision.policy_text import Notes
    from lowbg.jobs.calibrate.calibrate import Calibrated, Stratum
    from lowbg.jobs.calibrate.calibrate_lm import LmCalibrated
    from lowbg.jobs.calibrate.known import Known, KnownBy
    from lowbg.runs.engine import Engine
    from lowbg.runs.judging import TextJudging
    from lowbg.runs.scored_rows import RowsJudging

CONFIG = (
    *("file", "force", "fields.text", "fields.language", "fields.date"),
    *("decision.tables", "extras.lm"),
)


@dataclass(frozen=True, slots=True)
class CalibrateOptions:
    """Which documents are known to be human, and at which rate of them."""

    output: Path = setting(
        "The policy file (TOML).", flags="--output -o", unit="FILE", written=Written.UPDATED
    )
    target_fpr: float | None = setting(
        "Share of human documents that may be called AI.",
        None,
        unit=SHARE,
        least=ABOVE_ZERO,
        most=0.5,
        shown="the policy's, 0.01",
    )
    human_before: dt.date | None = setting(
        "Documents dated earlier are known to be human.", None, unit="DATE"
    )
    label_field: str | None = setting("Or: the field that says who wrote.", None, unit="FIELD")
    labels: bool = setting("Or: INPUT is a file of labels that lowbg review made.", False)
    label_human: str = setting("What it says of human text.", "human", unit="LABEL")
    stratum: str | None = setting(
        "Hold the rate for each value of this field too.", None, unit="FIELD"
    )
    min_documents: int | None = setting(
        "Fewest in a stratum of its own.",
        None,
        unit="N",
        least=1,
        shown="what the rate needs; 299 for 0.01",
    )
    update: bool = setting(
        "Start from the policy that is in the file, if any, and change only what is calibrated.",
        False,
    )
    overwrite: bool = setting("Replace a file that is there.", False)

    def base(self, options: ConfigOptions) -> ConfigOptions:
        """`options`, with the policy to start from; with --update the one in the output.

        Raises `ConfigError` where there is a file, and nothing says what is to become of it.
        """
        if self.update and self.overwrite:
            raise ConfigError(
                "--overwrite replaces the file, --update keeps what is not calibrated; choose one"
            )
        refuse_existing(
            self.output,
            overwrite=self.overwrite or self.update,
            choices=("--update to keep what is not calibrated in it",),
        )
        if not self.update:
            return options
        if options.file is not None and identity(options.file) != identity(self.output):
            raise ConfigError(
                f"--policy: --update starts from {address(self.output)}, the policy that it updates"
            )
        there = is_there(self.output)
        return replace(options, file=self.output if there else None)


@command
def calibrate_command(
    *,
    inputs: Inputs,
    how: CalibrateOptions,
    options: Annotated[ConfigOptions, Only(CONFIG, without=("extras.lm.budget",))],
    quiet: Quiet = False,
) -> ExitCode:
    """Set thresholds on human text of your own.

    They keep a target false-positive rate. Known to be human are documents with a human label, or
    dated before a cut-off. The rate holds with 95 % confidence for every language and length that
    has enough of them (299 for 1 %). With --human-before the policy trusts that date too. With --lm
    the policy also says how much weight that causal LM has; runs with the same --lm let it take
    part in verdicts, whatever part of the documents it reads there. Rows of lowbg score will do
    for INPUT, with the date or label (--keep-field): no text is read again, and with --lm rows no
    LM runs.

    \b
      lowbg calibrate crawl/ --human-before 2022-11-30 --target-fpr 1% -o policy.toml
      lowbg calibrate labelled/ --label-field label --update -o policy.toml
      lowbg calibrate scores/ --label-field label --lm rows -o policy.toml
      lowbg calibrate --labels OUT.labels.jsonl -o policy.toml
    """
    options = how.base(options)
    if how.labels:
        return _by_labels(inputs.given, how, options, options.resolve(), quiet=quiet)
    found = find_shards(inputs, how.output, quiet=quiet)
    shards = found.shards
    read = look_at(shards, options)
    config = read.options.resolve()
    base = _at_target(config.policy, how.target_fpr)

    from lowbg.decision.policy import load_policy
    from lowbg.jobs.calibrate.calibrate import calibrate
    from lowbg.jobs.calibrate.calibrate_lm import calibrate_lm
    from lowbg.jobs.calibrate.known import KnownBy, read_known

    there = load_policy(options.file) if how.update and options.file is not None else None
    by = KnownBy(how.human_before, how.label_field, how.label_human, how.stratum)
    judging, lm = _judging(replace(config, policy=replace(base, lm=None)), read, quiet=quiet)
    engine = judging.engine
    with progress_line(shards, quiet=quiet) as observer:
        known = read_known(shards, judging, by, observer)
    whole = not tell_broken(known.shards) and found.whole
    result = calibrate(known, engine, how.min_documents)
    joint = calibrate_lm(result, known, engine, lm.identity) if lm is not None else None
    made = joint.policy if joint is not None else replace(result.policy, lm=base.lm)
    policy = _trusting(made, by, config.fields.date)
    notes = _notes(result, inputs.given, by, engine, read.models)
    _write(how.output, policy, notes, there)
    _warn(result, known)
    _warn_dropped(config.policy, policy)
    if by.human_before is not None and not quiet:
        tell_dates(shard.statistics for shard in known.shards)
    if joint is not None:
        _tell_lm(joint, quiet=quiet)
    if not quiet:
        terminal.show(_table(result, by))
        start = "the shipped policy" if options.file is None else address(options.file)
        terminal.show(terminal.printable(f"before: {start} at {base.target_fpr:g}") + "\n")
        terminal.say(f"{address(how.output)}: thresholds for {counted(_found(result), 'language')}")
    return ExitCode.FINISHED if whole else ExitCode.INCOMPLETE


@dataclass(frozen=True, slots=True)
class _Lm:
    """A causal LM that is to be calibrated; its identity is null where it gives no evidence."""

    identity: str | None


def _judging(
    config: RunConfig, read: Read, *, quiet: bool
) -> tuple[TextJudging | RowsJudging, _Lm | None]:
    """What judges by the tables alone, with the columns of the LM, if there is one."""
    if read.rows is not None:
        from lowbg.runs.scored_rows import RowsJudging

        engine, rows = engine_of_rows(config.policy), read.rows
        if rows.unheard and not quiet:
            tell_unheard()
        lm = None if rows.lm is None else _Lm(rows.identity)
        return RowsJudging(config, engine, rows, read.stdin), lm
    from lowbg.runs.engine import Engine
    from lowbg.runs.judging import TextJudging

    engine = Engine(config.policy, config.extras, by_tables=True)
    engine.prepare()
    engine.setup()
    witness = engine.cascade.witness
    identity = None if witness is None else witness.identity()
    lm = _Lm(identity) if config.extras.lm is not None else None
    return TextJudging(config, engine, read.stdin), lm


def _by_labels(
    given: Sequence[str],
    how: CalibrateOptions,
    options: ConfigOptions,
    config: RunConfig,
    *,
    quiet: bool,
) -> ExitCode:
    """Thresholds from what people said in `lowbg review`."""
    if how.human_before or how.label_field or how.stratum or how.min_documents:
        raise ConfigError("--labels says itself what is human; leave out what says so elsewhere")
    if len(given) != 1:
        raise ConfigError("--labels: give one file of labels")
    from lowbg.decision.policy import load_policy
    from lowbg.decision.policy_text import Notes
    from lowbg.jobs.review.labels import LabelsFile
    from lowbg.jobs.review.thresholds import thresholds
    from lowbg.runs.engine import Engine
    from lowbg.runs.identity import policy_digest

    file = LabelsFile.open(Path(given[0]))
    if file.design.policy != policy_digest(config.policy):
        raise ConfigError(
            f"{given[0]}: of a run with another policy; give that one: --policy FILE, which says "
            "what that run had as options, too (--trust-before: `before` under [trust])"
        )
    # The strata are those of the policy that the run had; the target may be another.
    engine = Engine(replace(config.policy, lm=None)).setup()
    target = config.policy.target_fpr if how.target_fpr is None else how.target_fpr
    found = thresholds(file.design, file.standing(), engine, target)
    new = {own.language: own.new for own in found if own.new is not None}
    if not new:
        counts = ", ".join(f"{own.language} ({own.human})" for own in found)
        raise ConfigError(
            f"{given[0]}: too few labels to show a rate of {target:g} for any language: {counts}; "
            "label more documents, above all those near the threshold"
        )
    base = _at_target(config.policy, how.target_fpr)
    policy = replace(base, min_ai_scores={**base.min_ai_scores, **new})
    lines = [
        f"{own.language}: {counted(own.human, 'document')} labelled human, "
        + (
            "too few; threshold as it was"
            if own.new is None
            else f"false-positive rate at most {own.rate:.4f} at 95 % confidence"
        )
        for own in found
    ]
    notes = Notes(
        made=f"{lowbg.__version__} on {dt.datetime.now(dt.UTC):%Y-%m-%d}.",
        lines=tuple(terminal.printable(each) for each in (f"Labels: {given[0]}", *lines)),
        languages=tuple(new),
    )
    there = load_policy(options.file) if how.update and options.file is not None else None
    _write(how.output, policy, notes, there)
    _warn_dropped(config.policy, policy)
    if not quiet:
        for own, line in zip(found, lines, strict=True):
            change = "" if own.new is None else f", threshold {own.old:.4f} → {own.new:.4f}"
            terminal.say(f"{line}{change}")
        terminal.say(f"{address(how.output)}: thresholds for {counted(len(new), 'language')}")
    return ExitCode.FINISHED


def _tell_lm(joint: LmCalibrated, *, quiet: bool) -> None:
    """What the LM's part came to, a line a language."""
    for r in joint.languages:
        if r.set_by is None:
            terminal.warning(f"{r.language}: the LM read too few human documents ({r.read:,})")
        elif not quiet:
            short = "" if r.judges_short else "; texts too short for the tables stay unscored"
            terminal.say(
                f"{r.language}: the LM read {counted(r.read, 'human document')}; "
                f"joint threshold {r.set_by.threshold:.4f}, set by {_named(r.set_by)}{short}"
            )


def _at_target(policy: Policy, target_fpr: float | None) -> Policy:
    """The policy to start from; scores that were set for another rate are dropped."""
    if target_fpr is None or target_fpr == policy.target_fpr:
        return policy
    return replace(policy, target_fpr=target_fpr, min_ai_scores={}, lm=None)


def _found(result: Calibrated) -> int:
    return len(result.languages) - len(result.lacking)


def _trusting(policy: Policy, by: KnownBy, date_field: str) -> Policy:
    """What is known to be human by its date stays so when the policy is used."""
    if by.human_before is None or policy.trust_before is not None:
        return policy
    return replace(policy, trust_before=by.human_before, date_field=date_field)


def _write(path: Path, policy: Policy, notes: Notes, there: Policy | None) -> None:
    """Writes a file of the policy, or into the file that held `there` what is new in it."""
    policy = _placed(policy, path)
    if there is None:
        from lowbg.decision.policy_text import policy_text

        text = policy_text(policy, notes)
    else:
        from lowbg.decision.policy_update import updated_text

        text = read_bytes(path).decode("utf-8")
        try:
            text = updated_text(text, _placed(there, path), policy, notes)
        except ConfigError as error:
            raise ConfigError(str(error), file=address(path)) from error
    write_whole(path, text.encode("utf-8"))


def _placed(policy: Policy, path: Path) -> Policy:
    """As it is written: a policy file names its tables as seen from its own place."""
    if policy.tables is None or Path(policy.tables).is_absolute() or is_object_url(policy.tables):
        return policy
    if is_object_url(path):
        return replace(policy, tables=str(Path(policy.tables).absolute()))
    return replace(policy, tables=os.path.relpath(policy.tables, path.parent))


def _notes(
    result: Calibrated,
    inputs: Sequence[str],
    by: KnownBy,
    engine: Engine,
    of_rows: Mapping[str, str],
) -> Notes:
    """When, of what, and how many documents stand behind each threshold.

    `of_rows` are the models of the rows' LM.
    """
    from lowbg.decision.policy_text import Notes

    how = (
        f"dated before {by.human_before}"
        if by.human_before is not None
        else f"labelled {by.label_human!r} in {by.label_field!r}"
    )
    named = ", ".join(terminal.printable(name) for name in inputs[:8])
    more = f" and {len(inputs) - 8} more" if len(inputs) > 8 else ""
    lines = [
        f"Inputs: {named}{more}",
        terminal.printable(f"Human documents: {how}, scored, each text once."),
        f"False-positive rate at most {result.policy.target_fpr:g} in every stratum of "
        f"{result.min_documents:,} or more, at 95 % confidence.",
    ]
    for language in result.languages:
        n = f"{language.language}: {language.documents:,} documents"
        if language.set_by is None:
            lines.append(f"{n}, {result.min_documents:,} needed; threshold as it was")
            continue
        names = ", ".join(f"{s.name} ({s.documents:,})" for s in language.strata)
        lines.append(
            f"{n}, expected rate {language.expected_fpr:.4f}; strata: {names}; set by "
            f"{_named(language.set_by)}"
        )
    used = {"characters", *result.policy.min_ai_scores}
    optional = (scorer for scorer in engine.scorers if scorer.settings is not None)
    used |= {*of_rows, *(name for scorer in optional for name in scorer.models)}
    digests = sorted({**engine.model_digests(), **of_rows}.items())
    lines += [f"Model {name}: SHA-256 {digest}" for name, digest in digests if name in used]
    return Notes(
        made=f"{lowbg.__version__} on {dt.datetime.now(dt.UTC):%Y-%m-%d}.",
        lines=tuple(terminal.printable(line) for line in lines),
        languages=tuple(own.language for own in result.languages if own.new is not None),
    )


def _warn(result: Calibrated, known: Known) -> None:
    if result.lacking:
        some = ", ".join(f"{r.language} ({r.documents:,})" for r in result.lacking)
        terminal.warning(
            f"too few known-human documents, {result.min_documents:,} are needed: {some}. They "
            "keep the threshold that they had"
        )
    for count, what in ((known.unlabelled, "has no label"), (known.unread, "can't be read")):
        if count:
            terminal.warning(f"{counted(count, 'record')} left out: {what}")
    certain = sum(r.by_artifact for r in result.languages)
    if certain:
        terminal.warning(
            f"{counted(certain, 'human document')} with a near-certain phrase: AI at any "
            'unless the policy says artifacts = "report"'
        )
    for count, what in ((known.unscored, "can't be scored"), (known.repeated, "repeats another")):
        if count:
            terminal.warning(f"{counted(count, 'human document')} left out: {what}")


def _warn_dropped(old: Policy, new: Policy) -> None:
    """Says what went with the rate that it was set for."""
    gone = sorted(old.min_ai_scores.keys() - new.min_ai_scores.keys())
    what = [f"thresholds of {', '.join(gone)}"] if gone else []
    what += ["the LM's part"] if old.lm is not None and new.lm is None else []
    if what:
        terminal.warning(
            f"left out, since set for a rate of {old.target_fpr:g}: {' and '.join(what)}"
        )


def _table(result: Calibrated, by: KnownBy) -> str:
    """A row a language: documents, thresholds, and shares called AI before and after.

    Below it the stratum that sets the threshold.
    """
    others = "later called AI" if by.human_before is not None else "AI called AI"
    rows = [("language", "human", "threshold", "human called AI", others)]
    for r in result.languages:
        if r.new is None:
            rows.append((r.language, f"{r.documents:,}", f"{r.old:.4f}, kept", "", ""))
            continue
        rows.append(
            (
                r.language,
                f"{r.documents:,}",
                f"{r.old:.4f} → {r.new:.4f}",
                _change(r.human_before, r.human_after),
                _change(r.others_before, r.others_after),
            )
        )
    if not any(row[4] for row in rows[1:]):
        rows = [(*row[:4], "") for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = []
    set_by = (None, *(language.set_by for language in result.languages))
    for row, stratum in zip(rows, set_by, strict=True):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
        if stratum is not None:
            lines.append(f"  set by {_told(stratum)}")
    return "".join(f"{line}\n" for line in lines)


def _named(stratum: Stratum) -> str:
    """A stratum as messages call it."""
    return "all of them" if stratum.whole else stratum.name


def _told(stratum: Stratum) -> str:
    """What sets a threshold, with what that comes to for it; of the whole the row says that."""
    if stratum.whole:
        return _named(stratum)
    change = _change(stratum.before, stratum.after)
    return terminal.printable(f"{stratum.name}: {stratum.documents:,} human, {change} called AI")


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return ""
    return f"{100 * before:.2f} → {100 * after:.2f} %"
