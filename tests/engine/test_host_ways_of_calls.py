"""Unusual functions behind steps: partly applied ones, ones that resist their end; what a call is told."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from sagacity_engine import BoundSaga, Call, Direction, Engine, MemoryJournal, RetryPolicy, Status, define
from sagacity_engine.events import AttemptSucceeded, AttemptUnknown, Event, UnknownReason
from sagacity_engine.testing import violations
from sagacity_engine.testing.simulation.virtual_loop import VirtualLoop, run_in_virtual_time

Act = Callable[..., Any]


def trip(act: Act, undo: Act, **fields: Any) -> BoundSaga:
    """One step that may be undone."""
    saga = define("trip")
    saga.step(name="book", compensate=undo, **fields)(act)
    return saga.bind()


def play(bound: BoundSaga, **options: Any) -> tuple[Status, Any, list[Event]]:
    """How run "r" ended in virtual time, what its step returned, and its events, which must be sound."""
    journal = MemoryJournal()

    async def go() -> tuple[Status, Any]:
        async with Engine(journal, [bound], **options) as engine:
            result = await engine.run("trip", {"who": "Asha"}, run_id="r")
            await asyncio.sleep(3600)  # Whatever is late comes now.
            return result.status, result.outputs.get("book")

    status, output = run_in_virtual_time(go())
    events = journal.read("r")
    assert violations(bound.saga, events) == ()
    return status, output, list(events)


async def greets(words: str, call: Call) -> str:
    """An `async` function that is told something beforehand."""
    await asyncio.sleep(1)
    return f"{words}, {call.input['who']}"


class Greeter:
    """An object whose call is `async`."""

    async def __call__(self, words: str, call: Call) -> str:
        """Waits in the loop, as only a coroutine can."""
        return await greets(words, call)


@pytest.mark.parametrize("act", [greets, Greeter()], ids=["a function", "an object"])
def test_a_partly_applied_async_action_runs_in_the_loop(act: Act) -> None:
    """With its first argument given it is `async` still: it waits for no thread, of which none is free."""

    def hog(call: Call) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.block(8.0)

    saga = define("trip", stages=[["hog", "book"]])
    saga.step(name="hog", compensate=hog)(hog)
    saga.step(name="book", compensate=hog)(partial(act, "Namaste"))
    status, output, events = play(saga.bind(), max_threads=1)
    assert (status, output) == (Status.COMPLETED, "Namaste, Asha")
    assert [each.step for each in events if isinstance(each, AttemptSucceeded)] == ["book", "hog"]


def test_a_partly_applied_plain_action_runs_in_a_thread() -> None:
    """What is no coroutine function stays none, and its result is the step's output."""

    def adds(number: int, call: Call) -> int:
        return number + len(call.input["who"])

    status, output, _ = play(trip(partial(adds, 3), lambda call: None))
    assert (status, output) == (Status.COMPLETED, 7)


@pytest.mark.parametrize("answer", ["raises", "returns"])
def test_an_action_that_answers_its_cancellation_comes_too_late(answer: str) -> None:
    """The timeout has told the outcome, once: what the function makes of being cancelled is nobody's news."""
    undone: list[str] = []

    async def stubborn(call: Call) -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if answer == "raises":
                raise ValueError("not now") from None
        return "done after all"

    def undo(call: Call) -> None:
        undone.append(call.step)

    bound = trip(stubborn, undo, start_to_close_timeout_s=5.0, retry=RetryPolicy(maximum_attempts=1))
    status, _, events = play(bound)
    ends = [(each.direction, each.reason) for each in events if isinstance(each, AttemptUnknown)]
    assert ends == [(Direction.FORWARD, UnknownReason.TIMED_OUT)]
    assert (status, undone) == (Status.COMPENSATED, ["book"])


def test_only_what_takes_back_or_asks_names_an_action() -> None:
    """An action undoes nothing; its compensation names the key under which it was called."""
    keys: dict[Direction, tuple[str, str]] = {}

    def act(call: Call) -> None:
        keys[call.direction] = (call.idempotency_key, call.undoes)
        if call.direction is Direction.FORWARD:
            raise ConnectionError("the reply is lost")

    status, _, _ = play(trip(act, act, retry=RetryPolicy(maximum_attempts=1)))
    assert status is Status.COMPENSATED
    (action, nothing), (undo, undone) = keys[Direction.FORWARD], keys[Direction.UNDO]
    assert (nothing, undone) == ("", action)
    assert undo != action
