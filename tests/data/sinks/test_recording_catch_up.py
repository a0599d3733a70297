"""What a crash kept from the dataset is told again from the journal, and is the same as if told live."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagacity_data import (
    AttemptOutcome,
    AttemptRow,
    DatasetRefused,
    DatasetStore,
    LaunchFeatures,
    Recorder,
    Row,
    RunRow,
)
from sagacity_data.sinks import (
    CompactionPolicy,
    DatasetSink,
    JournalFollower,
    MemorySink,
    RecordingListener,
    RecordingPolicy,
    RowSink,
    catch_up,
    catching_up,
    compact,
)
from sagacity_engine import (
    Engine,
    FailureClass,
    RetryPolicy,
    SqliteJournal,
    Status,
    StepError,
    define,
)

NEVER_S = 3_600.0
PATIENT_S = 30.0


def trip() -> Any:
    """A booking that fails at first, and a payment that fails for good where the input says so."""
    saga = define("trip")
    swift = RetryPolicy(maximum_attempts=2, initial_interval_s=0.001)

    async def book(call: Any) -> None:
        if call.attempt == 1:
            raise StepError("Busy", "busy", FailureClass.TRANSIENT)

    async def pay(call: Any) -> None:
        if call.input.get("broke"):
            raise StepError("NoFunds", "no funds", FailureClass.PERMANENT)

    async def undo(call: Any) -> None:
        del call

    saga.step(name="book", service="hotels", retry=swift, compensate=undo)(book)
    saga.step(name="pay", service="bank", retry=swift, compensate=undo)(pay)
    return saga.bind()


def record(path: Path, sink: RowSink, numbers: Sequence[int], policy: RecordingPolicy | None = None) -> None:
    """Runs sagas of these numbers, every third of them broke, and records them."""
    listener = RecordingListener(sink, Recorder(LaunchFeatures()), policy)

    async def main() -> None:
        async with Engine(SqliteJournal(path), [trip()], listeners=[listener]) as engine:
            for number in numbers:
                await engine.run("trip", {"broke": number % 3 == 0}, run_id=f"r{number}")

    asyncio.run(main())
    listener.close()


def journal(path: Path) -> Any:
    opened = SqliteJournal(path, read_only=True)
    opened.open()
    return closing(opened)


def without_the_moment(rows: Sequence[Row]) -> dict[tuple[object, ...], Row]:
    """The rows by identity, without what only the live moment knows."""
    return {
        (type(row), *row.key): replace(row, in_flight=None, features={})
        if isinstance(row, AttemptRow)
        else row
        for row in rows
    }


def test_runs_that_were_never_recorded_are_told_as_they_were_live(tmp_path: Path) -> None:
    """Every row derived from the journal equals the live one, but for `in_flight` and the features."""
    live, late = MemorySink(), MemorySink()
    record(tmp_path / "runs.db", live, range(7))
    with journal(tmp_path / "runs.db") as kept:
        done = catch_up(kept, late, Recorder(), ())
    assert (done.ended, done.open, done.refused) == (7, 0, ())
    assert done.rows == len(live.rows) == len(late.rows)
    assert without_the_moment(late.rows) == without_the_moment(live.rows)
    assert all(row.in_flight is None and not row.features for row in late.rows if isinstance(row, AttemptRow))
    assert any(row.features for row in live.rows if isinstance(row, AttemptRow))


def test_only_what_the_dataset_lacks_is_told(tmp_path: Path) -> None:
    """Known runs are passed over, so that a second catching up finds nothing; so are runs before `since`."""
    folder = tmp_path / "dataset"
    record(tmp_path / "runs.db", MemorySink(), range(3))
    with journal(tmp_path / "runs.db") as kept, closing(DatasetSink(folder)) as sink:
        assert catch_up(kept, sink, Recorder(), {"r0", "r2"}).ended == 1
        assert sink.recorded() == {"r1"}
        assert catch_up(kept, sink, Recorder(), sink.recorded()).ended == 2
        assert catch_up(kept, sink, Recorder(), sink.recorded()).rows == 0
        latest = max(run.launch_at or 0.0 for run in DatasetStore(folder).read_runs())
        assert catch_up(kept, sink, Recorder(), (), since=latest).ended == 1
    assert list(DatasetStore(folder).definitions().values()) == [trip().saga]


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
import importlib.util
spec = importlib.util.spec_from_file_location("test_recording_catch_up", sys.argv[1])
told = importlib.util.module_from_spec(spec)
spec.loader.exec_module(told)
from sagacity_data.sinks import DatasetSink, RecordingPolicy

class Dying(DatasetSink):
    writes = 0
    def write(self, rows):
        if self.writes == int(sys.argv[4]):
            os._exit(9)  # Between the run's end, which is in the journal, and the write.
        self.writes += 1
        super().write(rows)

policy = RecordingPolicy(flush_s=0.02, rows_at_once=4)
told.record(told.Path(sys.argv[2]), Dying(sys.argv[3]), range(12), policy)
"""


