"""The embedded engine at its edges: claims, back-pressure, cancelled callers, odd clocks and odd values."""

import asyncio
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
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
    MemoryJournal,
    RetryPolicy,
    RunRefused,
    Saga,
    SagaRefused,
    SqliteJournal,
    Status,
    StepError,
    author_plan,
    define,
)
from sagacity_engine.events import AttemptStarted, CancelRequested, Direction, RunStarted
from sagacity_engine.journal import Batch, Settle
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.testing import violations

Act = Callable[[Call], Any]


def nothing(call: Call) -> None:
    """A participant that does nothing."""


def trip(book: Act = nothing, pay: Act = nothing, undo: Act = nothing, **fields: Any) -> BoundSaga:
    saga = define("trip", deadline_s=fields.pop("deadline_s", None))
    instant = RetryPolicy(initial_interval_s=0.0)
    saga.step(name="book", compensate=undo, idempotent=True, **{"retry": instant, **fields})(book)
    saga.step(name="pay", kind="pivot", retry=RetryPolicy(maximum_attempts=1))(pay)
    return saga.bind()


def leave_open(journal: MemoryJournal, bound: BoundSaga, *run_ids: str) -> None:
    """Open runs whose first attempt a crash cut off."""

    async def go() -> None:
        for at, run_id in enumerate(run_ids, start=1):
            started = RunStarted(
                run_id=run_id,
                at=float(at),
                definition_hash=bound.saga.definition_hash,
                plan=author_plan(bound.saga),
            )
            first = AttemptStarted(at=float(at), step="book", direction=Direction.FORWARD, attempt=1)
            await journal.append(Batch(run_id, 1, (started, first)))

    journal.open()
    asyncio.run(go())
    journal.close()


class Gated(MemoryJournal):
    """A journal whose next append waits until it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.gate = asyncio.Event(), asyncio.Event()

    def submit(self, batch: Batch, settle: Settle) -> None:
        self.asked.set()

        async def later() -> None:
            await self.gate.wait()
            MemoryJournal.submit(self, batch, settle)

        self.opening = asyncio.ensure_future(later())


def test_a_result_asked_for_while_its_id_is_looked_up_arrives() -> None:
    """Whoever waits on a claim that turns out to be an ended run gets that run's result."""

    async def go() -> None:
        async with Engine(MemoryJournal(), [trip()]) as engine:
            first = await engine.run("trip", run_id="r")
            again = asyncio.create_task(engine.run("trip", run_id="r"))
            await asyncio.sleep(0)
            assert await asyncio.wait_for(engine.result("r"), 5) == first == await again

    asyncio.run(go())


def test_more_open_runs_than_slots_are_recovered_in_turn() -> None:
    """Recovery takes up every open run, carries on at most `max_runs` of them, and all of them end."""
    running = [0, 0]

    async def book(call: Call) -> None:
        running[0] += 1
        running[1] = max(running)
        await asyncio.sleep(0.002)
        running[0] -= 1

    bound, journal = trip(book), MemoryJournal()
    names = [f"r{number}" for number in range(7)]
    leave_open(journal, bound, *names)

    async def go() -> None:
        async with Engine(journal, [bound], max_runs=2) as engine:
            results = await asyncio.gather(*map(engine.result, names))
            assert {result.status for result in results} == {Status.COMPLETED}

    asyncio.run(go())
    assert running[1] == 2
    assert all(violations(bound.saga, journal.read(name)) == () for name in names)


def test_nobody_waits_for_ever_for_a_recovered_run_without_a_slot() -> None:
    """A run without a slot can be cancelled; when the engine closes, those who wait for its end are told."""

    async def book(call: Call) -> None:
        await asyncio.sleep(60)

    bound, journal = trip(book), MemoryJournal()
    leave_open(journal, bound, "first", "second")

    async def go() -> None:
        async with Engine(journal, [bound], max_runs=1, shutdown_s=0.02) as engine:
            waiting = [
                asyncio.create_task(engine.result("second")),
                asyncio.create_task(engine.cancel("second", "me")),
            ]
            await asyncio.sleep(0.01)
        outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
        assert [type(outcome) for outcome in outcomes] == [RunRefused, bool]

    asyncio.run(go())
    assert [run.run_id for run in journal.open_runs()] == ["first", "second"]


