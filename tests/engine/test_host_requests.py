"""Requests of other processes: independent of one another, each carried out and answered once."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sagacity_engine import (
    Action,
    BoundSaga,
    Call,
    Engine,
    JournalRefused,
    Lock,
    MemoryJournal,
    Request,
    WhenHeld,
    define,
)
from sagacity_engine.events import Event, OperatorActed
from sagacity_engine.hosting.requests import AT_ONCE_MAX, Requests
from sagacity_engine.testing.simulation.virtual_loop import run_in_virtual_time


def pause(run_id: str, why: str = "") -> Request:
    return Request.of(run_id, OperatorActed(at=0.0, action=Action.PAUSE, who="cli", why=why))


class Desk:
    """Carries out wishes: those for a run in `stuck` wait until it is free."""

    def __init__(self, *stuck: str) -> None:
        self.stuck = set(stuck)
        self.free = asyncio.Event()
        self.done: list[tuple[str, str]] = []
        self.most = 0
        self._busy = 0

    async def wish(self, run_id: str, event: Event) -> str:
        assert isinstance(event, OperatorActed)
        self._busy += 1
        self.most = max(self.most, self._busy)
        try:
            if run_id in self.stuck:
                await self.free.wait()
            await asyncio.sleep(0.01)
        finally:
            self._busy -= 1
        self.done.append((run_id, event.why))
        return f"{run_id} {event.why}"


def at_a_desk(
    desk: Desk, journal: MemoryJournal, use: Callable[[Requests], Awaitable[Any]], *, close: bool = True
) -> None:
    async def go() -> None:
        requests = Requests(journal, desk.wish)
        requests.open()
        await use(requests)
        if close:
            await requests.close()

    run_in_virtual_time(go())


def test_a_run_that_waits_holds_up_no_other() -> None:
    """What is asked of other runs is done meanwhile; what is asked of the same one keeps its order."""
    desk, journal = Desk("slow"), MemoryJournal()
    numbers = [journal.ask(pause(run_id, why)) for run_id, why in (("slow", "1"), ("a", "1"), ("slow", "2"))]

    async def use(requests: Requests) -> None:
        await asyncio.sleep(5)
        assert desk.done == [("a", "1")]
        numbers.append(journal.ask(pause("b", "1")))
        numbers.append(journal.ask(pause("slow", "3")))
        await asyncio.sleep(5)
        assert [journal.answer_of(number) for number in numbers] == [None, "a 1", None, "b 1", None]
        desk.free.set()
        await asyncio.sleep(5)

    at_a_desk(desk, journal, use)
    assert [why for run_id, why in desk.done if run_id == "slow"] == ["1", "2", "3"]
    assert journal.requests() == ()


def test_every_request_is_carried_out_and_answered_once() -> None:
    """Requests of more runs than are served at a time, asked while others are on their way."""
    desk, journal = Desk(), MemoryJournal()
    runs = 2 * AT_ONCE_MAX
    asked: list[tuple[int, str]] = []
    given: Counter[int] = Counter()
    answer = journal.answer

    def counted(number: int, refusal: str = "") -> None:
        given[number] += 1
        answer(number, refusal)

    journal.answer = counted  # type: ignore[method-assign]

    async def use(requests: Requests) -> None:
        for round_ in range(3):
            asked.extend(
                (journal.ask(pause(f"r{run}", f"{round_}")), f"r{run} {round_}") for run in range(runs)
            )
            await asyncio.sleep(0.3)
        await asyncio.sleep(60)

    at_a_desk(desk, journal, use)
    assert [journal.answer_of(number) for number, _ in asked] == [answer for _, answer in asked]
    assert set(given.values()) == {1}
    assert len(desk.done) == 3 * runs
    assert AT_ONCE_MAX // 2 < desk.most <= AT_ONCE_MAX


def test_an_answer_that_is_given_during_a_look_is_not_asked_for_again() -> None:
    """A look that began before an answer still finds the request, which has been carried out by then."""
    desk, journal = Desk(), MemoryJournal()
    number = journal.ask(pause("a", "1"))
    stale = journal.requests()
    journal.requests = lambda: stale  # type: ignore[method-assign]
    at_a_desk(desk, journal, lambda requests: asyncio.sleep(10))
    assert (desk.done, journal.answer_of(number)) == ([("a", "1")], "a 1")


def test_a_close_leaves_what_is_not_answered_to_the_next_engine() -> None:
    """Also requests whose turn had not come; nothing goes on behind the close."""
    desk, journal = Desk("slow"), MemoryJournal()
    numbers = [journal.ask(pause("slow", each)) for each in ("1", "2")]

    async def use(requests: Requests) -> None:
        await asyncio.sleep(5)
        await requests.close()
        desk.free.set()
        await asyncio.sleep(5)
        assert (desk.done, len(asyncio.all_tasks())) == ([], 1)

    at_a_desk(desk, journal, use, close=False)
    assert [number for number, _ in journal.requests()] == numbers
    at_a_desk(desk, journal, lambda requests: asyncio.sleep(5))
    assert [journal.answer_of(number) for number in numbers] == ["slow 1", "slow 2"]


def test_a_close_before_the_first_look_is_a_close() -> None:
    """Nothing was begun, so nothing is left."""
    journal = MemoryJournal()
    journal.ask(pause("a"))
    at_a_desk(Desk(), journal, lambda requests: asyncio.sleep(0))
    assert len(journal.requests()) == 1


def test_an_answer_that_the_journal_refuses_is_given_later(caplog: pytest.LogCaptureFixture) -> None:
    """The looking goes on, others are answered, and what was done is not done again."""
    caplog.set_level(logging.CRITICAL, "sagacity_engine")
    desk, journal = Desk(), MemoryJournal()
    numbers = [journal.ask(pause(run_id, "1")) for run_id in ("a", "b")]
    answer, well = journal.answer, False

    def refusing(number: int, refusal: str = "") -> None:
        if number == numbers[0] and not well:
            raise JournalRefused("no room")
        answer(number, refusal)

    journal.answer = refusing  # type: ignore[method-assign]

    async def use(requests: Requests) -> None:
        nonlocal well
        await asyncio.sleep(5)
        numbers.append(journal.ask(pause("a", "2")))
        await asyncio.sleep(5)
        assert [journal.answer_of(number) for number in numbers] == [None, "b 1", "a 2"]
        well = True
        await asyncio.sleep(5)

    at_a_desk(desk, journal, use)
    assert journal.answer_of(numbers[0]) == "a 1"
    assert desk.done == [("a", "1"), ("b", "1"), ("a", "2")]


def test_whatever_goes_wrong_is_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A journal that cannot be read for a while, and a wish that breaks, end nothing."""
    caplog.set_level(logging.CRITICAL, "sagacity_engine")
    journal, ill = MemoryJournal(), [3]
    number, read = journal.ask(pause("a")), journal.requests

    def sometimes() -> Any:
        if ill[0]:
            ill[0] -= 1
            raise ValueError("cannot be read")
        return read()

    journal.requests = sometimes  # type: ignore[method-assign]

    class Broken(Desk):
        async def wish(self, run_id: str, event: Event) -> str:
            raise KeyError(run_id)

    at_a_desk(Broken(), journal, lambda requests: asyncio.sleep(5))
    assert journal.answer_of(number) == "KeyError: 'a'"


