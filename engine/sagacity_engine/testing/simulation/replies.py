"""How the calls of a simulated day go: what arrives, when, and what their callers learn of it.

Everything is drawn from one seeded generator in the order of the calls, which virtual time makes the same
every time. The truth stays with the participants: an answer never says that something happened which did
not, nor that something did not happen which did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from sagacity_engine.errors import FailureClass, OutcomeUnknown, StepError, TerminalError
from sagacity_engine.handlers import Call
from sagacity_engine.parts import Kind
from sagacity_engine.saga import Step
from sagacity_engine.testing.simulation.participants import Participants, Sort
from sagacity_engine.testing.simulation.weather import Ill, Weather
from sagacity_engine.testing.simulation.witness import Witness

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


class Replies:
    """Draws answers. `now` gives virtual seconds."""

    def __init__(
        self,
        rng: Random,
        weather: Weather,
        participants: Participants,
        witness: Witness,
        now: Callable[[], float],
    ) -> None:
        self.weather = weather
        self.stuck: set[tuple[str, str]] = set()  # Undos that fail until they are mended, by run and step.
        self._rng = rng
        self._participants = participants
        self._fault = witness.fault
        self._now = now
        self._seen: set[tuple[str, str]] = set()

    def forward(self, step: Step, call: Call, sort: Sort) -> Answer:
        """How a call of the step's action goes."""
        way = self._weathered(step, undo=False)
        if way is not None:
            return way
        rng = self._rng
        if not self.weather.calm and rng.random() < self.weather.trouble:
            return self._trouble(step, call)
        replies_s = rng.choice((0.0, 0.0, 0.05, 0.4, 1.5)) * rng.random()
        if step.kind is Kind.PIVOT:  # Long enough for others to fail, or be cancelled, beside it.
            replies_s += 2.0 * rng.random()
        way = Answer(arrives_s=replies_s * rng.random(), replies_s=replies_s)
        if sort is not Sort.NAIVE and not self.weather.calm and rng.random() < 0.07:
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

    def back(self, step: Step, call: Call) -> Answer:
        """How a call of the step's compensation goes."""
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

    def probe(self, step: Step) -> Answer:
        """How a call of the step's probe goes."""
        rng = self._rng
        ill = self.weather.ill(step.service, self._now())
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
        ill, rng = self.weather.ill(step.service, self._now()), self._rng
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
