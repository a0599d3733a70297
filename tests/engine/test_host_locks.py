"""Resources that no two runs of an engine hold at once: waiting, refusing and queueing, over restarts too."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sagacity_engine import (
    BoundSaga,
    Call,
    Compensation,
    Engine,
    JournalRefused,
    Lock,
    MemoryJournal,
    RetryPolicy,
    RunRefused,
    RunResult,
    SagaRefused,
    Status,
    StepError,
    WhenHeld,
    define,
)
from sagacity_engine.events import Event, LocksAcquired, RunStarted
from sagacity_engine.testing import violations
from sagacity_engine.testing.simulation.virtual_loop import run_in_virtual_time

ONCE = RetryPolicy(maximum_attempts=1)
ROOM = {"room": 7}


class Diary:
    """Who was in the room, in order, and whether two were there at once."""

    def __init__(self, stays_s: float = 1.0) -> None:
        self.guests: list[str] = []
        self.crowded = False
        self.ill = False
        self._inside = 0
        self._stays_s = stays_s

    async def enter(self, call: Call) -> None:
        """Stays for a while."""
        self.guests.append(call.run_id)
        self._inside += 1
        self.crowded = self.crowded or self._inside > 1
        await asyncio.sleep(self._stays_s)
        self._inside -= 1

    def leave(self, call: Call) -> None:
        """The undo; fails while `ill`."""
        if self.ill:
            raise StepError("Locked")


def stay(
    diary: Diary, when_held: WhenHeld = WhenHeld.QUEUE, *, boss: bool = False, version: str = "1"
) -> BoundSaga:
    """Enter the room; ask the boss, or not; pay, unless the input says that nobody can."""

    def pay(call: Call) -> None:
        if call.input.get("broke"):
            raise StepError("Broke")

    saga = define("stay", version=version, locks=[Lock(key="room-${input.room}", when_held=when_held)])
    undo = Compensation(retry=ONCE)
    saga.step(name="enter", compensate=diary.leave, compensation=undo, retry=ONCE)(diary.enter)
    if boss:
        saga.approval("boss")
    saga.step(name="pay", compensate=lambda call: None, retry=ONCE)(pay)
    return saga.bind()


def play(
    bound: BoundSaga | list[BoundSaga],
    use: Callable[[Engine], Awaitable[Any]],
    journal: MemoryJournal | None = None,
    **options: Any,
) -> Any:
    """What came of using an engine in virtual time; every run that ended must be sound."""
    journal = journal or MemoryJournal()
    sagas = bound if isinstance(bound, list) else [bound]

    async def go() -> Any:
        clock = asyncio.get_running_loop().time
        async with Engine(journal, sagas, clock=clock, draw=lambda: 0.5, **options) as engine:
            return await use(engine)

    came_of_it = run_in_virtual_time(go())
    by_hash = {each.saga.definition_hash: each.saga for each in sagas}
    for line in journal.runs():
        if line.status.ended:
            assert violations(by_hash[line.definition_hash], journal.read(line.run_id)) == ()
    return came_of_it


async def three(engine: Engine) -> list[RunResult]:
    runs: list[asyncio.Task[RunResult]] = []
    for each in range(3):
        runs.append(asyncio.create_task(engine.run("stay", ROOM, run_id=f"r{each}")))
        await asyncio.sleep(0.1)
    return await asyncio.gather(*runs)


@pytest.mark.parametrize("when_held", [WhenHeld.WAIT, WhenHeld.QUEUE])
def test_runs_with_one_key_go_one_after_the_other(when_held: WhenHeld) -> None:
    """First come, first served, and never two at once."""
    diary = Diary()
    results = play(stay(diary, when_held), three)
    assert {result.status for result in results} == {Status.COMPLETED}
    assert (diary.guests, diary.crowded) == (["r0", "r1", "r2"], False)


def test_runs_with_different_keys_do_not_wait() -> None:
    """A key is made of the run's input: another room is another resource."""
    diary = Diary()

    async def use(engine: Engine) -> None:
        await asyncio.gather(*(engine.run("stay", {"room": each}) for each in range(3)))
        assert engine.now() < 2

    play(stay(diary), use)
    assert diary.crowded


def test_wait_writes_nothing_before_the_resource_is_free() -> None:
    """The start itself waits; the run that follows begins when it holds its resource."""
    journal = MemoryJournal()

    async def use(engine: Engine) -> None:
        first = asyncio.create_task(engine.run("stay", ROOM))
        await asyncio.sleep(0.5)
        second = asyncio.create_task(engine.start("stay", ROOM, run_id="r"))
        await asyncio.sleep(0.1)
        assert (journal.read("r"), second.done()) == ((), False)
        await first
        await second
        await engine.result("r")

    play(stay(Diary(), WhenHeld.WAIT), use, journal)
    first, second, *_ = journal.read("r")
    assert isinstance(first, RunStarted)
    assert isinstance(second, LocksAcquired)
    assert first.locks == ("room-7",)