def test_a_caller_who_gives_up_late_leaves_no_orphan() -> None:
    """A start that is on its way to the disk is carried on though its caller was cancelled."""

    async def go() -> None:
        journal = Gated()
        async with Engine(journal, [trip()]) as engine:
            caller = asyncio.create_task(engine.start("trip", run_id="r"))
            await journal.asked.wait()
            caller.cancel()
            with suppress(asyncio.CancelledError):
                await caller
            journal.gate.set()
            assert (await asyncio.wait_for(engine.run("trip", run_id="r"), 5)).status is Status.COMPLETED

    asyncio.run(go())


def test_a_start_that_becomes_durable_while_the_engine_closes_calls_nobody() -> None:
    """It is accepted, nothing is called, and the next engine carries it on."""
    called: list[Call] = []
    bound = trip(called.append)

    async def go() -> MemoryJournal:
        journal = Gated()
        async with Engine(journal, [bound]) as engine:
            caller = asyncio.create_task(engine.run("trip", run_id="r"))
            await journal.asked.wait()
            asyncio.get_running_loop().call_later(0.01, journal.gate.set)
        with pytest.raises(RunRefused, match="the engine closed before run 'r' ended"):
            await caller
        assert called == []
        async with Engine(journal, [bound]) as engine:
            assert (await engine.result("r")).status is Status.COMPLETED
        return journal

    journal = asyncio.run(go())
    assert violations(bound.saga, journal.read("r")) == ()


def test_recovering_twice_at_once_carries_a_run_on_once() -> None:
    """Two calls of `recover` never make two drivers for one run."""
    bound, journal = trip(), MemoryJournal()

    async def go() -> None:
        async with Engine(journal, [bound]) as engine:
            started = RunStarted(
                run_id="r", at=1.0, definition_hash=bound.saga.definition_hash, plan=author_plan(bound.saga)
            )
            await journal.append(Batch("r", 1, (started,)))
            taken = await asyncio.gather(engine.recover(), engine.recover())
            assert sorted(taken) == [(), ("r",)]
            assert (await engine.result("r")).status is Status.COMPLETED

    asyncio.run(go())
    assert violations(bound.saga, journal.read("r")) == ()


def test_cancelling_the_leaving_still_closes_the_journal() -> None:
    """A journal is let go even when the wait for calls in flight is cut short."""

    async def book(call: Call) -> None:
        await asyncio.sleep(60)

    async def go() -> None:
        journal = MemoryJournal()

        async def use() -> None:
            async with Engine(journal, [trip(book)]) as engine:
                await engine.start("trip")

        using = asyncio.create_task(use())
        await asyncio.sleep(0.05)
        using.cancel()
        with suppress(asyncio.CancelledError):
            await using
        assert not journal.opened

    asyncio.run(go())


def test_one_of_two_engines_gets_the_file(tmp_path: Path) -> None:
    """Two engines that open one file at the same moment: one runs, the other is refused by name."""

    async def go() -> None:
        engines = [Engine(SqliteJournal(tmp_path / "runs.db"), [trip()]) for _ in range(2)]
        opened = await asyncio.gather(*(e.__aenter__() for e in engines), return_exceptions=True)
        [winner] = [each for each in opened if isinstance(each, Engine)]
        [refusal] = [each for each in opened if isinstance(each, JournalRefused)]
        assert "in use by another engine" in str(refusal)
        assert (await winner.run("trip")).status is Status.COMPLETED
        await winner.__aexit__(None, None, None)

    asyncio.run(go())


def test_a_copy_taken_while_open_holds_what_was_acknowledged(tmp_path: Path) -> None:
    """The file and its write-ahead log, copied beside a running engine, are a journal of every ended run."""
    bound = trip()

    async def go() -> None:
        async with Engine(SqliteJournal(tmp_path / "runs.db"), [bound]) as engine:
            for number in range(5):
                await engine.run("trip", run_id=f"r{number}")
            for name in ("runs.db", "runs.db-wal"):
                shutil.copy(tmp_path / name, tmp_path / f"copy-{name}")
            (tmp_path / "copy-runs.db-wal").rename(tmp_path / "copy.db-wal")
            (tmp_path / "copy-runs.db").rename(tmp_path / "copy.db")
            async with Engine(SqliteJournal(tmp_path / "copy.db"), [bound]) as second:
                assert (await second.result("r4")).status is Status.COMPLETED
                await second.run("trip", run_id="only in the copy")
            with pytest.raises(RunRefused, match="there is no run"):
                await engine.result("only in the copy")

    asyncio.run(go())


