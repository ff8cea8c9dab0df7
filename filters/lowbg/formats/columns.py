"""Arrow columns as what records hold: the text, what is known of it, other fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lowbg.config import FieldNames
from lowbg.errors import FormatError
from lowbg.formats.paths import ITEMS, JOINT, has_lists, steps
from lowbg.formats.texts import decoded
from lowbg.records import DATE_BOXES, LIST, OBJECT, Metadata

_NAMED: Final = 12


def _find(schema: pa.Schema, path: str) -> list[int] | None:
    """The steps from the schema's top level to the column at `path`; null if there is none."""
    index = schema.get_field_index(path)
    if index >= 0:
        return [index]
    first, *rest = path.split(".")
    index = schema.get_field_index(first)
    if index < 0 or not rest:
        return None
    steps, kind = [index], schema.field(index).type
    for key in rest:
        index = kind.get_field_index(key) if pa.types.is_struct(kind) else -1
        if index < 0:
            return None
        steps.append(index)
        kind = kind.field(index).type
    return steps


def _namesakes(schema: pa.Schema, path: str) -> tuple[str, int]:
    """The name on the way to `path` that several columns bear, and how many; 0 where none is."""
    if len(schema.get_all_field_indices(path)) > 1:
        return path, len(schema.get_all_field_indices(path))
    kind = pa.struct(list(schema))
    for key in steps(path):
        if key == ITEMS:
            kind = kind.value_type if _is_list(kind) else kind
            continue
        found = kind.get_all_field_indices(key) if pa.types.is_struct(kind) else []
        if len(found) != 1:
            return key, len(found)
        kind = kind.field(found[0]).type
    return path, 0


def column_at(rows: pa.RecordBatch, path: str) -> pa.Array | None:
    """The column at a dotted path, null where a struct above it is; None if there is none."""
    steps = _find(rows.schema, path)
    if steps is None:
        return None
    column = rows.column(steps[0])
    if len(steps) > 1:
        column = pc.struct_field(column, steps[1:])
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def text_at(rows: pa.RecordBatch, path: str) -> pa.Array | None:
    """The column at the text's path; of lists their strings, joined by blank lines.

    A list is null where the column that holds it is; strings in it that are null are left out.
    """
    if rows.schema.get_field_index(path) >= 0 or not has_lists(path):
        return column_at(rows, path)
    top, *rest = steps(path)
    column = column_at(rows, top)
    if column is None:
        return None
    places = np.arange(len(rows), dtype=np.int64)
    valid = np.ones(len(rows), np.bool_)
    listed = False
    for step in rest:
        column = column.storage if isinstance(column, pa.ExtensionArray) else column
        if not listed:
            valid &= np.asarray(column.is_valid())
        if step == ITEMS:
            places = places[np.asarray(pc.list_parent_indices(column))]
            column, listed = pc.list_flatten(column), True
        else:
            column = pc.struct_field(column, step)
    strings = decoded(column).cast(pa.large_binary())
    kept = np.asarray(strings.is_valid())
    counts = np.bincount(places[kept], minlength=len(rows))
    offsets = pa.array(np.append(0, np.cumsum(counts)), pa.int64())
    lists = pa.LargeListArray.from_arrays(offsets, strings.drop_null())
    joined = pc.binary_join(lists, pa.scalar(JOINT.encode(), pa.large_binary()))
    return pc.if_else(pa.array(valid), joined, pa.scalar(None, joined.type))


def _kind_at(schema: pa.Schema, path: str) -> pa.DataType | None:
    """The type of what the text's path leads to; null where it leads nowhere."""
    if schema.get_field_index(path) < 0 and has_lists(path):
        kind = pa.struct(list(schema))
        for step in steps(path):
            kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
            if step == ITEMS:
                if not _is_list(kind):
                    return None
                kind = kind.value_type
            elif pa.types.is_struct(kind) and kind.get_field_index(step) >= 0:
                kind = kind.field(step).type
            else:
                return None
        return kind
    found = _find(schema, path)
    if found is None:
        return None
    kind = schema.field(found[0]).type
    for index in found[1:]:
        kind = kind.field(index).type
    return kind


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


def paths_of_text(schema: pa.Schema) -> list[str]:
    """The paths that lead to text, through structs and lists."""

    def below(kind: pa.DataType, path: str) -> Iterator[str]:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        if pa.types.is_struct(kind):
            for field in kind:
                yield from below(field.type, f"{path}.{field.name}")
        elif _is_list(kind):
            yield from below(kind.value_type, f"{path}{ITEMS}")
        elif _is_text(kind) and not pa.types.is_null(kind):
            yield path

    return [path for field in schema for path in below(field.type, field.name)]


