"""Rows of `lowbg score` as input: what was scored is decided anew, and no text is read.

A row holds all that a decision goes by: the features, the words, whether it is prose, a digest of
the text, what the LM said; and what that depends on (`scored_by`, `lm_models`), so that rows of
other tables, scorers or models are refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lowbg import schema
from lowbg.arrays import bools, strings_of, to_numpy
from lowbg.config import FieldNames, LmCalibration, Policy, RunConfig
from lowbg.decision.lm import FEATURES, LM_EVENNESS
from lowbg.errors import ConfigError, InputError
from lowbg.formats import open_reader
from lowbg.formats.base import Reader
from lowbg.formats.jsonl.objects import other_value
from lowbg.formats.rows import in_a_line
from lowbg.models import ModelFile
from lowbg.records import Batch, Metadata, Position, RowPayload
from lowbg.runs import manifest
from lowbg.runs.checkpoints import FOLDER
from lowbg.runs.engine import Engine, Judged
from lowbg.runs.inputs import STDIN, Shard
from lowbg.runs.probe_calibration import calibration_of
from lowbg.runs.progress import OnProgress
from lowbg.runs.reading import ShardReading, Source
from lowbg.scorers.base import Documents
from lowbg.scorers.lm.probes import Probe, open_probes
from lowbg.scorers.lm.scorer import LM_MODELS, PROBE_ROLE, SURPRISE, identity_of, models_of
from lowbg.scorers.lm.shipped import shipped_probes
from lowbg.text import languages
from lowbg.text.sources import SourceBy
from lowbg.text.tokens import COUNTS, only_counts

_MARKS: Final = frozenset(
    column.name for column in (schema.SHARD, schema.RECORD, schema.AI_SCORE, schema.VERDICT)
)
"""A row of `lowbg score` has these fields, of whatever version it is."""

_NEVER_NULL: Final = (schema.WORDS, schema.TEXT_DIGEST, schema.IS_PROSE, schema.SCORED_BY)
_NEEDED: Final = (schema.LANGUAGE, *_NEVER_NULL)
_LM_FEATURES: Final = (*FEATURES, LM_EVENNESS)
_PEEK_BYTES: Final = 64 << 10
_DIGEST: Final = "^[0-9a-f]{16}$"
_EMPTY: Final[Mapping[str, Any]] = {}

Lm: TypeAlias = tuple[str, ...]
"""What an LM is made of, as in `LM_MODELS`; empty where it didn't read the document."""


@dataclass(frozen=True, slots=True)
class FoundRows:
    """What the first rows of some files of rows say of all of them.

    `fields` are those that the rows of every file have. `lm` is the LM that read the documents;
    null where none did. `unheard`: one did, and what it said is left out.
    """

    fields: frozenset[str]
    lm: Lm | None
    unheard: bool = False

    @property
    def identity(self) -> str | None:
        """The identity of their LM, as calibrations have it; null without one."""
        return None if self.lm is None else identity_of(self.lm)


def find_rows(
    shards: Sequence[Shard], head: bytes = b"", *, with_lm: bool = True
) -> FoundRows | None:
    """What rows of score say that the shards hold; null where they hold documents.

    `head` is what "-" begins with. A shard without records may be either. Raises `ConfigError` for
    rows beside documents, of a run that didn't finish, that lack a column, or that are dolma's
    attributes; unless what an LM
    said is left out, for rows of several LMs, and of one that read a part of the documents.
    """
    firsts = [(shard, _first_record(shard, head)) for shard in shards]
    rows = [(shard, first) for shard, first in firsts if first]
    others = [shard for shard, first in firsts if first is None]
    if not rows:
        return None
    if others:
        raise ConfigError(
            f"{rows[0][0].name} holds rows of score, {others[0].name} doesn't; give one or the "
            "other"
        )
    _refuse_unfinished([shard for shard, _ in rows])
    for shard, first in rows:
        _check_columns(shard, first)
    fields = frozenset.intersection(*(frozenset(first) for _, first in rows))
    if not with_lm:
        return FoundRows(fields, None, LM_MODELS.name in fields)
    (shard, first), *more = rows
    lm = _lm_of(first)
    if lm is None:
        raise ConfigError(f"{shard.name}: no LM read the documents of these rows")
    for other, first_of_other in more:
        _check_lm(_lm_of(first_of_other), lm, other.name, f"those of {shard.name}")
    _check_lm(lm, lm, shard.name, "")
    return FoundRows(fields, lm)


