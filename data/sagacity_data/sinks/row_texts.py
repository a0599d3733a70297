"""Rows as JSON text and back, exactly: an array of the columns' values, in the order of `names_of`.

JSON tells 2 from 2.0 and from true, so that a row that is read equals the one that was written. Which columns
there are is a matter of the schema's version, which whoever keeps such texts must keep with them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import StrEnum
from json.encoder import encode_basestring_ascii as _word
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from sagacity_data.errors import DatasetRefused
from sagacity_data.rows import AttemptRow, Row, RunRow
from sagacity_data.sinks.port import RowRefused

KINDS: Final[Mapping[str, type[Row]]] = {"attempts": AttemptRow, "runs": RunRow}
TABLE_OF: Final[Mapping[type[Row], str]] = {kind: name for name, kind in KINDS.items()}

R = TypeVar("R", AttemptRow, RunRow)

Texts = dict[int, tuple[object, str]]
"""Texts of mappings that many rows share, by identity; made anew for each batch."""


def row_text(row: Row, shared: Texts) -> str:
    """The row's text. Raises `RowRefused` for a value that JSON cannot say."""
    columns = _COLUMNS[type(row)]
    try:
        text = _to_json(columns.values(row))[:-1]
        for mapping in columns.shared(row)[:-1]:
            text += "," + _shared(mapping, shared)
    except (TypeError, ValueError) as problem:
        raise RowRefused(row, problem) from None
    return f"{text}]"


def key_text(row: Row) -> str:
    """What identifies the row within its kind, as text."""
    return f"[{','.join([_word(part) if isinstance(part, str) else str(part) for part in row.key])}]"


def names_of(kind: type[Row]) -> tuple[str, ...]:
    """The columns in the order of a text: those that are mappings, which many rows share, last."""
    columns = _COLUMNS[kind]
    return columns.names + columns.mappings


def read_row(kind: str, text: str) -> Row:
    """The row of a text; raises `DatasetRefused` when it is none of ours."""
    try:
        made = KINDS[kind]
        values = json.loads(text)
        plain = dict(zip(names_of(made), values, strict=True))
    except (KeyError, TypeError, ValueError, RecursionError) as problem:
        raise DatasetRefused(f"a row of kind {kind!r} is not ours: {problem}") from None
    return row_from(AttemptRow, plain) if made is AttemptRow else row_from(RunRow, plain)


def row_from(kind: type[R], plain: Mapping[str, Any]) -> R:
    """The row of plain values by column; raises `DatasetRefused` when they are no row of ours."""
    forms = _FORMS[kind]
    values: dict[str, Any] = {}
    try:
        for name, value in plain.items():
            types, members = forms[name]
            if type(value) not in types:
                raise TypeError(f"{name} is {str(value)[:40]!r}")
            values[name] = value if members is None or value is None else members[value]
        return kind(**values)
    except (KeyError, TypeError) as problem:
        raise DatasetRefused(f"a row of {TABLE_OF[kind]} is not ours: {str(problem)[:80]}") from None


_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False).encode


def _shared(value: object, shared: Texts) -> str:
    known = shared.get(id(value))
    if known is not None and known[0] is value:
        return known[1]
    assert isinstance(value, Mapping), "only mappings are shared"
    text = _to_json(dict(value)) if value else "{}"
    shared[id(value)] = (value, text)
    return text


class _Columns(NamedTuple):
    """The columns of a kind of row: those that are mappings apart, for many rows have the same ones."""

    names: tuple[str, ...]
    values: Callable[[Row], tuple[Any, ...]]
    mappings: tuple[str, ...]
    shared: Callable[[Row], tuple[Any, ...]]  # The mappings, and the first of them once more.


def _columns_of(kind: type[Row]) -> _Columns:
    hints = get_type_hints(kind)
    mappings = tuple(field.name for field in fields(kind) if get_origin(hints[field.name]) is Mapping)
    names = tuple(field.name for field in fields(kind) if field.name not in mappings)
    # With a name that comes twice, what is read is a tuple, also of one mapping.
    return _Columns(names, attrgetter(*names), mappings, attrgetter(*mappings, mappings[0]))


Form = tuple[tuple[type, ...], Mapping[str, StrEnum] | None]
"""The types that a column's plain values may have, and the members that they name, if they do."""


def _forms_of(kind: type[Row]) -> dict[str, Form]:
    hints = get_type_hints(kind)
    return {field.name: _form(hints[field.name]) for field in fields(kind)}


def _form(hint: Any) -> Form:
    if get_origin(hint) is UnionType:
        (inner,) = (option for option in get_args(hint) if option is not NoneType)
        types, members = _form(inner)
        return (*types, NoneType), members
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return (str,), {member.value: member for member in hint}
    if hint is float:
        return (float, int), None  # An author may have written 10 for 10.0.
    return ((hint,) if isinstance(hint, type) else (dict,)), None


_COLUMNS: Final = {kind: _columns_of(kind) for kind in KINDS.values()}
_FORMS: Final = {kind: _forms_of(kind) for kind in KINDS.values()}
