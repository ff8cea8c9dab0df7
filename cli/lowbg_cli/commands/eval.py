"""`lowbg eval`: how good the verdicts are on labelled text."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import lowbg
from lowbg.amounts import counted
from lowbg.config import RunConfig, as_dict
from lowbg.settings import Written, setting
from lowbg.storage.files import file_digest
from lowbg_cli import terminal
from lowbg_cli.configure import ConfigOptions, Inputs, Quiet, find_shards
from lowbg_cli.exits import ExitCode
from lowbg_cli.groups import Only, command
from lowbg_cli.judging import Read, look_at, rows_judging
from lowbg_cli.outcome import tell_broken, tell_silent
from lowbg_cli.progress import progress_line

if TYPE_CHECKING:
    from lowbg.jobs.eval.evaluate import GroupResult
    from lowbg.runs.engine import Engine
    from lowbg.runs.inputs import Shard
    from lowbg.runs.judging import TextJudging
    from lowbg.runs.scored_rows import FoundRows, RowsJudging

CONFIG = (
    *("file", "force", "fields.text", "fields.language"),
    *("decision.target_fpr", "decision.fpr_bound", "decision.tables", "extras.lm"),
)


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """Where the labels are, and where the figures go beside stdout."""

    label_field: str = setting("Says human or ai (or 0 or 1).", "label", unit="FIELD")
    json: Path | None = setting(
        "Write all metrics as JSON.", None, unit="FILE", written=Written.FILE
    )
    markdown: Path | None = setting(
        "Write all metrics as Markdown tables.", None, unit="FILE", written=Written.FILE
    )
    html: Path | None = setting(
        "Write a page: tables, ROC curves, scores by label.",
        None,
        unit="FILE",
        written=Written.FILE,
    )


@command
def eval_command(
    *,
    inputs: Inputs,
    own: EvalOptions,
    options: Annotated[ConfigOptions, Only(CONFIG)],
    quiet: Quiet = False,
) -> ExitCode:
    """Measure the verdicts on labelled text.

    AUROC, TPR at 1 % and 5 % FPR, and FPR and recall at the threshold.

    Over all documents, and by language, domain, dataset, generator and length, each where the
    records have it. --json, --markdown and --html give 95 % intervals too. Rows of lowbg score with
    the label (--keep-field label) are judged anew as they are, without reading a text.

    \b
      lowbg eval labelled/dev --json figures.json
      lowbg eval scores/ --policy policy.toml --lm rows
    """
    found = find_shards(inputs, None, quiet=quiet)
    shards = found.shards
    read = look_at(shards, options)
    config = read.options.resolve()
    from lowbg.jobs.eval.evaluate import as_markdown, evaluate
    from lowbg.jobs.eval.labelled import judge_labelled

    judging: TextJudging | RowsJudging
    if read.rows is None:
        judging = _text_judging(shards, config, read, quiet=quiet)
    else:
        judging = rows_judging(config, read, quiet=quiet)
        if not quiet:
            _tell_not_grouped(read.rows)
    with progress_line(shards, quiet=quiet) as observer:
        labelled = judge_labelled(shards, judging, own.label_field, observer)
    made_by = _MadeBy(judging.config, judging.engine, read.models)
    for count, what in ((labelled.unlabelled, "has no label"), (labelled.unread, "can't be read")):
        if count:
            terminal.warning(f"{counted(count, 'record')} left out: {what}")
    if tell_broken(labelled.shards) or not found.whole:
        terminal.warning("the metrics are of what was read, not of the whole input")
    labelled_scores = labelled.builder.build()
    results = evaluate(labelled_scores)
    if own.json is not None:
        _write(own.json, _as_json(results, made_by, shards, labelled.cut))
    if own.markdown is not None:
        _write(own.markdown, as_markdown(results))
    if own.html is not None:
        from lowbg.jobs.eval.plots import as_html
        from lowbg.report.headline import data_name

        facts = _facts(made_by, shards, labelled.cut)
        data = data_name([shard.path for shard in shards])
        _write(own.html, as_html(labelled_scores, results, facts, data))

    from lowbg_cli.figures import print_figures

    print_figures(results, sys.stdout)
    return ExitCode.INCOMPLETE if labelled.cut or not found.whole else ExitCode.FINISHED


def _text_judging(
    shards: Sequence[Shard], config: RunConfig, read: Read, *, quiet: bool
) -> TextJudging:
    """What scores documents and judges them; an LM with a budget reads what it selects of them."""
    from lowbg.runs.engine import Engine
    from lowbg.runs.judging import TextJudging
    from lowbg.runs.lm_selection import learn_selection, with_selection

    engine = Engine(config.policy, config.extras)
    engine.prepare()
    config = with_selection(config, learn_selection(shards, config, engine))
    engine = Engine(config.policy, config.extras).setup()
    tell_silent(engine, quiet=quiet)
    return TextJudging(config, engine, read.stdin)


def _tell_not_grouped(rows: FoundRows) -> None:
    from lowbg.jobs.eval.labelled import GROUPINGS

    lacking = [name for name in GROUPINGS if name not in rows.fields]
    if lacking:
        terminal.say(
            f"not by {', '.join(lacking)}: the rows don't have it; lowbg score keeps a field with "
            "--keep-field"
        )


@dataclass(frozen=True, slots=True)
class _MadeBy:
    """What the metrics depend on beside the data; `of_rows` are the models of the rows' LM."""

    config: RunConfig
    engine: Engine
    of_rows: Mapping[str, str]

    @property
    def models(self) -> dict[str, str]:
        return dict(sorted({**self.engine.model_digests(), **self.of_rows}.items()))


def _as_json(
    results: Sequence[GroupResult], made_by: _MadeBy, shards: Sequence[Shard], cut: Sequence[str]
) -> str:
    """All figures, with what they depend on; `cut` names shards that were read in part."""
    from lowbg.jobs.eval.evaluate import as_json

    local = [(shard.name, Path(shard.path)) for shard in shards]
    content = {
        "version": lowbg.__version__,
        "policy": as_dict(made_by.config.policy),
        "models": made_by.models,
        "scorers": made_by.engine.scorer_versions(),
        "data": {name: file_digest(path) if path.is_file() else None for name, path in local},
        "cut": list(cut),
        "results": as_json(results),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _facts(made_by: _MadeBy, shards: Sequence[Shard], cut: Sequence[str]) -> list[tuple[str, str]]:
    """What heads the page; `cut` names shards that were read in part."""
    names = ", ".join(shard.name for shard in shards[:12])
    more = f" and {len(shards) - 12} more" if len(shards) > 12 else ""
    models = {name: sha for name, sha in made_by.models.items() if "." not in name}
    digests = ", ".join(f"{name} {sha[:12]}" for name, sha in models.items())
    return [
        ("Version", f"lowbg {lowbg.__version__}"),
        ("Target", f"{made_by.config.policy.target_fpr:g} of human text called AI"),
        ("Data", names + more),
        *([("Read in part", ", ".join(cut))] if cut else []),
        ("Models", digests),
    ]


def _write(path: Path, text: str) -> None:
    from lowbg.storage.whole_files import write_whole

    write_whole(path, text.encode("utf-8", "backslashreplace"))
