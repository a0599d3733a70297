"""Frozen values to plain JSON-able mappings and back, driven by the dataclasses' own fields.

One reader serves definitions, plans and events, so an unknown field, a wrong type or a missing key is refused
with the same sentence everywhere, naming the place and the value. `schema_of` publishes the same fields as
JSON Schema. Ranges and cross-field rules are not decided here: the values check themselves when built.

A field that a later format added carries `ADDED` as its metadata and is left out of every plain form while it
has its default, so that the hash of an older definition stays what it was.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from sagacity_engine.errors import SagaRefused

T = TypeVar("T")
Plain = dict[str, Any]

ADDED: Mapping[str, bool] = types.MappingProxyType({"added": True})
"""Metadata of a field that the first format did not have."""


def to_plain(value: Any, *, omit_defaults: bool = False) -> Any:
    """Nested dataclasses as mappings, tuples as lists, enums as their values."""
    return _plain(value, _MISSING, omit_defaults)


def from_plain(cls: type[T], mapping: object, where: str = "") -> T:
    """Builds a `cls` from a mapping; raises `SagaRefused` naming the place and value that do not fit."""
    built: T = _build(cls, mapping, where, _MISSING)
    return built


def schema_of(cls: type, title: str) -> Plain:
    """The fields of `cls` as a JSON Schema (2020-12) that refuses unknown fields."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **_schema(cls, _MISSING, cls),
    }


DEPTH_MAX = 32
"""The deepest nesting of a declared action."""


def plain_copy(value: object, where: str, depth: int = 0) -> Any:
    """A JSON-able value of one's own; raises `SagaRefused` for what JSON cannot say or nests too deep."""
    if depth > DEPTH_MAX:
        raise SagaRefused(f"{where} is nested more than {DEPTH_MAX} deep; make it flatter")
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        return [plain_copy(item, where, depth + 1) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain_copy(item, where, depth + 1) for key, item in value.items()}
    raise _unfit(
        where, value, "made of text, finite numbers, true, false, null, lists and mappings with text keys"
    )


_MISSING: Any = dataclasses.MISSING


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    """One field as the reader sees it: attribute, document key, resolved type and default."""

    name: str
    key: str
    type: Any
    default: Any
    added: bool


@cache
def _fields(cls: type) -> tuple[_Field, ...]:
    hints = get_type_hints(cls)
    return tuple(
        _Field(
            name=field.name,
            key=field.metadata.get("key", field.name),
            type=hints[field.name],
            default=field.default_factory()
            if field.default_factory is not dataclasses.MISSING
            else field.default,
            added=field.metadata.get("added", False),
        )
        for field in dataclasses.fields(cls)
        if field.init
    )


def _plain(value: Any, default: Any, omit: bool) -> Any:
    if value is None or type(value) in _SCALARS:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        result = {}
        for field in _fields(type(value)):
            inner = getattr(value, field.name)
            usual = field.default if default is _MISSING or default is None else getattr(default, field.name)
            if not ((omit or field.added) and usual is not _MISSING and inner == usual):
                result[field.key] = _plain(inner, usual, omit)
        return result
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, list | tuple):
        return [_plain(item, _MISSING, omit) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item, _MISSING, omit) for key, item in value.items()}
    return value


def _build(cls: Any, mapping: object, where: str, usual: Any) -> Any:
    if not isinstance(mapping, Mapping):
        raise _unfit(where, mapping, "a mapping of fields")
    fields = {field.key: field for field in _fields(cls)}
    for key in mapping:
        if key not in fields:
            raise SagaRefused(_unknown_field(where, key, list(fields)))
    arguments = {}
    for key, field in fields.items():
        default = field.default if usual is _MISSING or usual is None else getattr(usual, field.name)
        if key in mapping:
            arguments[field.name] = _value(field.type, mapping[key], f"{where}.{key}".lstrip("."), default)
        elif default is not _MISSING:
            arguments[field.name] = default
        else:
            raise SagaRefused(f"{where or 'the document'} lacks {key!r}; add it")
    return cls(**arguments)


