"""What stands around an engine's runs: guards of services, versions, bounds, a journal that is lost."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sagacity_engine import (
    BoundSaga,
    Breaker,
    BreakerState,
    Call,
    Compensation,
    Direction,
    Engine,
    FailureClass,
    JournalFenced,
    MemoryJournal,
    RetryPolicy,
    RunRefused,
    RunResult,
    SagaRefused,
    ServicePolicy,
    SqliteJournal,
    Status,
    StepError,
    define,
)
from sagacity_engine.events import AttemptFailed, AttemptStarted, RunStarted
from sagacity_engine.hosting.failures import CIRCUIT_OPEN
from sagacity_engine.testing import violations
from sagacity_engine.testing.simulation.virtual_loop import run_in_virtual_time

Act = Callable[[Call], Any]
ONCE = RetryPolicy(maximum_attempts=1)
AT_ONCE = RetryPolicy(initial_interval_s=0.0)
INN = "inn"


def does_nothing(call: Call) -> None:
    """A participant that does nothing."""


def refuses(call: Call) -> None:
    raise StepError("Down", "no answer", FailureClass.CASCADING)


async def takes_a_second(call: Call) -> None:
    await asyncio.sleep(1)


def play(bound: BoundSaga, use: Callable[[Engine], Awaitable[Any]], **options: Any) -> Any:
    """What came of using an engine in virtual time; every run that ended must be sound."""
    journal = options.pop("journal", None) or MemoryJournal()

    async def go() -> Any:
        clock = asyncio.get_running_loop().time
        async with Engine(journal, [bound], clock=clock, draw=lambda: 0.5, **options) as engine:
            return await use(engine)

    came_of_it = run_in_virtual_time(go())
    for line in journal.runs():
        assert not line.status.ended or violations(bound.saga, journal.read(line.run_id)) == ()
    return came_of_it


def stay(act: Act = takes_a_second, undo: Act = does_nothing, **fields: Any) -> BoundSaga:
    """One step at the inn, then one elsewhere that the input may have refused."""

    def pay(call: Call) -> None:
        if call.input.get("broke"):
            raise StepError("Broke", "", FailureClass.PERMANENT)

    saga = define("trip")
    declared = Compensation(retry=AT_ONCE)
    booked = {"service": INN, "retry": ONCE, "compensation": declared, **fields}
    saga.step(name="book", compensate=undo, **booked)(act)
    saga.step(name="pay", kind="pivot", retry=ONCE)(pay)
    return saga.bind()


def failures_of(journal: MemoryJournal, run_id: str) -> list[AttemptFailed]:
    return [event for event in journal.read(run_id) if isinstance(event, AttemptFailed)]


# Places.


def places(number: int) -> dict[str, ServicePolicy]:
    return {INN: ServicePolicy(concurrency=number, retry_share=None)}


async def four_runs(engine: Engine) -> list[RunResult]:
    return await asyncio.gather(*(engine.run("trip", run_id=f"r{each}") for each in range(4)))


def test_a_service_is_asked_no_more_than_its_places_allow() -> None:
    """Two calls at a time, and the others in the order in which they came."""
    calls: list[str] = []
    at_work = most = 0

    async def act(call: Call) -> None:
        nonlocal at_work, most
        calls.append(call.run_id)
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(1)
        at_work -= 1

    results = play(stay(act), four_runs, services=places(2))
    assert {result.status for result in results} == {Status.COMPLETED}
    assert (most, calls) == (2, ["r0", "r1", "r2", "r3"])


def test_the_star_is_the_policy_of_every_other_service() -> None:
    """A service without a policy of its own is bound by "*", and one that has its own is not."""
    for services, took_s in (
        ({"*": ServicePolicy(concurrency=1)}, 4.0),
        ({"*": ServicePolicy(concurrency=1), **places(4)}, 1.0),
    ):
        results = play(stay(), four_runs, services=services)
        assert max(result.ended_at for result in results) == pytest.approx(took_s, abs=0.1)


def test_undos_go_first() -> None:
    """An undo that waits for a place passes every action that waits for one."""
    told: list[tuple[str, Direction]] = []

    async def act(call: Call) -> None:
        told.append((call.run_id, call.direction))
        await asyncio.sleep(1)

    async def use(engine: Engine) -> None:
        first = asyncio.create_task(engine.run("trip", {"broke": True}, run_id="first"))
        await asyncio.sleep(0.1)
        await asyncio.gather(engine.run("trip", run_id="r1"), engine.run("trip", run_id="r2"), first)

    play(stay(act, act), use, services=places(1))
    assert told == [
        ("first", Direction.FORWARD),
        ("r1", Direction.FORWARD),  # It was let in while the first run's next step was still to fail.
        ("first", Direction.UNDO),
        ("r2", Direction.FORWARD),
    ]


def test_turning_back_withdraws_a_call_that_waits_for_a_place() -> None:
    """A cancelled run does not wait in line for what it would undo at once; the function is never called."""
    called: list[str] = []
    journal = MemoryJournal()

    async def act(call: Call) -> None:
        called.append(call.run_id)
        await asyncio.sleep(100)

    async def use(engine: Engine) -> RunResult:
        await engine.start("trip", run_id="first")
        await engine.start("trip", run_id="r")
        assert engine.guards.of(INN).waiting == 1
        assert await engine.cancel("r", "Asha")
        result = await engine.result("r")
        assert engine.guards.of(INN).waiting == 0
        return result

    bound = stay(act, start_to_close_timeout_s=900)
    result = play(bound, use, services=places(1), journal=journal, shutdown_s=0.1)
    [failed] = failures_of(journal, "r")
    assert (result.status, called) == (Status.COMPENSATED, ["first"])
    assert failed.message == "the run turned back; the function was not called"


def test_closing_withdraws_calls_that_wait_for_a_place() -> None:
    """They definitely failed, which is journaled: the next opening tries them again, if attempts are left."""
    journal = MemoryJournal()
    bound = stay(retry=RetryPolicy(initial_interval_s=0.0, maximum_attempts=2), start_to_close_timeout_s=900)

    async def leave(engine: Engine) -> None:
        await engine.start("trip", run_id="first")
        await engine.start("trip", run_id="r")

    async def come_back(engine: Engine) -> RunResult:
        return await engine.result("r")

    play(bound, leave, services=places(1), journal=journal)
    [failed] = failures_of(journal, "r")
    assert failed.message == "the engine closed; the function was not called"
    assert play(bound, come_back, services=places(1), journal=journal).status is Status.COMPLETED


# Breakers.

BREAKER = Breaker(failure_threshold=2, open_s=30.0)


class Inn:
    """A service that is down until somebody says otherwise."""

    def __init__(self) -> None:
        self.calls = 0
        self.well = False

    def __call__(self, call: Call) -> None:
        """Refuses, or not."""
        self.calls += 1
        if not self.well:
            refuses(call)


def test_a_breaker_opens_half_opens_and_closes() -> None:
    """Two failures open it; while open nothing is called; after its time one call probes, and closes it."""
    inn, journal = Inn(), MemoryJournal()
    changes: list[tuple[str, BreakerState]] = []

    async def use(engine: Engine) -> list[Status]:
        told = [(await engine.run("trip", run_id=f"r{each}")).status for each in range(3)]
        assert inn.calls == 2
        inn.well = True
        await asyncio.sleep(31)
        told += [(await engine.run("trip")).status for _ in range(2)]
        return told

    told = play(
        stay(inn, breaker=BREAKER),
        use,
        journal=journal,
        breaker_changed=lambda service, state, at: changes.append((service, state)),
    )
    assert told == [Status.COMPENSATED] * 3 + [Status.COMPLETED] * 2
    assert inn.calls == 4
    assert [each.error_type for each in failures_of(journal, "r2")] == [CIRCUIT_OPEN]
    assert failures_of(journal, "r2")[0].message == "the breaker of 'inn' is open"
    assert changes == [
        (INN, BreakerState.OPEN),
        (INN, BreakerState.HALF_OPEN),
        (INN, BreakerState.CLOSED),
    ]


def test_a_probe_that_fails_opens_the_breaker_again() -> None:
    """Half-open lets one call through; its failure keeps the others away for as long as before."""
    inn = Inn()

    async def use(engine: Engine) -> None:
        for _ in range(2):
            await engine.run("trip")
        await asyncio.sleep(31)
        await asyncio.gather(*(engine.run("trip") for _ in range(3)))
        assert inn.calls == 3
        await engine.run("trip")

    play(stay(inn, breaker=BREAKER), use)
    assert inn.calls == 3


def test_a_refused_call_comes_back_when_the_breaker_may_be_asked() -> None:
    """It failed with the time that the breaker has left, and a share more: the retry heeds it."""
    inn, journal = Inn(), MemoryJournal()

    async def use(engine: Engine) -> RunResult:
        run = asyncio.create_task(engine.run("trip", run_id="r"))
        await asyncio.sleep(10)
        inn.well = True
        return await run

    bound = stay(inn, breaker=BREAKER, retry=RetryPolicy(initial_interval_s=0.1, maximum_attempts=4))
    result = play(bound, use, journal=journal)
    [refused] = [each for each in failures_of(journal, "r") if each.error_type == CIRCUIT_OPEN]
    assert (result.status, inn.calls) == (Status.COMPLETED, 3)
    assert refused.retry_after_s == pytest.approx(33.0, abs=1.0)


def test_a_breaker_never_holds_up_an_undo() -> None:
    """The service's breaker is open, and what was booked there is taken back at once."""
    ill = False

    def act(call: Call) -> None:
        if ill:
            refuses(call)

    undone: list[str] = []

    async def use(engine: Engine) -> RunResult:
        nonlocal ill
        await engine.start("held", run_id="r")
        await asyncio.sleep(0.1)
        ill = True
        for _ in range(2):
            await engine.run("trip")
        assert engine.guards.of(INN).state(BREAKER, engine.now()) is BreakerState.OPEN
        before = engine.now()
        assert await engine.cancel("r", "Asha")
        result = await engine.result("r")
        assert engine.now() - before < 1
        return result

    held = define("held")
    held.step(name="book", service=INN, breaker=BREAKER, compensate=lambda call: undone.append(call.run_id))(
        act
    )
    held.approval("boss")
    journal, trip = MemoryJournal(), stay(act, breaker=BREAKER)

    async def go() -> RunResult:
        clock = asyncio.get_running_loop().time
        async with Engine(journal, [trip, held.bind()], clock=clock, draw=lambda: 0.5) as engine:
            return await use(engine)

    assert run_in_virtual_time(go()).status is Status.COMPENSATED
    assert undone == ["r"]


