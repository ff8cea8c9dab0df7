"""`lowbg learn`: a language's tables from old and new text of one's own, without AI labels."""

from __future__ import annotations

import datetime as dt
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from lowbg.amounts import bytes_text, counted
from lowbg.errors import ConfigError
from lowbg.settings import ABOVE_ZERO, SHARE, Written, setting
from lowbg.storage.files import write_whole
from lowbg_cli import terminal
from lowbg_cli.configure import ConfigOptions, Exclude, Inputs, Quiet, find_shards, standard_input
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import Only, command
from lowbg_cli.outcome import tell_broken
from lowbg_cli.progress import progress_line
from lowbg_cli.writing import refuse_existing

if TYPE_CHECKING:
    from lowbg.jobs.learn.beside import Beside
    from lowbg.jobs.learn.learn import Learned
    from lowbg.jobs.learn.mixture import Interval

CONFIG = (
    *("fields.text", "fields.id", "fields.language", "fields.date", "fields.url"),
    *("max_record_bytes", "force"),
)


@dataclass(frozen=True, slots=True)
class LearnOptions:
    """What the tables are learned from."""

    old: tuple[str, ...] = setting(
        "Human text: dumps from before AI text, or declared human.", flags="OLD"
    )
    unlabelled: tuple[str, ...] = setting(
        "New text, human and AI: files, directories, globs.", unit="INPUT"
    )
    language: str = setting("The language, as en or nl.", flags="--lang", unit="CODE")
    output: Path = setting(
        "Where CODE.safetensors is written, for --tables.",
        flags="--output -o",
        unit="DIR",
        written=Written.FOLDER,
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
) -> ExitCode:
    """Learn tables from your own old and new text.

    Old text is human, new text a mixture; no AI text needs a label. What sets the two apart is
    learned within sources that both have, without words of few sources and without those by which
    human text changes. Thresholds are set on human text that is held out. Where human text alone
    has changed as much, where the rate doesn't hold, or where no AI text shows, nothing is written
    and the exit code is 1.

    \b
      lowbg learn dump-2019/ dump-2021/ --unlabelled dump-2025/ --lang nl -o tables/
      lowbg filter dump-2025/ --tables tables/ -o out/
    """
    from lowbg.text import languages

    if own.language not in languages.CODES:
        raise ConfigError(f"no language {own.language!r}; there are {', '.join(languages.CODES)}")
    if own.output.exists() and not own.output.is_dir():
        raise ConfigError(f"{own.output} is a file; -o takes the directory that tables lie in")
    refuse_existing(own.output / f"{own.language}.safetensors", overwrite=own.overwrite)
    found = [
        find_shards(Inputs(given=given, exclude=left_out.exclude), None, quiet=quiet)
        for given in (own.old, own.unlabelled, own.holdout)
        if given
    ]
    shards = tuple(dict.fromkeys(shard for each in found for shard in each.shards))
    standard_input(shards)

    from lowbg.jobs.learn.beside import beside_embedded
    from lowbg.jobs.learn.config import LearnConfig
    from lowbg.jobs.learn.learn import learn

    paths = [tuple(shard.path for shard in each.shards) for each in found]
    config = LearnConfig(
        language=own.language,
        output=own.output,
        old=paths[0],
        unlabelled=paths[1],
        holdout=paths[2] if own.holdout else (),
        human_before=own.human_before,
        source_field=own.source_field,
        kind_field=own.kind_field,
        reading=options.resolve(),
        seed=own.seed,
        target_fpr=own.target_fpr,
    ).suited()
    if not quiet:
        logging.getLogger("lowbg").setLevel(logging.INFO)
    with progress_line(shards, quiet=quiet) as observer:
        learned = learn(config, observer)
    whole = not tell_broken(learned.dumps.shards) and all(each.whole for each in found)
    beside = beside_embedded(
        learned.dumps, learned.called_ai, learned.z, own.language, own.target_fpr
    )
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
        size = bytes_text(learned.path.stat().st_size, three_digits=True)
        terminal.say(f"{learned.path}: {size}")
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


def _share(interval: Interval) -> str:
    low, high = (100 * value for value in (interval.low, interval.high))
    return f"{100 * interval.estimate:.1f} % ({low:.1f}–{high:.1f})"


def _number(interval: Interval) -> str:
    return f"{interval.estimate:.2f} ({interval.low:.2f}–{interval.high:.2f})"


def _as_json(learned: Learned, beside: Beside | None) -> dict[str, Any]:
    dumps = learned.dumps
    result: dict[str, Any] = {
        "tables": None if learned.refused else str(learned.path),
        "refused": learned.refused,
        "documents": {"old": dumps.count(0), "held_out": dumps.count(1), "new": dumps.count(2)},
        "left_out": dict(dumps.dropped),
        "held_out": dumps.held,
        "by_source": dumps.by_source,
        "figures": learned.figures.as_json,
        "ngrams": {"offered": learned.offered, "kept": learned.kept},
    }
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
