"""The engine without asyncio: the same methods and errors, from any thread, and nobody waits for ever."""

import asyncio
import inspect
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sagacity_engine import (
    BoundSaga,
    Call,
    Engine,
    Event,
    JournalRefused,
    MemoryJournal,
    RetryPolicy,
    RunRefused,
    SagaRefused,
    SqliteJournal,
    Status,
    StepError,
    define,
)
from sagacity_engine.events import RunEnded
from sagacity_engine.sync_engine import SyncEngine

ONCE = RetryPolicy(maximum_attempts=1)


def does_nothing(call: Call) -> None:
    """A participant that does nothing."""


def one_step(act: Callable[[Call], Any] = does_nothing, name: str = "trip") -> BoundSaga:
    saga = define(name)
    saga.step(name="book", kind="retriable", idempotent=True, retry=ONCE)(act)
    return saga.bind()


def with_approval() -> BoundSaga:
    saga = define("visit")
    saga.approval("visa")
    return saga.bind()


def engine_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sagacity-engine"]


def test_runs_and_results(tmp_path: Path) -> None:
    """A run goes to its end and its result can be read again, on a real journal."""
    told: list[Event] = []
    journal = SqliteJournal(tmp_path / "runs.db")
    trip = one_step(lambda call: {"seat": 7})
    with SyncEngine(journal, [trip], listeners=[lambda state, event: told.append(event)]) as engine:
        result = engine.run("trip", {"who": "Asha"}, run_id="a")
        assert (result.status, result.outputs) == (Status.COMPLETED, {"book": {"seat": 7}})
        assert engine.start("trip", run_id="a") == "a"
        assert engine.result("a", timeout_s=10) == result
        assert engine.state("a").started.input == {"who": "Asha"}
        assert (engine.stranded, engine.parked, engine.recover()) == ({}, {}, ())
        assert engine.guards.of("book").in_flight == 0
        assert engine.now() >= result.ended_at
        assert engine.listeners.drain(10)
    assert isinstance(told[-1], RunEnded)
    assert engine_threads() == []


def test_every_method_of_the_engine_is_there() -> None:
    """What the engine can do, its synchronous face can do, with the same arguments and the same words."""
    for name, method in inspect.getmembers(Engine, inspect.iscoroutinefunction):
        if name.startswith("_"):
            continue
        ours = getattr(SyncEngine, name)
        assert not inspect.iscoroutinefunction(ours)
        if name != "result":  # It takes a timeout besides.
            assert inspect.signature(ours) == inspect.signature(method)
            assert ours.__doc__ == method.__doc__
    plain = {name for name in vars(Engine) if not name.startswith("_")}
    assert plain - set(dir(SyncEngine)) == set()
    assert inspect.signature(SyncEngine) == inspect.signature(Engine)


def test_people_may_act() -> None:
    """Signals, pauses and cancellations go through, and a refused one says why."""
    with SyncEngine(MemoryJournal(), [with_approval()]) as engine:
        run_id = engine.start("visit")
        engine.pause(run_id, who="asha")
        with pytest.raises(RunRefused, match="it is paused already"):
            engine.pause(run_id, who="asha")
        engine.resume(run_id, who="asha")
        with pytest.raises(SagaRefused, match="who is ''"):
            engine.resume(run_id, who="")
        engine.signal(run_id, "visa", payload={"until": 2030}, who="asha")
        result = engine.result(run_id)
        assert result.outputs["visa"]["payload"] == {"until": 2030}
        assert engine.cancel(run_id, "asha") is False


def test_a_wait_that_is_too_long_ends_and_may_be_repeated() -> None:
    """`timeout_s` ends the waiting, not the run; a timeout without sense is refused."""
    with SyncEngine(MemoryJournal(), [with_approval()]) as engine:
        run_id = engine.start("visit", run_id="r1")
        with pytest.raises(TimeoutError, match=r"run 'r1' has not ended within 0.01 s; it goes on"):
            engine.result(run_id, timeout_s=0.01)
        with pytest.raises(SagaRefused, match="timeout_s is 0"):
            engine.result(run_id, timeout_s=0)
        engine.signal(run_id, "visa")
        assert engine.result(run_id).status is Status.COMPLETED


def test_many_threads_share_one_engine() -> None:
    """Calls from several threads at once each get their own answer."""
    with (
        SyncEngine(MemoryJournal(), [one_step(lambda call: dict(call.input))]) as engine,
        ThreadPoolExecutor(8) as threads,
    ):
        results = threads.map(lambda number: engine.run("trip", {"number": number}), range(40))
        assert [result.outputs["book"]["number"] for result in results] == list(range(40))


def test_a_step_may_call_the_engine() -> None:
    """A plain step function runs in a thread, so it may start a run and wait for it."""
    engines: list[SyncEngine] = []

    def starts_another(call: Call) -> str:
        return engines[0].run("inner").status.value

    with SyncEngine(MemoryJournal(), [one_step(), one_step(starts_another, "outer"), inner()]) as engine:
        engines.append(engine)
        assert engine.run("outer").outputs == {"book": "COMPLETED"}


def inner() -> BoundSaga:
    return one_step(name="inner")