# Odd values.


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def test_what_nests_too_deep_is_refused_or_unknown() -> None:
    """An input that could be written but hardly read is refused; such an output is an unknown outcome."""

    async def go() -> None:
        bound = trip(lambda call: nested(500), retry=RetryPolicy(maximum_attempts=1))
        async with Engine(MemoryJournal(), [bound]) as engine:
            with pytest.raises(SagaRefused, match="nested more than 100 deep"):
                await engine.run("trip", {"x": nested(100)})
            result = await engine.run("trip", {"x": nested(50), "wide": [[]] * 500})
            assert result.status is Status.COMPENSATED
            assert "nested more than 100 deep" in result.reason

    asyncio.run(go())


def test_half_a_character_does_not_stop_a_run_or_its_neighbours(tmp_path: Path) -> None:
    """Text that no UTF-8 can hold, in an error or a cancel's reason, is kept as well as it can be."""

    def refuse(call: Call) -> None:
        raise StepError("No", "half \ud800 a character")

    async def go() -> None:
        async with Engine(SqliteJournal(tmp_path / "runs.db"), [trip(pay=refuse)]) as engine:
            results = await asyncio.gather(*(engine.run("trip", run_id=f"r{number}") for number in range(3)))
            assert {result.status for result in results} == {Status.COMPENSATED}

    asyncio.run(asyncio.wait_for(go(), 10))
    journal = SqliteJournal(tmp_path / "runs.db", read_only=True)
    journal.open()
    found = journal.run("r0")
    assert found is not None
    assert "half ? a character" in found.reason
    journal.close()


def test_inputs_and_ids_that_make_no_sense_are_refused() -> None:
    """A list, a huge input, an id that is no text and a generator that repeats itself start nothing."""
    odd: Any = [1, 2]
    number: Any = 7

    async def go() -> None:
        release = asyncio.Event()

        async def book(call: Call) -> None:
            await release.wait()

        async with Engine(MemoryJournal(), [trip(book)], new_run_id=lambda: "same") as engine:
            for run_input, run_id, error, words in (
                (odd, None, SagaRefused, "cannot be kept as JSON"),
                ({"x": "y" * (1 << 20)}, None, SagaRefused, "bytes of JSON; the most is"),
                ({}, number, RunRefused, "run id 7 is not usable; it must be text"),
            ):
                with pytest.raises(error, match=words):
                    await engine.start("trip", run_input, run_id=run_id)
            await engine.start("trip")
            with pytest.raises(RunRefused, match="run id 'same' came twice"):
                await engine.start("trip")
            release.set()
            await engine.result("same")

    asyncio.run(go())
    for name in ("max_runs", "max_threads"):
        settings: Any = {name: 0}
        with pytest.raises(SagaRefused, match=f"{name} is 0; it must be at least 1"):
            Engine(MemoryJournal(), [trip()], **settings)


class Odd:
    """An advisor whose advice is legal but cannot be written as it is."""

    def __init__(self, spoil: Callable[[Advice], Advice]) -> None:
        self.spoil = spoil

    async def advise(self, saga: Saga, launch: Launch) -> Advice:
        return self.spoil(Advice(plan=author_plan(saga)))


def exact_number(advice: Advice) -> Advice:
    """A timeout that compares well but that JSON cannot say."""
    ten: Any = Fraction(10)
    first, *rest = advice.plan.steps
    return replace(
        advice, plan=replace(advice.plan, steps=(replace(first, start_to_close_timeout_s=ten), *rest))
    )


