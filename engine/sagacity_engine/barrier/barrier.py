"""The barrier: what makes a participant's step safe to be called twice, late, or in vain.

An engine that cannot lose a step calls it again when it cannot tell what became of it. So a participant meets
four things: the same call twice, one after the other or at once; the undo of an action that never came; and
the action that comes after its own undo. The answer to all of them is one row per idempotency key, in the
participant's own database and in the transaction of the effect, so that row and effect are there together or
not at all:

| the call | finds | so |
|---|---|---|
| action | nothing | it acts; the row keeps its output |
| action | that it acted | it does not act; the first call's output is its answer |
| action | that it was undone or refused | `Hanging`: it must not act |
| undo | that the action acted | it acts; the action is undone from now on |
| undo | nothing | null compensation: nothing to do, and the action is refused for good |
| undo | that the action was undone or refused | nothing to do |
| probe, final | nothing | it did not happen, and is refused for good |

An undo writes in the action's row, so the two orders of a race end in that table too: whoever claims the
action's row first goes first, and the other waits. Identity is the key alone: a step that is done again under
a new key is a new action, which the undo names by `undoes`.

The block is the transaction: it opens one, refusing a connection in the middle of another, and commits it at
the end; an exception rolls it back. A barrier that *joins* leaves beginning and committing to the
participant and refuses a connection without a transaction. Either way a savepoint that must still be there
at the end of the block tells that nobody has ended the transaction in between. Errors of the database are
passed on as they are: to an engine they mean that the outcome is unknown, which is true.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, Protocol, TypeVar

from sagacity_engine.barrier.entries import Note, Once, Outcome, Undo, sealed
from sagacity_engine.barrier.refusals import BarrierMisused, Hanging, committed_apart, ended_early
from sagacity_engine.barrier.table import SCHEMA, Cursor, Row, State, Table
from sagacity_engine.errors import OutcomeUnknown
from sagacity_engine.events import Answer

KEY_CHARS_MAX = 255


class Connection(Protocol):
    """What is used of a DB-API connection."""

    @property
    def Error(self) -> Any:  # noqa: N802  DB-API's name for the base of its errors
        """The base of the errors it raises."""

    def cursor(self) -> Any:
        """A cursor."""


ConnectionT = TypeVar("ConnectionT", bound=Connection)


class Barrier(ABC, Generic[ConnectionT]):
    """The barrier of one kind of database. It keeps nothing in memory: one serves all threads.

    Every method takes the connection on which the participant acts, opens a transaction on it and commits it;
    with `joins=True` it takes part in the transaction that is open, and the participant commits. `clock`
    gives the seconds since the epoch by which rows are pruned.
    """

    def __init__(self, *, joins: bool = False, clock: Callable[[], float] = time.time) -> None:
        self._joins = joins
        self._clock = clock

    @contextmanager
    def once(self, connection: ConnectionT, *, key: str) -> Iterator[Once]:
        """The block of an action. Ask `entry.first` and act only then; leave the reply in `entry.output`.

        Raises `Hanging` when the action comes after its undo, `BarrierMisused` for what is wrong in the
        calling code; nothing is written then.
        """
        _require_key("key", key)
        with self._block(connection) as table:
            row = table.claim(key, State.ACTED)
            if row.state is not State.ACTED:
                raise Hanging(key)
            note = Note(key, acts=row.fresh, fresh=row.fresh, output=row.value)
            yield Once(note)
            output = sealed(note)
            self._require_unbroken(connection, table)
            if row.fresh:
                table.write(row, State.ACTED, output)

    @contextmanager
    def undo(self, connection: ConnectionT, *, key: str, undoes: str) -> Iterator[Undo]:
        """The block of the undo of the action whose key is `undoes`. Ask `entry.owed` and act only then.

        However it goes, that action will not act any more. Raises `BarrierMisused` for what is wrong in the
        calling code; nothing is written then.
        """
        _require_key("key", key)
        _require_key("undoes", undoes)
        with self._block(connection) as table:
            # The action's row always comes first, so that two calls never wait for each other.
            action = table.claim(undoes, State.REFUSED)
            owed = action.state is State.ACTED
            state = State.ACTED if owed else State.NOTHING
            row = table.claim(key, state, undoes=undoes)
            if owed:
                table.write(action, State.UNDONE, action.output, unfinished=True)
            note = Note(key, acts=owed, fresh=owed or row.fresh, output=None if owed else row.value)
            yield Undo(note, action.value)
            output = sealed(note)
            self._require_unbroken(connection, table)
            if note.fresh:
                table.write(row, state, output)
            if owed or action.fresh:
                table.write(action, State.UNDONE if owed else State.REFUSED, action.output)

    def outcome(self, connection: ConnectionT, *, key: str, final: bool = False) -> Outcome:
        """What became of the action whose key this is.

        Without `final` it only looks, and while nothing has happened the answer is `CANNOT_TELL`: a call may
        still be on its way. With `final` it waits for a call in flight, and "did not happen" is made true
        for good: a later call is refused. Raises `BarrierMisused` for an undo's key.
        """
        _require_key("key", key)
        try:
            with self._block(connection) as table:
                if not final:
                    return _told(table.read(key))
                row = table.claim(key, State.REFUSED)
                if row.fresh:
                    table.write(row, State.REFUSED, None)
                return _told(row)
        except OutcomeUnknown as problem:
            return Outcome(Answer.CANNOT_TELL, reason=str(problem))

    def prune(self, connection: ConnectionT, *, before: float, limit: int = 10_000) -> int:
        """Forgets up to `limit` keys that were last written before that time, oldest first; returns how many.

        A key that is forgotten is new again: its action may act twice, its undo finds nothing to take back,
        its late action acts. So `before` has to lie further back than any run, retry or message can last.
        Rows that need a person are kept. Raises `BarrierMisused` for a time that is not in the past.
        """
        _require_past(before, self._clock())
        if limit < 1:
            raise BarrierMisused(f"limit = {limit!r} forgets nothing; give at least 1")
        with self._block(connection) as table:
            return table.execute(self._prune_statement, before, limit).rowcount

    def create(self, connection: ConnectionT) -> None:
        """Creates the table `saga_barrier` where it is not there yet."""
        with self._block(connection) as table:
            for statement in (*self._create_before, *SCHEMA):
                table.execute(statement)

    _mark = "?"
    """The database's sign for a parameter."""
    _create_before: tuple[str, ...] = ()
    """What comes before the table's creation."""
    _prune_statement: str

    @abstractmethod
    def _begin(self, connection: ConnectionT) -> Cursor:
        """A cursor in a transaction, opened now or found open; `BarrierMisused` where that cannot be."""

    @abstractmethod
    def _commit(self, connection: ConnectionT) -> None:
        """Commits."""

    @abstractmethod
    def _rollback(self, connection: ConnectionT) -> None:
        """Rolls back."""

    @abstractmethod
    def _lacks_place(self, problem: Exception) -> bool:
        """Whether the database complains that there is no transaction or no such savepoint."""

    @contextmanager
    def _block(self, connection: ConnectionT) -> Iterator[Table]:
        cursor = self._begin(connection)
        try:
            if self._joins:
                self._mark_place(connection, cursor, "SAVEPOINT saga_barrier", committed_apart)
            self._mark_place(connection, cursor, "SAVEPOINT saga_barrier_block", committed_apart)
            yield Table(cursor, self._mark, self._clock())
            if self._joins:
                cursor.execute("RELEASE SAVEPOINT saga_barrier")
            else:
                self._commit(connection)
        except BaseException:
            self._abandon(connection, cursor)
            raise

    def _require_unbroken(self, connection: ConnectionT, table: Table) -> None:
        """What the block did is still uncommitted: asked before anything says that the block has ended."""
        self._mark_place(connection, table.cursor, "RELEASE SAVEPOINT saga_barrier_block", ended_early)

    def _mark_place(
        self, connection: ConnectionT, cursor: Cursor, statement: str, refusal: Callable[[], BarrierMisused]
    ) -> None:
        try:
            cursor.execute(statement)
        except connection.Error as problem:
            if self._lacks_place(problem):
                raise refusal() from problem
            raise

    def _abandon(self, connection: ConnectionT, cursor: Cursor) -> None:
        # What fails here says that the transaction is gone already; the first error is the one to know.
        with suppress(connection.Error):
            if self._joins:
                cursor.execute("ROLLBACK TO SAVEPOINT saga_barrier")
                cursor.execute("RELEASE SAVEPOINT saga_barrier")
            else:
                self._rollback(connection)


