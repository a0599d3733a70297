"""Beside an engine: threads that wait, listeners that are slow, journals that fail at the close."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sagacity_engine import BoundSaga, Call, Engine, JournalRefused, MemoryJournal, RunRefused, Status, define
from sagacity_engine.events import AttemptStarted, Direction, Event, RunStarted
from sagacity_engine.listeners import Listeners
from sagacity_engine.machine.run_state import RunState, begin
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga, Step
from sagacity_engine.sync_engine import SyncEngine

SAGA = Saga(name="s", steps=(Step(name="a"),))


def trip() -> BoundSaga:
    saga = define("trip")

    @saga.step(kind="retriable", idempotent=True)
    def book(call: Call) -> int:
        return 7

    return saga.bind()


def test_a_wait_of_ones_own_ends_when_the_engine_closes() -> None:
    """A thread that waits for a coroutine of its own making is told that the engine closed."""
    begun = threading.Event()

    async def waits(engine: Engine) -> None:
        begun.set()
        await asyncio.sleep(3600)

    with ThreadPoolExecutor(1) as threads:
        with SyncEngine(MemoryJournal(), [trip()]) as engine:
            waiting = threads.submit(engine.wait_for, waits)
            assert begun.wait(30)
        with pytest.raises(RunRefused, match="the engine closed before it answered; open it and ask again"):
            waiting.result(30)


def test_a_journal_that_fails_at_the_close_is_heard_of() -> None:
    """Leaving raises what closing raised; the threads are gone, and the engine can be opened again."""

    class Failing(MemoryJournal):
        ill = True

        def close(self) -> None:
            super().close()
            if self.ill:
                raise JournalRefused("the disk is gone")

    journal = Failing()
    engine = SyncEngine(journal, [trip()])
    with pytest.raises(JournalRefused, match="the disk is gone"), engine:
        assert engine.run("trip", run_id="r").outputs == {"book": 7}
    assert not [thread for thread in threading.enumerate() if thread.name == "sagacity-engine"]
    journal.ill = False
    with engine:
        assert engine.result("r").status is Status.COMPLETED


def story(count: int) -> list[tuple[RunState, Event]]:
    """Some events of one run, as listeners are told of them."""
    plan = author_plan(SAGA)
    start = RunStarted(run_id="r", at=1.0, definition_hash=SAGA.definition_hash, plan=plan)
    state = begin(SAGA, start)
    numbers = range(1, count + 1)
    return [
        (state, AttemptStarted(at=2.0, step="a", direction=Direction.FORWARD, attempt=number))
        for number in numbers
    ]


def attempt_of(event: Event) -> int:
    assert isinstance(event, AttemptStarted)
    return event.attempt


def test_what_finds_no_room_is_dropped_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that hangs fills its queue: whoever tells it never waits, and later news arrive again."""
    told: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow(state: RunState, event: Event) -> None:
        begun.set()
        go_on.wait(30)
        told.append(attempt_of(event))

    listeners = Listeners([slow], queue_max=1)
    listeners.open()
    first, second, third, fourth = story(4)
    listeners.tell([first])
    assert begun.wait(30)
    with caplog.at_level(logging.WARNING, "sagacity_engine"):
        listeners.tell([second])
        listeners.tell([third, fourth])
        listeners.tell([fourth])
    assert listeners.dropped == 3
    assert [record.message for record in caplog.records] == [
        "listeners are too slow: events are dropped for them; the journal keeps all"
    ]
    go_on.set()
    assert listeners.drain(30)
    listeners.tell([fourth])
    listeners.close(30)
    assert told == [1, 2, 4]


def test_listeners_that_are_not_open_are_told_nothing() -> None:
    """Before the engine opens and after it closed no thread tells them, and nobody waits for one."""
    told: list[int] = []
    listeners = Listeners([lambda state, event: told.append(attempt_of(event))])
    listeners.tell(story(1))
    listeners.open()
    listeners.tell(story(2)[1:])
    listeners.close(30)
    listeners.tell(story(3)[2:])
    assert (told, listeners.dropped) == ([2], 0)
