"""Honest participants whose books no crash of the engine touches.

What they confirm has happened, what they refuse has not; where they lose a reply, it may have happened. Those
that honour keys act once per key. An effect lands in the middle of a call, so that a call which a crash cuts
off has landed or not.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from sagacity_engine.errors import FailureClass, OutcomeUnknown, StepError
from sagacity_engine.events import Answer, Direction
from sagacity_engine.handlers import Call, Found
from sagacity_engine.testing import Effect

Function = Callable[[Call], Any]


class Participants:
    """All participants of one story; `ledger` holds, by run id, what took effect."""

    def __init__(self) -> None:
        self.ledger: defaultdict[str, list[Effect]] = defaultdict(list)
        self.broken: set[str] = set()  # Steps whose compensations are refused until somebody mends them.
        self._calls: Counter[str] = Counter()
        self._acted: set[str] = set()

    def does(
        self,
        *,
        honours: bool = True,
        lands_s: float = 0.5,
        replies_s: float = 0.5,
        refuses: bool = False,
        fails: int = 0,
        loses: int = 0,
    ) -> Function:
        """An action. `fails` of its first calls fail without effect, `loses` of them lose their reply."""

        async def act(call: Call) -> dict[str, str]:
            self._calls[call.idempotency_key] += 1
            number = self._calls[call.idempotency_key]
            await asyncio.sleep(lands_s)
            if refuses:
                raise StepError("Refused", "not today", FailureClass.PERMANENT)
            if number <= fails:
                raise StepError("Down", "come again", FailureClass.TRANSIENT)
            self._enter(call, honours=honours)
            await asyncio.sleep(replies_s)
            if number <= loses:
                raise OutcomeUnknown("the reply was lost")
            return {"of": f"{call.step}/{call.again}"}

        return act

    def slow_once(self) -> Function:
        """An action whose first call of a key takes its time, and whose second is quick."""

        async def act(call: Call) -> None:
            self._calls[call.idempotency_key] += 1
            await asyncio.sleep(3.0 if self._calls[call.idempotency_key] == 1 else 0.2)
            self._enter(call, honours=True)
            await asyncio.sleep(0.2)

        return act

    def undoes(self, *, lands_s: float = 0.5) -> Function:
        """A compensation: nothing to undo is success."""

        async def undo(call: Call) -> None:
            await asyncio.sleep(lands_s)
            if call.step in self.broken:
                raise StepError("Broken", "somebody must mend it", FailureClass.PERMANENT)
            self._enter(call, honours=True)
            await asyncio.sleep(0.1)

        return undo

    def knows(self) -> Function:
        """A probe that tells what the books hold."""

        async def probe(call: Call) -> Found:
            await asyncio.sleep(0.1)
            acted = call.undoes in self._acted
            return Found(
                Answer.HAPPENED if acted else Answer.DID_NOT_HAPPEN, {"of": call.step} if acted else None
            )

        return probe

    def _enter(self, call: Call, *, honours: bool) -> None:
        honours = honours or call.direction is Direction.UNDO
        if honours and call.idempotency_key in self._acted:
            return
        self._acted.add(call.idempotency_key)
        self.ledger[call.run_id].append(
            Effect(
                step=call.step,
                direction=call.direction,
                attempt=call.attempt,
                key=call.idempotency_key,
                honours_keys=honours,
            )
        )