def _told(row: Row | None) -> Outcome:
    if row is None:
        return Outcome(Answer.CANNOT_TELL, reason="it has not acted; a call that is on its way still may")
    if row.torn:
        return Outcome(Answer.CANNOT_TELL, reason="its block was committed before it ended; look at the data")
    match row.state:
        case State.ACTED:
            return Outcome(Answer.HAPPENED, row.value, "it acted")
        case State.UNDONE:
            return Outcome(Answer.DID_NOT_HAPPEN, reason="it acted and was undone; it will not act again")
        case _:
            return Outcome(Answer.DID_NOT_HAPPEN, reason="it has not acted and will not")


def _require_key(name: str, key: object) -> None:
    if not (isinstance(key, str) and key.strip() and key.isprintable() and len(key) <= KEY_CHARS_MAX):
        shown = repr(key) if len(repr(key)) <= 80 else f"{repr(key)[:77]}..."
        raise BarrierMisused(
            f"{name} = {shown} is no idempotency key; give a text of 1 to {KEY_CHARS_MAX} printable "
            "characters, such as `call.idempotency_key`"
        )


def _require_past(before: object, now: float) -> None:
    if not (isinstance(before, int | float) and before <= now):
        raise BarrierMisused(
            f"before = {before!r} is no time in the past; give seconds since the epoch, at most {now:.0f}"
        )
