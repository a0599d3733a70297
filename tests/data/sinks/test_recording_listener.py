"""Recording beside a running engine: rows arrive, and nothing that goes wrong there reaches the engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sagacity_data import AttemptRow, DatasetRefused, DatasetStore, LaunchFeatures, Recorder, Row, RunRow
from sagacity_data.sinks import (
    DatasetSink,
    MemorySink,
    RecordingListener,
    RecordingPolicy,
    RowRefused,
)
from sagacity_engine import Engine, FailureClass, MemoryJournal, RetryPolicy, Saga, Status, StepError, define
from sagacity_engine.events import AttemptStarted, Event
from sagacity_engine.machine.run_state import RunState

PATIENT_S = 30.0
QUICK = RecordingPolicy(flush_s=0.01, retry_s=(0.01, 0.02))


def trip() -> Any:
    saga = define("trip", version="7")

    async def act(call: Any) -> None:
        if call.step == "pay" and call.input.get("broke"):
            raise StepError("NoFunds", "account 4711 is empty", FailureClass.PERMANENT)

    saga.step(name="book", service="hotels", retry=RetryPolicy(maximum_attempts=1), compensate=act)(act)
    saga.step(name="pay", service="bank", retry=RetryPolicy(maximum_attempts=1), compensate=act)(act)
    return saga.bind()


def run(listener: Any, inputs: Sequence[dict[str, Any]] = ({},)) -> list[Status]:
    """Runs one saga per input, one after the other, and tells the listener everything."""

    async def main() -> list[Status]:
        async with Engine(MemoryJournal(), [trip()], listeners=[listener]) as engine:
            done = [
                (await engine.run("trip", given, run_id=f"r{number}", context={"party": 2})).status
                for number, given in enumerate(inputs)
            ]
            assert engine.listeners.drain(PATIENT_S)
            assert engine.listeners.failures == 0
        return done

    return asyncio.run(main())


def told(rows: Iterable[Row]) -> list[str]:
    return [
        f"{row.run_id} {row.step} {row.direction} {row.outcome}"
        if isinstance(row, AttemptRow)
        else f"{row.run_id} {row.status}"
        for row in rows
    ]


def test_a_run_is_recorded_with_its_definition(tmp_path: Path) -> None:
    """Attempts, undo and run are in the dataset when the listener is closed, and so is the definition."""
    listener = RecordingListener(DatasetSink(tmp_path), Recorder(LaunchFeatures()))
    assert run(listener, [{"broke": True}]) == [Status.COMPENSATED]
    listener.close()
    store = DatasetStore(tmp_path)
    assert told(store.read()) == [
        "r0 book forward succeeded",
        "r0 book undo succeeded",
        "r0 pay forward failed",
        "r0 COMPENSATED",
    ]
    assert list(store.definitions().values()) == [trip().saga]
    row = store.read_attempts()[0]
    assert (row.version, row.source, row.context, row.stage) == ("7", "engine", {"party": 2}, 0)
    assert row.features["runs_in_flight"] == 0.0
    counts = listener.counts()
    assert (counts.written, counts.pending, counts.dropped, counts.last_error) == (4, 0, 0, "")


def test_rows_wait_while_the_sink_refuses() -> None:
    """A sink that fails is tried again until it takes the rows; the counts say why they wait."""
    sink = MemorySink()
    sink.refusal = DatasetRefused("the disk is full")
    listener = RecordingListener(sink, policy=QUICK)
    run(listener)
    assert not listener.flush(0.05)
    counts = listener.counts()
    assert (counts.pending, counts.written, counts.last_error) == (3, 0, "the disk is full")
    assert counts.refusals > 0
    sink.refusal = None
    assert listener.flush(PATIENT_S)
    assert told(sink.rows) == ["r0 book forward succeeded", "r0 pay forward succeeded", "r0 COMPLETED"]
    assert listener.counts().last_error == ""
    listener.close()


def test_a_sink_that_raises_anything_is_survived() -> None:
    """A bug in a sink is named in the counts like a refusal, and the rows are kept."""
    sink = MemorySink()
    sink.refusal = ZeroDivisionError("a bug")
    listener = RecordingListener(sink, policy=QUICK)
    run(listener)
    assert not listener.flush(0.05)
    assert listener.counts().last_error == "ZeroDivisionError: a bug"
    sink.refusal = None
    listener.close(PATIENT_S)
    assert len(sink.rows) == 3


def test_what_finds_no_room_is_dropped_and_spoils_its_run(caplog: pytest.LogCaptureFixture) -> None:
    """Beyond the bound rows are dropped, counted and logged once; what found room is kept, oldest first."""
    sink = MemorySink()
    sink.refusal = DatasetRefused("the disk is full")
    policy = RecordingPolicy(flush_s=0.01, retry_s=(0.01, 0.02), pending_max=4)
    listener = RecordingListener(sink, policy=policy)
    run(listener, [{}, {}, {}])  # Three rows each: room for the first run, and for one row of the second.
    assert listener.counts().dropped == 5
    sink.refusal = None
    listener.close(PATIENT_S)
    assert told(sink.rows) == [
        "r0 book forward succeeded",
        "r0 pay forward succeeded",
        "r0 COMPLETED",
        "r1 book forward succeeded",
    ]
    assert sum("rows are dropped" in record.message for record in caplog.records) == 1


def test_the_row_of_a_run_that_lost_an_attempt_is_held_back() -> None:
    """When there is room again for the run's own row, but an attempt's was dropped, it is not written."""
    sink = MemorySink()
    sink.refusal = DatasetRefused("the disk is full")
    listener = RecordingListener(
        sink, policy=RecordingPolicy(flush_s=0.01, retry_s=(0.01, 0.02), pending_max=1)
    )

    def make_room(state: RunState, event: Event) -> None:
        listener(state, event)
        if isinstance(event, AttemptStarted) and event.step == "pay":
            return
        if state.ended is None and state.steps["pay"].phase == "succeeded":
            sink.refusal = None
            assert listener.flush(PATIENT_S)

    run(make_room)
    listener.close(PATIENT_S)
    assert told(sink.rows) == ["r0 book forward succeeded"]
    counts = listener.counts()
    assert (counts.written, counts.dropped, counts.runs_spoilt) == (1, 1, 1)


def test_a_run_whose_beginning_was_missed_has_no_row_of_its_own() -> None:
    """Events that never reached the listener leave the run to be told again from the journal."""
    sink = MemorySink()
    listener = RecordingListener(sink, policy=QUICK)

    def from_the_second_step(state: RunState, event: Event) -> None:
        if getattr(event, "step", "") in ("", "pay") and state.steps["book"].phase == "succeeded":
            listener(state, event)

    run(from_the_second_step)
    listener.close(PATIENT_S)
    assert told(sink.rows) == ["r0 pay forward succeeded"]
    assert listener.counts().runs_spoilt == 1


def test_a_row_that_can_never_be_written_holds_up_no_other() -> None:
    """A row that the sink itself refuses is dropped and spoils its run; the rows around it are written."""

    class Choosy(MemorySink):
        def write(self, rows: Sequence[Row]) -> None:
            for row in rows:
                if isinstance(row, AttemptRow) and (row.run_id, row.step) == ("r1", "book"):
                    raise RowRefused(row, "odd")
            super().write(rows)

    sink = Choosy()
    listener = RecordingListener(sink, policy=RecordingPolicy(flush_s=PATIENT_S, retry_s=(0.01, 0.02)))
    run(listener, [{}, {}])
    listener.close(PATIENT_S)
    assert [line for line in told(sink.rows) if line.startswith("r1")] == ["r1 pay forward succeeded"]
    assert len(sink.rows) == 4
    assert (listener.counts().dropped, listener.counts().runs_spoilt) == (1, 1)


def test_closing_does_not_wait_for_ever_for_a_sink_that_hangs() -> None:
    """A hanging sink holds up neither the engine nor, beyond its bound, the close; what it has is dropped."""
    entered, leave = threading.Event(), threading.Event()

    class Hanging(MemorySink):
        def write(self, rows: Sequence[Row]) -> None:
            entered.set()
            leave.wait(PATIENT_S)

    listener = RecordingListener(Hanging(), policy=QUICK)
    assert run(listener) == [Status.COMPLETED]
    assert entered.wait(PATIENT_S)
    listener.close(0.05)
    assert listener.counts().dropped == 3
    leave.set()


def test_what_is_told_after_the_close_is_dropped() -> None:
    """A listener that was closed records nothing more, says so in its counts, and closes again."""
    sink = MemorySink()
    listener = RecordingListener(sink, policy=QUICK)
    listener.close()
    run(listener)
    listener.close()
    assert sink.rows == []
    assert listener.counts().dropped == 3


def test_definitions_that_cannot_be_kept_hold_rows_back() -> None:
    """Rows are written only after the definitions that they need; both are tried again."""

    class Keeper(MemorySink):
        def __init__(self) -> None:
            super().__init__()
            self.kept: list[Saga] = []
            self.tries = 0

        def keep_definitions(self, sagas: Iterable[Saga]) -> None:
            self.tries += 1
            if self.tries < 3:
                raise DatasetRefused("the disk is full")
            assert self.rows == []
            self.kept += sagas

    keeper = Keeper()
    listener = RecordingListener(keeper, policy=QUICK)
    run(listener, [{}, {}])
    listener.close(PATIENT_S)
    assert [saga.name for saga in keeper.kept] == ["trip"]
    assert len(keeper.rows) == 6


def test_a_large_backlog_is_written_in_order_in_batches() -> None:
    """At most `rows_at_once` rows go into one write, the oldest first."""
    sizes: list[int] = []

    class Measured(MemorySink):
        def write(self, rows: Sequence[Row]) -> None:
            sizes.append(len(rows))
            super().write(rows)

    sink = Measured()
    listener = RecordingListener(sink, policy=RecordingPolicy(flush_s=PATIENT_S, rows_at_once=5))
    run(listener, [{}] * 4)
    with closing(listener):
        assert listener.flush(PATIENT_S)
    assert sizes == [5, 5, 2]
    assert [row.run_id for row in sink.rows if isinstance(row, RunRow)] == ["r0", "r1", "r2", "r3"]
