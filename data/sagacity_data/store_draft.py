"""Rows on their way into a dataset: nothing of them can be seen until all of them are kept.

Rows gather in memory, by table and day; when `ROWS_HELD` are together, the fullest are written into a hidden
folder of the draft, so memory stays bounded whatever is added. `keep` gives all files their names and then
makes them count with one line (`store_parts`). A killed writer leaves its hidden folder, whose lock is free
from then on: the next writer removes it.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from sagacity_data.errors import DatasetRefused
from sagacity_data.row_tables import write_rows
from sagacity_data.rows import AttemptRow, Row, RunRow
from sagacity_data.store_days import day_of
from sagacity_data.store_lock import taken, writing
from sagacity_data.store_parts import add_to_list, begin_change, end_change, flush_names, mend, named_part

ROWS_HELD: Final = 20_000
"""The most rows of a draft in memory, and the most in one part."""

TABLE_OF: Final[dict[type, str]] = {AttemptRow: "attempts", RunRow: "runs"}
_PREFIX: Final = ".draft-"

Place = tuple[type, str]
"""A kind of row and a day: what one part holds."""


class StoreDraft:
    """A draft of the dataset in `folder`; made by `DatasetStore.adding()`. Use as a context.

    Whatever was not kept when it is left is gone. One thread at a time.
    """

    def __init__(self, folder: Path, begin: Callable[[], None]) -> None:
        self._store = folder
        self._begin = begin
        self._folder: Path | None = None
        self._lock: IO[str] | None = None
        self._held: dict[Place, dict[Any, Row]] = {}
        self._count = 0
        self._written: list[tuple[Path, str, int]] = []  # Draft, its day's folder, rows.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    def add(self, rows: Iterable[Row]) -> None:
        """Rows that `keep` is to make part of the dataset. Raises `DatasetRefused` if the disk refuses."""
        for row in rows:
            held = self._held.setdefault((type(row), day_of(row.launch_at)), {})
            if row.key not in held:
                held[row.key] = row
                self._count += 1
                if self._count >= ROWS_HELD:
                    self._write_until(ROWS_HELD // 2)

    def keep(self) -> None:
        """All rows added so far, or none, are in the dataset and on the disk when this returns.

        Raises `DatasetRefused` when the disk refuses; then they have to be added again. What is added after
        that is kept by the next call.
        """
        self._write_until(0)
        written, self._written = self._written, []
        if not written:
            return
        with self._refusals(), writing(self._store):
            mend(self._store)
            begin_change(self._store)
            parts = [named_part(self._store, *each) for each in written]
            for name in {Path(part.name).parent for part in parts}:
                flush_names(self._store / name)
                flush_names((self._store / name).parent)
            flush_names(self._store)
            add_to_list(self._store, parts)
            end_change(self._store)

    def drop(self) -> None:
        """Forgets every row that was added and not kept."""
        for draft, _, _ in self._written:
            draft.unlink(missing_ok=True)
        self._written, self._held, self._count = [], {}, 0

    def _write_until(self, most: int) -> None:
        """Writes the fullest places until at most so many rows are left in memory."""
        while self._count > most:
            place = max(self._held, key=lambda place: len(self._held[place]))
            rows = self._held.pop(place)
            self._count -= len(rows)
            self._write(place, list(rows.values()))

    def _write(self, place: Place, rows: list[Any]) -> None:
        kind, day = place
        with self._refusals():
            draft = self._own_folder() / f"{len(self._written)}.parquet"
            write_rows(draft, kind, rows)
            self._written.append((draft, f"{TABLE_OF[kind]}/day={day}", len(rows)))

    def _own_folder(self) -> Path:
        if self._folder is None:
            self._begin()
            with writing(self._store):
                remove_leftovers(self._store)
                folder = self._store / f"{_PREFIX}{uuid.uuid4().hex}"
                folder.mkdir()
                self._folder, self._lock = folder, taken(folder / "owner")
        return self._folder

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise DatasetRefused(
                f"cannot write to {self._store}: {problem.strerror or problem}; "
                "free the disk or choose another folder, and append again"
            ) from None


def remove_leftovers(store: Path) -> None:
    """Removes the drafts of writers that have ended. For the one writer."""
    for folder in store.glob(f"{_PREFIX}*"):
        held = taken(folder / "owner")
        if held is not None:
            held.close()
            shutil.rmtree(folder, ignore_errors=True)
