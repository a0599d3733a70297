"""How runs get in: callers that meet, names that repeat, places that are given up, openings that fail."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import pytest

from sagacity_engine import (
    Advice,
    BoundSaga,
    Call,
    Engine,
    Event,
    JournalRefused,
    Launch,
    Lock,
    MemoryJournal,
    RetryPolicy,
    RunRefused,
    Saga,
    Status,
    WhenHeld,
    author_plan,
    define,
)
from sagacity_engine.events import AttemptStarted, Direction, RunStarted
from sagacity_engine.journal import Batch, RunSummary
from sagacity_engine.testing import violations
from sagacity_engine.testing.simulation.virtual_loop import VirtualLoop, run_in_virtual_time

Act = Callable[[Call], Any]
ROOM = Lock(key="room-${input.room}", when_held=WhenHeld.QUEUE)
INPUT = {"room": 1}
MOMENTS = range(16)
"""After how many turns of the loop somebody gives up: from before a run's end to after it."""


async def nothing(call: Call) -> None:
    """A participant that does nothing."""


def trip(act: Act = nothing, **fields: Any) -> BoundSaga:
    """One step that may be undone."""
    saga = define("trip", **fields)
    saga.step(name="book", compensate=nothing, idempotent=True, retry=RetryPolicy(maximum_attempts=1))(act)
    return saga.bind()


def play(main: Coroutine[Any, Any, Any]) -> Any:
    """In virtual time, and with an end: whoever waits for what never comes is told after an hour."""
    return run_in_virtual_time(asyncio.wait_for(main, 3600))


def begun(bound: BoundSaga, run_id: str, *, attempt: bool = True, **fields: Any) -> Batch:
    """The start of a run and, if it got so far, of its first attempt."""
    start = RunStarted(
        run_id=run_id,
        at=1.0,
        definition_hash=bound.saga.definition_hash,
        plan=author_plan(bound.saga),
        **fields,
    )
    first = AttemptStarted(at=1.0, step="book", direction=Direction.FORWARD, attempt=1)
    return Batch(run_id, 1, (start, first) if attempt else (start,))


def left_by_a_crash(bound: BoundSaga, *batches: Batch) -> MemoryJournal:
    """A journal with runs that a former process left open."""
    journal = MemoryJournal()
    journal.open()
    journal.define(bound.saga)

    async def go() -> None:
        for batch in batches:
            await journal.append(batch)

    asyncio.run(go())
    journal.close()
    return journal


class Stuck(MemoryJournal):
    """A journal one of whose methods refuses while `ill` names it."""

    def __init__(self, ill: str = "") -> None:
        super().__init__()
        self.ill = ill

    def _require_well(self, method: str) -> None:
        if self.ill == method:
            raise JournalRefused("the disk is gone")

    def define(self, saga: Saga) -> None:
        self._require_well("define")
        super().define(saga)

    def run(self, run_id: str) -> RunSummary | None:
        self._require_well("run")
        return super().run(run_id)

    def open_runs(self, limit: int | None = None, *, after: str | None = None) -> tuple[RunSummary, ...]:
        self._require_well("open_runs")
        return super().open_runs(limit, after=after)


def test_two_callers_of_a_run_that_has_ended_both_get_its_result() -> None:
    """The second meets the first while the journal is asked about the id; both get what the run came to."""

    async def go() -> None:
        async with Engine(MemoryJournal(), [trip()]) as engine:
            first = await engine.run("trip", run_id="r")
            assert await asyncio.gather(*(engine.run("trip", run_id="r") for _ in range(3))) == [first] * 3

    play(go())


def test_a_name_that_repeats_an_ended_runs_name_is_refused() -> None:
    """A caller that gave no name wants a run of its own, never the result of somebody else's."""

    async def go() -> None:
        async with Engine(MemoryJournal(), [trip()], new_run_id=lambda: "r") as engine:
            await engine.run("trip")
            with pytest.raises(RunRefused, match="run 'r' exists already; choose another id"):
                await engine.run("trip")

    play(go())


def test_a_start_that_cannot_be_looked_up_leaves_nothing_behind() -> None:
    """A journal that cannot say whether the run is there refuses it; its id and resource stay free."""

    async def go() -> None:
        journal = Stuck()
        async with Engine(journal, [trip(locks=[ROOM])]) as engine:
            journal.ill = "run"
            with pytest.raises(JournalRefused, match="the disk is gone"):
                await engine.run("trip", INPUT, run_id="a")
            journal.ill = ""
            for run_id in ("b", "a"):
                assert (await engine.run("trip", INPUT, run_id=run_id)).status is Status.COMPLETED

    play(go())


