"""lowbg from Python: texts or tables in, a table of features, scores and verdicts out.

    import lowbg

    lowbg.score(["Some text.", "Another one."])

A `Detector` keeps what it loaded, for more than one call.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

from lowbg.config import Extras, FieldNames, Policy, RunConfig
from lowbg.errors import ConfigError, FormatError

if TYPE_CHECKING:
    import pyarrow as pa

    from lowbg.jobs.explain import Explanation
    from lowbg.runs.engine import Engine
    from lowbg.schema import Column

SLICE_BYTES: Final = 6 << 20
"""Text that is scored at a time: memory is bounded by it; results don't depend on it."""


@runtime_checkable
class ArrowStream(Protocol):
    """What speaks the Arrow PyCapsule protocol: Polars, pandas, DuckDB, pyarrow itself."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """A capsule of an `ArrowArrayStream`."""
        ...


Texts: TypeAlias = "Iterable[str | None] | ArrowStream"
"""Texts one by one (a list, a tuple, a pandas Series …), or a column of strings in Arrow's form."""


def columns() -> tuple[Column, ...]:
    """The columns that `score` returns: name, Arrow type, unit, meaning, and when they are null."""
    from lowbg.schema import ID, ONLY_IN_ROWS

    declared = Detector()._loaded().columns.row
    return tuple(column for column in declared if column not in (ID, *ONLY_IN_ROWS))


def score(texts: Texts, policy: Policy | str | Path | None = None) -> pa.Table:
    """A row a text, in their order: the columns of `lowbg score` without id, shard and record.

    Loads the models on every call; see `Detector.score` for the arguments, the columns and errors.
    """
    return Detector(policy).score(texts)


class Detector:
    """Scores and judges documents under one policy, in this process and thread.

    `policy` is a `Policy`, the path of a policy file, or None for the defaults; `extras` asks for
    optional scorers. Raises `ConfigError` for a policy that is none. Models are loaded at the first
    call. It may be shared between threads, and pickles without what it loaded.
    """

    def __init__(
        self, policy: Policy | str | Path | None = None, *, extras: Extras | None = None
    ) -> None:
        self.policy = _policy(policy)
        self.extras = extras or Extras()
        self._engine: Engine | None = None
        self._loading = threading.Lock()

    def __getstate__(self) -> tuple[Policy, Extras]:
        return self.policy, self.extras

    def __setstate__(self, state: tuple[Policy, Extras]) -> None:
        self.__init__(state[0], extras=state[1])  # type: ignore[misc]

    def score(self, texts: Texts) -> pa.Table:
        """A row a text, in their order.

        `texts`: strings and None, one by one, or one column of strings (string, large_string,
        string_view, dictionaries of them) as an Arrow array or chunked array, or in anything that
        speaks the Arrow PyCapsule protocol. A null is taken as an empty text.

        The columns, their units and when they are null: `lowbg.columns()`. Raises `ConfigError`
        where `texts` is one string, holds what is no string, or is a table of several columns.
        """
        import pyarrow as pa

        return self._score(pa.table({"text": _column(texts)}), FieldNames(text="text"))

    def score_table(self, table: Any, fields: FieldNames | None = None) -> pa.Table:
        """A row a row of `table`, in their order: `id` where there is one, then as `score`.

        `table` is a table or record batch of pyarrow, a Hugging Face `Dataset`, or anything that
        speaks the Arrow PyCapsule protocol. `fields` names the columns that hold text, identifier,
        language, date and URL (by default `text`, `id`, `language`, `date`, `url`); those that are
        absent tell nothing, but the text's has to be there. Raises `ConfigError` for what is no
        table, and for a text column that is absent or no strings.
        """
        return self._score(_table(table), fields or self.fields)

    @property
    def fields(self) -> FieldNames:
        """Which columns are read, unless said otherwise: the date's as the policy says."""
        return FieldNames(date=self.policy.date_field or FieldNames().date)

    def explain(self, text: str, *, language: str | None = None) -> Explanation:
        """Why `text` gets its verdict; `language` (any usual tag) overrides the identified one."""
        from lowbg.jobs.explain import explain

        if not isinstance(text, str):
            raise ConfigError(f"a text to explain is a str, not {type(text).__name__}")
        return explain(self._loaded(), text, language=language)

    def _loaded(self) -> Engine:
        from lowbg.runs.engine import Engine

        with self._loading:
            if self._engine is None:
                engine = Engine(self.policy, self.extras)
                engine.prepare()
                self._engine = engine.setup()
            return self._engine

    def _score(self, table: pa.Table, fields: FieldNames) -> pa.Table:
        import pyarrow as pa

        from lowbg.formats.columns import column_at, metadata_of, text_at
        from lowbg.formats.texts import text_of
        from lowbg.jobs.score import as_rows, document_columns
        from lowbg.schema import ID, ONLY_IN_ROWS

        engine = self._loaded()
        reading = RunConfig(fields=fields, policy=self.policy).read_fields
        _check_text(table.schema, fields.text)
        has_id = column_at(table.schema.empty_table(), fields.id) is not None
        absent = ONLY_IN_ROWS if has_id else (ID, *ONLY_IN_ROWS)
        wanted = pa.schema([c.field for c in engine.columns.row if c not in absent])
        parts = []
        for rows in _slices(table):
            text, _ = text_of(text_at(rows, fields.text))
            metadata = metadata_of(rows, reading)
            found = document_columns(engine.judge(text, metadata))
            parts.append(as_rows({**found, "id": metadata.id}, wanted))
        return pa.Table.from_batches(parts, schema=wanted)