def test_reject_names_the_holder() -> None:
    """The start is refused at once, nothing is written, and the way out is to wait for the holder's end."""
    journal = MemoryJournal()

    async def use(engine: Engine) -> str:
        await engine.start("stay", ROOM, run_id="first")
        with pytest.raises(RunRefused) as refused:
            await engine.start("stay", ROOM, run_id="r")
        await engine.result("first")
        await engine.run("stay", ROOM, run_id="r")
        return str(refused.value)

    words = play(stay(Diary(), WhenHeld.REJECT), use, journal)
    assert words == "'room-7' is held by run 'first'; start this run when that one has ended"


def test_queue_accepts_the_run_and_lets_its_steps_wait() -> None:
    """The start is durable at once; the run says when it came to hold its resource."""
    journal, diary = MemoryJournal(), Diary()

    async def use(engine: Engine) -> None:
        await engine.start("stay", ROOM, run_id="first")
        await engine.start("stay", ROOM, run_id="r")
        await asyncio.sleep(0.5)
        assert [type(event) for event in journal.read("r")] == [RunStarted]
        await engine.result("r")

    play(stay(diary), use, journal)
    [held] = [event for event in journal.read("r") if isinstance(event, LocksAcquired)]
    assert held.at == pytest.approx(1.0, abs=0.1)


def test_a_run_that_is_compensated_lets_go() -> None:
    """However a run ends by itself, the next in line is served."""
    diary = Diary()

    async def use(engine: Engine) -> list[Status]:
        broke = engine.run("stay", {**ROOM, "broke": True})
        results = await asyncio.gather(broke, engine.run("stay", ROOM))
        return [result.status for result in results]

    assert play(stay(diary), use) == [Status.COMPENSATED, Status.COMPLETED]
    assert not diary.crowded


def test_a_queueing_run_that_is_cancelled_leaves_the_line() -> None:
    """It ends at once without ever having held anything, and is not in anybody's way."""

    async def use(engine: Engine) -> Status:
        await engine.start("stay", ROOM, run_id="first")
        await engine.start("stay", ROOM, run_id="r")
        assert await engine.cancel("r", "Asha")
        cancelled = await engine.result("r")
        assert engine.now() < 0.5
        assert (await engine.run("stay", ROOM)).status is Status.COMPLETED
        return cancelled.status

    assert play(stay(Diary()), use) is Status.COMPENSATED


def test_a_caller_that_waits_no_longer_leaves_the_line() -> None:
    """With `wait`, giving the start up leaves no run, and the next in line is served."""
    journal, diary = MemoryJournal(), Diary()

    async def use(engine: Engine) -> None:
        await engine.start("stay", ROOM, run_id="first")
        impatient = asyncio.create_task(engine.start("stay", ROOM, run_id="r"))
        last = asyncio.create_task(engine.run("stay", ROOM, run_id="last"))
        await asyncio.sleep(0.1)
        impatient.cancel()
        await last

    play(stay(diary, WhenHeld.WAIT), use, journal)
    assert (diary.guests, journal.read("r")) == (["first", "last"], ())


def test_nobody_waits_for_a_resource_of_a_closed_engine() -> None:
    """Whoever waits to start when the engine closes is told so, and not left waiting for ever."""

    async def go() -> tuple[str, float]:
        clock = asyncio.get_running_loop().time
        bound = stay(Diary(), WhenHeld.WAIT, boss=True)
        async with Engine(MemoryJournal(), [bound], clock=clock) as engine:
            await engine.start("stay", ROOM, run_id="first")
            waiting = asyncio.create_task(engine.start("stay", ROOM, run_id="r"))
            await asyncio.sleep(2)
        with pytest.raises(RunRefused) as refused:
            await asyncio.wait_for(waiting, 60)
        return str(refused.value), clock()

    words, left_at = run_in_virtual_time(go())
    assert "the engine" in words
    assert left_at < 5


def test_a_run_that_needs_attention_keeps_its_resource_until_it_is_settled() -> None:
    """Nobody may enter a room of which nobody knows whether it is free; a person says when it is."""
    diary = Diary()

    async def use(engine: Engine) -> None:
        diary.ill = True
        stuck = await engine.run("stay", {**ROOM, "broke": True}, run_id="stuck")
        assert stuck.status is Status.NEEDS_ATTENTION
        await engine.start("stay", ROOM, run_id="r")
        await asyncio.sleep(60)
        assert diary.guests == ["stuck"]
        await engine.resolve("stuck", "enter", who="Asha")
        assert (await engine.result("stuck")).status is Status.COMPENSATED
        assert (await engine.result("r")).status is Status.COMPLETED

    play(stay(diary), use)


