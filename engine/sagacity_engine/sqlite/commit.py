"""One commit: the batches of many runs in one statement, and what is done when the file refuses it.

The usual case looks at nothing but the memory of where each open run stands, and trusts the file to refuse a
run that exists already or a writer that was fenced. Only then, and after any other error, the file is asked
what it has: batches that conflict are refused alone and the others are tried once more. A batch that is
repeated after a failure is recognised if it had reached the disk after all.

Every call of SQLite gives Python's lock away, and a busy event loop may keep it for 5 ms before the writer
has it back. That is why a commit is one statement, however many batches it holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sagacity_engine.batch import JournalConflict
from sagacity_engine.errors import JournalRefused
from sagacity_engine.sqlite.connection import Connection, roll_back
from sagacity_engine.sqlite.lease import Lease
from sagacity_engine.sqlite.rows import Record, checksum, no_tail
from sagacity_engine.sqlite.schema import APPENDING

ROWS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""The numbers of rows for which there is a statement; one with too many is filled up with empty rows."""

COMMIT_MAX = ROWS[-1]
"""The most batches in one commit."""

PLANS_KNOWN_MAX = 10_000
"""The most plans that are remembered as being in the file."""

Tail = tuple[int, int, bytes]
"""A run's number, and the place and the checksum of its last event."""

Outcome = JournalRefused | None


class Commits:
    """Writes commits through one connection, in one epoch. Not for two threads at a time."""

    def __init__(self, path: Path, connection: Connection, lease: Lease) -> None:
        self.count = 0
        self._path = path
        self._connection = connection
        self._lease = lease
        self._tails: dict[str, Tail] = {}  # Of open runs.
        self._plans: set[str] = set()  # Known to be in the file.
        (last,) = connection.execute("SELECT ifnull(max(number), 0) FROM runs").fetchone()
        self._number = int(last)

    def prepare(self, records: Sequence[Record]) -> Commit:
        """What `write` is to write; nothing may be written between the two."""
        stored = self._stored({record.run_id for record in records if record.started is None})
        return Commit(self, records, stored)

    def write(self, commit: Commit) -> list[Outcome]:
        """What became of each batch; raises when none was kept and none can be blamed."""
        try:
            self._insert(commit)
        except Exception:
            # Whether the commit arrived is unknown now: the disk is asked before anything is added.
            self._tails.clear()
            roll_back(self._connection)
            self._lease.require(self._connection)
            run_ids = {record.run_id for record in commit.records}
            again = Commit(self, commit.records, self._stored(run_ids), self._archived(run_ids))
            if len(again.rows) == len(commit.rows):
                raise
            self._insert(again)
            commit = again
        self.count += 1
        self._tails.update(commit.tails)
        for run_id in commit.ended:
            self._tails.pop(run_id, None)
        return commit.outcomes

    def tail(self, run_id: str) -> Tail | None:
        """Where an open run stands, as far as it is remembered."""
        return self._tails.get(run_id)

    def new_number(self) -> int:
        """The number of a run that starts."""
        self._number += 1
        return self._number

    def conflict(self, record: Record, tail: Tail | None) -> JournalConflict | None:
        """Why a batch cannot be kept; None when exactly it is on the disk already."""
        why, last = "there is no such run", 0
        if self._archived([record.run_id]):
            why = "the run exists already, and is archived"
        elif tail is not None:
            number, last, _ = tail
            query = "SELECT body FROM batches WHERE number = ? AND seq = ?"
            stored = self._connection.execute(query, (number, record.seq)).fetchone()
            if stored is not None and stored[0] == record.body:
                return None
            why = "the run exists already, or another writer has been here"
        return JournalConflict(
            f"{self._path}: run {record.run_id!r}: event {record.seq} does not follow {last}; {why}"
        )

    @property
    def epoch(self) -> int:
        """The epoch that the file must still be in."""
        return self._lease.epoch

    def _insert(self, commit: Commit) -> None:
        rows = commit.rows
        if not rows:
            return
        self._add_plans(commit.records)
        size = next(size for size in ROWS if size >= len(rows))
        values = [value for row in rows for value in row]
        values.extend([None] * (len(APPENDING) * (size - len(rows))))
        self._connection.execute(STATEMENTS[size], values)

    def _add_plans(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.plan is not None and record.plan.hash not in self._plans:
                self._connection.execute(
                    "INSERT OR IGNORE INTO plans VALUES (?, ?)", (record.plan.hash, record.plan.document)
                )
                if len(self._plans) >= PLANS_KNOWN_MAX:
                    self._plans.clear()
                self._plans.add(record.plan.hash)

    def _stored(self, run_ids: Iterable[str]) -> dict[str, Tail]:
        """Where those of the runs that are not remembered stand in the file."""
        rows = self._asked(TAILS, [run_id for run_id in run_ids if run_id not in self._tails])
        return {run_id: (number, seq, bytes.fromhex(held)) for run_id, number, seq, held in rows}

    def _archived(self, run_ids: Iterable[str]) -> frozenset[str]:
        return frozenset(self._asked(ARCHIVED, list(run_ids)))

    def _asked(self, query: str, run_ids: list[str]) -> list[Any]:
        if not run_ids:
            return []
        (found,) = self._connection.execute(query, (json.dumps(run_ids),)).fetchone()
        rows: list[Any] = json.loads(found)
        return rows


class Commit:
    """The rows of the batches that follow what is known, and the outcomes of all."""

    def __init__(
        self,
        commits: Commits,
        records: Sequence[Record],
        stored: Mapping[str, Tail],
        archived: frozenset[str] = frozenset(),
    ) -> None:
        self.records = records
        self.rows: list[tuple[Any, ...]] = []
        self.tails: dict[str, Tail] = {}
        self.ended: set[str] = set()
        self._commits = commits
        self._stored = stored
        self._archived = archived
        self.outcomes: list[Outcome] = [self._add(record) for record in records]

    def _add(self, record: Record) -> Outcome:
        run_id, changed = record.run_id, record.changed
        tail = self.tails.get(run_id) or self._commits.tail(run_id) or self._stored.get(run_id)
        if tail is None and record.started is not None and run_id not in self._archived:
            tail = (self._commits.new_number(), 0, no_tail(run_id))
        if tail is None or record.seq != tail[1] + 1:
            return self._commits.conflict(record, tail)
        number, _, held = tail
        held = checksum(held, record.seq, record.body)
        row = (self._commits.epoch, number, record.seq, record.body, held, record.last)
        self.rows.append(row + (record.started or _NOTHING) + (changed or _NOTHING))
        self.tails[run_id] = (number, record.last, held)
        if changed is not None:
            (self.ended.discard if changed[1] is None else self.ended.add)(run_id)
        return None


_NOTHING = (None, None, None, None)


def _statement(size: int) -> str:
    row = "(" + ",".join("?" * len(APPENDING)) + ")"
    rows = ",".join([row] * size)
    return f"INSERT INTO appending SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL"  # noqa: S608  only marks


STATEMENTS = {size: _statement(size) for size in ROWS}

TAILS = """
SELECT json_group_array(json_array(run_id, number, seq, hex(checksum))) FROM runs
WHERE run_id IN (SELECT value FROM json_each(?))
"""

ARCHIVED = """
SELECT json_group_array(run_id) FROM archived WHERE run_id IN (SELECT value FROM json_each(?))
"""
