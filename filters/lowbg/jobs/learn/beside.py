"""Learned tables beside the embedded ones: where they agree, and which documents to look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lowbg.config import Policy
from lowbg.jobs.learn.gather import NEW, Dumps
from lowbg.jobs.train.corpus import as_text
from lowbg.models import embedded_names
from lowbg.records import Metadata
from lowbg.runs.engine import Engine

SHOWN = 5
"""Documents to look at, of each kind."""

_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Beside:
    """Verdicts of the learned and the embedded tables on the same documents.

    `new` counts the new documents that neither calls AI, that only the learned, only the embedded,
    and that both do; `old_learned` and `old_embedded` are the shares of human text that each calls
    AI. `only_learned` and `only_embedded` name new documents, those first on which they are
    furthest apart.
    """

    new: tuple[int, int, int, int]
    old_learned: float
    old_embedded: float
    only_learned: list[str]
    only_embedded: list[str]


def beside_embedded(
    dumps: Dumps, called: NDArray[np.bool_], z: NDArray[np.float64], language: str, target: float
) -> Beside | None:
    """The learned verdicts, each by a fit without the document's source, beside the embedded
    tables'; null where the language has none.
    """
    if language not in embedded_names():
        return None
    embedded, embedded_z = judged_by_embedded(dumps, language, target)
    new = dumps.part == NEW
    counts = np.bincount(called[new] + 2 * embedded[new], minlength=4).tolist()
    apart = np.nan_to_num(z - embedded_z)

    def furthest(chosen: NDArray[np.bool_], sign: int) -> list[str]:
        own = np.flatnonzero(new & chosen)
        order = own[np.argsort(-sign * apart[own], kind="stable")]
        return [_name(dumps, int(i)) for i in order[:SHOWN]]

    return Beside(
        new=(counts[0], counts[1], counts[2], counts[3]),
        old_learned=float(called[~new].mean()),
        old_embedded=float(embedded[~new].mean()),
        only_learned=furthest(called & ~embedded, 1),
        only_embedded=furthest(embedded & ~called, -1),
    )


def _name(dumps: Dumps, i: int) -> str:
    """What a reader finds the document by: its source, its identifier, else its first words."""
    row = dumps.rows[i]
    return " ".join(part for part in (str(dumps.source[i]), row.id or row.text[:60]) if part)


def judged_by_embedded(
    dumps: Dumps, language: str, target: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """What the embedded tables call AI by the score alone, and their z (NaN: none)."""
    engine = Engine(Policy(target_fpr=target)).setup()
    called, z = [], []
    for start in range(0, len(dumps.rows), _BATCH):
        text = as_text(dumps.rows[start : start + _BATCH])
        metadata = Metadata.unknown(len(text))
        known = pa.array([language] * len(text), pa.string())
        metadata = Metadata(metadata.id, known, metadata.date, metadata.url)
        decisions = engine.judge(text, metadata).decisions
        called.append(decisions.called_ai)
        z.append(decisions.z)
    return np.concatenate(called), np.concatenate(z)