@pytest.mark.slow
@pytest.mark.parametrize("writes", [0, 1, 3])
def test_a_crash_before_a_write_loses_nothing(tmp_path: Path, writes: int) -> None:
    """A process that dies with rows unwritten leaves runs half told; the next start tells them all, once."""
    path, folder = tmp_path / "runs.db", tmp_path / "dataset"
    command = [sys.executable, "-c", KILLED, __file__, str(path), str(folder), str(writes)]
    assert subprocess.run(command, check=False, timeout=PATIENT_S).returncode == 9
    with closing(DatasetSink(folder, CompactionPolicy(rows=5))) as sink:
        recorder = Recorder()
        with journal(path) as kept:
            catch_up(kept, sink, recorder, sink.recorded())
        listener = RecordingListener(sink, recorder)

        async def go_on() -> None:
            async with Engine(SqliteJournal(path), [trip()], listeners=[listener]) as engine:
                for number in range(12):
                    await engine.run("trip", {"broke": number % 3 == 0}, run_id=f"r{number}")

        asyncio.run(go_on())
        listener.close()
    whole = MemorySink()
    with journal(path) as kept:
        catch_up(kept, whole, Recorder(), ())
    told = DatasetStore(folder).read()
    assert len(told) == len(whole.rows)
    assert without_the_moment(told) == without_the_moment(whole.rows)


def test_a_run_that_was_under_way_is_told_whole(tmp_path: Path) -> None:
    """A run that waits while its process goes: the next recorder recalls its attempts, start and rank go on,
    and its row is written; without the recall it would be held back."""
    saga = define("stay")

    async def act(call: Any) -> None:
        del call

    saga.step(name="hold", compensate=act)(act)
    saga.approval("host", after=["hold"])
    saga.step(name="confirm", after=["host"], compensate=act)(act)
    bound, path = saga.bind(), tmp_path / "runs.db"

    async def before() -> None:
        async with Engine(SqliteJournal(path), [bound]) as engine:
            await engine.start("stay", run_id="r1")
            while (await engine.state("r1")).steps["host"].phase != "awaiting":  # noqa: ASYNC110  nobody rings
                await asyncio.sleep(0.001)

    async def after(listener: RecordingListener) -> None:
        async with Engine(SqliteJournal(path), [bound], listeners=[listener]) as engine:
            await engine.signal("r1", "host", who="host")
            assert (await engine.result("r1")).status is Status.COMPLETED

    asyncio.run(before())
    sink, recorder = MemorySink(), Recorder()
    with journal(path) as kept:
        done = catch_up(kept, sink, recorder, ())
    assert (done.ended, done.open, done.rows) == (0, 1, 1)
    listener = RecordingListener(sink, recorder)
    asyncio.run(after(listener))
    listener.close()
    attempts = [row for row in sink.rows if isinstance(row, AttemptRow)]
    assert [(row.step, row.rank, row.in_flight) for row in attempts] == [("hold", 0, None), ("confirm", 1, 0)]
    assert [row.run_id for row in sink.rows if isinstance(row, RunRow)] == ["r1"]
    assert (listener.counts().runs_spoilt, listener.counts().dropped) == (0, 0)


def test_a_call_cut_off_by_a_crash_keeps_its_start(tmp_path: Path) -> None:
    """An attempt in flight when its engine went is told with the start that the journal has, as crashed."""
    saga = define("slow")

    async def hang(call: Any) -> None:
        if call.attempt == 1:
            await asyncio.sleep(NEVER_S)

    saga.step(name="wait", idempotent=True, compensate=hang, start_to_close_timeout_s=NEVER_S)(hang)
    bound, path = saga.bind(), tmp_path / "runs.db"

    async def before() -> None:
        async with Engine(SqliteJournal(path), [bound], shutdown_s=0.01) as engine:
            await engine.start("slow", run_id="r1")
            while (await engine.state("r1")).steps["wait"].phase != "running":  # noqa: ASYNC110  nobody rings
                await asyncio.sleep(0.001)

    async def after(listener: RecordingListener) -> None:
        async with Engine(SqliteJournal(path), [bound], listeners=[listener]) as engine:
            await engine.result("r1")

    asyncio.run(before())
    sink, recorder = MemorySink(), Recorder()
    with journal(path) as kept:
        catch_up(kept, sink, recorder, ())
        intent = kept.read("r1")[1]
    listener = RecordingListener(sink, recorder)
    asyncio.run(after(listener))
    listener.close()
    first, second = [row for row in sink.rows if isinstance(row, AttemptRow)]
    assert (first.outcome, first.failure_kind, first.rank) == (AttemptOutcome.CRASHED, None, 0)
    assert first.started_at == intent.at
    assert (second.outcome, second.rank) == (AttemptOutcome.SUCCEEDED, 1)


