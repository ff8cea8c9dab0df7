"""`lowbg learn`: a language's tables from old and new text of one's own, without AI labels."""

from __future__ import annotations

import datetime as dt
import json
import logging
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from lowbg.amounts import bytes_text, counted
from lowbg.config import RunConfig
from lowbg.errors import ConfigError
from lowbg.settings import ABOVE_ZERO, SHARE, Written, setting
from lowbg.storage.whole_files import address, size_of, write_whole
from lowbg_cli import terminal
from lowbg_cli.configure import ConfigOptions, Exclude, Inputs, Quiet, find_shards, standard_input
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import Changes, Given, Only, command, refuse
from lowbg_cli.outcome import tell_broken
from lowbg_cli.progress import progress_line
from lowbg_cli.writing import refuse_existing

if TYPE_CHECKING:
    from lowbg.jobs.learn.beside import Beside
    from lowbg.jobs.learn.gather import Dumps
    from lowbg.jobs.learn.learn import Learned
    from lowbg.jobs.learn.mixture import Interval
    from lowbg.jobs.learn.teacher import TwoWays, Verdicts

CONFIG = (
    *("fields.text", "fields.id", "fields.language", "fields.date", "fields.url"),
    *("max_record_bytes", "force"),
    *("extras.lm.probe", "extras.lm.dtype", "extras.lm.device", "extras.lm.batch_tokens"),
)
LM_FLAGS = ("--lm-probe", "--lm-dtype", "--lm-device", "--lm-batch-tokens")


@dataclass(frozen=True, slots=True)
class LearnOptions:
    """What the tables are learned from."""

    given: tuple[str, ...] = setting(
        "Human text: dumps from before AI text, or declared human. With --teacher and without "
        "--unlabelled: new text.",
        flags="OLD",
    )
    output: Path = setting(
        "Where CODE.safetensors is written, for --tables.",
        flags="--output -o",
        unit="DIR",
        written=Written.STORE,
    )
    unlabelled: tuple[str, ...] = setting(
        "New text, human and AI: files, directories, globs.",
        (),
        unit="INPUT",
        shown="with --teacher, OLD",
    )
    old: tuple[str, ...] = setting(
        "Human text, where OLD is new text.", (), unit="INPUT", key="old"
    )
    language: str | None = setting(
        "The language, as en or nl.",
        None,
        flags="--lang",
        unit="CODE",
        shown="with --teacher, its probe's",
    )
    holdout: tuple[str, ...] = setting(
        "Human text from between the two, to set thresholds on.",
        (),
        unit="INPUT",
        shown="the latest year of OLD, or a quarter of its sources",
    )
    human_before: dt.date = setting(
        "Only documents dated earlier count as human, whatever they are named as; undated ones as "
        "named.",
        dt.date(2022, 11, 30),
        unit="DATE",
    )
    source_field: str | None = setting(
        "What says where a document is from.",
        None,
        unit="FIELD",
        shown="the URL's registered domain",
    )
    kind_field: str | None = setting(
        "Compare old and new text within its values, too.", None, unit="FIELD"
    )
    teacher: str | None = setting(
        "A causal LM whose probe judges a sample, and so says what is learned: a folder or a "
        "Hugging Face name.",
        None,
        unit="MODEL",
        key="extras.lm.model",
    )
    teacher_documents: int = setting(
        "Documents that it reads, a quarter of them human text, every source in turn.",
        2_000,
        unit="N",
        least=200,
        key="teacher_documents",
    )
    target_fpr: float = setting(
        "Share of held-out human text that may be called AI.",
        0.01,
        unit=SHARE,
        least=ABOVE_ZERO,
        most=0.5,
    )
    json: Path | None = setting(
        "Write all metrics as JSON.", None, unit="FILE", written=Written.FILE
    )
    overwrite: bool = setting("Replace tables that are there.", False)
    seed: int = setting("Of the folds.", 1, unit="N")