# Retry budgets.


def test_a_spent_budget_refuses_the_retry() -> None:
    """The journal says so, and the step is given up as if no attempt were left."""
    journal = MemoryJournal()
    policy = ServicePolicy(retry_share=0.0, retry_burst=1.0)
    result = play(
        stay(refuses, retry=RetryPolicy(initial_interval_s=0.0, maximum_attempts=9)),
        lambda engine: engine.run("trip", run_id="r"),
        journal=journal,
        services={INN: policy},
    )
    assert result.status is Status.COMPENSATED
    assert [each.retry_refused for each in failures_of(journal, "r")] == [False, True]


def test_first_attempts_earn_retries() -> None:
    """Half a retry is earned by each first attempt: after two of them, one may be tried again."""
    journal = MemoryJournal()
    policy = ServicePolicy(retry_share=0.5, retry_burst=0.0)

    async def use(engine: Engine) -> list[Status]:
        return [(await engine.run("trip", run_id=f"r{each}")).status for each in range(2)]

    play(stay(refuses, retry=AT_ONCE), use, journal=journal, services={INN: policy})
    told = [[each.retry_refused for each in failures_of(journal, name)] for name in ("r0", "r1")]
    assert told == [[True], [False, True]]


def test_undos_are_tried_whatever_the_budget_says() -> None:
    """A refund that fails at first is tried again though no retry is left."""
    turns = iter([True, True, False])

    def undo(call: Call) -> None:
        if next(turns):
            raise StepError("Busy")

    policy = ServicePolicy(retry_share=0.0, retry_burst=0.0)
    result = play(
        stay(does_nothing, undo),
        lambda engine: engine.run("trip", {"broke": True}),
        services={INN: policy},
    )
    assert result.status is Status.COMPENSATED