# In the engine.


def stay() -> BoundSaga:
    """A room in which one run at a time waits for the boss."""

    def enter(call: Call) -> None:
        """Nothing happens."""

    saga = define("stay", locks=[Lock(key="room-${input.room}", when_held=WhenHeld.WAIT)])
    saga.step(name="enter", kind="read_only")(enter)
    saga.approval("boss", after=["enter"])
    return saga.bind()


def test_a_run_that_waits_for_its_resource_holds_up_no_request() -> None:
    """Asked of a run that has not got its room yet, a request waits with it; the next ones do not."""
    journal = MemoryJournal()

    async def go() -> None:
        async with Engine(journal, [stay()], clock=asyncio.get_running_loop().time) as engine:
            await engine.start("stay", {"room": 7}, run_id="first")
            await engine.start("stay", {"room": 8}, run_id="other")
            waiting = asyncio.create_task(engine.start("stay", {"room": 7}, run_id="second"))
            await asyncio.sleep(1)
            held_up, quick = journal.ask(pause("second")), journal.ask(pause("other"))
            await asyncio.sleep(5)
            assert (journal.answer_of(held_up), journal.answer_of(quick)) == (None, "")
            assert not waiting.done()
            await engine.signal("first", "boss", who="Asha")
            await waiting
            await asyncio.sleep(5)
            assert journal.answer_of(held_up) == ""

    run_in_virtual_time(go())
