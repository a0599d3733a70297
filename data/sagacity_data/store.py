"""The execution dataset on disk: a folder of Parquet files by day of launch.

    dataset.json                              kind "attempts" and the schema version
    parts.jsonl                               which files count, in the order of writing (see store_parts.py)
    attempts/day=YYYY-MM-DD/part-N-HASH.parquet
    runs/day=YYYY-MM-DD/part-N-HASH.parquet
    definitions/HASH.json                     the definitions that runs were pinned to
    buffer.db                                 a recorder's rows that are in no file yet, read with the others
    erased.json                               how often rows were erased

A run's rows lie under the UTC day of its launch (`day=unknown` when that is missing). An import writes those
days of a month that have few rows together (`day=YYYY-MM`); they are read and deleted the same. Files are
never changed: rows are written into hidden files that begin to count together, so a failing write leaves what
was there, and a reader sees an addition whole or not at all. Adding again is harmless: reading keeps, of
several rows with the same identity, the one written first. Writers take turns; any number of readers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sagacity_data.errors import DatasetRefused
from sagacity_data.row_tables import columns_of
from sagacity_data.rows import SCHEMA_VERSION, AttemptRow, Row, RunRow
from sagacity_data.store_definitions import read_definitions, write_definitions
from sagacity_data.store_description import StoreDescription, described
from sagacity_data.store_draft import StoreDraft
from sagacity_data.store_parts import LIST_FILE, Part, listed_parts, make_list
from sagacity_data.store_reading import PartGone, Sources, read_batches, read_beside, read_rows
from sagacity_data.store_where import EVERYTHING, Where
from sagacity_engine import Saga

if TYPE_CHECKING:
    import pandas as pd

KIND: Final = "attempts"
DESCRIPTION: Final = "dataset.json"
READINGS_MAX: Final = 5
"""How often a reading begins anew because parts were rewritten meanwhile."""

_BEGUN: Final = (LIST_FILE, "parts-lock", "buffer.db", "buffer.db-wal", "buffer.db-shm")
"""What may lie in a folder that nobody has described yet: a writer begins with it."""

R = TypeVar("R", AttemptRow, RunRow)
T = TypeVar("T")


class DatasetStore:
    """The store in `folder`, which may be missing or empty until the first append.

    Raises `DatasetRefused` when the folder holds anything else, or another schema version.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._check()

    def create(self) -> None:
        """Makes an empty dataset of a folder that is missing or empty; leaves one that is there as it is."""
        self._check()
        path = self.folder / DESCRIPTION
        if path.is_file():
            return
        draft = self.folder / f".{DESCRIPTION}-{os.getpid()}"
        with self._refusals():
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                make_list(self.folder)
                draft.write_text(json.dumps({"kind": KIND, "schema_version": SCHEMA_VERSION}) + "\n", "utf-8")
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)

    def adding(self, *, by_month: bool = False) -> StoreDraft:
        """Rows to be added in bounded memory; nothing of them counts before `keep`. Use as a context.

        `by_month` writes the days of a month that have few rows together: for history that comes at once.
        """
        return StoreDraft(self.folder, self.create, by_month=by_month)

    def append(self, rows: Iterable[Row]) -> None:
        """Adds rows, all or none; when it returns, all of them are on the disk.

        Raises `DatasetRefused` when the folder cannot be written; appending the same rows again is safe.
        """
        with self.adding() as draft:
            draft.add(rows)
            draft.keep()

    def keep_definitions(self, sagas: Iterable[Saga]) -> None:
        """Keeps the definitions that runs are pinned to. Raises `DatasetRefused` when the disk refuses."""
        listed = list(sagas)
        if listed:
            self.create()
            with self._refusals():
                write_definitions(self.folder, listed)

    def definitions(self) -> dict[str, Saga]:
        """The kept definitions by their hash. Raises `DatasetRefused` for one that was altered."""
        return read_definitions(self.folder)

    def read_attempts(
        self,
        since: float | None = None,
        until: float | None = None,
        *,
        saga: str | None = None,
        tenant: str | None = None,
        service: str | None = None,
        run_id: str | None = None,
    ) -> list[AttemptRow]:
        """Attempts of runs launched in [since, until), seconds since 1970, by launch, run and start order.

        Rows without a launch time are read only when neither bound is given. Raises `DatasetRefused` when a
        file is damaged or not ours.
        """
        where = Where(since=since, until=until, saga=saga, tenant=tenant, service=service, run_id=run_id)
        return self._read(AttemptRow, where)

    def read_runs(
        self,
        since: float | None = None,
        until: float | None = None,
        *,
        saga: str | None = None,
        tenant: str | None = None,
        run_id: str | None = None,
    ) -> list[RunRow]:
        """Runs launched in [since, until), in the same way."""
        return self._read(RunRow, Where(since=since, until=until, saga=saga, tenant=tenant, run_id=run_id))

    def read(self, since: float | None = None, until: float | None = None) -> list[Row]:
        """Attempts and runs together, every column."""
        return [*self.read_attempts(since, until), *self.read_runs(since, until)]

    def read_history(self, since: float | None = None, until: float | None = None) -> list[Row]:
        """The same without the stored features, which take longest to read: for replaying signals."""
        attempts = self._read(AttemptRow, Where(since=since, until=until), without=("features",))
        return [*attempts, *self.read_runs(since, until)]

    def scan(
        self, kind: type[R], columns: Sequence[str] | None = None, where: Where = EVERYTHING
    ) -> Iterator[Any]:
        """Arrow record batches of the columns (all by default), by day, in the order of writing within it.

        Rows of one identity are told once for each day under which they lie; a run lies under the day of its
        launch. Bounded memory (see `store_reading`). The parts are those that counted when the first batch
        was asked for; raises `DatasetRefused`, also when one of them is rewritten before it was read.
        """
        names = list(columns_of(kind)) if columns is None else list(columns)
        self._check()
        for _, batch in read_batches(self.sources(), kind, names, where):
            yield batch

    def scan_rows(self, kind: type[R], where: Where = EVERYTHING, without: Sequence[str] = ()) -> Iterator[R]:
        """The rows one at a time, as `scan` gives them; the mappings named in `without` are left empty."""
        self._check()
        for rows in read_rows(self.sources(), kind, where, without=without):
            yield from rows

    def gather(
        self, read: Callable[[Iterator[tuple[list[AttemptRow], Any]]], T], where: Where = EVERYTHING
    ) -> T:
        """What `read` makes of the attempts that are asked for, each told once, a batch at a time.

        A batch is rows whose features are left empty, and beside them an Arrow array of these features as
        they are stored: for readers that make columns of them. `read` begins anew where parts were rewritten
        while it read. Raises `DatasetRefused`.
        """
        return self._reading(lambda: read(read_beside(self.sources(), AttemptRow, "features", where)))

    def attempts_frame(self, since: float | None = None, until: float | None = None) -> pd.DataFrame:
        """One line per attempt: the columns of `AttemptRow`, the context and the features flattened."""
        from sagacity_data.training_frame import attempts_frame

        return attempts_frame(self.read_attempts(since, until))

    def describe(self, scratch: str | os.PathLike[str] | None = None) -> StoreDescription:
        """What the store holds. What does not fit into memory is put aside in the folder `scratch`."""
        return self._reading(lambda: described(self.sources(), scratch))

    def _read(self, kind: type[R], where: Where, without: Sequence[str] = ()) -> list[R]:
        def read() -> list[R]:
            batches = read_rows(self.sources(), kind, where, without=without, across_days=True)
            return sorted(chain.from_iterable(batches), key=_reading_order)

        return self._reading(read)

    def sources(self) -> Sources:
        """What there is to read now: rows that wait in a sink's buffer, and the parts that count."""
        from sagacity_data.sinks.buffer import buffered_rows  # Sinks write to stores.

        buffered = buffered_rows(self.folder)  # First: rows that move meanwhile are in both, not in neither.
        return Sources(self.folder, self._parts(), buffered)

    def _parts(self) -> list[Part]:
        return listed_parts(self.folder) if (self.folder / DESCRIPTION).is_file() else []

    def _reading(self, read: Callable[[], T]) -> T:
        """What `read` gives, begun anew when parts were rewritten while it read."""
        self._check()
        for _ in range(READINGS_MAX - 1):
            before = self._parts()
            try:
                return read()
            except PartGone:
                if self._parts() == before:
                    raise
        return read()

    def _check(self) -> None:
        try:
            self._check_folder()
        except OSError as problem:
            raise DatasetRefused(
                f"cannot read {self.folder}: {problem.strerror or problem}; choose another folder"
            ) from None

    def _check_folder(self) -> None:
        path = self.folder / DESCRIPTION
        if not path.is_file():
            if self.folder.exists() and not _is_bare(self.folder):
                raise DatasetRefused(
                    f"{self.folder} is not a dataset of attempts: it has no {DESCRIPTION}; "
                    "choose another folder"
                )
            return
        try:
            found = json.loads(path.read_text("utf-8"))
            kind, version = found["kind"], found["schema_version"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise DatasetRefused(f"{path} is damaged; restore it, or choose another folder") from None
        if kind != KIND:
            raise DatasetRefused(
                f"{self.folder} holds a dataset of kind {kind!r}, not {KIND!r}; choose another"
            )
        if version != SCHEMA_VERSION:
            raise DatasetRefused(
                f"{self.folder} has schema version {version!r} and this program reads {SCHEMA_VERSION}; "
                "use the version of the program that wrote it, or newer"
            )

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise DatasetRefused(
                f"cannot write to {self.folder}: {problem.strerror or problem}; "
                "free the disk or choose another folder"
            ) from None


def _is_bare(folder: Path) -> bool:
    """Whether a folder holds nothing but what a writer begins with."""
    return folder.is_dir() and all(
        path.name in _BEGUN or path.name.startswith(f".{DESCRIPTION}-") for path in folder.iterdir()
    )


def _reading_order(row: AttemptRow | RunRow) -> tuple[Any, ...]:
    launched = -1.0 if row.launch_at is None else row.launch_at
    if isinstance(row, RunRow):
        return (launched, row.run_id)
    position = -1 if row.position is None else row.position
    started = -1.0 if row.started_at is None else row.started_at
    return (launched, row.run_id, position, started, row.step, row.direction, row.attempt)
