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
from dataclasses import dataclass
from random import Random
from typing import Any

from sagacity_engine.errors import FailureClass, OutcomeUnknown, StepError, TerminalError
from sagacity_engine.events import Direction
from sagacity_engine.handlers import Action, BoundSaga, Call, Handler, bind
from sagacity_engine.saga import Saga, Step
from sagacity_engine.testing.sim_engines import Engines
from sagacity_engine.testing.sim_participants import Participants, Sort
from sagacity_engine.testing.sim_weather import Ill, Weather
from sagacity_engine.testing.sim_witness import Witness
from sagacity_engine.testing.virtual_loop import VirtualLoop, current_process

FOREVER_S = 10_000.0
"""Longer than any timeout of a simulated saga."""


@dataclass(slots=True)
class Answer:
    """How one call goes: when it arrives, if it does, and what its caller learns, and when."""

    arrives_s: float | None = 0.0
    replies_s: float = 0.0
    problem: BaseException | None = None
    again_s: float | None = None  # When it arrives a second time.
    disguise: Callable[[Any], Any] | None = None  # What becomes of the output on its way.
    beats: bool = False


class SimServices:
    """Makes functions for sagas."""

    def __init__(
        self,
        loop: VirtualLoop,
        rng: Random,
        weather: Weather,
        participants: Participants,
        witness: Witness,
    ) -> None:
        self.weather = weather
        self.stuck: set[tuple[str, str]] = set()  # Undos that fail until they are mended, by run and step.
        self.engines: Engines | None = None  # Who calls, once they are there.
        self._loop = loop
        self._rng = rng
        self._participants = participants
        self._witness = witness
        self._fault = witness.fault
        self._mark = witness.mark
        self._context = copy_context()
        self._seen: set[tuple[str, str]] = set()
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

    def mend(self, run_id: str, step: str) -> None:
        """A person has seen to it that the step's undo can work."""
        self.stuck.discard((run_id, step))

    def _handler(self, step: Step) -> Handler:
        sorts = (Sort.KEYED, Sort.KEYED, Sort.BARRIER) if step.idempotent else (*Sort,)
        sort = self._rng.choice(sorts)
        return Handler(
            action=self._function(step, lambda call: self._forward(step, call, sort), self._acting(sort)),
            compensation=None
            if step.compensation is None
            else self._function(step, lambda call: self._back(step, call), self._undoing(sort)),
            probe=None
            if step.probe is None
            else self._function(step, lambda _: self._probing(step), self._asking(sort)),
        )

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
            return self._blocked(call, answer(call), reach)

        def call_handing_out(call: Call) -> Any:
            return call_async(call)

        return self._rng.choice((call_async, call_async, call_async, call_plain, call_handing_out))

    async def _carried(self, call: Call, way: Answer, reach: Action, step: Step) -> Any:
        """An asynchronous call: the participant's part goes on whatever becomes of this one."""
        parcel = self._send(call, way, reach)
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
            self._mark(call.run_id, "hedge won")

    def _blocked(self, call: Call, way: Answer, reach: Action) -> Any:
        """A plain call: what it does, it does at its beginning, unless it comes too late for its caller."""
        if way.arrives_s is not None and way.arrives_s <= way.replies_s:
            way.arrives_s = 0.0
        parcel = self._send(call, way, reach)
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

    def _send(self, call: Call, way: Answer, reach: Action) -> _Parcel:
        self._look_at(call)
        parcel = _Parcel(call, reach)
        if way.arrives_s == 0.0:
            parcel.arrive()
        elif way.arrives_s is not None:
            self._loop.call_later(way.arrives_s, parcel.arrive, context=self._context)
        if way.again_s is not None:
            self._loop.call_later(way.again_s, _Parcel(call, reach).arrive, context=self._context)
        return parcel

    def _look_at(self, call: Call) -> None:
        """Write-ahead: no call is made before its intent is durable."""
        if self.engines is None:
            return
        written = self.engines.disk.intents.get((call.run_id, call.step, call.direction), 0)
        if written < call.attempt:
            which = f"{call.direction.value}, attempt {call.attempt}"
            self._witness.accident(f"run {call.run_id}: I7 {call.step!r} was called ({which}) unwritten")
        if self.engines.is_stale(current_process()):
            self._mark(call.run_id, "call of an engine that had been taken over")

    def _forward(self, step: Step, call: Call, sort: Sort) -> Answer:
        way = self._weathered(step, undo=False)
        if way is not None:
            return way
        rng = self._rng
        if not self.weather.calm and rng.random() < self.weather.trouble:
            return self._trouble(step, call)
        replies_s = rng.choice((0.0, 0.0, 0.05, 0.4, 1.5)) * rng.random()
        way = Answer(arrives_s=replies_s * rng.random(), replies_s=replies_s)
        if sort is not Sort.NAIVE and not self.weather.calm and rng.random() < 0.04:
            self._fault("duplicate delivery")
            way.again_s = replies_s + rng.random() * 4.0
        return way

    def _trouble(self, step: Step, call: Call) -> Answer:
        rng, timeout_s = self._rng, call.timeout_s
        if rng.random() < self.weather.late:
            self._fault("slow beyond the timeout")
            return Answer(
                arrives_s=rng.choice((None, rng.random() * timeout_s, rng.random() * 3 * timeout_s)),
                replies_s=rng.choice((timeout_s * 1.5, FOREVER_S)),
                beats=rng.random() < 0.5,
            )
        draw = rng.random()
        if draw < 0.5:
            return self._refusal(step, call)
        arrives_s = rng.choice((None, 0.0, rng.random() * 6.0))
        replies_s = rng.random()
        if draw < 0.75:
            self._fault("lost reply")
            return Answer(arrives_s, replies_s, OutcomeUnknown("the connection broke"))
        if draw < 0.88:
            self._fault("foreign exception")
            return Answer(arrives_s, replies_s, self._foreign())
        self._fault("odd output")
        return Answer(0.0, replies_s, disguise=rng.choice(_ODD))

    def _refusal(self, step: Step, call: Call) -> Answer:
        self._fault("refused")
        rng = self._rng
        undo = step.compensation
        if undo is not None and undo.after_failure and rng.random() < 0.5:
            self._participants.refuse(call)
        kind = TerminalError if rng.random() < 0.1 else StepError
        problem = kind(
            rng.choice(("No", "Busy", "Down")),
            "the participant says no",
            rng.choice(tuple(FailureClass)),
            retry_after_s=rng.choice((None, None, None, 0.5, 3.0)),
        )
        return Answer(None, rng.choice((0.0, 0.3)) * rng.random(), problem)

    def _foreign(self) -> BaseException:
        return self._rng.choice(
            (ValueError("?"), KeyError("x"), asyncio.CancelledError(), OSError(104, "reset"))
        )

    def _back(self, step: Step, call: Call) -> Answer:
        if self.engines is not None and self.engines.breaker_is_open(step):
            self._mark(call.run_id, "undo made though the breaker was open")
        if call.attempt == 1 and (call.run_id, call.step) not in self._seen:
            self._seen.add((call.run_id, call.step))
            if not self.weather.calm and self._rng.random() < self.weather.stuck_undos:
                self.stuck.add((call.run_id, call.step))
        if (call.run_id, call.step) in self.stuck:
            self._fault("undo refused for good")
            return Answer(None, 0.0, StepError("Stuck", "somebody must look at it"))
        way = self._weathered(step, undo=True)
        if way is not None:
            return way
        rng = self._rng
        if not self.weather.calm and rng.random() < self.weather.undo_trouble:
            return self._undo_trouble(call)
        return Answer(replies_s=rng.choice((0.0, 0.2, 1.0)) * rng.random())

    def _undo_trouble(self, call: Call) -> Answer:
        rng = self._rng
        what = rng.choice(("undo refused", "undo lost", "undo slow", "undo odd"))
        self._fault(what)
        if what == "undo refused":
            kind = TerminalError if rng.random() < 0.1 else StepError
            return Answer(
                None, 0.1 * rng.random(), kind("Busy", failure_class=rng.choice(tuple(FailureClass)))
            )
        if what == "undo lost":
            return Answer(rng.choice((None, 0.0, 1.0)), rng.random(), OutcomeUnknown("lost"))
        if what == "undo slow":
            return Answer(rng.choice((None, 0.0, 2 * call.timeout_s)), FOREVER_S)
        return Answer(0.0, 0.0, disguise=rng.choice(_ODD))

    def _probing(self, step: Step) -> Answer:
        rng = self._rng
        ill = self.weather.ill(step.service, self._loop.time())
        if self.weather.calm or (ill is None and rng.random() < 0.6):
            return Answer(replies_s=rng.random() * 0.3, disguise=rng.choice((None, _plain_answer)))
        what = rng.choice(("probe does not know", "probe failed", "probe lost"))
        self._fault(what)
        if what == "probe does not know":
            return Answer(None, 0.1, disguise=lambda _: rng.choice(("?", None, 1)))
        if what == "probe failed":
            return Answer(None, 0.1, rng.choice((StepError("Busy"), ValueError("?"))))
        return Answer(rng.choice((None, 0.0)), FOREVER_S)

    def _weathered(self, step: Step, *, undo: bool) -> Answer | None:
        """How the call goes if its service is ill."""
        ill, rng = self.weather.ill(step.service, self._loop.time()), self._rng
        if ill is None:
            return None
        self._fault(f"service {ill.value}")
        if ill is Ill.DOWN:
            return Answer(None, 0.0, StepError("Down", "overloaded", FailureClass.CASCADING))
        if ill is Ill.CUT_OFF:
            arrives_s = rng.choice((None, 0.0, rng.random() * 8.0))
            problem = rng.choice((None, OutcomeUnknown("cut off")))
            return Answer(arrives_s, rng.random() if problem else FOREVER_S, problem)
        most_s = step.start_to_close_timeout_s if not undo else 5.0
        replies_s = most_s * rng.random() * 1.6
        return Answer(replies_s * rng.random(), replies_s, beats=rng.random() < 0.5)


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


def _deep(output: Any) -> Any:
    for _ in range(150):
        output = [output]
    return output


def _plain_answer(found: Any) -> Any:
    """A probe may just say yes or no."""
    return found.answer.value == "happened" if found.answer.value != "cannot_tell" else found


_ODD: tuple[Callable[[Any], Any], ...] = (
    lambda _: {"value": float("nan")},
    lambda _: {1, 2, 3},
    lambda _: b"bytes",
    lambda output: (output, output),
    lambda output: {1: output},
    lambda _: "half a character: \ud800",
    lambda _: None,
    lambda _: [],
    _deep,
)
"""Outputs of shapes that nobody expects; some of them cannot be kept."""
