"""`lowbg calibrate`: thresholds for a target false-positive rate on the user's own human text."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import lowbg
from lowbg.amounts import counted
from lowbg.config import LmDtype, RunConfig
from lowbg_cli import options, scorer_options, terminal
from lowbg_cli.configure import (
    ExtraOptions,
    FieldOptions,
    PolicyOptions,
    batch_bytes,
    find_shards,
    standard_input,
)
from lowbg_cli.exits import ExitCode
from lowbg_cli.outcome import tell_broken
from lowbg_cli.progress import progress_line

if TYPE_CHECKING:
    from lowbg.config import FieldNames, Policy
    from lowbg.jobs.calibrate.calibrate import Calibrated
    from lowbg.jobs.calibrate.calibrate_lm import LmCalibrated
    from lowbg.jobs.calibrate.known import Known, KnownBy
    from lowbg.runs.engine import Engine

FIELDS = RunConfig().fields


Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="The policy file (TOML).")
]
TargetFpr = Annotated[
    float | None,
    typer.Option(
        "--target-fpr",
        metavar="SHARE",
        help="Share of human documents that may be called AI. [default: the policy's, 0.01]",
        callback=options.finite,
    ),
]
HumanBefore = Annotated[
    dt.date | None,
    typer.Option(
        "--human-before",
        metavar="DATE",
        parser=options.parse_date,
        help="Documents dated earlier are known to be human.",
    ),
]
LabelField = Annotated[
    str | None,
    typer.Option("--label-field", metavar="FIELD", help="Or: the field that says who wrote."),
]
LabelHuman = Annotated[
    str, typer.Option("--label-human", metavar="LABEL", help="What it says of human text.")
]
Stratum = Annotated[
    str | None,
    typer.Option(
        "--stratum", metavar="FIELD", help="Hold the rate for each value of this field too."
    ),
]
MinDocuments = Annotated[
    int | None,
    typer.Option(
        "--min-documents",
        metavar="N",
        min=1,
        help="Fewest in a stratum of its own. [default: what the rate needs; 299 for 0.01]",
    ),
]


def calibrate_command(
    inputs: options.Inputs,
    output: Output,
    target_fpr: TargetFpr = None,
    human_before: HumanBefore = None,
    label_field: LabelField = None,
    label_human: LabelHuman = "human",
    stratum: Stratum = None,
    min_documents: MinDocuments = None,
    text_field: options.TextField = FIELDS.text,
    lang_field: options.LangField = FIELDS.language,
    date_field: options.DateField = None,
    policy: options.PolicyFile = None,
    lm: scorer_options.Lm = None,
    lm_performer: scorer_options.LmPerformer = None,
    lm_band: scorer_options.LmBand = None,
    lm_context: scorer_options.LmContext = None,
    lm_dtype: scorer_options.LmType = LmDtype.AUTO,
    lm_device: scorer_options.LmDevice = "auto",
    lm_batch_tokens: scorer_options.LmBatchTokens = None,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Set thresholds on human text of your own.

    They keep a target false-positive rate. Known to be human are documents with a human label, or
    dated before a cut-off. The rate holds with 95 % confidence for every language and length that
    has enough of them (299 for 1 %). With --human-before the policy trusts that date too. With --lm
    the policy also says how much weight that causal LM has; runs with the same --lm and --lm-band
    let it take part in verdicts.

    \b
      lowbg calibrate crawl/ --human-before 2022-11-30 --target-fpr 0.01 -o policy.toml
      lowbg calibrate labelled/ --label-field label --target-fpr 0.005 -o policy.toml
    """
    base = _at_target(PolicyOptions(file=policy).resolve(), target_fpr)
    fields = FieldOptions(text_field, FIELDS.id, lang_field, date_field, FIELDS.url).resolve(base)

    from lowbg.jobs.calibrate.calibrate import calibrate
    from lowbg.jobs.calibrate.calibrate_lm import calibrate_lm
    from lowbg.jobs.calibrate.known import KnownBy, read_known
    from lowbg.runs.engine import Engine

    by = KnownBy(human_before, label_field, label_human, stratum)
    shards = find_shards(inputs, output, quiet=quiet).shards
    extras = ExtraOptions(
        lm, lm_performer, lm_band, lm_context, lm_dtype, lm_device, lm_batch_tokens
    ).resolve()
    engine = Engine(replace(base, lm=None), extras)
    engine.prepare()
    engine.setup()
    config, stdin = _reading(fields, engine), standard_input(shards)
    with progress_line(shards, quiet=quiet) as observer:
        known = read_known(shards, config, by, engine, stdin, observer)
    whole = not tell_broken(known.shards)
    result = calibrate(known, engine, min_documents)
    joint = calibrate_lm(result, known, engine) if extras.lm is not None else None
    made = joint.policy if joint is not None else replace(result.policy, lm=base.lm)
    _write(output, _trusting(made, by, fields.date), _comments(result, inputs, by, engine))
    _warn(result, known)
    if joint is not None:
        _tell_lm(joint, quiet=quiet)
    if not quiet:
        terminal.show(_table(result, by))
        terminal.say(f"{output}: thresholds for {counted(_found(result), 'language')}")
    return ExitCode.FINISHED if whole else ExitCode.INCOMPLETE