def _is_text(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_null(kind)  # A column without any value, as pandas writes it.
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def check_text_column(schema: pa.Schema, path: str, name: str) -> None:
    """Raises `FormatError`, which names the columns, where there is no text at the dotted path."""
    kind = _kind_at(schema, path)
    hold = paths_of_text(schema)
    named = ", ".join(hold[:_NAMED]) + (", …" if len(hold) > _NAMED else "")
    advice = f"Text is in: {named or 'no column'}. Name the text column with `fields.text`."
    if kind is None:
        twice, count = _namesakes(schema, path)
        if count > 1:
            raise FormatError(
                f"{name}: {count} columns are called {twice!r}, and only one can be the text. "
                "Write the file again with a name for each."
            )
        raise FormatError(f"{name}: no column {path!r}. {advice}")
    if not _is_text(kind):
        raise FormatError(f"{name}: column {path!r} is {kind}, not text. {advice}")


def strings_of(column: pa.Array | None, rows: int) -> pa.StringArray:
    """A metadata column as strings: integers in decimal, dates in ISO form, others null."""
    if column is None:
        return pa.nulls(rows, pa.string())
    column = decoded(column)
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        # In UTC: a cast in the column's own zone needs a time zone database.
        column = column.cast(pa.timestamp(kind.unit)).cast(pa.string())
        return pc.binary_join_element_wise(pc.replace_substring(column, " ", "T"), "Z", "")
    if pa.types.is_timestamp(kind):
        return pc.replace_substring(column.cast(pa.string()), " ", "T")
    if pa.types.is_date(kind) or pa.types.is_integer(kind):
        return column.cast(pa.string())
    if pa.types.is_decimal(kind) and kind.scale == 0:  # Integers beyond 64 bits.
        return column.cast(pa.string())
    if _is_text(kind):
        try:
            return column.cast(pa.large_binary()).cast(pa.string())
        except pa.ArrowInvalid:
            values = column.cast(pa.large_binary()).to_pylist()
            return pa.array([_lossy(value) for value in values], pa.string())
    return pa.nulls(rows, pa.string())


def other_of(column: pa.Array | None, rows: int) -> pa.StringArray:
    """A column of `Metadata.others`."""
    if column is None:
        return pa.nulls(rows, pa.string())
    kind = column.type
    if pa.types.is_boolean(kind):
        return column.cast(pa.string())
    if pa.types.is_floating(kind):
        values = column.cast(pa.float64()).to_pylist()
        return pa.array([None if v is None else repr(v) for v in values], pa.string())
    if pa.types.is_nested(kind):
        name = OBJECT if pa.types.is_struct(kind) or pa.types.is_map(kind) else LIST
        return pc.if_else(column.is_valid(), name, pa.scalar(None, pa.string()))
    return strings_of(column, rows)


def _dates_of(rows: pa.RecordBatch, path: str) -> pa.StringArray:
    """The date column, out of the box that the dates may be in; numbers that are no integers too.

    What is neither text nor number nor time is as in `other_of`.
    """
    boxes = [column_at(rows, f"{path}.{box}") for box in reversed(DATE_BOXES)]
    boxed = [
        strings_of(c, len(rows)) for c in boxes if c is not None and not pa.types.is_nested(c.type)
    ]
    column = column_at(rows, path)
    column = None if column is None else decoded(column)
    if column is not None and pa.types.is_decimal(column.type):
        text = column.cast(pa.string())
    elif column is not None and pa.types.is_floating(column.type):
        # NaN is how pandas writes a missing number.
        numbers = column.cast(pa.float64())
        text = pc.if_else(pc.is_finite(numbers), numbers.cast(pa.string()), None)
    else:
        text = other_of(column, len(rows))
        if column is not None and text.null_count > column.null_count:  # Times of day, say.
            unlike = pc.and_(column.is_valid(), text.is_null())
            text = pc.if_else(unlike, f"({column.type})", text)
    return pc.coalesce(*boxed, text)


def _lossy(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def metadata_of(rows: pa.RecordBatch, fields: FieldNames) -> Metadata:
    """What the rows say of themselves, by the columns that `fields` names; absent ones are null."""
    n = len(rows)
    return Metadata(
        id=strings_of(column_at(rows, fields.id), n),
        language=strings_of(column_at(rows, fields.language), n),
        date=_dates_of(rows, fields.date),
        url=strings_of(column_at(rows, fields.url), n),
        others={name: other_of(column_at(rows, name), n) for name in fields.others},
    )
