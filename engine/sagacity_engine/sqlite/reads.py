"""Reading a journal's file: runs by their ids, their numbers, status and saga; nothing is scanned.

Reads share one connection, one at a time, and hold no transaction longer than one run or one page takes, so
that they neither hold up a commit nor keep SQLite's log from being folded into the file.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sagacity_engine import codec
from sagacity_engine.document import read_saga
from sagacity_engine.errors import IllegalEvent, JournalRefused, SagaRefused
from sagacity_engine.events import Event, Status
from sagacity_engine.plan import Plan
from sagacity_engine.run_lines import RunSummary
from sagacity_engine.saga import Saga
from sagacity_engine.sqlite.connection import Connection, Rows, refusals, roll_back
from sagacity_engine.sqlite.rows import RUN_COLUMNS, StoredRun, summary

PAGE = 1_000
"""The most lines that one read takes from the list of open runs."""

PLANS_MAX = 256
"""The most plans that are kept decoded."""

_NEWEST = 2**63 - 1  # No run has a number as high.

TAIL = "SELECT number, seq, checksum FROM runs WHERE run_id = ?"
FIRST_LAYOUT = "SELECT seq, kind, at, body, checksum FROM events_1 WHERE run_id = ? ORDER BY seq"
BATCHES = "SELECT seq, body, checksum FROM batches WHERE number = ? ORDER BY seq"
LINE = f"SELECT {RUN_COLUMNS} FROM runs WHERE run_id = ?"  # noqa: S608  our constant
NUMBER = "SELECT number FROM runs WHERE run_id = ? UNION ALL SELECT number FROM archived WHERE run_id = ?"
TOTALS = "SELECT status, runs FROM totals WHERE runs > 0"
DEFINITION = "SELECT document, checksum FROM definitions WHERE hash = ?"
PLAN = "SELECT document FROM plans WHERE hash = ?"
OPEN = (
    f"SELECT number, {RUN_COLUMNS} FROM runs WHERE status = 'RUNNING' AND number > ? "  # noqa: S608  our constant
    "ORDER BY number LIMIT ?"
)


def listed(*equal: str) -> str:
    """The query for the newest runs whose columns equal what is given, below a number."""
    where = "".join(f"{column} = ? AND " for column in equal)
    return f"SELECT number, {RUN_COLUMNS} FROM runs WHERE {where}number < ? ORDER BY number DESC LIMIT ?"  # noqa: S608  our constants


class Reads:
    """A connection that reads, for any number of threads."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self._path = path
        self._connection = connection
        self._reading = threading.RLock()
        self.plan = lru_cache(maxsize=PLANS_MAX)(self._read_plan)  # By its hash.

    def close(self) -> None:
        """Ends the connection."""
        with self._reading:
            self._connection.close()

    def events(self, run_id: str) -> tuple[Event, ...]:
        """A run's events, proved whole; raises `JournalRefused` naming run and place otherwise."""
        stored = self.stored(run_id)
        return () if stored is None else tuple(stored.events(self.plan))

    def stored(self, run_id: str) -> StoredRun | None:
        """What the file has of a run, all as of one moment."""
        with self._snapshot() as ask:
            first_layout = ask(FIRST_LAYOUT, (run_id,)).fetchall()
            lines = ask(TAIL, (run_id,)).fetchall()
            if not lines:
                return StoredRun(self._path, run_id, (0, b""), first_layout, ()) if first_layout else None
            [(number, seq, held)] = lines
            batches = ask(BATCHES, (number,)).fetchall()
            return StoredRun(self._path, run_id, (seq, held), first_layout, batches)

    def definition(self, definition_hash: str) -> Saga | None:
        """The kept definition; raises `JournalRefused` when it was altered."""
        rows = self.rows(DEFINITION, definition_hash)
        if not rows:
            return None
        document, kept = rows[0]
        try:
            if kept is not None and hashlib.sha256(document.encode()).digest() != kept:
                raise ValueError("its checksum is wrong")
            saga = read_saga(json.loads(document))
            if saga.definition_hash != definition_hash:
                raise ValueError("it is another one")
        except (ValueError, SagaRefused) as problem:
            raise JournalRefused(
                f"{self._path}: definition {definition_hash[:12]} was altered ({problem}); "
                "restore the file from a copy"
            ) from None
        return saga

    def line(self, run_id: str) -> RunSummary | None:
        """One run's line."""
        rows = self.rows(LINE, run_id)
        return summary(self._path, rows[0]) if rows else None

    def newest(
        self, status: Status | None, limit: int, saga: str | None, before: str | None
    ) -> tuple[RunSummary, ...]:
        """The newest runs of a status and a saga, below the run `before`."""
        below = _NEWEST if before is None else self._number(before)
        if saga is None:
            return self._lines(
                self.rows(listed(), below, limit)
                if status is None
                else self.rows(listed("status"), status.value, below, limit)
            )
        rows: list[Any] = []
        for each in Status if status is None else (status,):  # One index serves a saga with a status.
            rows += self.rows(listed("saga", "status"), saga, each.value, below, limit)
        return self._lines(sorted(rows, key=lambda row: -row[0])[:limit])

    def open(self, limit: int | None, after: str | None) -> tuple[RunSummary, ...]:
        """Open runs, oldest first, page by page."""
        rows: list[Any] = []
        above = 0 if after is None else self._number(after)
        while limit is None or len(rows) < limit:
            size = PAGE if limit is None else min(PAGE, limit - len(rows))
            page = self.rows(OPEN, above, size)
            rows += page
            if len(page) < size:
                break
            above = page[-1][0]
        return self._lines(rows)

    def counts(self) -> Mapping[Status, int]:
        """Runs by status."""
        held = dict(self.rows(TOTALS))
        return {status: held[status.value] for status in Status if status.value in held}

    def _number(self, run_id: str) -> int:
        rows = self.rows(NUMBER, run_id, run_id)
        if not rows:
            raise JournalRefused(f"{self._path}: has no run {run_id!r} to go on from; begin again")
        return int(rows[0][0])

    def _read_plan(self, plan_hash: str) -> Plan:
        rows = self.rows(PLAN, plan_hash)
        try:
            if not rows:
                raise IllegalEvent(f"its plan {plan_hash[:12]} is missing")
            return codec.read_plan_text(codec.PlanText(plan_hash, rows[0][0]))
        except ValueError as problem:
            raise JournalRefused(f"{self._path}: {problem}; restore the file from a copy") from None

    @contextmanager
    def _snapshot(self) -> Iterator[Callable[..., Rows]]:
        """What is asked within is answered as of one moment."""
        with self._reading, refusals(self._path, "cannot be read; restore it from a copy"):
            try:
                self._connection.execute("BEGIN")
                yield self._connection.execute
            finally:
                roll_back(self._connection)

    def rows(self, query: str, *values: object) -> list[Any]:
        """What a query gives."""
        with self._reading, refusals(self._path, "cannot be read; restore it from a copy"):
            return self._connection.execute(query, values).fetchall()

    def _lines(self, rows: list[Any]) -> tuple[RunSummary, ...]:
        return tuple(summary(self._path, row[1:]) for row in rows)