def test_an_event_loops_thread_is_refused() -> None:
    """Where an event loop runs, waiting is refused with the way out: also in the engine's own loop."""
    engines: list[SyncEngine] = []
    refusals: list[str] = []

    async def waits_in_the_loop(call: Call) -> None:
        try:
            engines[0].state(call.run_id)
        except RunRefused as refusal:
            refusals.append(str(refusal))

    async def elsewhere(engine: SyncEngine) -> None:
        with pytest.raises(RunRefused, match="an event loop runs in this thread"):
            engine.start("trip")
        with pytest.raises(RunRefused, match="async with Engine"), SyncEngine(MemoryJournal(), [one_step()]):
            pass
        assert (await asyncio.to_thread(engine.run, "trip")).status is Status.COMPLETED

    with SyncEngine(MemoryJournal(), [one_step(waits_in_the_loop)]) as engine:
        engines.append(engine)
        assert engine.run("trip").status is Status.COMPLETED
        asyncio.run(elsewhere(engine))
    assert len(refusals) == 2
    assert all("would hold it up" in refusal for refusal in refusals)


def test_a_closed_engine_says_so(tmp_path: Path) -> None:
    """Before and after its opening every call is refused; it may be opened again, but not twice at once."""
    engine = SyncEngine(SqliteJournal(tmp_path / "runs.db"), [one_step()])
    for _ in range(2):
        with pytest.raises(RunRefused, match=r"use it inside 'with SyncEngine"):
            engine.run("trip")
        with engine:
            assert engine.run("trip", run_id="a").status is Status.COMPLETED
            with pytest.raises(RunRefused, match="open already"), engine:
                pass


def test_errors_are_the_engines_own(tmp_path: Path) -> None:
    """What the engine refuses arrives unchanged, also when it cannot be opened; then no thread is left."""
    with pytest.raises(SagaRefused, match="max_runs is 0"):
        SyncEngine(MemoryJournal(), [one_step()], max_runs=0)
    with (
        pytest.raises(JournalRefused, match="does not exist"),
        SyncEngine(SqliteJournal(tmp_path / "no" / "runs.db"), [one_step()]),
    ):
        pass
    assert engine_threads() == []
    with SyncEngine(MemoryJournal(), [one_step()]) as engine:
        with pytest.raises(RunRefused, match="saga 'trp' is not registered"):
            engine.run("trp")
        with pytest.raises(RunRefused, match="there is no run 'x'"):
            engine.state("x")
    with pytest.raises(ValueError, match="the caller's own"), engine:
        raise ValueError("the caller's own")


def test_whoever_waits_at_the_close_is_told() -> None:
    """A thread that waits for a run when the engine closes gets the engine's words, not silence."""
    told: list[str] = []
    asked = threading.Event()

    def waits(engine: SyncEngine) -> None:
        asked.set()
        try:
            engine.result("r1")
        except RunRefused as refusal:
            told.append(str(refusal))

    with SyncEngine(MemoryJournal(), [with_approval()]) as engine:
        engine.start("visit", run_id="r1")
        thread = threading.Thread(target=waits, args=(engine,))
        thread.start()
        asked.wait()
    thread.join()
    assert len(told) == 1
    assert "clos" in told[0]


def test_a_timeout_of_a_coroutine_is_not_ours() -> None:
    """`TimeoutError` raised by what was asked for keeps its own words."""

    async def is_late(engine: Engine) -> None:
        raise TimeoutError("its own")

    with SyncEngine(MemoryJournal(), [one_step()]) as engine, pytest.raises(TimeoutError, match="its own"):
        engine.wait_for(is_late, 10)


def test_refused_steps_are_told_in_the_result() -> None:
    """A participant's refusal is a result, not an error."""

    def refuses(call: Call) -> None:
        raise StepError("SoldOut")

    with SyncEngine(MemoryJournal(), [one_step(refuses)]) as engine:
        result = engine.run("trip")
        assert (result.status, result.step) == (Status.COMPENSATED, "book")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals for one thread")
def test_ctrl_c_while_opening_leaves_nothing_open() -> None:
    """Whoever gives up while the engine is still opening leaves a closed journal and no thread."""

    class SlowJournal(MemoryJournal):
        def open(self) -> None:
            pressed = threading.main_thread().ident
            assert pressed is not None
            signal.pthread_kill(pressed, signal.SIGINT)
            threading.Event().wait(0.3)
            super().open()

    journal = SlowJournal()
    with pytest.raises(KeyboardInterrupt), SyncEngine(journal, [one_step()]):
        pass
    assert not journal.opened
    assert engine_threads() == []


def test_a_system_without_threads_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no thread can be had, the system's own words arrive, and the engine may be opened later."""

    def cannot(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    engine = SyncEngine(MemoryJournal(), [one_step()])
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", cannot)
        with pytest.raises(RuntimeError, match="can't start new thread"), engine:
            pass
    with engine:
        assert engine.run("trip").status is Status.COMPLETED


# A process that waits for a run which does not end, until somebody presses Ctrl-C.
CHILD = """
import sys
from sagacity_engine import SqliteJournal, define
from sagacity_engine.sync_engine import SyncEngine

saga = define("visit")
saga.approval("visa")
try:
    with SyncEngine(SqliteJournal(sys.argv[1]), [saga.bind()]) as engine:
        run_id = engine.start("visit", run_id="r1")
        print("waits", flush=True)
        engine.result(run_id)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to whole groups of processes")
def test_ctrl_c_while_waiting_leaves_cleanly(tmp_path: Path) -> None:
    """Ctrl-C ends the waiting and closes the engine; the run is open and goes on with the next engine."""
    path = tmp_path / "runs.db"
    command = [sys.executable, "-c", CHILD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "waits\n"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert (out, err, child.returncode) == ("interrupted\n", "", 0)
    with SyncEngine(SqliteJournal(path), [with_approval()]) as engine:
        engine.signal("r1", "visa")
        assert engine.result("r1").status is Status.COMPLETED
