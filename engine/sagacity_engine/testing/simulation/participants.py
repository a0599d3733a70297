"""What simulated participants really do: effects, undos and answers, in a ledger that no engine sees.

Three sorts exist. A *keyed* participant acts once per idempotency key, and refuses an action that comes after
its undo, or after it said that the action did not happen. A participant behind the *barrier* is kept so by
the library's own barrier on an SQLite database. A *naive* one looks at no key. All of them tell the truth:
what they confirm has happened, what they refuse has not.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any

from sagacity_engine.barrier import Hanging, SqliteBarrier
from sagacity_engine.errors import FailureClass, StepError
from sagacity_engine.events import Answer
from sagacity_engine.handlers import Call, Found
from sagacity_engine.testing.effects import Effect
from sagacity_engine.testing.simulation.witness import Witness


class Sort(Enum):
    """How a participant treats keys."""

    KEYED = "keyed"  # It remembers the keys itself.
    BARRIER = "barrier"  # The library's barrier does it.
    NAIVE = "naive"  # It acts whenever it is called.


class Participants:
    """All participants of a simulation. `clock` gives seconds; `intents` says how many attempts at a run's
    step are on their way at most.

    `ledger` holds, by run id, what took effect. An action of a naive participant that comes after its own
    undo, which nobody promises to prevent, is a stray and is left out.
    """

    def __init__(
        self,
        witness: Witness,
        clock: Callable[[], float],
        intents: Callable[[str, str], int],
    ) -> None:
        self.ledger: dict[str, list[Effect]] = {}
        self._mark = witness.mark
        self._intents = intents
        self._standing: dict[str, Any] = {}  # What actions left that stand, by key.
        self._gone: set[str] = set()  # Actions undone, which may not act any more, by key.
        self._denied: dict[str, int] = {}  # Up to which attempt an action was said not to have happened.
        self._undone: set[str] = set()  # Undos that have been carried out, by their own key.
        self._residue: set[str] = set()  # Actions that left something behind though they were refused.
        self._times: Counter[str] = Counter()
        self._barrier = SqliteBarrier(clock=clock)
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Closes the barrier's database."""
        if self._connection is not None:
            self._connection.close()

    def act(self, call: Call, sort: Sort) -> Any:
        """The action arrives. Returns its output, or raises `StepError` when it must not act any more."""
        if sort is Sort.BARRIER:
            return self._act_behind_barrier(call)
        key = call.idempotency_key
        if call.attempt <= self._denied.get(key, 0):
            self._mark(call.run_id, "denied action came after all and was refused")
            raise StepError("TooLate", "it was said not to have happened", FailureClass.PERMANENT)
        if sort is Sort.NAIVE and key in self._gone:
            self._mark(call.run_id, "late effect after undo at a participant without a barrier")
            return {"stray": True}
        if key in self._gone:
            self._mark(call.run_id, "late effect after undo, stopped by its key")
            raise Hanging(key)
        if sort is Sort.KEYED and key in self._standing:
            self._mark(call.run_id, "repeated key took no second effect")
            return self._standing[key]
        return self._stands(call, honours=sort is Sort.KEYED)

    def undo(self, call: Call, sort: Sort) -> None:
        """The compensation arrives."""
        if sort is Sort.BARRIER:
            self._undo_behind_barrier(call)
            return
        owed = call.undoes in self._standing or call.undoes in self._residue
        self._gone.add(call.undoes)
        self._standing.pop(call.undoes, None)
        self._residue.discard(call.undoes)
        self._note_undo(call, owed=owed)

    def answer(self, call: Call, sort: Sort) -> Found:
        """The probe arrives: a true answer, which stays true."""
        if sort is Sort.BARRIER:
            return self._barrier.outcome(self._database(), key=call.undoes, final=True)
        if call.undoes in self._standing:
            return Found(Answer.HAPPENED, self._standing[call.undoes])
        self._denied[call.undoes] = self._intents(call.run_id, call.step)
        return Found(Answer.DID_NOT_HAPPEN)

    def refuse(self, call: Call) -> None:
        """The action is refused, and leaves something behind that its compensation clears away."""
        self._residue.add(call.idempotency_key)

    def take_back_by_hand(self, key: str) -> None:
        """A person sees to it that the action has no effect, now or later."""
        self._standing.pop(key, None)
        self._gone.add(key)
        with self._barrier.undo(self._database(), key=f"{key}/by-hand", undoes=key) as entry:
            entry.owed  # noqa: B018  whether it acted or not, it will not act any more

    def _stands(self, call: Call, *, honours: bool) -> Any:
        key = call.idempotency_key
        self._times[key] += 1
        output = self._standing[key] = {"by": call.step, "number": self._times[key]}
        self._enter(call, honours=honours)
        return output

    def _note_undo(self, call: Call, *, owed: bool) -> None:
        if not owed and call.idempotency_key not in self._undone:
            self._mark(call.run_id, "undo found nothing to take back")
        if owed and call.idempotency_key not in self._undone:
            self._enter(call, honours=True)
        self._undone.add(call.idempotency_key)

    def _act_behind_barrier(self, call: Call) -> Any:
        try:
            with self._barrier.once(self._database(), key=call.idempotency_key) as entry:
                if entry.first:
                    entry.output = {"by": call.step, "number": 1}
                    self._enter(call, honours=True)
                else:
                    self._mark(call.run_id, "repeated key took no second effect")
                return entry.output
        except Hanging:
            self._mark(call.run_id, "late effect after undo, stopped by the barrier")
            raise

    def _undo_behind_barrier(self, call: Call) -> None:
        undo = self._barrier.undo(self._database(), key=call.idempotency_key, undoes=call.undoes)
        with undo as entry:
            owed = entry.owed or call.undoes in self._residue
            self._residue.discard(call.undoes)
            self._note_undo(call, owed=owed)

    def _enter(self, call: Call, *, honours: bool) -> None:
        self.ledger.setdefault(call.run_id, []).append(
            Effect(
                step=call.step,
                direction=call.direction,
                attempt=call.attempt,
                key=call.idempotency_key,
                honours_keys=honours,
            )
        )

    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(":memory:")
            self._barrier.create(self._connection)
        return self._connection
