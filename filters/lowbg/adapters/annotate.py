"""Tables in, the same tables with one more column out: what lowbg says of each row."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from lowbg.config import FieldNames, as_dict
from lowbg.detector import Detector
from lowbg.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

COLUMN: Final = "lowbg"
"""What is added to a row, as `lowbg filter --annotate` calls it."""

VALUES: Final = ("ai_score", "verdict", "reasons")
"""What is in it, unless asked for otherwise: as with `--annotate`."""

_shared: dict[str, Detector] = {}
_sharing = threading.Lock()


@dataclass(frozen=True)
class Annotate:
    """A function that adds a column `lowbg` to tables: a struct of `values` a row.

    `values` are names out of `lowbg.columns()`. `fields` names the columns to read, as for
    `Detector.score_table`. Rows and their order stay; verdicts are those of `lowbg filter`.

    It takes a pyarrow table, a record batch, a pandas frame, or a mapping of columns (lists or
    numpy arrays), and gives back the same kind. It pickles without models; within a process all
    that judge under one policy share what is loaded.
    """

    detector: Detector = field(default_factory=Detector)
    fields: FieldNames | None = None
    values: Sequence[str] = VALUES

    def __call__(self, rows: Any) -> Any:
        """The rows with the column. Raises `ConfigError` for what is no table, or has no text."""
        import pyarrow as pa

        if isinstance(rows, pa.Table):
            return rows.append_column(COLUMN, self.column(rows))
        if isinstance(rows, pa.RecordBatch):
            return self.batch(rows)
        if isinstance(rows, Mapping):
            table = pa.table({name: column_of(values) for name, values in rows.items()})
            return {**rows, COLUMN: self.column(table).to_pylist()}
        if hasattr(rows, "assign"):  # pandas
            table = pa.Table.from_pandas(rows, preserve_index=False)
            return rows.assign(**{COLUMN: self.column(table).to_pylist()})
        raise ConfigError(
            f"a table is needed, of pyarrow, pandas, or as columns; this is {type(rows).__name__}"
        )

    def column(self, rows: Any) -> pa.ChunkedArray:
        """The column alone, of whatever `Detector.score_table` takes."""
        import pyarrow as pa

        scored = shared(self.detector).score_table(rows, self.fields)
        if missing := [name for name in self.values if name not in scored.column_names]:
            raise ConfigError(
                f"there is no column {missing[0]!r}; lowbg.columns() lists them", key="values"
            )
        chosen = scored.select(self.values)
        return pa.chunked_array(chosen.to_struct_array(), pa.struct(chosen.schema))

    def batch(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """A record batch with the column."""
        import pyarrow as pa

        column = self.column(rows).combine_chunks()
        return pa.RecordBatch.from_arrays(
            [*rows.columns, column], schema=rows.schema.append(pa.field(COLUMN, column.type))
        )

    def batches(self, rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Record batches with the column, one by one: what Spark's `mapInArrow` takes."""
        return map(self.batch, rows)

    def check(self, columns: Iterable[str]) -> None:
        """Raises `ConfigError` where a table with these columns has no text."""
        path = (self.fields or self.detector.fields).text
        top = path.partition(".")[0].partition("[")[0]
        names = list(columns)
        if top not in names:
            raise ConfigError(
                f"the table has no column {top!r} for the text; there are {', '.join(names)}",
                key="fields.text",
            )

    @property
    def type(self) -> pa.StructType:
        """The column's type."""
        import pyarrow as pa

        empty = shared(self.detector).score(pa.array([], pa.string())).schema
        return pa.struct([empty.field(name) for name in self.values])


def shared(detector: Detector) -> Detector:
    """The detector of this process under the same policy: engines unpickle one for every task."""
    key = json.dumps([as_dict(detector.policy), as_dict(detector.extras)], sort_keys=True)
    with _sharing:
        return _shared.setdefault(key, detector)


def column_of(values: Any) -> pa.Array:
    """Values in numpy's form or in a list as a column of Arrow's."""
    import pyarrow as pa

    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        # Of what has no type of Arrow's, only strings could tell anything.
        plain = [value if isinstance(value, str) else None for value in cast(Iterable[Any], values)]
        return pa.array(plain, pa.string())