def _refuse_unfinished(shards: Sequence[Shard]) -> None:
    """Raises `ConfigError` where shards lie in an output that is noted as begun, and isn't whole.

    What lies in a store is taken as it is.
    """
    paths = [Path(shard.path) for shard in shards if shard.path != STDIN]
    for folder in {parent for path in paths for parent in path.parents}:
        begun = folder / FOLDER / "run.json"
        if begun.is_file() and not (folder / manifest.NAME).is_file():
            raise ConfigError(
                f"{folder}: its run didn't finish: there is no {manifest.NAME}, and its rows are a "
                'part of the documents. Go on with it by `existing="resume"`'
            )


def _first_record(shard: Shard, head: bytes) -> Mapping[str, Any] | None:
    """The first row of a shard; null where it holds something else, empty where nothing."""
    if shard.path != STDIN and not shard.resumable:
        return None  # A pipe can't be looked into and read again.
    config = RunConfig(fields=FieldNames(text=schema.VERDICT.name), batch_bytes=_PEEK_BYTES)
    source = io.BytesIO(head) if shard.path == STDIN else shard.path
    try:
        with closing(open_reader(source, config, shard.name)) as reader:
            for batch in reader:
                if len(batch):
                    first = next(iter(reader.format.objects(batch.payload)))
                    return first if first.keys() >= _MARKS else None
                if batch.rejected:
                    _refuse_dolma(shard, batch.rejected[0].raw)
                    return None
    except InputError:
        return None  # It is met again, where it is handled.
    return _EMPTY


def _refuse_dolma(shard: Shard, raw: bytes) -> None:
    if b'"attributes"' in raw and b'"lowbg__' in raw:
        raise ConfigError(
            f"{shard.name}: dolma's attributes lack what it takes to judge anew; score as jsonl or "
            "parquet"
        )


def _check_columns(shard: Shard, first: Mapping[str, Any]) -> None:
    lacking = [column.name for column in _NEEDED if column.name not in first]
    if any(name in first for name in _LM_FEATURES) and LM_MODELS.name not in first:
        lacking.append(LM_MODELS.name)
    if lacking:
        raise ConfigError(
            f"{shard.name}: rows without {', '.join(lacking)}: an older version wrote them, or "
            "they were changed; score again, or give the documents"
        )


def _lm_of(row: Mapping[str, Any]) -> Lm | None:
    return tuple(row[LM_MODELS.name] or ()) if LM_MODELS.name in row else None


def _check_lm(found: Lm | None, lm: Lm | None, where: str, others: str) -> None:
    """Raises `ConfigError` where documents weren't read by the LM that read all others."""
    if found == () or lm == ():
        raise ConfigError(
            f"{where}: the LM read a part of the documents (`extras.lm.budget`), which stands for "
            "no whole: leave it out, or score without a budget"
        )
    if found != lm:
        raise ConfigError(f"{where}: rows of {_told(found)}, {others} of {_told(lm)}; give one")


def _told(lm: Lm | None) -> str:
    if lm is None:
        return "no LM"
    return ", ".join(f"{name} {sha256[:12]}" for name, sha256 in models_of(lm).items())


def lm_of_rows(
    rows: FoundRows, policy: Policy, models: Mapping[str, ModelFile], probes: Path | None = None
) -> LmCalibration | None:
    """What lets the LM of rows take part in the decision; null where there is no say of it.

    The policy's; without one, what its probes say of themselves: those that come with lowbg, or in
    `probes`. Raises `ConfigError` where the policy's is of another LM, and where the probes that
    read the rows are neither.
    """
    if rows.lm is None:
        return None
    if policy.lm is not None:
        if policy.lm.model != rows.identity:
            raise ConfigError(
                f"rows of {_told(rows.lm)}, and the policy was calibrated with another LM, context "
                "or surprise; lowbg calibrate of these rows makes one that fits"
            )
        return policy.lm
    found = _probes_of(rows.lm, probes)
    if not found:
        return None
    return calibration_of(found, identity_of(rows.lm), policy, models, surprise=SURPRISE in rows.lm)