def gated() -> tuple[BoundSaga, asyncio.Event]:
    """A saga whose runs end when the gate opens."""
    gate = asyncio.Event()

    async def book(call: Call) -> None:
        await gate.wait()

    return trip(book), gate


async def gives_up(waiter: asyncio.Task[Any], turns: int) -> None:
    """Cancels the waiter after so many turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait([waiter])


@pytest.mark.parametrize("turns", MOMENTS)
def test_a_start_that_is_given_up_at_any_moment_keeps_no_place(turns: int) -> None:
    """The only place comes free while the caller who waits for it gives up: the next start gets it."""

    async def go() -> None:
        bound, gate = gated()
        async with Engine(MemoryJournal(), [bound], max_runs=1) as engine:
            await engine.start("trip", run_id="first")
            waiting = asyncio.create_task(engine.start("trip", run_id="second"))
            await asyncio.sleep(1)
            gate.set()
            await gives_up(waiting, turns)
            assert (await engine.run("trip", run_id="third")).status is Status.COMPLETED

    play(go())


@pytest.mark.parametrize("turns", MOMENTS)
def test_who_stops_waiting_at_any_moment_takes_the_end_from_nobody(turns: int) -> None:
    """Of two who wait for a run's end one gives up just then: the other is told all the same."""

    async def go() -> None:
        bound, gate = gated()
        async with Engine(MemoryJournal(), [bound]) as engine:
            await engine.start("trip", run_id="r")
            impatient, patient = (asyncio.create_task(engine.result("r")) for _ in range(2))
            await asyncio.sleep(1)
            gate.set()
            await gives_up(impatient, turns)
            assert (await patient).status is Status.COMPLETED

    play(go())


def test_those_who_wait_for_a_place_are_refused_when_the_engine_closes() -> None:
    """The caller and whoever joined it are told to start again, and nothing of the run was written."""
    journal = MemoryJournal()

    async def go() -> None:
        bound, _ = gated()
        async with Engine(journal, [bound], max_runs=1, shutdown_s=5.0) as engine:
            await engine.start("trip", run_id="first")
            callers = [asyncio.create_task(engine.run("trip", run_id="second")) for _ in range(2)]
            await asyncio.sleep(1)
        told = await asyncio.gather(*callers, return_exceptions=True)
        assert [type(each) for each in told] == [RunRefused, RunRefused]
        assert str(told[1]).endswith("was refused: the engine closed; start the run again")

    play(go())
    assert [line.run_id for line in journal.runs()] == ["first"]


@pytest.mark.parametrize("ill", ["define", "open_runs"])
def test_an_engine_that_cannot_open_lets_its_journal_go(ill: str) -> None:
    """Whatever refuses while an engine opens: it says so, and the journal can be opened again at once."""

    async def go() -> None:
        journal = Stuck(ill)
        engine = Engine(journal, [trip()])
        with pytest.raises(JournalRefused, match="the disk is gone"):
            await engine.__aenter__()
        assert not journal.opened
        with pytest.raises(RunRefused, match="the engine is closed"):
            await engine.run("trip")
        journal.ill = ""
        async with engine:
            assert (await engine.run("trip")).status is Status.COMPLETED

    play(go())


def test_an_opening_that_is_cancelled_does_not_close_what_it_could_not_open() -> None:
    """The journal was refused because another engine has it: that one keeps it."""
    asked, go_on = threading.Event(), threading.Event()

    class Taken(MemoryJournal):
        def open(self) -> None:
            if self.opened:
                asked.set()
                go_on.wait(30)
            super().open()

    async def go() -> None:
        journal = Taken()
        async with Engine(journal, [trip()]) as owner:
            opening = asyncio.create_task(Engine(journal, [trip()]).__aenter__())
            await asyncio.to_thread(asked.wait, 30)
            opening.cancel()
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await opening
            assert journal.opened
            assert (await owner.run("trip")).status is Status.COMPLETED

    asyncio.run(go())


def advised(advise: Callable[[Saga, Launch], Awaitable[Advice]]) -> tuple[RunSummary, RunStarted]:
    """The line and the start of a run that somebody advised; it must be sound."""
    bound, journal = trip(), MemoryJournal()

    class Advisor:
        async def advise(self, saga: Saga, launch: Launch) -> Advice:
            return await advise(saga, launch)

    async def go() -> None:
        async with Engine(journal, [bound], advisor=Advisor(), holdout_share=0.0) as engine:
            await engine.run("trip", run_id="r")

    play(go())
    line, events = journal.run("r"), journal.read("r")
    assert violations(bound.saga, events) == ()
    assert line is not None
    assert isinstance(events[0], RunStarted)
    return line, events[0]


