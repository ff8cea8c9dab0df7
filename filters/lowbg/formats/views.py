"""String and binary views, which Arrow can't filter inside other types: as what is stored alike."""

from __future__ import annotations

import pyarrow as pa


def without_views(schema: pa.Schema) -> pa.Schema:
    """`schema` with views as large strings and binaries, at any depth.

    In list views they stay: Arrow takes from those, and casts none.
    """
    for i, field in enumerate(schema):
        plain = _plain(field)
        if plain is not field:
            schema = schema.set(i, plain)
    return schema


def _plain(field: pa.Field) -> pa.Field:
    kind = _plain_kind(field.type)
    return field if kind is field.type else field.with_type(kind)


def _plain_kind(kind: pa.DataType) -> pa.DataType:
    """The type without views; the same object where there are none."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_map(kind):
        key, item = _plain(kind.key_field), _plain(kind.item_field)
        same = key is kind.key_field and item is kind.item_field
        return kind if same else pa.map_(key, item, kind.keys_sorted)
    if not pa.types.is_nested(kind) or pa.types.is_list_view(kind):
        return kind
    if pa.types.is_large_list_view(kind) or pa.types.is_union(kind):
        return kind
    fields = [kind.field(i) for i in range(kind.num_fields)]
    plain = [_plain(field) for field in fields]
    if all(one is other for one, other in zip(fields, plain, strict=True)):
        return kind
    if pa.types.is_struct(kind):
        return pa.struct(plain)
    if pa.types.is_large_list(kind):
        return pa.large_list(plain[0])
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(plain[0], kind.list_size)
    return pa.list_(plain[0]) if pa.types.is_list(kind) else kind