def _check_text(schema: pa.Schema, path: str) -> None:
    """Raises `ConfigError` where there is no text at `path`."""
    from lowbg.formats.columns import check_text_column

    try:
        check_text_column(schema, path, "the table")
    except FormatError as error:
        raise ConfigError(str(error)) from error


def _slices(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """The table in pieces of about `SLICE_BYTES`, a row at least."""
    for batch in table.to_batches():
        rows = max(1, len(batch) * SLICE_BYTES // max(1, batch.nbytes))
        for start in range(0, len(batch), rows):
            yield batch.slice(start, rows)


def _policy(policy: Policy | str | Path | None) -> Policy:
    if policy is None:
        return Policy()
    if isinstance(policy, Policy):
        return policy
    if isinstance(policy, (str, Path)):
        from lowbg.decision.policy import load_policy

        return load_policy(Path(policy))
    raise ConfigError(f"a policy is a Policy or the path of a file, not {type(policy).__name__}")


def _column(texts: Texts) -> pa.ChunkedArray:
    """The texts as one column of strings, nulls kept."""
    import pyarrow as pa

    if isinstance(texts, (str, bytes)):
        raise ConfigError("texts are several, such as a list of str; this is a single one")
    if isinstance(texts, Mapping):
        raise ConfigError(f"a mapping ({_kind(texts)}): give the list of its texts")
    if isinstance(texts, (pa.Array, pa.ChunkedArray)):
        column = texts
    elif hasattr(texts, "__arrow_c_stream__") or hasattr(texts, "__arrow_c_array__"):
        column = _from_capsule(texts)
    elif isinstance(texts, Iterable):
        return pa.chunked_array([_strings(texts)])
    else:
        raise ConfigError(f"texts are a list of str or a column of them, not {_kind(texts)}")
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])


def _from_capsule(source: Any) -> pa.ChunkedArray:
    """A column out of the Arrow PyCapsule protocol: an array, or a table of a single column."""
    import pyarrow as pa

    try:
        if not hasattr(source, "__arrow_c_stream__"):
            return pa.chunked_array([pa.array(source)])
        column = pa.chunked_array(source)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ConfigError(f"no column can be read from {_kind(source)}: {error}") from error
    if pa.types.is_struct(column.type):
        # pandas adds an index that isn't 0, 1, 2 … as a column.
        names = [f.name for f in column.type if not f.name.startswith("__index_level_")]
        if len(names) != 1:
            raise ConfigError(
                f"a table with the columns {', '.join(names)}: give the one that holds the texts, "
                "or use Detector.score_table"
            )
        # From what was read: a reader gives its batches only once.
        kind = column.type.field(names[0])
        place = column.type.get_field_index(kind.name)
        return pa.chunked_array([c.flatten()[place] for c in column.chunks], kind.type)
    return column


def _strings(texts: Iterable[Any]) -> pa.LargeStringArray:
    import pyarrow as pa

    values = list(texts)
    for i, value in enumerate(values):
        if value is not None and not isinstance(value, str):
            # pandas has NaN where a text is missing.
            if isinstance(value, float) and value != value:
                values[i] = None
                continue
            raise ConfigError(f"text {i} is no str but {_kind(value)}")
    try:
        return pa.array(values, pa.large_string())
    except UnicodeEncodeError:  # Lone surrogates, as JSON may hold them.
        clean = [v if v is None else v.encode("utf-8", "replace").decode("utf-8") for v in values]
        return pa.array(clean, pa.large_string())


def _table(source: Any) -> pa.Table:
    import pyarrow as pa

    if isinstance(source, pa.Table):
        return source
    if isinstance(source, pa.RecordBatch):
        return pa.Table.from_batches([source])
    if hasattr(source, "__arrow_c_stream__"):
        try:
            return pa.table(source)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise ConfigError(f"no table can be read from {_kind(source)}: {error}") from error
    if hasattr(source, "with_format") and hasattr(source, "column_names"):  # datasets.Dataset
        # A dictionary of splits is no table.
        found = None if isinstance(source, Mapping) else source.with_format("arrow")[:]
        if isinstance(found, pa.Table):
            return found
    raise ConfigError(f"a table is needed, of pyarrow, Polars, pandas …; this is {_kind(source)}")


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
