"""Moving buffered rows into the Parquet files of their days, and the sink that does it when it is time.

A move is: take the buffer's write lock, add the oldest rows to the store (atomic, durable), delete them from
the buffer, commit. Killed before the addition counts, it did nothing; killed after it, the rows are in both
places, the buffer's transaction is undone, and reading keeps one of each key; the next move adds them again
and deletes them. So at every moment every row is somewhere, and none is read twice. The lock makes movers and
whoever deletes rows take turns.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sagacity_data.errors import DatasetRefused
from sagacity_data.rows import Row, RunRow
from sagacity_data.sinks.buffer import Buffer
from sagacity_engine import Saga, Status

if TYPE_CHECKING:  # The store reads the buffer, and so knows this package.
    from sagacity_data.store import DatasetStore

ROWS_AT_ONCE: Final = 50_000
"""The most rows that one move takes: what it holds in memory, and how long it keeps others out."""

READINGS_MAX: Final = 3
"""How often the files are read anew when they are rewritten meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionPolicy:
    """Rows are moved when so many are buffered, or when the oldest is so old (s); looked at on each write.

    Moving costs the process that does it processor time. Where that is felt, let another one do it: both
    numbers None, and `compact` there.
    """

    rows: int | None = 20_000
    age_s: float | None = 3_600.0


def compact(folder: str | os.PathLike[str]) -> int:
    """Moves every buffered row of this dataset into its Parquet files; how many.

    Any process may, at any time. Raises `DatasetRefused`; then what was not moved is still in the buffer.
    """
    from sagacity_data.store import DatasetStore

    with closing(Buffer(folder)) as buffer:
        return move_all(buffer, DatasetStore(folder))


def move_all(buffer: Buffer, store: DatasetStore) -> int:
    """Moves every row that is buffered now or while this goes on; how many."""
    moved = 0
    while count := move(buffer, store):
        moved += count
    return moved


def move(buffer: Buffer, store: DatasetStore, limit: int = ROWS_AT_ONCE) -> int:
    """Moves the oldest rows; how many."""
    if not buffer.count():
        return 0
    with buffer.changing() as connection:
        taken = buffer.oldest(limit)
        if taken:
            store.append([row for _, row in taken])
            connection.execute("DELETE FROM rows WHERE place <= ?", (taken[-1][0],))
    return len(taken)


class DatasetSink:
    """The dataset in `folder` as a sink: rows go to its buffer, and from there to its files by `policy`.

    A move that fails is no failure of `write`: the rows are safe, `move_refusal` says why, and the next move
    is tried `retry_s` later. `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        policy: CompactionPolicy | None = None,
        *,
        clock: Callable[[], float] = time.time,
        retry_s: float = 60.0,
    ) -> None:
        from sagacity_data.store import DatasetStore

        self._store = DatasetStore(folder)
        self._buffer = Buffer(folder, clock=clock)
        self._policy = policy or CompactionPolicy()
        self._clock = clock
        self._retry_s = retry_s
        self._not_before = float("-inf")
        self._made = False
        self._count: int | None = None  # Rows buffered, at least by this sink; None: not looked yet.
        self._since: float | None = None
        self.move_refusal = ""

    def write(self, rows: Sequence[Row]) -> None:
        """Keeps the rows in the buffer, then moves what is due."""
        if not self._made:
            self._store.create()
            self._made = True
        self._buffer.write(rows)
        if self._count is not None:
            self._count += len(rows)
        if self._is_due():
            self._move()

    def keep_definitions(self, sagas: Iterable[Saga]) -> None:
        """Keeps the definitions that the rows' runs are pinned to."""
        self._store.keep_definitions(sagas)

    def recorded(self) -> set[str]:
        """The ended runs that the dataset has, moved or not."""
        from sagacity_data.store_reading import PartGone

        for _ in range(READINGS_MAX - 1):
            buffered = self._buffer.ended_runs()  # First: see the buffer's theory.
            try:
                return buffered | self._moved()
            except PartGone:  # It was rewritten meanwhile.
                continue
        return self._buffer.ended_runs() | self._moved()

    def close(self) -> None:
        """Lets the buffer go; what is in it is read from there."""
        self._buffer.close()

    def _moved(self) -> set[str]:
        """The ended runs in the dataset's files: two columns of them are read."""
        moved: set[str] = set()
        for batch in self._store.scan(RunRow, ("run_id", "status")):
            ids, statuses = batch.column("run_id").to_pylist(), batch.column("status").to_pylist()
            moved.update(run_id for run_id, status in zip(ids, statuses, strict=True) if Status(status).ended)
        return moved

    def _is_due(self) -> bool:
        policy, now = self._policy, self._clock()
        if now < self._not_before:
            return False
        if self._count is None:
            self._count, self._since = self._buffer.count(), self._buffer.since()
        elif self._since is None:
            self._since = now
        if policy.rows is not None and self._count >= policy.rows:
            return True
        return policy.age_s is not None and self._since is not None and now - self._since >= policy.age_s

    def _move(self) -> None:
        try:
            move_all(self._buffer, self._store)
        except DatasetRefused as refusal:
            self.move_refusal = str(refusal)
            self._not_before = self._clock() + self._retry_s
        else:
            self.move_refusal = ""
            self._count, self._since = 0, None
