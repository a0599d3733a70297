"""What a dataset holds, counted without holding it: DuckDB aggregates over the parts' columns.

Rows of one identity count once, the first written. DuckDB runs inside this process with a stated share of
memory, loads no extension and asks no network; what does not fit goes to a scratch folder that is removed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sagacity_data.errors import DatasetRefused
from sagacity_data.row_tables import ROWS_PER_GROUP, schema_of, table_of
from sagacity_data.rows import SCHEMA_VERSION, AttemptRow, RunRow
from sagacity_data.store_identities import KEYS
from sagacity_data.store_parts import TABLE_OF
from sagacity_data.store_reading import Sources, part_batches
from sagacity_data.store_where import EVERYTHING

MEMORY: Final = "512MB"
THREADS: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaDescription:
    """One saga type: its runs, and how many of them have ended and completed."""

    saga: str
    runs: int
    ended: int
    completed: int

    @property
    def success_rate(self) -> float | None:
        """Completed runs among those that have ended; None when none has."""
        return self.completed / self.ended if self.ended else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDescription:
    """What a store holds, rows of the same identity counted once. Times in seconds since 1970."""

    folder: str
    files: int
    bytes: int
    buffered: int = 0  # Rows that wait in a sink's buffer; some may be in files as well.
    schema_version: int = SCHEMA_VERSION
    attempts: int = 0
    runs: int = 0
    first_launch_at: float | None = None
    last_launch_at: float | None = None
    last_ended_at: float | None = None
    sagas: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    per_saga: tuple[SagaDescription, ...] = ()
    outcomes: tuple[tuple[str, int], ...] = ()  # Of attempts.


def described(sources: Sources, scratch: str | os.PathLike[str] | None = None) -> StoreDescription:
    """What the sources hold. Raises `DatasetRefused` when a part is damaged or not ours."""
    files, size = len(sources.parts), sum(part.bytes for part in sources.parts)
    folder, buffered = str(sources.folder), len(sources.buffered)
    if not files and not buffered:
        return StoreDescription(folder=folder, files=files, bytes=size)
    with opened(scratch) as database:
        _load(database, sources, AttemptRow)
        _load(database, sources, RunRow)
        totals = database.execute(_TOTALS).fetchone()
        per_saga = database.execute(_PER_SAGA).fetchall()
        outcomes = database.execute(_OUTCOMES).fetchall()
    attempts, runs, first, last, ended, told_by, tenants, services = totals
    return StoreDescription(
        folder=folder,
        files=files,
        bytes=size,
        buffered=buffered,
        attempts=attempts,
        runs=runs,
        first_launch_at=first,
        last_launch_at=last,
        last_ended_at=ended,
        sagas=tuple(line[0] for line in per_saga),
        services=tuple(services),
        sources=tuple(told_by),
        tenants=tuple(tenants),
        per_saga=tuple(
            SagaDescription(saga=saga, runs=count, ended=over, completed=completed)
            for saga, count, over, completed in per_saga
        ),
        outcomes=tuple(outcomes),
    )


@contextmanager
def opened(scratch: str | os.PathLike[str] | None = None) -> Iterator[Any]:
    """A DuckDB in memory, with a folder of its own under `scratch` for what does not fit."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="sagacity-", dir=scratch) as aside:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY,
            "threads": THREADS,
            "temp_directory": aside,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        with duckdb.connect(":memory:", config=settings) as database:
            yield database


_SHARED: Final = ("saga", "launch_at", "ended_at", "source", "tenant")
_COUNTED: Final[dict[type, tuple[str, ...]]] = {
    AttemptRow: (*_SHARED, "service", "outcome"),
    RunRow: (*_SHARED, "status"),
}

_TOTALS: Final = """
    SELECT
        (SELECT count(*) FROM attempts), (SELECT count(*) FROM runs),
        min(launch_at), max(launch_at), max(ended_at),
        list_sort(list(DISTINCT source)), list_sort(list(DISTINCT tenant)),
        (SELECT coalesce(list_sort(list(DISTINCT service)), []) FROM attempts)
    FROM (
        SELECT launch_at, ended_at, source, tenant FROM attempts
        UNION ALL SELECT launch_at, ended_at, source, tenant FROM runs
    )
"""

_PER_SAGA: Final = """
    SELECT
        saga, count(status),
        count(*) FILTER (status NOT IN ('RUNNING', 'COMPENSATING')), count(*) FILTER (status = 'COMPLETED')
    FROM (SELECT saga, status FROM runs UNION ALL SELECT DISTINCT saga, NULL FROM attempts)
    GROUP BY saga ORDER BY saga
"""

_OUTCOMES: Final = "SELECT outcome, count(*) FROM attempts GROUP BY outcome ORDER BY outcome"


def _load(database: Any, sources: Sources, kind: type[Any]) -> None:
    """A table named like the parts' with the counted columns, one line per identity: the first written."""
    import duckdb
    import pyarrow as pa

    fed = _Fed(sources, kind)
    counted = _COUNTED[kind]
    packed = ", ".join(f"{name} := {name}" for name in counted)
    unpacked = ", ".join(f"first_one.{name} AS {name}" for name in counted)
    keys = ", ".join(KEYS[kind])
    database.register("fed", pa.RecordBatchReader.from_batches(fed.schema, fed.batches()))
    try:
        database.execute(
            f"CREATE TEMP TABLE {TABLE_OF[kind]} AS SELECT {unpacked} FROM ("  # noqa: S608  names of our own columns
            f"SELECT arg_min(struct_pack({packed}), written) AS first_one FROM fed GROUP BY {keys})"
        )
    except duckdb.Error as problem:
        if fed.refusal is not None:
            raise fed.refusal from None
        raise DatasetRefused(f"{sources.folder} cannot be counted: {str(problem).splitlines()[0]}") from None
    finally:
        database.unregister("fed")


class _Fed:
    """The counted columns of every part, numbered in the order of writing; remembers what was refused."""

    def __init__(self, sources: Sources, kind: type[Any]) -> None:
        import pyarrow as pa

        self._sources = sources
        self._kind = kind
        self._names = [*KEYS[kind], *_COUNTED[kind]]
        self.refusal: DatasetRefused | None = None
        whole = schema_of(kind)
        self.schema = pa.schema([*(whole.field(name) for name in self._names), ("written", pa.int64())])

    def batches(self) -> Iterator[Any]:
        """The columns, a batch at a time."""
        import pyarrow as pa

        written = 0
        try:
            for batch in self._read():
                numbers = pa.array(range(written, written + batch.num_rows), pa.int64())
                written += batch.num_rows
                yield pa.record_batch([*batch.columns, numbers], schema=self.schema)
        except DatasetRefused as refusal:
            self.refusal = refusal
            raise

    def _read(self) -> Iterator[Any]:
        for part in self._sources.parts:
            if part.table == TABLE_OF[self._kind]:
                yield from part_batches(self._sources.folder / part.name, self._kind, self._names)
        buffered: Any = self._sources.answering(self._kind, EVERYTHING)
        if buffered:
            yield from table_of(self._kind, buffered).select(self._names).to_batches(ROWS_PER_GROUP)