@pytest.mark.parametrize("versions", [1, 2])
def test_a_run_that_needs_attention_keeps_its_resource_over_a_restart(versions: int) -> None:
    """However many definitions of its name the next engine knows."""
    diary, journal = Diary(), MemoryJournal()
    bound = [stay(diary, version=str(each)) for each in range(versions)]

    async def before(engine: Engine) -> None:
        diary.ill = True
        await engine.run("stay", {**ROOM, "broke": True}, run_id="stuck")

    async def later(engine: Engine) -> None:
        await engine.start("stay", ROOM, run_id="r")
        await asyncio.sleep(60)
        assert diary.guests == ["stuck"]
        await engine.abandon("stuck", who="Asha", why="the inn burned down")
        assert (await engine.result("r")).status is Status.COMPLETED

    play(bound, before, journal)
    play(bound, later, journal)


def hotel(diary: Diary, name: str = "stay", version: str = "2", *, locks: bool = False) -> BoundSaga:
    """Enters the room, with or without holding it."""
    saga = define(name, version=version, locks=["room-${input.room}"] if locks else [])
    saga.step(name="enter", kind="read_only")(diary.enter)
    return saga.bind()


class Reading(MemoryJournal):
    """Notes whose events are read."""

    def __init__(self) -> None:
        super().__init__()
        self.was_read: list[str] = []

    def read(self, run_id: str) -> tuple[Event, ...]:
        """As ever."""
        self.was_read.append(run_id)
        return super().read(run_id)


async def leave_stuck(engine: Engine) -> None:
    """Run "stuck" needs attention, in the room."""
    await engine.run("stay", {**ROOM, "broke": True}, run_id="stuck")


@pytest.mark.parametrize("registered", ["another saga", "a definition without locks"])
def test_whatever_is_registered_a_run_that_needs_attention_keeps_its_resource(registered: str) -> None:
    """Nobody knows its definition any more, or the newest one has dropped its locks: the room is taken."""
    diary, journal = Diary(), MemoryJournal()
    diary.ill = True
    play(stay(diary), leave_stuck, journal)
    inn = hotel(diary, "inn", locks=True)
    now = [inn] if registered == "another saga" else [inn, hotel(diary)]

    async def go() -> None:
        clock = asyncio.get_running_loop().time
        async with Engine(journal, now, clock=clock) as engine:
            await engine.start("inn", ROOM, run_id="r")
            await asyncio.sleep(60)
            assert diary.guests == ["stuck"]
            assert (await engine.state("r")).locked is False

    run_in_virtual_time(go())


def test_a_start_reads_only_those_that_may_hold_something() -> None:
    """Of all the runs that need attention, those whose definition has locks, in this engine or before it."""
    diary, journal = Diary(), Reading()
    diary.ill = True
    saga = define("free")
    undo = Compensation(retry=ONCE)
    saga.step(name="enter", compensate=diary.leave, compensation=undo, retry=ONCE)(diary.enter)

    def pay(call: Call) -> None:
        raise StepError("Broke")

    saga.step(name="pay", after=["enter"], kind="read_only", retry=ONCE)(pay)
    free = saga.bind()

    async def before(engine: Engine) -> None:
        await leave_stuck(engine)
        for each in range(3):
            assert (await engine.run("free", run_id=f"free-{each}")).status is Status.NEEDS_ATTENTION

    play([stay(diary), free], before, journal)
    for registered in ([free], [free, stay(diary)], [hotel(diary)]):
        journal.was_read.clear()

        async def opened(registered: list[BoundSaga] = registered) -> None:
            async with Engine(journal, registered, clock=asyncio.get_running_loop().time):
                pass

        run_in_virtual_time(opened())
        assert journal.was_read == ["stuck"]