@command
def learn_command(
    *,
    own: LearnOptions,
    left_out: Exclude,
    options: Annotated[ConfigOptions, Only(CONFIG)],
    quiet: Quiet = False,
    given: Given,
) -> ExitCode:
    """Learn tables from your own old and new text.

    Old text is human, new text a mixture; no AI text needs a label. What sets the two apart is
    learned within sources that both have, without words of few sources and without those by which
    human text changes. With --teacher a causal LM judges a sample first. Thresholds are set on
    human text that is held out. Where human text alone has changed as much, where the rate doesn't
    hold, or where no AI text shows, nothing is written and the exit code is 1.

    \b
      lowbg learn dump-2019/ dump-2021/ --unlabelled dump-2025/ --lang nl -o tables/
      lowbg learn dump-2025/ --old dump-2019/ --teacher MODEL -o tables/
      lowbg filter dump-2025/ --tables tables/ -o out/
    """
    reading, language = _reading(own, options, given)
    if own.output.exists() and not own.output.is_dir():
        raise ConfigError(f"{own.output} is a file; -o takes the directory that tables lie in")
    refuse_existing(own.output / f"{language}.safetensors", overwrite=own.overwrite)
    parts = _parts(own)
    found = [
        find_shards(Inputs(given=part, exclude=left_out.exclude), None, quiet=quiet)
        if part
        else None
        for part in parts
    ]
    shards = tuple(dict.fromkeys(shard for each in found if each for shard in each.shards))
    standard_input(shards)

    from lowbg.jobs.learn.beside import beside_embedded
    from lowbg.jobs.learn.config import LearnConfig
    from lowbg.jobs.learn.learn import learn

    old, unlabelled, holdout = (
        tuple(shard.path for shard in each.shards) if each else () for each in found
    )
    config = LearnConfig(
        language=language,
        output=own.output,
        old=old,
        unlabelled=unlabelled,
        holdout=holdout,
        human_before=own.human_before,
        source_field=own.source_field,
        kind_field=own.kind_field,
        reading=reading,
        seed=own.seed,
        target_fpr=own.target_fpr,
        teacher=reading.extras.lm,
        teacher_documents=own.teacher_documents,
    ).suited()
    if not quiet:
        logging.getLogger("lowbg").setLevel(logging.INFO)
    with progress_line(shards, quiet=quiet) as observer:
        learned = learn(config, observer)
    whole = not tell_broken(learned.dumps.shards) and all(each.whole for each in found if each)
    beside = beside_embedded(learned.dumps, learned.called_ai, learned.z, language, own.target_fpr)
    if own.json is not None:
        text = json.dumps(_as_json(learned, beside), indent=2, ensure_ascii=False) + "\n"
        write_whole(own.json, text.encode("utf-8", "backslashreplace"))
    if not quiet:
        _tell(learned, beside, own.target_fpr)
    for reason in learned.refused:
        terminal.error(f"no tables written: {reason}")
    if learned.refused:
        return ExitCode.JUDGED_BAD
    return ExitCode.FINISHED if whole else ExitCode.INCOMPLETE


def _reading(own: LearnOptions, options: ConfigOptions, given: Given) -> tuple[RunConfig, str]:
    """How text is read, with the teacher if there is one; and the language."""
    from lowbg.text import languages

    if own.teacher is None:
        refuse(given.among("--old", "--teacher-documents", *LM_FLAGS), "only with --teacher")
        if not own.unlabelled:
            raise ConfigError("missing option '--unlabelled', or '--teacher'")
        if own.language is None:
            raise ConfigError("missing option '--lang'")
    else:
        values = {**options.changes.values, "extras.lm.model": own.teacher}
        options = replace(options, changes=Changes(values, options.changes.flags))
    reading = options.resolve()
    language = own.language or _of_probe(reading)
    if language not in languages.CODES:
        raise ConfigError(f"no language {language!r}; there are {', '.join(languages.CODES)}")
    return reading, language


def _of_probe(reading: RunConfig) -> str:
    """The language that the teacher's probe serves, where it is one."""
    from lowbg.scorers.lm.shipped import probes_of

    lm = reading.extras.lm
    assert lm is not None
    served = sorted({code for probe in probes_of(lm) for code in probe.languages})
    if len(served) != 1:
        what = f"probes of {', '.join(served)}" if served else f"no probe of {lm.model}"
        raise ConfigError(f"missing option '--lang': there are {what}")
    return served[0]


