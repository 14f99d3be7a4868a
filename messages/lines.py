"""How tuples of ours are written as JSON, fast: by what their types say, not by what is found."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from pydantic_core import CoreSchema, SchemaSerializer, core_schema


def writer_of(kind: type[tuple[Any, ...]]) -> Callable[[Any], bytes]:
    """What writes values of a named tuple as JSON arrays.

    A schema of our own: 1.1 instead of 7.4 µs for a wave's entry, since pydantic does not have to
    look at every value to see what it is.
    """
    config = core_schema.CoreConfig(ser_json_inf_nan="constants")
    return SchemaSerializer(_schema_of(kind), config).to_json


def _schema_of(kind: Any) -> CoreSchema:
    """How values of a type are written, without a look at each of them where the type says it."""
    kind = getattr(kind, "__supertype__", kind)
    origin, of = get_origin(kind), get_args(kind)
    if origin is tuple:
        return core_schema.tuple_schema([_schema_of(of[0])], variadic_item_index=0)
    if origin in (Union, UnionType) and len(of) == len((kind, None)) and NoneType in of:
        return core_schema.nullable_schema(_schema_of(of[of[0] is NoneType]))
    if not isinstance(kind, type):
        return core_schema.any_schema()
    fields: tuple[str, ...] | None = getattr(kind, "_fields", None)
    if issubclass(kind, tuple) and fields is not None:
        hints = get_type_hints(cast("Any", kind))
        return core_schema.tuple_schema([_schema_of(hints[name]) for name in fields])
    if issubclass(kind, str):  # those of our vocabularies are texts, too
        return core_schema.str_schema()
    return core_schema.int_schema() if kind is int else core_schema.any_schema()
