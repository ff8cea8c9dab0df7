"""The options of `lowbg gate` that state limits, and how they go on top of a policy's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

import typer

from lowbg.config import Gate, GateGroup, GateStatistic
from lowbg.errors import ConfigError
from lowbg_cli import options

MaxAiShare: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--max-ai-share",
        metavar="SHARE",
        min=0.0,
        max=1.0,
        callback=options.finite,
        help="Fail above this AI share of the scored documents (0 to 1).",
    ),
]
Statistic: TypeAlias = Annotated[
    GateStatistic | None,
    typer.Option(
        "--statistic",
        help="Which AI share; upper: its interval's end. [default: upper]",
        rich_help_panel=options.LIMITS,
    ),
]
MaxAiShareBy: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--max-ai-share-by",
        metavar="GROUP=SHARE",
        help="The same for each language, year, host, shard or source; may be repeated.",
        show_default=False,
        rich_help_panel=options.LIMITS,
    ),
]
SourceField: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--source-field",
        metavar="FIELD",
        help="The field that says a record's source.",
        rich_help_panel=options.LIMITS,
    ),
]
MinGroupDocuments: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--min-group-documents",
        metavar="N",
        min=1,
        help="Parts with fewer scored documents aren't judged by themselves. [default: 100]",
        rich_help_panel=options.LIMITS,
    ),
]
MaxPhraseHits: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--max-phrase-hits",
        metavar="CATEGORY=N",
        help="Fail where more documents hold such a phrase; may be repeated.",
        show_default=False,
        rich_help_panel=options.LIMITS,
    ),
]
MaxQuarantinedShare: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--max-quarantined-share",
        metavar="SHARE",
        min=0.0,
        max=1.0,
        callback=options.finite,
        help="Fail above this share of records that cannot be read.",
        rich_help_panel=options.LIMITS,
    ),
]
MinHumanTokenShare: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--min-human-token-share",
        metavar="SHARE",
        min=0.0,
        max=1.0,
        callback=options.finite,
        help="Fail below this share of words that are in human documents.",
        rich_help_panel=options.LIMITS,
    ),
]
MinScoredDocuments: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--min-scored-documents",
        metavar="N",
        min=0,
        help="Fail with fewer scored documents. [default: 1]",
        rich_help_panel=options.LIMITS,
    ),
]


@dataclass(frozen=True, slots=True)
class GateOptions:
    """What the command line says of the limits; null where it says nothing."""

    max_ai_share: float | None = None
    statistic: GateStatistic | None = None
    max_ai_share_by: Sequence[str] | None = None
    source_field: str | None = None
    min_group_documents: int | None = None
    max_phrase_hits: Sequence[str] | None = None
    max_quarantined_share: float | None = None
    min_human_token_share: float | None = None
    min_scored_documents: int | None = None

    def resolve(self, gate: Gate) -> Gate:
        """The policy's limits with the options on top. Raises `ConfigError` for a bad one."""
        by = dict(gate.max_ai_share_by)
        for given in self.max_ai_share_by or ():
            name, share = _pair("--max-ai-share-by", given)
            if name not in tuple(GateGroup):
                raise ConfigError(
                    f"--max-ai-share-by {given}: {name!r} is none of {', '.join(GateGroup)}"
                )
            by[GateGroup(name)] = _share("--max-ai-share-by", given, share)
        hits = dict(gate.max_phrase_hits)
        for given in self.max_phrase_hits or ():
            name, most = _pair("--max-phrase-hits", given)
            if not most.isdecimal():
                raise ConfigError(f"--max-phrase-hits {given}: {most!r} is no whole number")
            hits[name] = int(most)
        scalars: dict[str, Any] = {
            "max_ai_share": self.max_ai_share,
            "statistic": self.statistic,
            "source_field": self.source_field,
            "min_group_documents": self.min_group_documents,
            "max_quarantined_share": self.max_quarantined_share,
            "min_human_token_share": self.min_human_token_share,
            "min_scored_documents": self.min_scored_documents,
        }
        changes = {name: value for name, value in scalars.items() if value is not None}
        return replace(gate, max_ai_share_by=by, max_phrase_hits=hits, **changes)


def _pair(option: str, given: str) -> tuple[str, str]:
    name, sign, value = given.partition("=")
    if not (name and sign and value):
        raise ConfigError(f"{option} {given}: write it as NAME=LIMIT")
    return name, value


def _share(option: str, given: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise ConfigError(f"{option} {given}: {text!r} is no share between 0 and 1")
    return share