def _probes_of(lm: Lm, given: Path | None) -> list[Probe]:
    """The probes that read rows, in their order; none where their LM has none."""
    known = {probe.sha256: probe for probe in shipped_probes()}
    if given is not None:
        known |= {probe.sha256: probe for probe in open_probes(given, "`extras.lm.probe`")}
    wanted = [each for each in models_of(lm).items() if each[0].startswith(PROBE_ROLE)]
    for name, sha256 in wanted:
        if sha256 not in known:
            raise ConfigError(
                f"the rows were read with {name} ({sha256[:12]}), whose thresholds are in its "
                "file: name it, `extras.lm.probe`, or give a policy that was calibrated with these "
                "rows"
            )
    return [known[sha256] for _, sha256 in wanted]


@dataclass(frozen=True, slots=True)
class RowsJudging:
    """Reads rows of score, and has `engine` decide on what they say of documents.

    It decides under its policy by the tables alone, or with the LM that it is `heeding`. `stdin` is
    what "-" reads.
    """

    config: RunConfig
    engine: Engine
    rows: FoundRows
    stdin: BinaryIO | None = None

    def reading(
        self, shard: Shard, others: Sequence[str], on_progress: OnProgress | None
    ) -> ShardReading:
        """See `Judging`; of a field that the rows don't have there is nothing but nulls."""
        text = FieldNames(text=schema.TEXT_DIGEST.name)
        source = _RowsSource(
            shard, replace(self.config, fields=text), self.stdin, judging=self, others=others
        )
        return ShardReading(source, self, on_progress)

    def digest(self, batch: Batch, i: int) -> str:
        """See `Judging`."""
        return str(batch.text[i])

    def require(self, fields: Sequence[str]) -> None:
        """Raises `ConfigError` where rows don't have one of these fields of their records."""
        own = {column.name for column in (*schema.OWN, *self.engine.columns.features)}
        sources = self.engine.policy.sources
        if sources.table is not None:
            of_sources = SourceBy.parse(sources.by).fields or (self.config.fields.url,)
            fields = (*fields, *of_sources)
        for name in fields:
            if name in own:
                raise ConfigError(f"{name!r} is a column of the rows, and no field of the records")
            if name not in self.rows.fields:
                raise ConfigError(
                    f"the rows have no field {name!r}; lowbg score keeps one with "
                    f"`keep_field={name}`"
                )

    def judge_batches(self, batches: Sequence[Batch]) -> Sequence[Judged]:
        """What is decided on the documents of each batch of rows."""
        return [self._judged(batch) for batch in batches]

    def _judged(self, batch: Batch) -> Judged:
        assert isinstance(batch.payload, RowPayload)
        rows = batch.payload.rows
        columns = {name: rows.column(name) for name in rows.schema.names}
        words = to_numpy(columns[schema.WORDS.name])
        tokens = only_counts(words, np.zeros((len(batch), len(COUNTS)), np.int32))
        places = {code: i for i, code in enumerate(languages.CODES)}
        codes = columns[schema.LANGUAGE.name].to_pylist()
        found = np.array([places.get(code, -1) for code in codes], np.int8)
        documents = Documents(batch.text, tokens, found, languages.CODES)
        prose = bools(columns[schema.IS_PROSE.name])
        return self.engine.judge_scored(
            documents, columns, batch.metadata, lambda i: (), prose=prose
        )

    def typed(self, rows: Sequence[Mapping[str, Any]], where: str) -> pa.RecordBatch:
        """What is needed of rows, in the types of their columns; `where` is their file.

        Raises `ConfigError` where a row lacks a column or has a value of another type, and where
        it is of other tables, scorers or models.
        """
        declared = [c for c in (*_NEEDED, *self.engine.columns.features) if c.in_row]
        kinds = {column.name: column.type for column in declared}
        if self.rows.lm is not None:
            kinds |= {name: pa.float32() for name in _LM_FEATURES if name in self.rows.fields}
        arrays = {}
        for name, kind in kinds.items():
            try:
                arrays[name] = pa.array([row[name] for row in rows], kind)
            except KeyError:
                raise ConfigError(f"{where}: a row has no {name}; score again") from None
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                why = f"a row's {name} isn't what score wrote"
                raise ConfigError(f"{where}: {why} ({in_a_line(error)})") from error
        digests, words = arrays[schema.TEXT_DIGEST.name], arrays[schema.WORDS.name]
        for name, sound in (
            (schema.TEXT_DIGEST.name, pc.match_substring_regex(digests, _DIGEST)),
            (schema.WORDS.name, pc.greater_equal(words, 0)),
        ):
            if not pc.all(sound).as_py():
                raise ConfigError(f"{where}: a row's {name} isn't what score wrote")
        for column in _NEVER_NULL:
            if arrays[column.name].null_count:
                raise ConfigError(f"{where}: a row's {column.name} is null; score again")
        self._check_origin(rows, where)
        return pa.RecordBatch.from_arrays([*arrays.values()], names=[*arrays])

    def _check_origin(self, rows: Sequence[Mapping[str, Any]], where: str) -> None:
        known = self.engine.scored_by
        pairs = {(row[schema.LANGUAGE.name], row[schema.SCORED_BY.name]) for row in rows}
        for code, scored_by in sorted(pairs, key=str):
            own = known.get(code, known[None])
            if scored_by == own:
                continue
            if scored_by.partition("-")[0] != own.partition("-")[0]:
                raise ConfigError(
                    f"{where}: rows of another version's scorers ({scored_by}, here {own}); score "
                    "again with this one"
                )
            raise ConfigError(
                f"{where}: rows of other tables of {code!r} ({scored_by}, here {own}); name those "
                "that they were scored with, `decision.tables`, or score again"
            )
        if self.rows.lm is not None:
            for made_of in {_lm_of(row) for row in rows}:
                _check_lm(made_of, self.rows.lm, where, "others")


