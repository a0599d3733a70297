"""Where rows go: the port, and the sink in memory that tests and trials use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sagacity_data.errors import DatasetRefused
from sagacity_data.rows import Row


class RowRefused(DatasetRefused):
    """One row can never be written, whatever is done about the place; `row` is it."""

    def __init__(self, row: Row, problem: object) -> None:
        super().__init__(
            f"a row of run {row.run_id!r} cannot be written ({problem}); leave what is no JSON out of it"
        )
        self.row = row


class RowSink(Protocol):
    """Keeps rows. Of several rows with one identity (`Row.key`) it keeps the first, so writing twice is safe.

    A sink is used by one thread at a time.
    """

    def write(self, rows: Sequence[Row]) -> None:
        """Keeps the rows, all of them or none; they are durable when it returns.

        Raises `DatasetRefused` when they cannot be kept; the message names the place and the way out. It is a
        `RowRefused` where one of the rows itself is to blame.
        """
        ...

    def close(self) -> None:
        """Lets go of what the sink holds; a second call does nothing, and `write` opens it again."""
        ...


class MemorySink:
    """Keeps rows for as long as it lives. Give it a `refusal` to see what happens when a sink fails."""

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        self._rows: dict[tuple[object, ...], Row] = {}

    @property
    def rows(self) -> list[Row]:
        """What was written, oldest first."""
        return list(self._rows.values())

    def write(self, rows: Sequence[Row]) -> None:
        """Keeps the first row of each identity, or raises the `refusal`."""
        if self.refusal is not None:
            raise self.refusal
        for row in rows:
            self._rows.setdefault((type(row), *row.key), row)

    def close(self) -> None:
        """Keeps everything."""
