"""The options of the optional scorers, which `filter`, `score` and `calibrate` share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from lowbg.config import LmDtype

SECOND_LOOK = "Second look by a language model"
OTHERS = "Other optional scorers"

Lm: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--lm",
        metavar="MODEL",
        help="A causal LM reads documents too: a folder or a Hugging Face name (NAME@REVISION).",
        rich_help_panel=SECOND_LOOK,
    ),
]
LmPerformer: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--lm-performer",
        metavar="MODEL",
        help="A second one for Binoculars.",
        rich_help_panel=SECOND_LOOK,
    ),
]
LmBand: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--lm-band",
        metavar="LOW:HIGH",
        help="It reads only documents whose ai_score lies here, and too short ones. [default: all]",
        rich_help_panel=SECOND_LOOK,
    ),
]
LmContext: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--lm-context",
        metavar="N",
        min=2,
        help="Tokens it reads at once. [default: the model's]",
        rich_help_panel=SECOND_LOOK,
    ),
]
LmType: TypeAlias = Annotated[
    LmDtype,
    typer.Option(
        "--lm-dtype",
        help="Its numbers; auto: float32, on a GPU bfloat16.",
        rich_help_panel=SECOND_LOOK,
    ),
]
LmDevice: TypeAlias = Annotated[
    str,
    typer.Option(
        "--lm-device",
        metavar="DEVICE",
        help="auto, cpu, cuda, or cuda:N.",
        rich_help_panel=SECOND_LOOK,
    ),
]
LmBatchTokens: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--lm-batch-tokens",
        metavar="N",
        min=1,
        help="Tokens in a batch; halved when memory runs out. [default: 2048, on a GPU 65536]",
        rich_help_panel=SECOND_LOOK,
    ),
]
Kenlm: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--kenlm",
        metavar="FILE",
        help="A KenLM model (.bin, .arpa): kenlm_perplexity.",
        rich_help_panel=OTHERS,
    ),
]
KenlmSentencepiece: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--kenlm-sentencepiece",
        metavar="FILE",
        help="The SentencePiece model of its words.",
        rich_help_panel=OTHERS,
    ),
]
KenlmNormalise: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--kenlm-normalise", help="Prepare text for it as CCNet does.", rich_help_panel=OTHERS
    ),
]
Watermark: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--watermark",
        metavar="FILE",
        help="Look for a watermark, with these keys.",
        rich_help_panel=OTHERS,
    ),
]