@dataclass(frozen=True, slots=True, kw_only=True)
class _RowsSource(Source):
    """A shard of rows; its records are the documents that they are of."""

    judging: RowsJudging
    others: Sequence[str]

    def open(self) -> Reader:
        """See `Source`."""
        # Named: in a class with slots `super` is that of the one before it had any.
        return _RowsReader(Source.open(self), self)


class _RowsReader(Reader):
    """Reads rows as documents without text: in its place there is the digest of each."""

    def __init__(self, inner: Reader, source: _RowsSource) -> None:
        self.format = inner.format
        self.compression = inner.compression
        self.seen_fields = inner.seen_fields
        self.kind = inner.kind
        self.notes = inner.notes
        self._inner = inner
        self._source = source

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._inner:
            yield self._documents(batch) if len(batch) else batch

    def _documents(self, batch: Batch) -> Batch:
        judging, fields = self._source.judging, self._source.judging.config.read_fields
        rows = list(self.format.objects(batch.payload))
        typed = judging.typed(rows, self._source.shard.name)

        def of(name: str) -> pa.StringArray:
            return strings_of([other_value(row.get(name)) for row in rows], pa.string())

        metadata = Metadata(
            id=of(schema.ID.name),
            language=of(schema.LANGUAGE.name),
            date=of(fields.date),
            url=of(fields.url),
            others={name: of(name) for name in (*fields.others, *self._source.others)},
        )
        return replace(batch, metadata=metadata, payload=RowPayload(typed))

    def position(self) -> Position:
        """See `Reader`."""
        return self._inner.position()

    def start_at(self, position: Position) -> None:
        """See `Reader`."""
        self._inner.start_at(position)

    def close(self) -> None:
        """See `Reader`."""
        self._inner.close()