def _reading(fields: FieldNames, engine: Engine) -> RunConfig:
    return RunConfig(
        fields=fields,
        policy=engine.policy,
        batch_bytes=batch_bytes(None, engine.extras),
        extras=engine.extras,
    )


def _tell_lm(joint: LmCalibrated, *, quiet: bool) -> None:
    """What the LM's part came to, a line a language."""
    for r in joint.languages:
        if r.threshold is None:
            terminal.warning(f"{r.language}: the LM read too few human documents ({r.read:,})")
        elif not quiet:
            short = "" if r.judges_short else "; texts too short for the tables stay unscored"
            terminal.say(
                f"{r.language}: the LM read {counted(r.read, 'human document')}; "
                f"joint threshold {r.threshold:.4f}{short}"
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
    if by.before is None or policy.trust_before is not None:
        return policy
    return replace(policy, trust_before=by.before, date_field=date_field)


def _write(path: Path, policy: Policy, comments: tuple[str, ...]) -> None:
    from lowbg.decision.policy_text import policy_text
    from lowbg.storage.files import write_whole

    write_whole(path, policy_text(policy, comments).encode("utf-8"))


def _comments(
    result: Calibrated, inputs: Sequence[str], by: KnownBy, engine: Engine
) -> tuple[str, ...]:
    """The header: when, of what, and how many documents stand behind each threshold."""
    how = (
        f"dated before {by.before}"
        if by.before is not None
        else f"labelled {by.label_human!r} in {by.label_field!r}"
    )
    named = ", ".join(terminal.printable(name) for name in inputs[:8])
    more = f" and {len(inputs) - 8} more" if len(inputs) > 8 else ""
    lines = [
        f"Made by lowbg {lowbg.__version__} calibrate on {dt.datetime.now(dt.UTC):%Y-%m-%d}.",
        f"Inputs: {named}{more}",
        terminal.printable(f"Human documents: {how}, scored, each text once."),
        f"False-positive rate at most {result.policy.target_fpr:g} in every stratum of "
        f"{result.min_documents:,} or more, at 95 % confidence.",
    ]
    for language in result.languages:
        n = f"{language.language}: {language.documents:,} documents"
        if language.new is None:
            lines.append(f"{n}, {result.min_documents:,} needed; threshold as it was")
            continue
        names = ", ".join(f"{s.name} ({s.documents:,})" for s in language.strata)
        lines.append(f"{n}, expected rate {language.expected_fpr:.4f}; strata: {names}")
    used = {"characters", *result.policy.min_ai_scores}
    optional = (scorer for scorer in engine.scorers if scorer.settings is not None)
    used |= {name for scorer in optional for name in scorer.models}
    digests = engine.model_digests().items()
    lines += [f"Model {name}: SHA-256 {digest}" for name, digest in digests if name in used]
    return tuple(terminal.printable(line) for line in lines)


def _warn(result: Calibrated, known: Known) -> None:
    if result.lacking:
        some = ", ".join(f"{r.language} ({r.documents:,})" for r in result.lacking)
        terminal.warning(
            f"too few known-human documents, {result.min_documents:,} are needed: {some}. They "
            "keep the threshold that they had"
        )
    for count, what in (
        (known.unlabelled, "has no label"),
        (known.unread, "can't be read"),
    ):
        if count:
            terminal.warning(f"{counted(count, 'record')} left out: {what}")
    for count, what in ((known.unscored, "can't be scored"), (known.repeated, "repeats another")):
        if count:
            terminal.warning(f"{counted(count, 'human document')} left out: {what}")


def _table(result: Calibrated, by: KnownBy) -> str:
    """A row a language: documents, thresholds, and shares called AI before and after."""
    others = "later called AI" if by.before is not None else "AI called AI"
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
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        + "\n"
        for row in rows
    )


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return ""
    return f"{100 * before:.2f} → {100 * after:.2f} %"
