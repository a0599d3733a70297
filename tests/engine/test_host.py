"""The embedded engine: durable before it acts, honest about what it cannot know, bounded, fail-open."""

import asyncio
import itertools
import logging
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagacity_engine import (
    Advice,
    Arm,
    BoundSaga,
    Call,
    Direction,
    Engine,
    Event,
    FailureClass,
    JournalRefused,
    Launch,
    MemoryJournal,
    OutcomeUnknown,
    RetryPolicy,
    RunRefused,
    Saga,
    SagaFreedom,
    SagaRefused,
    SqliteJournal,
    Status,
    StepError,
    author_plan,
    define,
)
from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptUnknown,
    CancelRequested,
    RunStarted,
    UnknownReason,
)
from sagacity_engine.handlers import OUTPUT_BYTES_MAX
from sagacity_engine.hosting.attempts import NEVER_CALLED
from sagacity_engine.journal import Batch, Settle
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.sqlite.connection import connect_sqlite
from sagacity_engine.testing import violations

Act = Callable[[Call], Any]
QUICK = RetryPolicy(initial_interval_s=0.0)
ONCE = RetryPolicy(maximum_attempts=1)


def returns(value: Any = None) -> Act:
    return lambda call: value


def does_nothing(call: Call) -> None:
    """A participant that does nothing."""


def two_steps(book: Act, pay: Act = does_nothing, undo: Act = does_nothing, **fields: Any) -> BoundSaga:
    """A step that can be undone, then a pivot."""
    saga = define("trip", deadline_s=fields.pop("deadline_s", None), freedom=fields.pop("freedom", None))
    saga.step(name="book", compensate=undo, **{"retry": QUICK, **fields})(book)
    saga.step(name="pay", kind="pivot", retry=ONCE)(pay)
    return saga.bind()


def check(bound: BoundSaga, journal: MemoryJournal | SqliteJournal) -> None:
    """Holds every run of a closed journal to the invariants."""
    journal.open()
    for run in journal.runs():
        assert violations(bound.saga, journal.read(run.run_id)) == ()
    journal.close()


def run(bound: BoundSaga, use: Callable[[Engine], Awaitable[Any]], **options: Any) -> Any:
    """Uses an engine over a journal in memory, then checks what it wrote."""
    journal = options.pop("journal", None) or MemoryJournal()

    async def go() -> Any:
        async with Engine(journal, [bound], **options) as engine:
            return await use(engine)

    result = asyncio.run(go())
    check(bound, journal)
    return result


def test_a_run_returns_what_its_steps_returned() -> None:
    """Plain and asynchronous functions run alike; the result holds their outputs and the plan."""

    async def pay(call: Call) -> dict[str, Any]:
        return {"paid_for": call.outputs["book"]["id"], "by": call.input["who"], "vip": call.context["vip"]}

    bound = two_steps(lambda call: {"id": (1, 2)}, pay)
    result = run(bound, lambda engine: engine.run("trip", {"who": "Asha"}, context={"vip": True}))
    assert result.status is Status.COMPLETED
    assert result.outputs == {
        "book": {"id": [1, 2]},
        "pay": {"paid_for": [1, 2], "by": "Asha", "vip": True},
    }
    assert (result.plan, result.arm, result.fallback) == (author_plan(bound.saga), Arm.AUTHOR, True)
    assert result.reasons == ("no advisor is configured",)
    assert result.started_at <= result.ended_at


def test_the_same_call_keeps_its_key_over_attempts() -> None:
    """Every attempt of a step in one direction carries one key; other steps, runs and undos carry others."""
    seen: list[Call] = []

    def book(call: Call) -> None:
        seen.append(call)
        if call.attempt < 3:
            raise StepError("Busy")

    def refuse(call: Call) -> None:
        seen.append(call)
        raise StepError("No")

    bound = two_steps(book, refuse, seen.append)
    run(
        bound, lambda engine: asyncio.gather(engine.run("trip", run_id="r1"), engine.run("trip", run_id="r2"))
    )
    keys = {(call.run_id, call.step, call.direction): call.idempotency_key for call in seen}
    assert len(set(keys.values())) == 6
    assert all(call.idempotency_key == keys[call.run_id, call.step, call.direction] for call in seen)
    assert len(seen) == 10


