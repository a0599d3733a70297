"""What an inner run is given, and who else may take it back while the run above it does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sagacity_engine import BoundSaga, Call, Direction, Engine, MemoryJournal, Status, define
from sagacity_engine.events import AttemptFailed, RunStarted
from sagacity_engine.testing import violations
from sagacity_engine.testing.simulation.virtual_loop import run_in_virtual_time

INNER = "r/stay/1"


class Hotel:
    """Notes what it is asked to undo."""

    def __init__(self) -> None:
        self.undone: list[str] = []

    async def act(self, call: Call) -> None:
        """Every action and every undo."""
        await asyncio.sleep(0.001)
        if call.direction is Direction.UNDO:
            self.undone.append(call.step)


def trip(hotel: Hotel, given: dict[str, Any]) -> BoundSaga:
    """Stay, which is two rooms; both may be taken back."""
    inner = define("rooms")
    inner.step(name="first", compensate=hotel.act)(hotel.act)
    inner.step(name="second", after=["first"], compensate=hotel.act)(hotel.act)
    saga = define("trip")
    saga.sub_saga(inner, name="stay", input=given)
    return saga.bind()


def play(bound: BoundSaga, use: Callable[[Engine], Awaitable[None]]) -> MemoryJournal:
    """The journal after an engine was used in virtual time; every run in it must have ended soundly."""
    journal = MemoryJournal()

    async def go() -> None:
        clock = asyncio.get_running_loop().time
        async with Engine(journal, [bound], clock=clock, draw=lambda: 0.5) as engine:
            await asyncio.wait_for(use(engine), 3600)

    run_in_virtual_time(go())
    for line in journal.runs():
        saga = journal.definition(line.definition_hash)
        assert saga is not None
        assert violations(saga, journal.read(line.run_id)) == ()
    return journal


def test_an_inner_run_is_given_lists_and_numbers_as_they_stand() -> None:
    """References are followed wherever they are in the input; everything else arrives as it was written."""
    given = {"guests": ["${input.who}", "Ravi", {"age": 7}], "nights": 3, "breakfast": None, "price": 9.5}

    async def use(engine: Engine) -> None:
        await engine.run("trip", {"who": "Asha"}, run_id="r")

    first = play(trip(Hotel(), given), use).read(INNER)[0]
    assert isinstance(first, RunStarted)
    assert first.input == {**given, "guests": ["Asha", "Ravi", {"age": 7}]}


@pytest.mark.parametrize("late_s", [0.0005 * number for number in range(12)])
def test_a_person_and_the_outer_run_take_an_inner_run_back_at_once(late_s: float) -> None:
    """Whoever comes first: both runs end compensated, and every step was undone once."""
    hotel = Hotel()

    async def use(engine: Engine) -> None:
        await engine.run("trip", run_id="r")

        async def person() -> None:
            await asyncio.sleep(late_s)
            await engine.undo(INNER, who="Asha")

        await asyncio.gather(engine.undo("r", who="Ravi"), person(), return_exceptions=True)
        assert (await engine.result("r")).status is Status.COMPENSATED
        assert (await engine.result(INNER)).status is Status.COMPENSATED

    journal = play(trip(hotel, {}), use)
    assert hotel.undone == ["second", "first"]
    refused = {event.error_type for event in journal.read("r") if isinstance(event, AttemptFailed)}
    assert refused <= {"NotUndone", "RunRefused"}
