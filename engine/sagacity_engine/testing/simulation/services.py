"""The network between an engine and its participants, as functions behind steps.

What a participant does and what its caller learns are two things here. An action may arrive late, twice or
never, whatever becomes of the call; the caller may get the truth, no answer, a refusal, an exception that is
not ours, or an output that no journal keeps. The functions are `async`, plain, or plain ones that hand out
a coroutine. An effect on its way lands although the engine that called is dead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from random import Random
from typing import Any

from sagacity_engine.errors import StepError
from sagacity_engine.events import Direction
from sagacity_engine.handlers import Action, BoundSaga, Call, Handler, bind
from sagacity_engine.saga import Saga, Step
from sagacity_engine.testing.simulation.engines import Engines
from sagacity_engine.testing.simulation.participants import Participants, Sort
from sagacity_engine.testing.simulation.replies import Answer, Replies
from sagacity_engine.testing.simulation.virtual_loop import VirtualLoop, current_process
from sagacity_engine.testing.simulation.witness import Witness


class SimServices:
    """Makes functions for sagas."""

    def __init__(
        self, loop: VirtualLoop, rng: Random, replies: Replies, participants: Participants, witness: Witness
    ) -> None:
        self.engines: Engines | None = None  # Who calls, once they are there.
        self._loop = loop
        self._rng = rng
        self._replies = replies
        self._participants = participants
        self._witness = witness
        self._context = copy_context()
        self._replied: dict[tuple[str, str, int], bool] = {}  # Whether the first of an action's calls did.

    def bound(self, saga: Saga) -> BoundSaga:
        """The saga and those in it, with a function for every step that calls one."""
        handlers: dict[str, Handler] = {}
        inner: dict[str, BoundSaga] = {}
        for step in saga.steps:
            if step.sub_saga is not None:
                inner[step.name] = self.bound(step.sub_saga.saga)
            elif step.approval is None:
                handlers[step.name] = self._handler(step)
        return bind(saga, handlers, inner)

    def _handler(self, step: Step) -> Handler:
        sorts = (Sort.KEYED, Sort.KEYED, Sort.BARRIER) if step.idempotent else (*Sort,)
        sort, replies = self._rng.choice(sorts), self._replies
        undo = probe = None
        action = self._function(step, lambda call: replies.forward(step, call, sort), self._acting(sort))
        if step.compensation is not None:
            undo = self._function(step, lambda call: replies.back(step, call), self._undoing(sort))
        if step.probe is not None:
            probe = self._function(step, lambda _: replies.probe(step), self._asking(sort))
        return Handler(action, undo, probe)

    def _acting(self, sort: Sort) -> Action:
        return lambda call: self._participants.act(call, sort)

    def _undoing(self, sort: Sort) -> Action:
        return lambda call: self._participants.undo(call, sort)

    def _asking(self, sort: Sort) -> Action:
        return lambda call: self._participants.answer(call, sort)

    def _function(self, step: Step, answer: Callable[[Call], Answer], reach: Action) -> Action:
        async def call_async(call: Call) -> Any:
            return await self._carried(call, answer(call), reach, step)

        def call_plain(call: Call) -> Any:
            return self._blocked(call, answer(call), reach, step)

        def call_handing_out(call: Call) -> Any:
            return call_async(call)

        return self._rng.choice((call_async, call_async, call_async, call_plain, call_handing_out))

    async def _carried(self, call: Call, way: Answer, reach: Action, step: Step) -> Any:
        """An asynchronous call: the participant's part goes on whatever becomes of this one."""
        parcel = self._send(call, way, reach, step)
        first = self._is_first(call)
        if way.replies_s:
            await self._wait(call, way, step)
        output = parcel.opened(way)
        self._note_hedge(call, first=first)
        return output

    def _is_first(self, call: Call) -> bool:
        which = (call.run_id, call.step, call.attempt)
        first = call.direction is Direction.FORWARD and which not in self._replied
        if first:
            self._replied[which] = False
        return first

    def _note_hedge(self, call: Call, *, first: bool) -> None:
        which = (call.run_id, call.step, call.attempt)
        if first:
            self._replied[which] = True
        elif call.direction is Direction.FORWARD and not self._replied[which]:
            self._witness.mark(call.run_id, "hedge won")

    def _blocked(self, call: Call, way: Answer, reach: Action, step: Step) -> Any:
        """A plain call: what it does, it does at its beginning, unless it comes too late for its caller."""
        if way.arrives_s is not None and way.arrives_s <= way.replies_s:
            way.arrives_s = 0.0
        parcel = self._send(call, way, reach, step)
        self._loop.block(way.replies_s)
        return parcel.opened(way)

    async def _wait(self, call: Call, way: Answer, step: Step) -> None:
        beat_s = step.heartbeat_timeout_s
        if not way.beats or beat_s is None:
            await asyncio.sleep(way.replies_s)
            return
        left_s = way.replies_s
        while left_s > 0:
            await asyncio.sleep(min(left_s, beat_s / 2))
            left_s -= beat_s / 2
            call.heartbeat()

    def _send(self, call: Call, way: Answer, reach: Action, step: Step) -> _Parcel:
        self._look_at(call, step)
        parcel = _Parcel(call, reach)
        if way.arrives_s == 0.0:
            parcel.arrive()
        elif way.arrives_s is not None:
            self._loop.call_later(way.arrives_s, parcel.arrive, context=self._context)
        if way.again_s is not None:
            self._loop.call_later(way.again_s, _Parcel(call, reach).arrive, context=self._context)
        return parcel

    def _look_at(self, call: Call, step: Step) -> None:
        """Write-ahead: no call is made before its intent is durable."""
        if self.engines is None:
            return
        written = self.engines.disk.intents.get((call.run_id, call.step, call.direction), 0)
        if written < call.attempt:
            which = f"{call.direction.value}, attempt {call.attempt}"
            self._witness.accident(f"run {call.run_id}: I7 {call.step!r} was called ({which}) unwritten")
        if self.engines.is_stale(current_process()):
            self._witness.mark(call.run_id, "call of an engine that had been taken over")
        if call.direction is Direction.UNDO and self.engines.breaker_is_open(step):
            self._witness.mark(call.run_id, "undo made though the breaker was open")


class _Parcel:
    """One delivery, and what came of it."""

    __slots__ = ("_call", "_output", "_problem", "_reach")

    def __init__(self, call: Call, reach: Action) -> None:
        self._call = call
        self._reach = reach
        self._output: Any = None
        self._problem: StepError | None = None

    def arrive(self) -> None:
        """The participant acts, or refuses."""
        try:
            self._output = self._reach(self._call)
        except StepError as refusal:
            self._problem = refusal

    def opened(self, way: Answer) -> Any:
        """What the caller gets."""
        if way.problem is not None:
            raise way.problem
        if self._problem is not None:
            raise self._problem
        return self._output if way.disguise is None else way.disguise(self._output)
