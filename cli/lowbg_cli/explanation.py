"""An explanation in plain form: verdict, features, sentences with their phrases marked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lowbg.amounts import counted
from lowbg.config import Verdict
from lowbg_cli import terminal

if TYPE_CHECKING:
    from lowbg.jobs.explain import Explanation, SentenceNote

_STYLES = {"human": "bold blue", "ai": "bold yellow", "unscored": "bold"}
_MARK = "bold yellow"

NARROW_COLUMNS = 70
"""Below this a table leaves out what can be looked up."""


def print_explanation(explanation: Explanation, stream: TextIO | None) -> None:
    """Prints it to `stream`, in colour on a terminal; control characters of the text are shown.

    To nowhere where `stream` is null: the caller closed it.
    """
    if stream is None:
        return
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(_headline(explanation))
        for reason in _reasons(explanation):
            console.print(Padding.indent(Text(terminal.printable(reason)), 2))
        if explanation.mixed:
            console.print(Padding.indent(Text(terminal.printable(explanation.mixed)), 2))
        if explanation.needs:
            needs = terminal.worded(f"a score would take {explanation.needs}")
            console.print()
            console.print(Text(terminal.printable(needs)))
        console.print()
        if explanation.parts:
            console.print(_parts(explanation))
            console.print()
        console.print(_features(explanation, narrow=console.width < NARROW_COLUMNS))
        for note in explanation.notes:
            console.print(Text(terminal.printable(f"{note.scorer}: {note.text}")))
        if explanation.ngrams:
            console.print()
            console.print(_ngrams(explanation))
        if explanation.lm_parts:
            console.print()
            console.print(_lm_parts(explanation))
        if explanation.sentences:
            console.print()
            console.print(_sentences(explanation, console))
    # Tables are padded to their width, which is of no use in a file.
    stream.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _headline(explanation: Explanation) -> Text:
    line = Text(explanation.verdict, _STYLES.get(explanation.verdict, ""))
    if explanation.language is not None:
        line.append(f", {explanation.language}", "")
    line.append(f", {counted(explanation.words, 'word')}", "")
    return line


def _reasons(explanation: Explanation) -> list[str]:
    """Score, threshold and the decision's reasons, some of which say the score too."""
    lines = []
    if explanation.language is None and explanation.verdict != Verdict.UNSCORED:
        lines.append("language not recognised")
    if explanation.ai_score is not None:
        limit = explanation.threshold
        from_where = f", AI from {limit:.3f}" if limit is not None else ""
        lines.append(f"ai_score {explanation.ai_score:.3f}{from_where}")
    return list(dict.fromkeys([*lines, *explanation.reasons]))


def _parts(explanation: Explanation) -> Table:
    """What the score is made of; the lines add up."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="", pad_edge=False)
    table.add_column("adds", justify="right", no_wrap=True)
    table.add_column("to the score (+ AI, − human)", overflow="fold")
    for own in explanation.parts:
        table.add_row(f"{own.part:+.2f}".replace("-", "−"), Text(own.name))
    total = sum(own.part for own in explanation.parts)
    table.add_row(f"{total:+.2f}".replace("-", "−"), Text("together: its logistic is the score"))
    return table


def _features(explanation: Explanation, *, narrow: bool) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    if not narrow:
        table.add_column()
    for feature in explanation.features:
        cells = [feature.name, _spelled(feature.value)]
        if not narrow:
            cells.append(f"{feature.unit}: {feature.meaning}" if feature.unit else feature.meaning)
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _ngrams(explanation: Explanation) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="", pad_edge=False)
    table.add_column("nats", justify="right", no_wrap=True)
    table.add_column("what weighs most (+ AI, − human)", overflow="fold")
    for ngram in explanation.ngrams:
        table.add_row(f"{ngram.nats:+.1f}".replace("-", "−"), Text(terminal.printable(ngram.text)))
    return table


def _lm_parts(explanation: Explanation) -> Table:
    """What a probe reads; the lines add up."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="", pad_edge=False)
    table.add_column("nats", justify="right", no_wrap=True)
    table.add_column("what the LM's probe reads (+ AI, − human)", overflow="fold")
    for own in explanation.lm_parts:
        told = terminal.printable(own.text) if own.tokens else "it starts from"
        table.add_row(f"{own.nats:+.2f}".replace("-", "−"), Text(told))
    total = sum(own.nats for own in explanation.lm_parts)
    table.add_row(f"{total:+.2f}".replace("-", "−"), Text("together: lm_probe_log_odds"))
    return table


def _sentences(explanation: Explanation, console: Console) -> Table:
    narrow = console.width < NARROW_COLUMNS
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="", pad_edge=False)
    table.add_column("perplexity" if not narrow else "perpl.", justify="right", no_wrap=True)
    if not narrow:
        table.add_column("log-odds", justify="right", no_wrap=True)
    table.add_column("sentence", overflow="fold")
    for sentence in explanation.sentences:
        cells = [Text(_number(sentence.perplexity))]
        if not narrow:
            cells.append(Text(_number(sentence.log_odds)))
        table.add_row(*cells, _marked(sentence, console))
    return table


def _marked(sentence: SentenceNote, console: Console) -> Text:
    """The sentence in one line with its phrases marked and, after it, named.

    By colour on a terminal that has any, by brackets elsewhere.
    """
    colored = console.is_terminal and not console.no_color
    opening, closing = ("", "") if colored else ("⟦", "⟧")
    if console.options.ascii_only and not colored:
        opening, closing = "[[", "]]"
    line = Text()
    at = 0
    for span in sorted(sentence.phrases, key=lambda span: (span.start, -span.end)):
        if span.start < at:
            continue
        line.append(_folded(sentence.text[at : span.start]))
        line.append(f"{opening}{_folded(sentence.text[span.start : span.end])}{closing}", _MARK)
        at = span.end
    line.append(_folded(sentence.text[at:]))
    line.rstrip()
    for name in dict.fromkeys(f"{span.category}:{span.name}" for span in sentence.phrases):
        line.append(f"\n  {terminal.printable(name)}", "bright_black")
    return line


def _folded(text: str) -> str:
    return re.sub(" +", " ", terminal.printable(text))


def _spelled(value: Any) -> str:
    """A feature's value, whatever its type."""
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return _number(value)
    if isinstance(value, list):
        return ", ".join(map(_spelled, value)) or "-"
    return terminal.printable(str(value))


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