# Versions.


def version(number: str, act: Act, **fields: Any) -> BoundSaga:
    saga = define("trip", version=number, **fields)
    saga.approval("boss")
    saga.step(name="pay", kind="pivot", after=["boss"])(act)
    return saga.bind()


def test_new_runs_use_the_last_definition_and_open_runs_keep_theirs() -> None:
    """A run is pinned to its definition over a restart, as long as that one is still registered."""
    old, new = version("1", lambda call: "old"), version("2", lambda call: "new")
    journal = MemoryJournal()

    async def use(*sagas: BoundSaga) -> dict[str, Any]:
        clock = asyncio.get_running_loop().time
        async with Engine(journal, sagas, clock=clock) as engine:
            if len(sagas) == 1:
                await engine.start("trip", run_id="first")
                return {}
            await engine.start("trip", run_id="second")
            for name in ("first", "second"):
                await engine.signal(name, "boss")
            return {name: (await engine.result(name)).outputs["pay"] for name in ("first", "second")}

    run_in_virtual_time(use(old))
    assert run_in_virtual_time(use(old, new)) == {"first": "old", "second": "new"}


def test_one_definition_twice_is_refused() -> None:
    """Which functions would it have?"""
    with pytest.raises(SagaRefused, match="registered twice with one definition"):
        Engine(MemoryJournal(), [version("1", does_nothing), version("1", refuses)])