def _parts(own: LearnOptions) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Old, new and held-out inputs."""
    if own.unlabelled:
        return (*own.given, *own.old), own.unlabelled, own.holdout
    return own.old, own.given, own.holdout


def _tell(learned: Learned, beside: Beside | None, target: float) -> None:
    """What was left out, what was measured, and how that lies beside the embedded tables."""
    dumps, figures = learned.dumps, learned.figures
    unread = sum(each.statistics.documents()["quarantined"] for each in dumps.shards)
    if unread:
        terminal.warning(f"{counted(unread, 'record')} left out: can't be read")
    for why, count in dumps.dropped.items():
        terminal.warning(f"{counted(count, 'document')} left out: {why}")
    if not dumps.by_source:
        terminal.warning(
            "too few sources are known: what is new for other reasons than AI text can't be told "
            "from it. Name the field that holds the URL (--url-field) or the source "
            "(--source-field)"
        )
    terminal.say(f"held out: {dumps.held}")
    if learned.taught is not None:
        _tell_teacher(learned.taught, learned.ways, dumps)
    terminal.say(
        f"{learned.kept:,} of {learned.offered:,} n-grams are of enough sources; drift "
        f"{_number(figures.drift)}, one half is none"
    )
    terminal.say(
        f"called AI at {100 * target:g} %: old {_share(figures.old_called)}, held out "
        f"{_share(figures.held_called)}, new {_share(figures.new_called)}, each without its source"
    )
    terminal.say(f"AI text in the new text: {_share(figures.share)}")
    if not learned.refused:
        size = bytes_text(size_of(learned.path), three_digits=True)
        terminal.say(f"{address(learned.path)}: {size}")
    if beside is not None:
        neither, learned_only, embedded_only, both = beside.new
        terminal.say(
            f"beside the embedded tables, of the new text: both call AI {both:,}, only the learned "
            f"{learned_only:,}, only the embedded {embedded_only:,}, neither {neither:,}; of human "
            f"text {100 * beside.old_learned:.1f} % and {100 * beside.old_embedded:.1f} %"
        )
        for names, whose in (
            (beside.only_learned, "learned"),
            (beside.only_embedded, "embedded"),
        ):
            if names:
                terminal.say(f"to look at, AI by the {whose} tables only: {'; '.join(names)}")


def _tell_teacher(taught: Verdicts, ways: TwoWays | None, dumps: Dumps) -> None:
    """What the teacher read and said, and how that agrees with the dumps alone."""
    sure = taught.confident(dumps)
    known = int((taught.read & dumps.known).sum())
    ai = int((sure & taught.is_ai).sum())
    terminal.say(
        f"the teacher read {int(taught.read.sum()) - known:,} new and {known:,} human documents, "
        f"{taught.tokens:,} tokens in {taught.seconds:.0f} s; AI text in the new ones: "
        f"{_share(taught.share)}; confident of {ai:,} as AI's and {int(sure.sum()) - ai:,} as "
        f"human; of human text it calls {_share(taught.human_called)} AI"
    )
    if ways is None:
        terminal.say("old and new text have too few sources in common to check the teacher by")
    else:
        kappa = "" if isnan(ways.kappa) else f", κ {ways.kappa:.2f}"
        terminal.say(
            f"without it old and new text say the same of {100 * ways.agree:.0f} % of "
            f"{counted(ways.documents, 'document')} that it is confident of{kappa}: AI by the "
            f"teacher {ways.teacher:,}, by the dumps {ways.dumps:,}, by both {ways.both:,}"
        )


def _share(interval: Interval) -> str:
    low, high = (100 * value for value in (interval.low, interval.high))
    return f"{100 * interval.estimate:.1f} % ({low:.1f}–{high:.1f})"


def _number(interval: Interval) -> str:
    return f"{interval.estimate:.2f} ({interval.low:.2f}–{interval.high:.2f})"


def _as_json(learned: Learned, beside: Beside | None) -> dict[str, Any]:
    from lowbg.jobs.learn.teacher import told_of

    dumps = learned.dumps
    result: dict[str, Any] = {
        "tables": None if learned.refused else address(learned.path),
        "refused": learned.refused,
        "documents": {"old": dumps.count(0), "held_out": dumps.count(1), "new": dumps.count(2)},
        "left_out": dict(dumps.dropped),
        "held_out": dumps.held,
        "by_source": dumps.by_source,
        "figures": learned.figures.as_json,
        "ngrams": {"offered": learned.offered, "kept": learned.kept},
    }
    if learned.taught is not None:
        told = told_of(learned.taught, learned.ways, dumps)
        result["teacher"] = {**told, "seconds": round(learned.taught.seconds, 1)}
    if beside is not None:
        neither, only_learned, only_embedded, both = beside.new
        result["embedded"] = {
            "both": both,
            "only_learned": only_learned,
            "only_embedded": only_embedded,
            "neither": neither,
            "human_called_by_learned": round(beside.old_learned, 4),
            "human_called_by_embedded": round(beside.old_embedded, 4),
            "look_at": {"learned": beside.only_learned, "embedded": beside.only_embedded},
        }
    return result