def no_reasons(advice: Advice) -> Advice:
    none: Any = None
    return replace(advice, reasons=none)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(exact_number, "Fraction(10, 1), and the author's is 10"), (no_reasons, "cannot be written down")],
)
def test_advice_that_cannot_be_written_down_falls_back(spoil: Callable[[Advice], Advice], words: str) -> None:
    """The run starts with the author's plan, and the reason says so."""

    async def go() -> None:
        async with Engine(MemoryJournal(), [trip()], advisor=Odd(spoil), holdout_share=0.0) as engine:
            result = await engine.run("trip")
            assert (result.status, result.fallback) == (Status.COMPLETED, True)
            assert words in result.reasons[0]

    asyncio.run(go())


# Time, cancel, listeners.


@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_never_turns_a_run_back_in_time(jump_s: float) -> None:
    """Events stay in order, and a backoff is not prolonged by a clock that was set back."""
    now = [1e9]

    def book(call: Call) -> None:
        now[0] += jump_s
        if call.attempt < 3:
            raise StepError("Busy")

    def clock() -> float:
        now[0] += 1e-3
        return now[0]

    bound, journal = trip(book, retry=RetryPolicy(initial_interval_s=0.01)), MemoryJournal()

    async def go() -> None:
        async with Engine(journal, [bound], clock=clock) as engine:
            result = await asyncio.wait_for(engine.run("trip", run_id="r"), 5)
            assert result.status is Status.COMPLETED

    asyncio.run(go())
    assert violations(bound.saga, journal.read("r")) == ()


def test_a_cancel_during_the_undos_changes_nothing() -> None:
    """It is kept in the journal; the undos go on and the first cause stays the reason."""
    undoing, release = asyncio.Event(), asyncio.Event()

    async def undo(call: Call) -> None:
        undoing.set()
        await release.wait()

    def refuse(call: Call) -> None:
        raise StepError("No")

    bound, journal = trip(pay=refuse, undo=undo), MemoryJournal()

    async def go() -> None:
        async with Engine(journal, [bound]) as engine:
            await engine.start("trip", run_id="r")
            await undoing.wait()
            assert await engine.cancel("r", "me", "late")
            release.set()
            result = await engine.result("r")
            assert (result.status, result.step) == (Status.COMPENSATED, "pay")

    asyncio.run(go())
    assert any(isinstance(event, CancelRequested) for event in journal.read("r"))
    assert violations(bound.saga, journal.read("r")) == ()


@pytest.mark.parametrize(("refuses", "status"), [(False, Status.COMPLETED), (True, Status.COMPENSATED)])
def test_a_deadline_lets_the_pivot_in_flight_decide(refuses: bool, status: Status) -> None:
    """Past the deadline the pivot settles first: if it took effect the run completes, else it turns back."""

    async def pay(call: Call) -> None:
        await asyncio.sleep(0.08)
        if refuses:
            raise StepError("No")

    bound, journal = trip(pay=pay, deadline_s=0.03), MemoryJournal()

    async def go() -> None:
        async with Engine(journal, [bound]) as engine:
            assert (await engine.run("trip", run_id="r")).status is status

    asyncio.run(go())
    kinds = [type(event).__name__ for event in journal.read("r")]
    assert "DeadlineReached" in kinds
    assert violations(bound.saga, journal.read("r")) == ()


def test_a_listener_that_exits_is_only_counted() -> None:
    """A listener that calls `sys.exit` ends nothing, and the others still hear everything."""
    heard: list[Event] = []

    def leaves(state: RunState, event: Event) -> None:
        raise SystemExit(3)

    async def go() -> None:
        async with Engine(
            MemoryJournal(), [trip()], listeners=[leaves, lambda _, e: heard.append(e)]
        ) as engine:
            await engine.run("trip")
        assert engine.listeners.failures == len(heard) == 6

    asyncio.run(go())


def test_a_listener_that_never_returns_does_not_keep_the_engine_open() -> None:
    """Leaving waits for it no longer than `shutdown_s`, and what it missed counts as dropped."""
    release = threading.Event()

    def hangs(state: RunState, event: Event) -> None:
        release.wait(30)

    async def go() -> None:
        async with Engine(MemoryJournal(), [trip()], listeners=[hangs], shutdown_s=0.05) as engine:
            assert (await engine.run("trip")).status is Status.COMPLETED
        assert engine.listeners.dropped == 6
        release.set()

    asyncio.run(go())
