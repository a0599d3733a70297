"""Rows as Parquet tables and back, exactly: one column per field, its type read from the dataclass.

Texts, whole numbers, floats and truth values are columns of that type; enumerations are their values; the
context and the features are JSON text, because their keys and the types behind them differ from saga to saga
and JSON tells 2 from 2.0 and from true. A table that lacks a column, or has another type in one, is not ours.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from sagacity_data.errors import DatasetRefused
from sagacity_data.rows import NO_CONTEXT, NO_FEATURES, AttemptRow, RunRow

R = TypeVar("R", AttemptRow, RunRow)

_EMPTY: Final[dict[str, Mapping[str, Any]]] = {"context": NO_CONTEXT, "features": NO_FEATURES}
_ARROW: Final = {str: "string", int: "int64", float: "double", bool: "bool"}


def write_rows(path: Path, kind: type[R], rows: Iterable[R]) -> None:
    """Writes rows of one kind into a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    listed, schema = list(rows), _schema(kind)
    columns = [
        pa.array([encode(getattr(row, name)) for row in listed], schema.field(name).type)
        for name, (_, encode, _) in _columns(kind).items()
    ]
    pq.write_table(
        pa.Table.from_arrays(columns, schema=schema), path, compression="zstd", write_page_checksum=True
    )


def read_rows(path: Path, kind: type[R], without: Sequence[str] = ()) -> Iterator[R]:
    """The rows of one file, in its order; the mappings named in `without` are left empty.

    Raises `DatasetRefused` when the file is damaged or not ours.
    """
    decoders = {name: decode for name, (_, _, decode) in _columns(kind).items() if name not in without}
    empty: dict[str, Any] = {name: _EMPTY[name] for name in without}
    for plain in read_columns(path, kind, list(decoders)):
        try:
            yield kind(**{name: decode(plain[name]) for name, decode in decoders.items()}, **empty)
        except (TypeError, ValueError) as problem:
            raise DatasetRefused(
                f"{path} holds a row that is not ours ({problem}); remove the file or restore it"
            ) from None


def read_columns(path: Path, kind: type[R], names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The named columns (all by default) of one file as plain values, row by row; refuses as `read_rows`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if not file.schema_arrow.equals(_schema(kind)):
                raise DatasetRefused(
                    f"{path} does not have the columns of a table of {kind.__name__}s; "
                    "remove the file, or convert it with an importer"
                )
            plain: list[dict[str, Any]] = file.read(columns=names).to_pylist()
    except (pa.ArrowException, OSError) as problem:
        told = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise DatasetRefused(
            f"{path} is damaged or no Parquet file ({told}); remove it or restore it from a copy"
        ) from None
    return plain


Encoder = Callable[[Any], Any]


def _columns(kind: type[Any]) -> dict[str, tuple[type, Encoder, Encoder]]:
    """Per field: the column's Python type, and how a value goes in and comes out."""
    hints = get_type_hints(kind)
    return {field.name: _column(field.name, hints[field.name]) for field in fields(kind)}


def _column(name: str, hint: Any) -> tuple[type, Encoder, Encoder]:
    if get_origin(hint) is types.UnionType:
        (inner,) = (option for option in get_args(hint) if option is not types.NoneType)
        column, encode, decode = _column(name, inner)
        return column, encode, lambda value: None if value is None else decode(value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return str, _same, hint
    if hint in _ARROW:
        return hint, _same, _required
    empty = _EMPTY[name]
    return str, lambda value: json.dumps(dict(value)), lambda text: _mapping(text) or empty


def _same(value: Any) -> Any:
    return value


def _required(value: Any) -> Any:
    if value is None:
        raise ValueError("a value is missing that every row has")
    return value


def _mapping(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"{text[:40]!r} is no mapping")
    return value


def _schema(kind: type[Any]) -> Any:
    import pyarrow as pa

    return pa.schema(
        [pa.field(name, pa.type_for_alias(_ARROW[column])) for name, (column, _, _) in _columns(kind).items()]
    )