def test_an_advisor_that_cancels_itself_costs_the_run_nothing() -> None:
    """A cancellation from within the advisor is a failure like any other: the author's plan runs."""

    async def advise(saga: Saga, launch: Launch) -> Advice:
        raise asyncio.CancelledError

    line, started = advised(advise)
    assert line.status is Status.COMPLETED
    assert started.fallback
    assert started.reasons == ("the advisor failed: CancelledError",)


def test_a_caller_who_gives_up_while_the_advisor_thinks_is_cancelled() -> None:
    """Giving up is no failure of the advisor: the caller is let go, and nothing was started."""
    journal = MemoryJournal()

    class Slow:
        async def advise(self, saga: Saga, launch: Launch) -> Advice:
            await asyncio.sleep(60)
            raise AssertionError("nobody waits so long")

    async def go() -> None:
        async with Engine(
            journal, [trip()], advisor=Slow(), advice_budget_s=100, holdout_share=0.0
        ) as engine:
            caller = asyncio.create_task(engine.run("trip"))
            await asyncio.sleep(1)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller

    play(go())
    assert journal.runs() == ()


def test_a_recovered_run_that_ended_while_it_waited_hands_its_place_on() -> None:
    """Three runs and one place: the second is cancelled before its turn, and the third still gets one."""
    gate = asyncio.Event()

    async def book(call: Call) -> None:
        await gate.wait()

    bound = trip(book)
    journal = left_by_a_crash(bound, *(begun(bound, name, attempt=False) for name in ("a", "b", "c")))

    async def go() -> None:
        async with Engine(journal, [bound], max_runs=1) as engine:
            await asyncio.sleep(1)
            assert await engine.cancel("b", "Asha") is True
            assert (await engine.result("b")).status is Status.COMPENSATED
            gate.set()
            for name in ("a", "c"):
                assert (await engine.result(name)).status is Status.COMPLETED

    play(go())
    assert all(violations(bound.saga, journal.read(name)) == () for name in ("a", "b", "c"))


def test_a_run_that_is_found_while_the_engine_closes_is_left_to_the_next() -> None:
    """`recover` reads the journal while the engine closes: it takes nothing up, and the next engine does."""
    asked, go_on = threading.Event(), threading.Event()
    called: list[str] = []

    class Slow(MemoryJournal):
        def read(self, run_id: str) -> tuple[Event, ...]:
            asked.set()
            go_on.wait(30)
            return super().read(run_id)

    async def book(call: Call) -> None:
        called.append(call.run_id)

    async def go() -> None:
        bound, journal = trip(book), Slow()
        async with Engine(journal, [bound], shutdown_s=30) as engine:
            await journal.append(begun(bound, "r", attempt=False))
            recovering = asyncio.create_task(engine.recover())
            await asyncio.to_thread(asked.wait, 30)
            asyncio.get_running_loop().call_later(0.02, go_on.set)
        assert (await recovering, called) == ((), [])
        async with Engine(journal, [bound]) as engine:
            assert (await engine.result("r")).status is Status.COMPLETED

    asyncio.run(go())


def test_a_stranded_run_that_never_got_its_resource_keeps_nobody_waiting() -> None:
    """It only queued for the room when its process died, and nobody registers its definition any more."""
    old, new = trip(locks=[ROOM], version="1"), trip(locks=[ROOM], version="2")
    journal = left_by_a_crash(old, begun(old, "old", attempt=False, input=INPUT, locks=("room-1",)))

    async def go() -> Mapping[str, str]:
        async with Engine(journal, [new]) as engine:
            assert (await engine.run("trip", INPUT)).status is Status.COMPLETED
            return engine.stranded

    assert set(play(go())) == {"old"}


def test_two_requests_for_a_run_that_cannot_be_carried_on_are_both_told_why() -> None:
    """The second meets the first while the run is being looked up, and waits for nothing."""

    async def refused(call: Call) -> None:
        raise ValueError("no room")

    old, new = trip(refused, version="1"), trip(version="2")

    class Slow(MemoryJournal):
        def read(self, run_id: str) -> tuple[Event, ...]:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.block(1.0)
            return super().read(run_id)

    async def go() -> None:
        journal = Slow()
        async with Engine(journal, [old]) as engine:
            assert (await engine.run("trip", run_id="r")).status is Status.COMPENSATED
        async with Engine(journal, [new]) as engine:
            told = await asyncio.gather(
                *(engine.redrive("r", who="Asha") for _ in range(2)), return_exceptions=True
            )
            assert [type(each) for each in told] == [RunRefused, RunRefused]
            assert all("is not registered" in str(each) for each in told)
            assert (await engine.state("r")).status is Status.COMPENSATED

    play(go())
