"""Runs that people settled while no engine had the journal: the next engine ends them, registered or not."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from sagacity_engine import (
    Action,
    BoundSaga,
    Call,
    Compensation,
    Engine,
    Lock,
    MemoryJournal,
    RetryPolicy,
    RunRefused,
    Status,
    StepError,
    WhenHeld,
    define,
)
from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptUnknown,
    Event,
    OperatorActed,
    RunEnded,
)
from sagacity_engine.journal import Batch
from sagacity_engine.listeners import Listener
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.testing import violations
from sagacity_engine.testing.simulation.virtual_loop import run_in_virtual_time

ONCE = RetryPolicy(maximum_attempts=1)
INNER = "r/stay/1"
NOBODY: tuple[BoundSaga, ...] = ()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "sagacity_engine")


class World:
    """Participants; those in `ill` refuse, by step, or "undo" for every undo. A call takes a second."""

    def __init__(self, *ill: str) -> None:
        self.ill = set(ill)
        self.calls: list[str] = []

    async def act(self, call: Call) -> None:
        """Every action."""
        self.calls.append(call.step)
        await asyncio.sleep(1)
        if call.step in self.ill:
            raise StepError("No")

    async def undo(self, call: Call) -> None:
        """Every undo."""
        self.calls.append(f"undo {call.step}")
        if "undo" in self.ill:
            raise StepError("No")


def trip(world: World, **fields: Any) -> BoundSaga:
    """Book the room, which is held; then pay."""
    saga = define("trip", locks=["room"], **fields)
    undo: dict[str, Any] = {"compensate": world.undo, "compensation": Compensation(retry=ONCE), "retry": ONCE}
    saga.step(name="book", **undo)(world.act)
    saga.step(name="pay", after=["book"], **undo)(world.act)
    return saga.bind()


def nested(world: World) -> BoundSaga:
    """A saga whose only step is one."""
    inner = define("rooms")
    inner.step(name="hotel", compensate=world.undo)(world.act)
    saga = define("trip")
    saga.sub_saga(inner, name="stay")
    return saga.bind()


def play(
    journal: MemoryJournal,
    sagas: Sequence[BoundSaga],
    use: Callable[[Engine], Awaitable[Any]],
    listeners: Sequence[Listener] = (),
    later_s: float = 0.0,
) -> Any:
    """What came of using an engine in virtual time, which begins at the journal's latest event, or later."""
    begins = later_s + max(
        (each.at for line in journal.runs() for each in journal.read(line.run_id)), default=0.0
    )

    async def go() -> Any:
        time = asyncio.get_running_loop().time
        async with Engine(
            journal,
            sagas,
            clock=lambda: begins + time(),
            draw=lambda: 0.5,
            listeners=listeners,
            shutdown_s=0.01,
        ) as engine:
            return await use(engine)

    return run_in_virtual_time(go())


async def half_a_second(engine: Engine) -> None:
    """The run has begun."""
    await engine.start("trip", run_id="r")
    await asyncio.sleep(0.5)


def decide(journal: MemoryJournal, action: Action, run_id: str = "r", step: str = "") -> None:
    """What `sagacity sagas` does when no engine has the journal."""
    events = journal.read(run_id)
    at = max(each.at for each in events)
    event = OperatorActed(at=at, action=action, who="ann", why="no use", step=step)

    async def go() -> None:
        await journal.append(Batch(run_id, len(events) + 1, (event,)))

    journal.open()
    asyncio.run(go())
    journal.close()


def status_of(journal: MemoryJournal, run_id: str = "r") -> Status:
    line = journal.run(run_id)
    assert line is not None
    saga = journal.definition(line.definition_hash)
    assert saga is not None
    assert not line.status.ended or violations(saga, journal.read(run_id)) == ()
    return line.status


async def stranded(engine: Engine) -> dict[str, str]:
    await asyncio.sleep(5)
    return dict(engine.stranded)


@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("stands", ["a call in flight", "it needs attention"])
def test_an_abandoned_run_is_ended_by_whoever_opens_the_journal(registered: bool, stands: str) -> None:
    """Nothing is called for it, its resource is free again, and whoever asks for its result gets it."""
    world, journal = World("pay", "undo"), MemoryJournal()
    if stands == "a call in flight":
        play(journal, [trip(world)], half_a_second)
    else:
        play(journal, [trip(world)], lambda engine: engine.run("trip", run_id="r"))
    decide(journal, Action.ABANDON)
    assert status_of(journal) is Status.RUNNING
    calls, heard = list(world.calls), list[Event]()
    other = define("other", locks=["room"])
    other.step(name="enter", kind="read_only")(world.act)

    async def use(engine: Engine) -> None:
        result = await engine.result("r")
        assert (result.status, result.reason) == (Status.ABANDONED, "abandoned by ann: no use")
        assert (await engine.run("other")).status is Status.COMPLETED
        assert engine.stranded == {}

    def hears(state: RunState, event: Event) -> None:
        if state.started.run_id == "r":
            heard.append(event)

    play(journal, [other.bind(), *([trip(world)] if registered else NOBODY)], use, [hears])
    assert status_of(journal) is Status.ABANDONED
    assert world.calls == [*calls, "enter"]
    assert [type(each) for each in heard] == [AttemptUnknown, RunEnded][-1 if "attention" in stands else -2 :]


def test_a_run_that_wants_nothing_but_its_end_is_ended() -> None:
    """Its last trouble was resolved by hand; no function is needed to say that it is compensated."""
    world, journal = World("pay", "undo"), MemoryJournal()
    play(journal, [trip(world)], lambda engine: engine.run("trip", run_id="r"))
    assert status_of(journal) is Status.NEEDS_ATTENTION
    decide(journal, Action.RESOLVE, step="book")
    assert play(journal, NOBODY, stranded) == {}
    assert status_of(journal) is Status.COMPENSATED


