"""Types with their leaves replaced: string and binary views, which Arrow can't filter inside other
types, as what is stored alike; strings as bytes."""

from __future__ import annotations

import pyarrow as pa

_PLAIN = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
_BYTES = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}


def without_views(schema: pa.Schema) -> pa.Schema:
    """`schema` with views as large strings and binaries, at any depth.

    In list views they stay: Arrow takes from those, and casts none.
    """
    for i, field in enumerate(schema):
        kind = plain_kind(field.type)
        if kind is not field.type:
            schema = schema.set(i, field.with_type(kind))
    return schema


def plain_kind(kind: pa.DataType) -> pa.DataType:
    """A type without views, as `without_views` has it; the same object where there are none."""
    return _replaced(kind, _PLAIN, list_views=False)


def bytes_kind(kind: pa.DataType) -> pa.DataType:
    """A type with binaries for its strings, at any depth: their layouts are the same."""
    return _replaced(kind, _BYTES, list_views=True)


def is_list_view(kind: pa.DataType) -> bool:
    """Whether it is a list view, of either size."""
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def has_list_view(kind: pa.DataType) -> bool:
    """Whether it is a list view, or has one inside."""
    inner = (kind.field(i).type for i in range(kind.num_fields))
    return is_list_view(kind) or any(map(has_list_view, inner))


def _replaced(
    kind: pa.DataType, leaves: dict[pa.DataType, pa.DataType], *, list_views: bool
) -> pa.DataType:
    if not pa.types.is_nested(kind):
        return leaves.get(kind, kind)
    if pa.types.is_union(kind) or (is_list_view(kind) and not list_views):
        return kind
    fields = [kind.field(i) for i in range(kind.num_fields)]
    if pa.types.is_map(kind):
        fields = [kind.key_field, kind.item_field]
    types = [_replaced(field.type, leaves, list_views=list_views) for field in fields]
    if all(new is field.type for new, field in zip(types, fields, strict=True)):
        return kind
    return _like(kind, [f.with_type(new) for f, new in zip(fields, types, strict=True)])


def _like(kind: pa.DataType, fields: list[pa.Field]) -> pa.DataType:
    """The nested type of these fields that is built as `kind` is."""
    if pa.types.is_struct(kind):
        return pa.struct(fields)
    if pa.types.is_map(kind):
        return pa.map_(*fields, keys_sorted=kind.keys_sorted)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(fields[0], kind.list_size)
    for is_kind, new in (
        (pa.types.is_list, pa.list_),
        (pa.types.is_large_list, pa.large_list),
        (pa.types.is_list_view, pa.list_view),
        (pa.types.is_large_list_view, pa.large_list_view),
    ):
        if is_kind(kind):
            return new(fields[0])
    return kind
