"""The table `saga_barrier`: one row per key, and the three statements that both databases share.

| column | holds |
|---|---|
| `key` | an idempotency key, of an action or of an undo |
| `undoes` | in an undo's row the action's key, else null; a key is never both |
| `state` | what is true for good once the row is committed |
| `output` | the reply of the call that acted, as JSON |
| `seen` | how many calls have met the row; 1 for the one that made it |
| `unfinished` | '' from the start of a block to its end, then null |
| `at` | when the row last changed, in seconds since the epoch |

Claiming a key is one statement that either makes its row or locks and returns the one that is there. A call
that comes while another holds the key waits in it until that one has committed or rolled back.

`unfinished` refers to a key that no row can have, and the reference is checked when the transaction commits.
So a commit in the middle of a block fails, wherever references are enforced (PostgreSQL; SQLite with
`PRAGMA foreign_keys = ON`). Elsewhere it leaves a mark by which every later call knows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from sagacity_engine.barrier.refusals import BarrierMisused, torn

SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS saga_barrier (
        key TEXT PRIMARY KEY CHECK (key <> ''),
        undoes TEXT,
        state TEXT NOT NULL,
        output TEXT,
        seen BIGINT NOT NULL,
        unfinished TEXT,
        at DOUBLE PRECISION NOT NULL,
        CONSTRAINT saga_barrier_was_committed_inside_its_block FOREIGN KEY (unfinished)
            REFERENCES saga_barrier (key) DEFERRABLE INITIALLY DEFERRED
    )
    """,
    "CREATE INDEX IF NOT EXISTS saga_barrier_by_age ON saga_barrier (at)",
    """
    CREATE INDEX IF NOT EXISTS saga_barrier_unfinished
        ON saga_barrier (unfinished) WHERE unfinished IS NOT NULL
    """,
)
_CLAIM = """
    INSERT INTO saga_barrier (key, undoes, state, seen, unfinished, at)
    VALUES (?, ?, ?, 1, '', ?)
    ON CONFLICT (key) DO UPDATE SET seen = saga_barrier.seen + 1
    RETURNING undoes, state, output, unfinished, seen
"""
_READ = "SELECT undoes, state, output, unfinished, seen FROM saga_barrier WHERE key = ?"
_WRITE = "UPDATE saga_barrier SET state = ?, output = ?, unfinished = ?, at = ? WHERE key = ?"


class State(StrEnum):
    """What a committed row says."""

    ACTED = "acted"  # This call's effect was committed together with the row.
    UNDONE = "undone"  # The action acted, and its undo has acted since.
    REFUSED = "refused"  # The action has not acted and never will.
    NOTHING = "nothing"  # The undo found nothing to take back.


class Cursor(Protocol):
    """What is used of a DB-API cursor."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed."""
        ...

    def execute(self, operation: Any, parameters: Any = ..., /) -> Any:
        """Run one statement."""

    def fetchall(self) -> Sequence[Any]:
        """All rows of the last statement."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """A row. `fresh` if claiming it made it, `torn` if it was committed before its block had ended."""

    key: str
    undoes: str | None
    state: State
    output: str | None
    torn: bool
    fresh: bool

    @property
    def value(self) -> Any:
        """The stored output."""
        return None if self.output is None else json.loads(self.output)


class Table:
    """The table within one open transaction; `mark` is the database's sign for a parameter."""

    def __init__(self, cursor: Cursor, mark: str, now: float) -> None:
        self.cursor = cursor
        self._mark = mark
        self._now = now

    def execute(self, statement: str, *values: object) -> Cursor:
        """Runs one statement, written with `?` for its parameters."""
        self.cursor.execute(statement.replace("?", self._mark), values)
        return self.cursor

    def claim(self, key: str, state: State, *, undoes: str | None = None) -> Row:
        """Makes the key's row, or waits for it and locks it: it is ours until the transaction ends.

        Raises `BarrierMisused` if the key is known for another direction or another action, `OutcomeUnknown`
        if its block was committed before it ended.
        """
        made = self.execute(_CLAIM, key, undoes, state.value, self._now).fetchall()
        row = _row(key, made[0], claimed=True)
        if row.undoes != undoes:
            raise _taken(row)
        if row.torn:
            raise torn(key)
        return row

    def read(self, key: str) -> Row | None:
        """The action's row as last committed, without waiting. Raises `BarrierMisused` for an undo's key."""
        found = self.execute(_READ, key).fetchall()
        row = _row(key, found[0], claimed=False) if found else None
        if row is not None and row.undoes is not None:
            raise _taken(row)
        return row

    def write(self, row: Row, state: State, output: str | None, *, unfinished: bool = False) -> None:
        """Sets what a claimed row says."""
        self.execute(_WRITE, state.value, output, "" if unfinished else None, self._now, row.key)


def _row(key: str, values: Sequence[Any], *, claimed: bool) -> Row:
    undoes, state, output, unfinished, seen = values
    fresh = claimed and seen == 1
    torn = unfinished is not None and not fresh
    return Row(key, undoes, State(state), output, torn, fresh)


def _taken(row: Row) -> BarrierMisused:
    whose = "an action" if row.undoes is None else f"the undo of {row.undoes!r}"
    return BarrierMisused(
        f"key {row.key!r} belongs to {whose}; every action and every undo needs a key of its own "
        "(`call.idempotency_key` is one)"
    )