def test_a_run_that_cannot_be_read_is_named_and_passed_over(tmp_path: Path) -> None:
    """One altered run loses itself only; a sink that refuses is reported, and catching up again is safe."""
    path = tmp_path / "runs.db"
    record(path, MemorySink(), range(3))
    with closing(sqlite3.connect(path)) as file:
        for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f"DROP TRIGGER {name}")
        file.execute("UPDATE batches SET body = replace(body, 'book', 'bork') WHERE number = 2")
        file.commit()
    sink = MemorySink()
    with journal(path) as kept:
        sink.refusal = DatasetRefused("the disk is full")
        with pytest.raises(DatasetRefused, match="the disk is full"):
            catch_up(kept, sink, Recorder(), ())
        sink.refusal = None
        done = catch_up(kept, sink, Recorder(), ())
    ((run_id, why),) = done.refused
    assert run_id == "r1"
    assert "r1" in why
    assert {row.run_id for row in sink.rows} == {"r0", "r2"}


def test_a_follower_tells_runs_as_they_end(tmp_path: Path) -> None:
    """Beside a running engine each poll tells what has ended since, each run once and never half of it."""
    path, sink = tmp_path / "runs.db", MemorySink()
    saga = define("stay")

    async def act(call: Any) -> None:
        del call

    saga.approval("host")
    saga.step(name="confirm", after=["host"], compensate=act)(act)

    async def main() -> None:
        async with Engine(SqliteJournal(path), [saga.bind()]) as engine:
            with journal(path) as kept:
                follower = JournalFollower(kept, sink, ())
                for number in range(4):
                    await engine.start("stay", run_id=f"r{number}")
                assert follower.poll().ended == 0
                assert sink.rows == []
                for name in ("r0", "r2"):
                    await engine.signal(name, "host", who="host")
                    await engine.result(name)
                await engine.start("stay", run_id="r4")
                sink.refusal = DatasetRefused("the disk is full")
                with pytest.raises(DatasetRefused):
                    follower.poll()
                sink.refusal = None
                assert follower.poll().ended == 2
                assert follower.poll().rows == 0
                for name in ("r1", "r4"):
                    await engine.signal(name, "host", who="host")
                    await engine.result(name)
                assert follower.poll().ended == 2

    asyncio.run(main())
    assert [row.run_id for row in sink.rows if isinstance(row, RunRow)] == ["r0", "r2", "r1", "r4"]
    assert len(sink.rows) == 8


def test_rows_of_a_followed_journal_are_those_of_a_listener(tmp_path: Path) -> None:
    """A follower that polls at the end writes what `catch_up` writes."""
    live, followed = MemorySink(), MemorySink()
    record(tmp_path / "runs.db", live, range(5))
    waits = iter([False, True])
    with journal(tmp_path / "runs.db") as kept:
        JournalFollower(kept, followed, ()).follow(lambda pause_s: next(waits), pause_s=0.0)
    assert without_the_moment(followed.rows) == without_the_moment(live.rows)


def test_a_follower_finishes_with_every_open_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One poll looks at so many open runs; to finish is to look at all, so what has ended is told."""
    monkeypatch.setattr(catching_up, "CHECKS_MAX", 2)
    path, sink = tmp_path / "runs.db", MemorySink()
    saga = define("stay")
    saga.approval("host")
    names = [f"r{number}" for number in range(7)]

    async def main() -> None:
        async with Engine(SqliteJournal(path), [saga.bind()]) as engine:
            with journal(path) as kept:
                follower = JournalFollower(kept, sink, ())
                for name in names:
                    await engine.start("stay", run_id=name)
                assert follower.poll().ended == 0
                for name in names:
                    await engine.signal(name, "host", who="host")
                    await engine.result(name)
                assert follower.finish().ended == 7
                assert follower.finish().ended == 0

    asyncio.run(main())
    assert sorted(row.run_id for row in sink.rows if isinstance(row, RunRow)) == names


def test_the_recorded_runs_are_those_that_ended_moved_or_not(tmp_path: Path) -> None:
    """What has been moved into files is known as well as what still waits."""
    path, folder = tmp_path / "runs.db", tmp_path / "dataset"
    record(path, MemorySink(), range(3))
    with journal(path) as kept, closing(DatasetSink(folder)) as sink:
        assert sink.recorded() == set()
        catch_up(kept, sink, Recorder(), {"r1", "r2"})
        assert compact(folder) > 0
        catch_up(kept, sink, Recorder(), {"r0", "r2"})
        assert sink.recorded() == {"r0", "r1"}
