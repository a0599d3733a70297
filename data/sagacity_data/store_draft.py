"""Rows on their way into a dataset: nothing of them can be seen until all of them are kept.

Rows gather in memory, by table and day; when `ROWS_HELD` are together, the fullest are written into a hidden
folder of the draft, so memory stays bounded whatever is added. `keep` gives all files their names and then
makes them count with one line (`store_parts`). A killed writer leaves its hidden folder, whose lock is free
from then on: the next writer removes it.

Rows may take the place of what the dataset holds of their runs: then one rename of the list makes the new
files count and the old rows not, and a writer killed before it has changed nothing.

History that comes at once and has few rows a day is written by month (`by_month`), for a file costs as much
as some hundred rows; days of a month that have many keep files of their own (`store_days`).
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
from sagacity_data.rows import Row
from sagacity_data.store_days import day_of, divided, month_of
from sagacity_data.store_lock import taken, writing
from sagacity_data.store_parts import (
    TABLE_OF,
    Part,
    add_to_list,
    begin_change,
    end_change,
    flush_names,
    listed_parts,
    mend,
    named_part,
    replace_list,
)
from sagacity_data.store_rewriting import rewritten
from sagacity_data.store_where import Where

ROWS_HELD: Final = 20_000
"""The most rows of a draft in memory, and the most in one part."""

_PREFIX: Final = ".draft-"

Place = tuple[type, str]
"""A kind of row and a day, or a month."""


class StoreDraft:
    """A draft of the dataset in `folder`; made by `DatasetStore.adding()`. Use as a context.

    Whatever was not kept when it is left is gone. One thread at a time.
    """

    def __init__(self, folder: Path, begin: Callable[[], None], *, by_month: bool = False) -> None:
        self._store = folder
        self._begin = begin
        self._by_month = by_month
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
            day = day_of(row.launch_at)
            place = (type(row), month_of(day) if self._by_month else day)
            held = self._held.setdefault(place, {})
            if row.key not in held:
                held[row.key] = row
                self._count += 1
                if self._count >= ROWS_HELD:
                    self._write_until(ROWS_HELD // 2)

    def keep(self, instead_of: Iterable[str] = ()) -> None:
        """All rows added so far, or none, are in the dataset and on the disk when this returns.

        What the dataset holds of the runs `instead_of` is gone from the same moment on.

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
            self._publish(parts, frozenset(instead_of))
            end_change(self._store)

    def _publish(self, parts: list[Part], instead_of: frozenset[str]) -> None:
        if not instead_of:
            add_to_list(self._store, parts)
            return
        listed = listed_parts(self._store)
        with rewritten(self._store, listed, Where(run_ids=instead_of)) as anew:
            replace_list(self._store, [*anew.kept, *parts])

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
        days = {day: rows}
        if self._by_month:
            days = divided([(day_of(row.launch_at), row) for row in rows])
        for day, these in days.items():
            with self._refusals():
                draft = self._own_folder() / f"{len(self._written)}.parquet"
                write_rows(draft, kind, these)
                self._written.append((draft, f"{TABLE_OF[kind]}/day={day}", len(these)))

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
