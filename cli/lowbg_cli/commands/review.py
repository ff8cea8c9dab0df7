"""`lowbg review`: a page on which people label documents of a run, and figures from the labels."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lowbg.amounts import counted, share_text
from lowbg.errors import ConfigError
from lowbg.settings import Setting, Written
from lowbg.storage.whole_files import address
from lowbg_cli import terminal
from lowbg_cli.configure import AsJson, ConfigOptions, Quiet
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import Only, command

if TYPE_CHECKING:
    from lowbg.jobs.review.figures import Figure, Figures

CONFIG = (
    *("file", "fields.text", "fields.language", "fields.date"),
    *("decision.target_fpr", "decision.fpr_bound", "decision.rule", "decision.tables"),
    "trust.before",
)


@command
def review_command(
    *,
    directory: Annotated[Path, Setting("A finished output of filter.", flags="DIR")],
    options: Annotated[ConfigOptions, Only(CONFIG)],
    labels: Annotated[
        Path | None,
        Setting(
            "Where the labels are kept; goes on with those that are there.",
            unit="FILE",
            written=Written.KEPT,
            shown="DIR.labels.jsonl",
        ),
    ] = None,
    documents: Annotated[
        int,
        Setting("How many documents are drawn, at first.", flags="--documents", unit="N", least=1),
    ] = 200,
    port: Annotated[
        int, Setting("The port on the loopback address; 0: any that is free.", unit="N", least=0)
    ] = 0,
    figures: Annotated[
        bool, Setting("Show what the labels come to, and serve no page.", flags="--metrics")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> ExitCode:
    """Label documents of a run on a page of your own machine.

    Documents are drawn where labels count most, and so that precision, recall and AI share come
    with intervals. The address has a random token: who knows it can label. Ctrl-C closes the page;
    the same command goes on. With the policy that the run had, as options or --policy.

    \b
      lowbg review OUT
      lowbg review OUT --metrics
    """
    from lowbg.jobs.review.drawing import check_output
    from lowbg.jobs.review.figures import figures as worked_out
    from lowbg.jobs.review.labels import LabelsFile

    place = labels if labels is not None else directory.with_name(f"{directory.name}.labels.jsonl")
    if as_json and not figures:
        raise ConfigError("--json: only with --metrics")
    if not figures:
        from lowbg.jobs.review.serve import open_labels, serve

        config = options.resolve()
        file = open_labels(directory, place, config, documents)

        def ready(at: str) -> None:
            terminal.say(f"review {address(directory)} at {at} (Ctrl-C closes it)")

        serve(directory, file, config, port=port, ready=ready)
        if not quiet:
            many = counted(len(file.standing()), "label")
            terminal.say(f"{many} in {address(place)}; the same command goes on")
    kept = LabelsFile.open(place)
    if figures:
        check_output(directory, kept.design)
    found = worked_out(kept.design, kept.standing())
    if as_json:
        _print_json(found)
    elif figures or not quiet:
        _print(found)
    return ExitCode.FINISHED


def _print(found: Figures) -> None:
    """The figures, a line each, on standard output."""
    rows: list[tuple[str, Figure | None, str]] = [
        ("precision", found.precision, "documents called AI that are"),
        ("recall", found.recall, "AI text that was called AI"),
        ("AI share", found.share, "scored documents that are AI"),
        ("false positives", found.false_positive_rate, "human text that was called AI"),
        ("wrong labels", found.error, f"by {counted(found.pairs, 'document')} labelled twice"),
    ]
    for name, figure, of in rows:
        told = "not known yet"
        if figure is not None:
            low, high = share_text(figure.low), share_text(figure.high)
            told = f"{share_text(figure.value)} (95 %: {low} – {high})"
        print(f"{name:<16}{told:<36}{of}".rstrip())
    if found.unlabelled:
        print(f"{'missing':<16}labels of documents that are {'; '.join(found.unlabelled)}")
    for (one, other), kappa in found.kappa.items():
        print(f"agreement       κ {'–' if kappa is None else f'{kappa:.2f}'}, {one} and {other}")
    print(
        f"labels          {found.labelled} count, {found.waiting} wait, "
        f"{found.unsure} unsure, skipped or not blind"
    )


def _print_json(found: Figures) -> None:
    import orjson

    from lowbg.storage.typed import to_plain

    plain = to_plain(replace(found, kappa={}))
    plain["kappa"] = [
        {"reviewers": list(pair), "kappa": value} for pair, value in found.kappa.items()
    ]
    sys.stdout.write(orjson.dumps(plain, option=orjson.OPT_INDENT_2).decode() + "\n")
