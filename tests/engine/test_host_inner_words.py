"""What an outer run says of a step that is a saga: which step, in which saga, and which step in that."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sagacity_engine import (
    BoundSaga,
    Call,
    Compensation,
    Engine,
    MemoryJournal,
    RetryPolicy,
    RunResult,
    Status,
    StepError,
    define,
)
from sagacity_engine.testing.simulation.virtual_loop import run_in_virtual_time

INNER = "r/stay/1"
ONCE = RetryPolicy(maximum_attempts=1)


def act(call: Call) -> None:
    """Done."""


def refuse(call: Call) -> None:
    """Never done."""
    raise StepError("Full", "no rooms")


def trip(action: Callable[[Call], Any], undo: Callable[[Call], Any] = act) -> BoundSaga:
    """Stay, which is a hotel and a car."""
    rooms = define("rooms")
    rooms.step(name="hotel", compensate=undo, compensation=Compensation(retry=ONCE), retry=ONCE)(act)
    rooms.step(name="car", after=["hotel"], retry=ONCE, compensate=act)(action)
    saga = define("trip")
    saga.sub_saga(rooms, name="stay")
    return saga.bind()


def play(bound: BoundSaga, use: Callable[[Engine], Awaitable[Any]], journal: MemoryJournal) -> Any:
    """What came of using an engine in virtual time."""

    async def go() -> Any:
        clock = asyncio.get_running_loop().time
        async with Engine(journal, [bound], clock=clock, draw=lambda: 0.5) as engine:
            return await use(engine)

    return run_in_virtual_time(go())


async def run(engine: Engine) -> RunResult:
    return await engine.run("trip", run_id="r")


def test_a_failure_names_both_steps() -> None:
    """The step of the outer run, the saga that it is, and the step in that with what it was told."""
    result: RunResult = play(trip(refuse), run, MemoryJournal())
    assert result.reason == (
        "step 'stay' failed: SubSagaCompensated: in its saga 'rooms': step 'car' failed: Full: no rooms"
    )


def test_an_end_without_a_step_names_the_saga() -> None:
    """It is the inner saga that was cancelled, not the outer one."""

    async def use(engine: Engine) -> RunResult:
        await engine.start("trip", run_id="r")
        await asyncio.sleep(1)
        await engine.cancel(INNER, "Asha", "the inn is closed")
        return await engine.result("r")

    async def slow(call: Call) -> None:
        await asyncio.sleep(5)

    result: RunResult = play(trip(slow), use, MemoryJournal())
    assert result.reason == (
        "step 'stay' failed: SubSagaCompensated: in its saga 'rooms': cancelled by Asha: the inn is closed"
    )


def test_an_abandoned_inner_run_names_the_step_that_was_in_trouble() -> None:
    """Its own end names none; the outer run says where somebody has to look."""

    async def use(engine: Engine) -> RunResult:
        await engine.start("trip", run_id="r")
        await asyncio.sleep(1)
        await engine.abandon(INNER, who="Asha", why="no use")
        return await engine.result("r")

    result: RunResult = play(trip(refuse, refuse), use, MemoryJournal())
    assert (result.status, result.step) == (Status.NEEDS_ATTENTION, "stay")
    assert "in its saga 'rooms' at step 'hotel': ended ABANDONED: abandoned by Asha: no use" in result.reason