# Bounds.


def test_no_more_than_max_open_runs_are_open() -> None:
    """Waiting runs take memory: one more is refused with a way out, and accepted when one has ended."""

    async def use(engine: Engine) -> str:
        await engine.start("trip", run_id="r1")
        await engine.start("trip", run_id="r2")
        with pytest.raises(RunRefused) as refused:
            await engine.start("trip", run_id="r3")
        await engine.signal("r1", "boss")
        await engine.result("r1")
        await engine.start("trip", run_id="r3")
        return str(refused.value)

    words = play(version("1", does_nothing), use, max_open=2)
    assert words == "2 runs are open; the most is 2: wait until some have ended, or raise max_open"


def test_a_run_that_waits_for_a_person_takes_no_place() -> None:
    """`max_runs` counts runs that are being carried on: a hundred waiting approvals block no start."""

    async def use(engine: Engine) -> list[RunResult]:
        for each in range(100):
            await engine.start("trip", run_id=f"r{each}")
        for each in range(100):
            await engine.signal(f"r{each}", "boss")
        return await asyncio.gather(*(engine.result(f"r{each}") for each in range(100)))

    results = play(version("1", takes_a_second), use, max_runs=1)
    assert {result.status for result in results} == {Status.COMPLETED}


def test_a_start_waits_while_max_runs_are_carried_on() -> None:
    """The second run starts when the first has ended, and not before."""

    async def use(engine: Engine) -> list[RunResult]:
        return await asyncio.gather(*(engine.run("trip") for _ in range(3)))

    results = play(stay(), use, max_runs=1)
    assert [round(result.started_at) for result in results] == [0, 1, 2]


def test_a_long_backoff_takes_no_place() -> None:
    """A run that does nothing for a minute lets others start meanwhile."""
    turns = iter([True, False, False])

    def act(call: Call) -> None:
        if next(turns):
            raise StepError("Busy", retry_after_s=60.0)

    async def use(engine: Engine) -> tuple[float, float]:
        first = asyncio.create_task(engine.run("trip"))
        await asyncio.sleep(0.1)
        second = await engine.run("trip")
        return second.ended_at, (await first).ended_at

    second_s, first_s = play(stay(act, retry=AT_ONCE), use, max_runs=1)
    assert second_s < 1
    assert first_s > 60


@pytest.mark.parametrize("name", ["max_runs", "max_open", "max_threads"])
def test_a_bound_of_nothing_is_refused(name: str) -> None:
    """An engine that could do nothing is not made."""
    nothing: dict[str, Any] = {name: 0}
    with pytest.raises(SagaRefused, match=f"{name} is 0; it must be at least 1"):
        Engine(MemoryJournal(), [], **nothing)


# A journal that is lost to another process.


def test_an_engine_whose_journal_is_taken_over_stops_its_runs(tmp_path: Path) -> None:
    """Its runs end with a clear error, nothing new starts, and leaving works; the other engine goes on."""
    path, now = tmp_path / "runs.db", [1000.0]
    bound = version("1", does_nothing)
    ours = SqliteJournal(path, lease_s=10.0, clock=lambda: now[0])

    async def go() -> str:
        async with Engine(ours, [bound]) as engine:
            await engine.start("trip", run_id="r")
            waiting = asyncio.create_task(engine.result("r"))
            await asyncio.sleep(0)
            take_over(path)
            with pytest.raises(JournalFenced, match="taken over"):
                await engine.start("trip", run_id="other")
            with pytest.raises(RunRefused, match="the request is lost"):
                await engine.signal("r", "boss")
            with pytest.raises(JournalFenced, match="taken over"):
                await waiting
        return engine.stranded["r"]

    assert "taken over" in asyncio.run(go())
    ours.open()
    assert [line.run_id for line in ours.runs()] == ["r"]
    assert not [event for event in ours.read("r") if not isinstance(event, RunStarted | AttemptStarted)]
    ours.close()


def take_over(path: Path) -> None:
    """What another process does when ours has not renewed its lease in time."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE lease SET epoch = epoch + 1, owner = ''")
    connection.close()