@pytest.mark.parametrize("lost", ["the definition", "the events"])
def test_a_run_whose_record_was_altered_keeps_no_engine_from_opening(
    lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its start says what it holds; if that cannot be read, the run is reported by name."""
    caplog.set_level(logging.CRITICAL, "sagacity_engine")
    diary, journal = Diary(), MemoryJournal()
    diary.ill = True
    play(stay(diary), leave_stuck, journal)

    def altered(what: str) -> Any:
        raise JournalRefused(f"{what[:12]} was altered")

    setattr(journal, "definition" if lost == "the definition" else "read", altered)

    async def go() -> None:
        inn = hotel(diary, "inn", locks=True)
        async with Engine(journal, [inn], clock=asyncio.get_running_loop().time) as engine:
            assert engine.stranded == ({} if lost == "the definition" else {"stuck": "stuck was altered"})
            await engine.start("inn", ROOM, run_id="r")
            await asyncio.sleep(60)
            assert diary.guests == (["stuck"] if lost == "the definition" else ["stuck", "r"])

    run_in_virtual_time(go())


def test_a_run_keeps_its_resource_over_a_restart() -> None:
    """Those that held something hold it again before anybody else may ask."""
    diary, journal = Diary(), MemoryJournal()
    bound = stay(diary, boss=True)

    async def before(engine: Engine) -> None:
        await engine.start("stay", ROOM, run_id="first")
        await engine.start("stay", ROOM, run_id="second")
        await asyncio.sleep(5)

    async def later(engine: Engine) -> None:
        await engine.start("stay", ROOM, run_id="third")
        await asyncio.sleep(5)
        assert diary.guests == ["first"]
        for name in ("first", "second", "third"):
            await engine.signal(name, "boss")
            assert (await engine.result(name)).status is Status.COMPLETED

    play(bound, before, journal)
    play(bound, later, journal)
    assert (diary.guests, diary.crowded) == (["first", "second", "third"], False)


def test_a_run_that_cannot_be_carried_on_keeps_its_resource() -> None:
    """Its definition is not registered any more; what it began in the room nobody has undone."""
    journal = MemoryJournal()

    async def before(engine: Engine) -> None:
        await engine.start("stay", ROOM, run_id="old")
        await asyncio.sleep(5)

    async def go() -> str:
        clock = asyncio.get_running_loop().time
        new = stay(Diary(), WhenHeld.REJECT, version="2")
        async with Engine(journal, [new], clock=clock) as engine:
            assert "old" in engine.stranded
            with pytest.raises(RunRefused) as refused:
                await engine.start("stay", ROOM)
            return str(refused.value)

    play(stay(Diary(), boss=True), before, journal)
    assert "held by run 'old'" in run_in_virtual_time(go())


def test_a_run_that_is_reopened_queues_again() -> None:
    """It let its resource go when it ended: taken back by a person, it waits for its turn."""
    diary, undone = Diary(), list[float]()
    saga = define("stay", locks=["room-${input.room}"])
    saga.step(name="enter", compensate=lambda call: undone.append(1.0))(diary.enter)

    async def use(engine: Engine) -> float:
        await engine.run("stay", ROOM, run_id="first")
        await engine.start("stay", ROOM, run_id="second")
        await engine.undo("first", who="Asha")
        await asyncio.sleep(0.5)
        assert undone == []
        result = await engine.result("first")
        assert (result.status, undone) == (Status.COMPENSATED, [1.0])
        return result.ended_at

    assert play(saga.bind(), use) >= 2.0


def test_several_keys_are_taken_in_one_order() -> None:
    """Two runs that need the same two rooms in opposite orders never wait for each other."""
    diary = Diary()
    saga = define("stay", locks=["room-${input.a}", "room-${input.b}"])
    saga.step(name="enter", compensate=lambda call: None)(diary.enter)

    async def use(engine: Engine) -> list[RunResult]:
        rooms = [{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 1, "b": 1}]
        return await asyncio.gather(*(engine.run("stay", each) for each in rooms))

    assert {result.status for result in play(saga.bind(), use)} == {Status.COMPLETED}
    assert not diary.crowded


@pytest.mark.parametrize(
    ("run_input", "words"),
    [
        ({}, "the lock 'room-\\$\\{input.room\\}' of saga 'stay'"),
        ({"room": "x" * 600}, "1 to 500 characters"),
    ],
)
def test_a_key_that_cannot_be_made_refuses_the_start(run_input: dict[str, Any], words: str) -> None:
    """A run without its resource is not started; the words name the lock."""

    async def use(engine: Engine) -> None:
        with pytest.raises(SagaRefused, match=words):
            await engine.start("stay", run_input)

    play(stay(Diary()), use)


def test_asking_for_a_run_that_exists_asks_for_no_resource() -> None:
    """Starting a run again that has ended gives its result, and does not take the room from its holder."""

    async def use(engine: Engine) -> None:
        result = await engine.run("stay", ROOM, run_id="r")
        await engine.start("stay", ROOM, run_id="other")
        assert await engine.run("stay", ROOM, run_id="r") == result

    play(stay(Diary(), WhenHeld.REJECT), use)
