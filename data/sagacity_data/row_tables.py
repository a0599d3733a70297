"""Rows as Arrow tables and back, exactly: one column per field, its type read from the dataclass.

Texts, whole numbers, floats and truth values are columns of that type; enumerations are their values; the
context and the features are JSON text, because their keys and the types behind them differ from saga to saga
and JSON tells 2 from 2.0 and from true. Half a surrogate pair is no text that a file could hold: it becomes
U+FFFD. A number that may be missing is missing where it is too large for its column.

Both ways go column by column: a text that a thousand rows share is decoded once, and they share the value.
"""

from __future__ import annotations

import itertools
import json
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from sagacity_data.rows import NO_CONTEXT, NO_FEATURES, AttemptRow, RunRow
from sagacity_engine.drafts import maker

R = TypeVar("R", AttemptRow, RunRow)

ROWS_PER_GROUP: Final = 5_000
"""Rows whose range of values the file tells, so that a reader may pass them over."""

_CLUSTERED: Final = ("tenant", "saga", "launch_at", "run_id")
"""How a part is sorted: what is asked for together lies together."""

_EMPTY: Final[dict[str, Mapping[str, Any]]] = {"context": NO_CONTEXT, "features": NO_FEATURES}
_ARROW: Final = {str: "string", int: "int64", float: "double", bool: "bool"}


@dataclass(frozen=True, slots=True)
class Column:
    """One field: the type of its column, how a value comes out of it, and whether there may be none."""

    stored: type
    decode: Callable[[Any], Any] | None  # None: the value is what the column holds.
    optional: bool
    mapping: bool = False


def columns_of(kind: type[Any]) -> dict[str, Column]:
    """The columns of a table of this kind of row, in their order."""
    return _COLUMNS[kind]


def schema_of(kind: type[Any]) -> Any:
    """The Arrow schema of a table of this kind of row."""
    import pyarrow as pa

    return pa.schema(
        [(name, pa.type_for_alias(_ARROW[column.stored])) for name, column in columns_of(kind).items()]
    )


def write_rows(path: Path, kind: type[R], rows: Sequence[R]) -> None:
    """Writes rows of one kind into a Parquet file, sorted so that similar ones lie together."""
    write_table(path, table_of(kind, rows))


def write_table(path: Path, table: Any) -> None:
    """Writes a table of rows into a Parquet file, in the same way."""
    import pyarrow.parquet as pq

    order = [(name, "ascending") for name in _CLUSTERED]
    pq.write_table(
        table.sort_by(order),
        path,
        compression="zstd",
        row_group_size=ROWS_PER_GROUP,
        write_page_checksum=True,
    )


def table_of(kind: type[R], rows: Sequence[R]) -> Any:
    """The rows as an Arrow table, in their order. Raises `TypeError` for a value that no column takes."""
    import pyarrow as pa

    schema = schema_of(kind)
    arrays = [
        _array(list(map(attrgetter(name), rows)), schema.field(name).type, column)
        for name, column in columns_of(kind).items()
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def rows_of(kind: type[R], batch: Any, without: Sequence[str] = ()) -> list[R]:
    """The rows of an Arrow table or batch; the mappings named in `without` are left empty.

    Raises `ValueError` or `TypeError` for a value that is not ours.
    """
    decoded = [
        itertools.repeat(_EMPTY[name], batch.num_rows)
        if name in without
        else decoded_column(name, column, batch.column(name))
        for name, column in columns_of(kind).items()
    ]
    return list(map(_MAKERS[kind], *decoded))


def decoded_column(name: str, column: Column, stored: Any) -> list[Any]:
    """The values of one column; raises `ValueError` for what is not ours."""
    if stored.null_count and not column.optional:
        raise ValueError(f"a value is missing that every row has: {name}")
    if column.stored is str:
        return _texts(stored, column)
    if column.stored is bool or stored.null_count == len(stored):
        plain: list[Any] = stored.to_pylist()
        return plain
    return _numbers(stored)


def _texts(stored: Any, column: Column) -> list[Any]:
    """Each distinct text is decoded once."""
    import pyarrow as pa

    encoded = stored.dictionary_encode()
    chunks = encoded.chunks if isinstance(encoded, pa.ChunkedArray) else [encoded]
    values: list[Any] = []
    for chunk in chunks:
        words = chunk.dictionary.to_pylist()
        if column.decode is not None:
            words = list(map(column.decode, words))
        if not chunk.null_count:
            values += map(words.__getitem__, chunk.indices.to_numpy(zero_copy_only=False).tolist())
            continue
        words.append(None)
        places = chunk.indices.fill_null(len(words) - 1)
        values += map(words.__getitem__, places.to_numpy(zero_copy_only=False).tolist())
    return values


def _numbers(stored: Any) -> list[Any]:
    if not stored.null_count:
        plain: list[Any] = stored.to_numpy(zero_copy_only=False).tolist()
        return plain
    values: list[Any] = stored.fill_null(0).to_numpy(zero_copy_only=False).tolist()
    missing = stored.is_null().to_numpy(zero_copy_only=False).nonzero()[0]
    for place in missing.tolist():
        values[place] = None
    return values


def _array(values: list[Any], kind: Any, column: Column) -> Any:
    import pyarrow as pa

    if column.mapping:
        values = list(_written(values))
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([value and _sound(value) for value in values], kind)
    except (OverflowError, pa.ArrowInvalid) as problem:
        if not column.optional or column.stored not in (int, float):
            raise TypeError(str(problem)) from None
        return pa.array([_storable(value, column.stored) for value in values], kind)


def _written(values: list[Any]) -> Iterator[str]:
    """Mappings as JSON; one that stands next to itself, as the rows of a run do, is written once."""
    last, text = None, "{}"
    for value in values:
        if value is not last:
            last, text = value, json.dumps(dict(value))
        yield text


def _sound(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _storable(value: Any, stored: type) -> Any:
    """The number, or None for one beyond what the column holds."""
    try:
        number = None if value is None else stored(value)
    except OverflowError:
        return None
    return None if stored is int and number is not None and not -(2**63) <= number < 2**63 else number


def _column(name: str, hint: Any) -> Column:
    if get_origin(hint) is types.UnionType:
        (inner,) = (option for option in get_args(hint) if option is not types.NoneType)
        column = _column(name, inner)
        return Column(column.stored, column.decode, optional=True)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return Column(str, hint, optional=False)
    if hint in _ARROW:
        return Column(hint, None, optional=False)
    empty = _EMPTY[name]
    return Column(str, lambda text: _mapping(text) or empty, optional=False, mapping=True)


def _mapping(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"{text[:40]!r} is no mapping")
    return value


def _columns(kind: type[Any]) -> dict[str, Column]:
    hints = get_type_hints(kind)
    return {field.name: _column(field.name, hints[field.name]) for field in fields(kind)}


_COLUMNS: Final[dict[type[Any], dict[str, Column]]] = {kind: _columns(kind) for kind in (AttemptRow, RunRow)}
_MAKERS: Final[dict[type[Any], Callable[..., Any]]] = {AttemptRow: maker(AttemptRow), RunRow: maker(RunRow)}