def test_one_that_still_needs_a_person_needs_attention_again() -> None:
    """Of two troubles one was resolved: the run ends as it did before, and keeps its resource."""
    world, journal = World("undo"), MemoryJournal()
    play(journal, [trip(world)], lambda engine: engine.run("trip", run_id="r"))
    decide(journal, Action.UNDO)
    play(journal, [trip(world)], lambda engine: engine.result("r"))
    decide(journal, Action.RESOLVE, step="pay")
    before = list(world.calls)
    assert status_of(journal) is Status.RUNNING
    other = define("other", locks=[Lock(key="room", when_held=WhenHeld.REJECT)])
    other.step(name="enter", kind="read_only")(world.act)

    async def use(engine: Engine) -> None:
        assert (await engine.result("r")).step == "book"
        with pytest.raises(RunRefused, match="'room' is held by run 'r'"):
            await engine.start("other")

    play(journal, [other.bind()], use)
    assert (status_of(journal), world.calls) == (Status.NEEDS_ATTENTION, before)


@pytest.mark.parametrize(
    "action", [None, Action.PAUSE, Action.RETRY], ids=["in flight", "paused", "a call is owed"]
)
def test_a_run_that_needs_calls_is_left_alone(action: Action | None) -> None:
    """It is stranded as before, holds its resource, and its record stays as it is."""
    world, journal = World("pay", "undo"), MemoryJournal()
    if action is Action.RETRY:
        play(journal, [trip(world)], lambda engine: engine.run("trip", run_id="r"))
        decide(journal, action, step="book")
    else:
        play(journal, [trip(world)], half_a_second)
        if action is not None:
            decide(journal, action)
    before = journal.read("r")
    [why] = play(journal, NOBODY, stranded).values()
    assert "is not registered; register the definition it was started with" in why
    assert journal.read("r") == before

    async def use(engine: Engine) -> None:
        with pytest.raises(RunRefused, match="is open and cannot be carried on here: its definition"):
            await engine.result("r")

    play(journal, NOBODY, use)


@pytest.mark.parametrize("later_s", [0.0, 7200.0])
def test_a_deadline_that_passed_meanwhile_is_not_overlooked(later_s: float) -> None:
    """A last step that was skipped completes the run; once its time is over its undos are owed instead."""
    world, journal = World(), MemoryJournal()
    saga = define("trip", deadline_s=3600.0)
    saga.step(name="book", compensate=world.undo)(world.act)
    backoff = RetryPolicy(initial_interval_s=60.0)
    saga.step(name="pay", compensate=world.undo, after=["book"], retry=backoff)(world.act)
    world.ill = {"pay"}

    async def until_it_backs_off(engine: Engine) -> None:
        await engine.start("trip", run_id="r")
        await asyncio.sleep(10)

    play(journal, [saga.bind()], until_it_backs_off)
    decide(journal, Action.SKIP, step="pay")
    assert bool(play(journal, NOBODY, stranded, later_s=later_s)) is bool(later_s)
    assert status_of(journal) is (Status.RUNNING if later_s else Status.COMPLETED)
    assert world.calls == ["book", "pay"]


def killed_when(journal: MemoryJournal, bound: BoundSaga, moment: Callable[[], bool]) -> None:
    """An engine that runs "r", or carries it on, and dies at the first moment that fits."""

    async def doomed() -> None:
        clock = asyncio.get_running_loop().time
        async with Engine(journal, [bound], clock=lambda: 1000.0 + clock()) as engine:
            await engine.run("trip", run_id="r")

    async def go() -> None:
        loop: Any = asyncio.get_running_loop()
        process = loop.spawn(doomed())
        for _ in range(10_000):
            if moment():
                break
            await asyncio.sleep(0.0002)
        process.kill()
        assert moment(), "it came to that"

    run_in_virtual_time(go())
    journal.close()


def begun(journal: MemoryJournal) -> int:
    """The attempts of run "r" that were begun."""
    return sum(isinstance(each, AttemptStarted) for each in journal.read("r"))


@pytest.mark.parametrize("registered", [True, False])
def test_an_abandoned_run_begins_no_inner_run(registered: bool) -> None:
    """The engine died between the outer run's intent and the inner run's start, and the run was abandoned."""
    world, journal = World(), MemoryJournal()
    bound = nested(world)
    killed_when(journal, bound, lambda: begun(journal) == 1)
    assert journal.read(INNER) == ()
    decide(journal, Action.ABANDON)
    play(journal, [bound] if registered else NOBODY, stranded)
    assert (status_of(journal), journal.read(INNER), world.calls) == (Status.ABANDONED, (), [])
    if registered:
        [failed] = [each for each in journal.read("r") if isinstance(each, AttemptFailed)]
        assert failed.message == "the run was abandoned before its saga began"


def test_an_abandoned_run_does_not_take_its_inner_run_back() -> None:
    """The inner run completed; the outer one died about to take it back, and was abandoned then."""
    world, journal = World(), MemoryJournal()
    bound = nested(world)
    play(journal, [bound], lambda engine: engine.run("trip", run_id="r"))
    decide(journal, Action.UNDO)
    killed_when(journal, bound, lambda: begun(journal) == 2)
    assert status_of(journal, INNER) is Status.COMPLETED
    decide(journal, Action.ABANDON)
    play(journal, [bound], stranded)
    assert (status_of(journal), status_of(journal, INNER)) == (Status.ABANDONED, Status.COMPLETED)
    assert world.calls == ["hotel"]