@pytest.mark.parametrize(
    ("raised", "kind", "told"),
    [
        (StepError("SoldOut", "no seat", FailureClass.PERMANENT), AttemptFailed, "no seat"),
        (OutcomeUnknown("reset"), AttemptUnknown, "reset"),
        (ConnectionResetError("secret"), AttemptUnknown, "ConnectionResetError"),
        (KeyError("secret"), AttemptUnknown, "KeyError"),
        (asyncio.CancelledError(), AttemptUnknown, "CancelledError"),
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_a_step_raises_decides_its_outcome(
    raised: BaseException, kind: type, told: str, asynchronous: bool
) -> None:
    """A StepError is a refusal; anything else may have taken effect, and only its type is kept."""

    def plain(call: Call) -> None:
        raise raised

    async def coroutine(call: Call) -> None:
        raise raised

    undone: list[bool] = []
    journal = MemoryJournal()
    bound = two_steps(
        coroutine if asynchronous else plain, retry=ONCE, undo=lambda call: undone.append(call.effect_known)
    )
    result = run(bound, lambda engine: engine.run("trip", run_id="r"), journal=journal)
    assert result.status is Status.COMPENSATED
    outcome = journal.read("r")[2]
    assert isinstance(outcome, AttemptFailed | AttemptUnknown)
    assert isinstance(outcome, kind)
    assert outcome.message == told
    assert undone == ([] if kind is AttemptFailed else [False])
    if isinstance(outcome, AttemptFailed):
        assert (outcome.error_type, outcome.failure_class) == ("SoldOut", FailureClass.PERMANENT)
    else:
        assert outcome.reason is UnknownReason.LOST_REPLY


@pytest.mark.parametrize(
    "output", [{1, 2}, float("nan"), "x" * OUTPUT_BYTES_MAX, object()], ids=lambda o: type(o).__name__
)
def test_an_output_that_cannot_be_kept_is_an_unknown_outcome(output: object) -> None:
    """The effect happened but what came of it is lost, so the step is undone."""
    result = run(two_steps(returns(output), retry=ONCE), lambda engine: engine.run("trip"))
    assert (result.status, result.step) == (Status.COMPENSATED, "book")
    assert "the output cannot be kept" in result.reason


def test_a_step_that_hangs_times_out() -> None:
    """Past its timeout a step's outcome is unknown, even when it ignores being cancelled; the run goes on."""
    undone: list[Call] = []

    async def stubborn(call: Call) -> None:
        while True:
            try:
                await asyncio.sleep(0.2)
                return
            except asyncio.CancelledError:
                continue

    journal = MemoryJournal()
    bound = two_steps(stubborn, undo=undone.append, start_to_close_timeout_s=0.02)
    result = run(bound, lambda engine: engine.run("trip", run_id="r"), journal=journal)
    assert (result.status, result.step) == (Status.COMPENSATED, "book")
    [call] = undone
    assert (call.effect_known, call.output) == (False, None)
    outcome = journal.read("r")[2]
    assert isinstance(outcome, AttemptUnknown)
    assert outcome.reason is UnknownReason.TIMED_OUT


def test_a_plain_function_that_hangs_times_out_and_its_late_answer_is_ignored() -> None:
    """A thread cannot be stopped: the run goes on without it, and nothing it says later is heard."""
    release = threading.Event()

    def book(call: Call) -> str:
        if call.attempt == 1:
            release.wait(10)
        return f"attempt {call.attempt}"

    def pay(call: Call) -> None:
        release.set()

    bound = two_steps(book, pay, idempotent=True, start_to_close_timeout_s=0.05)
    result = run(bound, lambda engine: engine.run("trip"))
    assert (result.status, result.outputs["book"]) == (Status.COMPLETED, "attempt 2")


def test_a_plain_function_that_found_no_thread_was_refused() -> None:
    """An attempt that never reached its function failed definitely: there is nothing to undo."""
    release = threading.Event()
    journal = MemoryJournal()

    async def use(engine: Engine) -> None:
        blocked = await engine.start("trip", {"wait": True}, run_id="blocks")
        result = await engine.run("trip", {"wait": False}, run_id="starves")
        release.set()
        assert (result.status, result.step) == (Status.COMPENSATED, "book")
        await engine.result(blocked)

    bound = two_steps(
        lambda call: call.input["wait"] and release.wait(10), retry=ONCE, start_to_close_timeout_s=0.1
    )
    run(bound, use, journal=journal, max_threads=1)
    outcome = journal.read("starves")[2]
    assert isinstance(outcome, AttemptFailed)
    assert outcome.error_type == NEVER_CALLED


def test_a_function_that_hands_out_a_coroutine_is_awaited() -> None:
    """A lambda around an asynchronous function works like the function."""

    async def book(call: Call, answer: str) -> str:
        return answer

    result = run(two_steps(lambda call: book(call, "booked")), lambda engine: engine.run("trip"))
    assert result.outputs["book"] == "booked"


class Watching(MemoryJournal):
    """A journal that is slow to be durable and notes the order of things."""

    def __init__(self) -> None:
        super().__init__()
        self.durable: set[tuple[str, str, Direction, int]] = set()

    def submit(self, batch: Batch, settle: Settle) -> None:
        asyncio.get_running_loop().call_later(0.001, self._submit, batch, settle)

    def _submit(self, batch: Batch, settle: Settle) -> None:
        super().submit(batch, settle)
        for event in batch.events:
            if isinstance(event, AttemptStarted):
                self.durable.add((batch.run_id, event.step, event.direction, event.attempt))


def test_nothing_is_called_before_its_intent_is_durable() -> None:
    """Every call, forward and undo, first try and retry, finds its own start in the journal."""
    journal = Watching()
    early: list[Call] = []

    def act(call: Call) -> None:
        if (call.run_id, call.step, call.direction, call.attempt) not in journal.durable:
            early.append(call)
        if call.step == "pay" or (call.direction is Direction.UNDO and call.attempt == 1):
            raise StepError("No")

    saga = define("trip")
    instant = saga.step(name="book", retry=QUICK)(act)
    instant.compensation(retry=RetryPolicy(initial_interval_s=0))(act)
    saga.step(name="pay", kind="pivot", retry=QUICK)(act)
    bound = saga.bind()
    assert run(bound, lambda engine: engine.run("trip"), journal=journal).status is Status.COMPENSATED
    assert early == []
    assert len(journal.durable) == 6


def test_the_same_run_id_is_the_same_run() -> None:
    """A repeated id, during the run, at the same moment or after a restart, never starts a second run."""
    calls = itertools.count()
    bound = two_steps(lambda call: next(calls))
    journal = MemoryJournal()

    async def use(engine: Engine) -> set[str]:
        results = await asyncio.gather(*(engine.run("trip", {"n": n}, run_id="r") for n in range(5)))
        again = await engine.run("trip", run_id="r")
        assert await engine.start("trip", run_id="r") == "r"
        assert await engine.result("r") == again
        return {str(result) for result in (*results, again)}

    assert len(run(bound, use, journal=journal)) == 1
    assert run(bound, lambda engine: engine.run("trip", run_id="r"), journal=journal).outputs["book"] == 0
    assert next(calls) == 1


def test_what_cannot_be_started_is_refused() -> None:
    """Unknown sagas, unusable ids, ids of other sagas' runs and inputs that are no JSON start nothing."""
    bound = two_steps(returns())
    other = define("other")
    other.step(name="x", kind="read_only")(returns())
    journal = MemoryJournal()

    async def use(engine: Engine) -> None:
        await engine.run("trip", run_id="r")
        for saga, run_input, run_id, error, words in (
            ("nothing", {}, None, RunRefused, "saga 'nothing' is not registered; the sagas are other, trip"),
            ("trip", {}, "", RunRefused, "run id '' is not usable"),
            ("trip", {}, "a\nb", RunRefused, "is not usable"),
            ("trip", {}, "x" * 201, RunRefused, "is not usable"),
            ("other", {}, "r", RunRefused, "is a run of saga 'trip', not of 'other'"),
            ("trip", {"x": {1}}, None, SagaRefused, "the run's input cannot be kept as JSON"),
            ("trip", {"x": float("inf")}, None, SagaRefused, "the run's input cannot be kept as JSON"),
        ):
            with pytest.raises(error, match=words):
                await engine.start(saga, run_input, run_id=run_id)
        with pytest.raises(RunRefused, match="there is no run 'q'"):
            await engine.result("q")
        with pytest.raises(RunRefused, match="there is no run 'q'"):
            await engine.cancel("q", "me")

    async def go() -> Engine:
        async with Engine(journal, [bound, other.bind()]) as engine:
            await use(engine)
        with pytest.raises(RunRefused, match="the engine is closed"):
            await engine.start("trip")
        return engine

    asyncio.run(go())
    assert len(journal.runs()) == 1
    with pytest.raises(SagaRefused, match="registered twice"):
        Engine(journal, [bound, bound])
    with pytest.raises(SagaRefused, match=r"holdout_share is 1\.5"):
        Engine(journal, [bound], holdout_share=1.5)


def test_at_most_max_runs_run_at_a_time() -> None:
    """One more start waits until a run has ended."""
    running: list[int] = [0, 0]

    async def book(call: Call) -> None:
        running[0] += 1
        running[1] = max(running)
        await asyncio.sleep(0.005)
        running[0] -= 1

    bound = two_steps(book)
    run(bound, lambda engine: asyncio.gather(*(engine.run("trip") for _ in range(12))), max_runs=3)
    assert running[1] == 3


# Cancel and deadline.


def test_cancel_turns_a_run_back() -> None:
    """A cancel is journaled with who and why, the step in flight settles, and what it did is undone."""
    release = asyncio.Event()
    undone: list[Call] = []
    journal = MemoryJournal()

    async def book(call: Call) -> str:
        await release.wait()
        return "seat"

    async def use(engine: Engine) -> None:
        run_id = await engine.start("trip", run_id="r")
        assert await engine.cancel(run_id, "Asha", "fell ill")
        assert isinstance(journal.read("r")[-1], CancelRequested)
        release.set()
        result = await engine.result(run_id)
        assert (result.status, result.reason) == (Status.COMPENSATED, "cancelled by Asha: fell ill")
        assert [call.output for call in undone] == ["seat"]
        assert not await engine.cancel(run_id, "Asha")

    run(two_steps(book, undo=undone.append), use, journal=journal)


def test_the_saga_deadline_is_kept() -> None:
    """A run that backs off past its deadline turns back at the deadline."""

    def busy(call: Call) -> None:
        raise StepError("Busy")

    slow = RetryPolicy(initial_interval_s=60, maximum_interval_s=60)
    bound = two_steps(busy, retry=slow, deadline_s=0.05)
    result = run(bound, lambda engine: engine.run("trip"), draw=lambda: 1.0)
    assert (result.status, result.reason) == (Status.COMPENSATED, "the deadline passed")


def test_backoff_waits_are_drawn_and_kept() -> None:
    """The injected draw decides the wait, and the journal holds it."""
    journal = MemoryJournal()

    def book(call: Call) -> None:
        if call.attempt == 1:
            raise StepError("Busy")

    retry = RetryPolicy(initial_interval_s=0.1)
    run(
        two_steps(book, retry=retry),
        lambda engine: engine.run("trip", run_id="r"),
        journal=journal,
        draw=lambda: 0.25,
    )
    events = journal.read("r")
    assert isinstance(events[2], AttemptFailed)
    assert events[2].jitter == 0.25
    assert events[3].at - events[2].at >= 0.025


# Recovery.


def open_run(journal: MemoryJournal, bound: BoundSaga, *events: Event, at: float = 1.0) -> None:
    """Leaves a run behind as a process that died would."""
    pinned = bound.saga.definition_hash
    started = RunStarted(run_id="r", at=at, definition_hash=pinned, plan=author_plan(bound.saga))
    journal.open()
    asyncio.run(journal.append(Batch("r", 1, (started, *events))))
    journal.close()


FIRST = AttemptStarted(at=1.0, step="book", direction=Direction.FORWARD, attempt=1)


@pytest.mark.parametrize(("idempotent", "status"), [(True, Status.COMPLETED), (False, Status.COMPENSATED)])
def test_an_attempt_that_a_crash_cut_off_is_unknown(idempotent: bool, status: Status) -> None:
    """What was in flight at a crash is neither done nor failed: repeated if idempotent, else undone."""
    bound = two_steps(returns(), idempotent=idempotent)
    journal = MemoryJournal()
    open_run(journal, bound, FIRST)
    assert run(bound, lambda engine: engine.result("r"), journal=journal).status is status
    crashed = journal.read("r")[2]
    assert isinstance(crashed, AttemptUnknown)
    assert crashed.reason is UnknownReason.CRASHED


def test_a_run_carried_on_keeps_its_key() -> None:
    """The key after a restart is the key before it."""
    keys: list[str] = []
    bound = two_steps(lambda call: keys.append(call.idempotency_key), idempotent=True)
    journal = MemoryJournal()
    open_run(journal, bound, FIRST)
    run(bound, lambda engine: engine.result("r"), journal=journal)
    second = MemoryJournal()
    run(bound, lambda engine: engine.run("trip", run_id="r"), journal=second)
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_time_never_goes_backwards_over_a_restart() -> None:
    """A journal written under a clock a day ahead is carried on without a negative or a day-long wait."""
    bound = two_steps(returns(), idempotent=True, retry=RetryPolicy(initial_interval_s=0.01))
    journal = MemoryJournal()
    ahead = 4e9
    open_run(journal, bound, replace(FIRST, at=ahead), at=ahead)
    result = run(bound, lambda engine: engine.result("r"), journal=journal)
    assert result.status is Status.COMPLETED
    assert result.started_at == ahead
    assert ahead <= result.ended_at < ahead + 60


def test_a_run_of_an_unregistered_definition_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """It is listed with the reason, nothing is written to it, and it goes on when its definition is back."""
    old, new = two_steps(returns()), two_steps(returns(), cost=9.0)
    journal = MemoryJournal()
    open_run(journal, old)

    async def use(engine: Engine) -> None:
        assert set(engine.stranded) == {"r"}
        assert "is not registered; register the definition it was started with" in engine.stranded["r"]
        for ask in (engine.result("r"), engine.cancel("r", "me"), engine.run("trip", run_id="r")):
            with pytest.raises(RunRefused, match="is not registered"):
                await ask
        assert len(journal.read("r")) == 1

    async def go() -> None:
        async with Engine(journal, [new]) as engine:
            await use(engine)

    asyncio.run(go())
    assert "cannot be carried on" in caplog.text
    assert run(old, lambda engine: engine.result("r"), journal=journal).status is Status.COMPLETED


def test_an_altered_run_does_not_keep_the_others_from_recovering(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One run with a broken journal is listed; the rest go on."""
    bound = two_steps(returns())
    path = tmp_path / "runs.db"

    async def leave() -> None:
        journal = SqliteJournal(path)
        journal.open()
        for run_id in ("a", "b"):
            pinned = bound.saga.definition_hash
            started = RunStarted(run_id=run_id, at=1, definition_hash=pinned, plan=author_plan(bound.saga))
            await journal.append(Batch(run_id, 1, (started,)))
        journal.close()

    asyncio.run(leave())
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP TRIGGER batches_are_never_changed")
    connection.execute("UPDATE batches SET body = replace(body, '1', '2') WHERE number = 1")
    connection.close()

    async def go() -> None:
        async with Engine(SqliteJournal(path), [bound]) as engine:
            assert "run 'a', event 1 was altered" in engine.stranded["a"]
            assert (await engine.result("b")).status is Status.COMPLETED

    asyncio.run(go())


def test_leaving_journals_nothing_that_is_not_known() -> None:
    """Leaving waits for what is in flight, within bounds; what does not come back stays in flight."""
    journal = MemoryJournal()

    async def book(call: Call) -> None:
        await asyncio.sleep(0.05 if call.input["quick"] else 60)

    bound = two_steps(book, idempotent=True)

    async def go() -> None:
        async with Engine(journal, [bound], shutdown_s=0.3) as engine:
            await engine.start("trip", {"quick": True}, run_id="quick")
            await engine.start("trip", {"quick": False}, run_id="slow")
            waiting = asyncio.create_task(engine.run("trip", {"quick": False}, run_id="slow"))
            await asyncio.sleep(0.01)
        with pytest.raises(RunRefused, match="the engine closed before run 'slow' ended; it goes on when"):
            await waiting

    asyncio.run(go())
    kinds = {run_id: [type(event).__name__ for event in journal.read(run_id)] for run_id in ("quick", "slow")}
    assert kinds["quick"] == ["RunStarted", "AttemptStarted", "AttemptSucceeded"]
    assert kinds["slow"] == ["RunStarted", "AttemptStarted"]
    finish = two_steps(returns(), idempotent=True)
    assert finish.saga == bound.saga

    async def both(engine: Engine) -> set[Status]:
        return {(await engine.run("trip", run_id=run_id)).status for run_id in kinds}

    assert run(finish, both, journal=journal) == {Status.COMPLETED}


# The journal refuses.


def test_runs_park_while_the_disk_is_full_and_go_on_afterwards(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without room, new runs are refused and running ones wait; with room again they end."""
    held: list[sqlite3.Connection] = []

    def connect(where: str) -> sqlite3.Connection:
        held.append(connect_sqlite(where))
        return held[-1]

    journal = SqliteJournal(tmp_path / "runs.db", connect=connect)
    full = asyncio.Event()

    async def book(call: Call) -> str:
        await full.wait()
        return "x" * 100_000

    bound = two_steps(book)

    async def go() -> None:
        async with Engine(journal, [bound]) as engine:
            await engine.start("trip", run_id="r")
            [(pages,)] = await asyncio.to_thread(lambda: held[0].execute("PRAGMA page_count").fetchall())
            held[0].execute(f"PRAGMA max_page_count = {pages}")
            full.set()
            while not engine.parked:  # noqa: ASYNC110  the engine tells nobody else
                await asyncio.sleep(0.01)
            assert "disk is full" in engine.parked["r"]
            with pytest.raises(JournalRefused, match=r"disk is full; .*free disk space"):
                await engine.start("trip", {"big": "x" * 100_000}, run_id="q")
            held[0].execute("PRAGMA max_page_count = 1000000")
            assert (await engine.result("r")).status is Status.COMPLETED
            assert engine.parked == {}
            assert (await engine.run("trip", run_id="q")).status is Status.COMPLETED

    asyncio.run(go())
    check(bound, journal)
    assert "waits for its journal" in caplog.text


# Advice.

FREE = SagaFreedom(parallel=True)


class Advising:
    """An advisor made of a function."""

    def __init__(self, advise: Callable[[Saga], Awaitable[Any] | Any]) -> None:
        self._advise = advise

    async def advise(self, saga: Saga, launch: Launch) -> Advice:
        found: Any = self._advise(saga)
        advice: Advice = await found if asyncio.iscoroutine(found) else found
        return advice


async def hangs(saga: Saga) -> None:
    while True:
        try:
            await asyncio.sleep(0.3)
            return
        except asyncio.CancelledError:
            continue


def raises(saga: Saga) -> Advice:
    raise OSError("no route")


def illegal(saga: Saga) -> Advice:
    return Advice(plan=replace(author_plan(saga), steps=author_plan(saga).steps[1:]))


def good(saga: Saga) -> Advice:
    plan = author_plan(saga)
    return Advice(plan=plan, advice_id="adv-1", model_version="m-7", reasons=("it is cheaper",))


def test_legal_advice_is_followed_and_pinned() -> None:
    """The run's start holds the advised plan, the advice, the model, the arm and its probability."""
    bound = two_steps(returns(), freedom=FREE)
    journal = MemoryJournal()
    result = run(
        bound,
        lambda engine: engine.run("trip", run_id="r"),
        advisor=Advising(good),
        holdout_share=0.0,
        journal=journal,
    )
    assert (result.arm, result.fallback, result.advice_id, result.model_version) == (
        Arm.ADVISED,
        False,
        "adv-1",
        "m-7",
    )
    started = journal.read("r")[0]
    assert isinstance(started, RunStarted)
    assert (started.propensity, started.reasons) == (1.0, ("it is cheaper",))


@pytest.mark.parametrize(
    ("advise", "reason"),
    [
        (hangs, "no advice within"),
        (raises, "the advisor failed: OSError: no route"),
        (illegal, "the advised plan is not legal: step 'book' is missing"),
        (returns(None), "the advisor failed"),
        (returns(42), "the advisor failed"),
        (lambda saga: replace(good(saga), expires_at=5.0), "the advice had expired"),
    ],
)
def test_no_advisor_can_hurt_a_run(advise: Callable[[Saga], Any], reason: str) -> None:
    """Slow, failing, illegal, absent and expired advice lead to the author's plan, with the reason."""
    bound = two_steps(returns())
    result = run(
        bound,
        lambda engine: engine.run("trip"),
        advisor=Advising(advise),
        holdout_share=0.0,
        advice_budget_s=0.05,
    )
    assert (result.status, result.arm, result.fallback) == (Status.COMPLETED, Arm.ADVISED, True)
    assert result.plan == author_plan(bound.saga)
    assert reason in result.reasons[0]


def test_advice_of_the_wrong_types_is_still_written_down() -> None:
    """Ids and reasons that are no text, or far too long, do not keep a run from starting."""
    reasons: Any = ("x" * 10_000, *range(99))
    number: Any = object()
    odd = replace(good(two_steps(returns()).saga), advice_id=number, reasons=reasons)
    result = run(
        two_steps(returns()),
        lambda engine: engine.run("trip"),
        advisor=Advising(lambda _: odd),
        holdout_share=0.0,
    )
    assert result.status is Status.COMPLETED
    assert len(result.reasons) == 20
    assert len(result.reasons[0]) == 500


def test_the_holdout_keeps_the_authors_plan() -> None:
    """The arm is a hash of the run's id: reproducible, with its probability, and no fallback."""
    bound = two_steps(returns())
    asked: list[Saga] = []

    def advise(saga: Saga) -> Advice:
        asked.append(saga)
        return good(saga)

    async def use(engine: Engine) -> list[Any]:
        return [await engine.run("trip", run_id=f"run-{number}") for number in range(60)]

    results = run(bound, use, advisor=Advising(advise), holdout_share=0.3)
    kept = [result for result in results if result.arm is Arm.AUTHOR]
    assert 8 <= len(kept) <= 30
    assert len(asked) == 60 - len(kept)
    assert not any(result.fallback for result in results)
    again = run(bound, use, advisor=Advising(advise), holdout_share=0.3)
    assert [result.arm for result in again] == [result.arm for result in results]


# Listeners.


def test_listeners_hear_everything_after_it_is_durable() -> None:
    """Each durable event is told once, in order, with the state after it."""
    heard: list[tuple[str, Status]] = []
    journal = MemoryJournal()

    def listen(state: RunState, event: Event) -> None:
        heard.append((type(event).__name__, state.status))

    run(
        two_steps(returns()),
        lambda engine: engine.run("trip", run_id="r"),
        listeners=[listen],
        journal=journal,
    )
    assert [name for name, _ in heard] == [type(event).__name__ for event in journal.read("r")]
    assert (heard[0][1], heard[-1][1]) == (Status.RUNNING, Status.COMPLETED)


def test_a_listener_that_fails_or_hangs_does_not_touch_a_run(caplog: pytest.LogCaptureFixture) -> None:
    """Failures are counted and logged once, other listeners still hear, and no run waits for any."""
    caplog.set_level(logging.WARNING)
    heard: list[Event] = []
    release = threading.Event()

    def fails(state: RunState, event: Event) -> None:
        raise ValueError("listener bug")

    def hangs_once(state: RunState, event: Event) -> None:
        release.wait(10)

    async def use(engine: Engine) -> None:
        assert (await engine.run("trip")).status is Status.COMPLETED
        release.set()
        assert engine.listeners.drain(10)
        assert engine.listeners.failures == len(heard) == 6

    run(two_steps(returns()), use, listeners=[hangs_once, fails, lambda state, event: heard.append(event)])
    assert caplog.text.count("listener bug") == 1