def _unknown_field(where: str, key: object, known: list[str]) -> str:
    close = difflib.get_close_matches(str(key), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"the fields are {', '.join(known)}"
    return f"{where or 'the document'} has an unknown field {key!r}; {hint}"


def _value(kind: Any, value: object, where: str, default: Any) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        options = [option for option in get_args(kind) if option is not types.NoneType]
        return None if value is None else _value(options[0], value, where, default)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _build(kind, value, where, default)
    if origin is tuple:
        return _tuple(get_args(kind), value, where)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _member(kind, value, where)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise _unfit(where, value, "a mapping with text keys")
        return value
    return _scalar(kind, value, where)


def _tuple(parts: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _unfit(where, value, "a list")
    if parts[-1] is Ellipsis:
        return tuple(_value(parts[0], item, f"{where}[{i}]", _MISSING) for i, item in enumerate(value))
    if len(value) != len(parts):
        raise _unfit(where, value, f"a list of {len(parts)} values")
    return tuple(
        _value(part, item, f"{where}[{i}]", _MISSING)
        for i, (part, item) in enumerate(zip(parts, value, strict=True))
    )


def _member(kind: type[StrEnum], value: object, where: str) -> StrEnum:
    for member in kind:
        if member.value == value:
            return member
    raise _unfit(where, value, "one of " + ", ".join(member.value for member in kind))


def _scalar(kind: Any, value: object, where: str) -> Any:
    if kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                return float(value)
            except OverflowError:
                raise _unfit(where, value, "a number of ordinary size") from None
        raise _unfit(where, value, "a number")
    if kind is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise _unfit(where, value, "a whole number")
    if kind in (str, bool):
        if isinstance(value, kind):
            return value
        raise _unfit(where, value, "text" if kind is str else "true or false")
    return value


def _unfit(where: str, value: object, wanted: str) -> SagaRefused:
    return SagaRefused(f"{where or 'the document'} is {shown(value)}; it must be {wanted}")


def shown(value: object) -> str:
    """The value as a message shows it: at most 60 characters, however large or deep it is."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # Nested without end, or a number of thousands of digits.
        return f"too large a {type(value).__name__} to show"
    return text if len(text) <= 60 else text[:57] + "..."


_SCALARS: dict[Any, Plain] = {
    str: {"type": "string"},
    float: {"type": "number"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
}


def _schema(kind: Any, usual: Any, root: type) -> Plain:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        options = [option for option in get_args(kind) if option is not types.NoneType]
        return {"anyOf": [_nested(options[0], _MISSING, root), {"type": "null"}]}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _object_schema(kind, usual, root)
    if origin is tuple:
        parts = get_args(kind)
        if parts[-1] is Ellipsis:
            return {"type": "array", "items": _nested(parts[0], _MISSING, root)}
        return {
            "type": "array",
            "prefixItems": [_nested(part, _MISSING, root) for part in parts],
            "minItems": len(parts),
            "maxItems": len(parts),
        }
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {"type": "string", "enum": [member.value for member in kind]}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object"}
    return dict(_SCALARS.get(kind, {}))


def _nested(kind: Any, usual: Any, root: type) -> Plain:
    """A definition within a definition is the same schema over again."""
    return {"$ref": "#"} if kind is root else _schema(kind, usual, root)


def _object_schema(kind: type, usual: Any, root: type) -> Plain:
    properties: Plain = {}
    required: list[str] = []
    for field in _fields(kind):
        default = field.default if usual is _MISSING or usual is None else getattr(usual, field.name)
        properties[field.key] = _nested(field.type, default, root)
        if default is _MISSING:
            required.append(field.key)
        elif not dataclasses.is_dataclass(default) and "$ref" not in properties[field.key]:
            properties[field.key]["default"] = _plain(default, _MISSING, False)
    schema: Plain = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**schema, "required": required} if required else schema
