"""Rows of a dataset as one file for others: Parquet, CSV or a JSON object a line.

The file appears under its name when it is whole. Each identity is in it once, the row written first. In CSV
the context and the features are JSON texts and a missing value is an empty field; in JSON lines they are
objects and a missing value is null, as is a number that is not finite, which JSON cannot say.
"""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from sagacity_data.errors import DatasetRefused
from sagacity_data.row_tables import columns_of, schema_of
from sagacity_data.rows import AttemptRow, RunRow
from sagacity_data.store import DatasetStore
from sagacity_data.store_parts import flush_names
from sagacity_data.store_reading import read_batches
from sagacity_data.store_where import EVERYTHING, Where


class ExportFormat(StrEnum):
    """What kind of file to write."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    path: str
    rows: int
    bytes: int


def export(
    store: DatasetStore,
    kind: type[AttemptRow] | type[RunRow],
    into: Path,
    as_: ExportFormat,
    where: Where = EVERYTHING,
    *,
    replace: bool = False,
) -> Exported:
    """Writes the rows that are asked for into the file `into`.

    Raises `DatasetRefused` when the file is there and `replace` is not set, cannot be written, or the dataset
    cannot be read; then nothing is written and what was there stays.
    """
    if into.is_dir() or (into.exists() and not replace):
        way_out = "name a file" if into.is_dir() else "name another file, or replace it with --force"
        raise DatasetRefused(f"{into} is there already; {way_out}")
    draft = into.with_name(f".{into.name}-{uuid.uuid4().hex}")
    try:
        rows = _WRITERS[as_](draft, kind, _batches(store, kind, where))
        _publish(draft, into, replace=replace)
    except FileExistsError:
        raise DatasetRefused(f"{into} appeared meanwhile; name another file, or replace it") from None
    except OSError as problem:
        raise DatasetRefused(
            f"cannot write {into}: {problem.strerror or problem}; make room or name another file"
        ) from None
    finally:
        draft.unlink(missing_ok=True)
    return Exported(path=str(into), rows=rows, bytes=into.stat().st_size)


def _batches(store: DatasetStore, kind: type[Any], where: Where) -> Iterator[Any]:
    for _, batch in read_batches(store.sources(), kind, list(columns_of(kind)), where, across_days=True):
        yield batch


def _publish(draft: Path, into: Path, *, replace: bool) -> None:
    """Gives the file its name; without `replace` only if nobody has it."""
    with draft.open("r+b") as file:
        os.fsync(file.fileno())
    if not replace:
        into.touch(exist_ok=False)
    draft.replace(into)
    flush_names(into.parent)


def _write_parquet(path: Path, kind: type[Any], batches: Iterator[Any]) -> int:
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetWriter(path, schema_of(kind), compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _write_csv(path: Path, kind: type[Any], batches: Iterator[Any]) -> int:
    from pyarrow import csv

    rows = 0
    with csv.CSVWriter(path, schema_of(kind)) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _write_jsonl(path: Path, kind: type[Any], batches: Iterator[Any]) -> int:
    rows = 0
    mappings = [name for name, column in columns_of(kind).items() if column.mapping]
    with path.open("w", encoding="utf-8") as file:
        for batch in batches:
            for plain in batch.to_pylist():
                for name in mappings:
                    plain[name] = json.loads(plain[name])
                file.write(_json_line(plain))
                rows += 1
    return rows


def _json_line(plain: dict[str, Any]) -> str:
    try:
        return json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError:
        return json.dumps(_sayable(plain), ensure_ascii=False, allow_nan=False) + "\n"


def _sayable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sayable(each) for key, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


_WRITERS: Final[dict[ExportFormat, Callable[[Path, type[Any], Iterator[Any]], int]]] = {
    ExportFormat.PARQUET: _write_parquet,
    ExportFormat.CSV: _write_csv,
    ExportFormat.JSONL: _write_jsonl,
}
