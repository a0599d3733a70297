"""A process of its own records beside the engine: all of it, whatever dies, and no longer than the engine."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sagacity_data import DatasetStore
from sagacity_data.sinks import RecordingProcess, process
from sagacity_engine import Engine, SqliteJournal, define

PATIENT_S = 60.0


def trip() -> Any:
    """One step that has nothing to do."""
    saga = define("trip")

    async def book(call: Any) -> None:
        del call

    saga.step(name="book", service="hotels", compensate=book)(book)
    return saga.bind()


async def run_all(journal: Path, names: list[str]) -> None:
    """An engine that runs these one after the other, and closes."""
    async with Engine(SqliteJournal(journal), [trip()]) as engine:
        for name in names:
            await engine.run("trip", {}, run_id=name)


def until(true: Callable[[], bool]) -> None:
    """Waits for something that another process does."""
    ends_at = time.monotonic() + PATIENT_S
    while not true():
        assert time.monotonic() < ends_at, "it did not happen"
        time.sleep(0.02)


def test_it_records_all_that_ended(tmp_path: Path) -> None:
    """Started before there is a journal, it has every run's rows once it is closed, and says so."""
    journal, dataset = tmp_path / "runs.db", tmp_path / "dataset"
    names = [f"trip-{number}" for number in range(30)]
    with RecordingProcess(journal, dataset, every_s=0.05) as recording:
        asyncio.run(run_all(journal, names))
    counts = recording.counts()
    assert (counts.running, counts.runs, counts.rows, counts.refused, counts.last_words) == (
        False,
        30,
        60,
        0,
        "",
    )
    assert sorted(run.run_id for run in DatasetStore(dataset).read_runs()) == sorted(names)


def test_a_killed_child_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a SIGKILL another child goes on where the dataset ends; every run is told, none twice."""
    monkeypatch.setattr(process, "RESTART_S", 0.01)
    journal, dataset = tmp_path / "runs.db", tmp_path / "dataset"
    with RecordingProcess(journal, dataset, every_s=0.05) as recording:
        asyncio.run(run_all(journal, ["a", "b"]))
        until(lambda: recording.counts().runs == 2)
        assert recording._process is not None
        recording._process.kill()
        until(lambda: recording.counts().restarts == 1)
        asyncio.run(run_all(journal, ["c"]))
    assert recording.counts().runs == 3
    assert sorted(run.run_id for run in DatasetStore(dataset).read_runs()) == ["a", "b", "c"]


def test_it_does_not_outlive_its_engine(tmp_path: Path) -> None:
    """When the engine's process is killed, the child sees its input end, and ends as well."""
    program = (
        "import sys, time\n"
        "from sagacity_data.sinks import RecordingProcess\n"
        "recording = RecordingProcess(sys.argv[1], sys.argv[2], every_s=0.05)\n"
        "recording.start()\n"
        "print(recording._process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    files = [str(tmp_path / "runs.db"), str(tmp_path / "dataset")]
    with subprocess.Popen(
        [sys.executable, "-c", program, *files], stdout=subprocess.PIPE, text=True
    ) as engine:
        assert engine.stdout is not None
        child = int(engine.stdout.readline())
        engine.send_signal(signal.SIGKILL)
    until(lambda: not runs(child))


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_what_it_cannot_do_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that holds something else is told in words, a bounded number of times; no run notices."""
    monkeypatch.setattr(process, "RESTART_S", 0.001)
    monkeypatch.setattr(process, "RESTARTS_MAX", 1)
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "letter.txt").write_text("dear")
    with RecordingProcess(tmp_path / "runs.db", tmp_path / "dataset", every_s=0.05) as recording:
        asyncio.run(run_all(tmp_path / "runs.db", ["a"]))
        until(lambda: recording.counts().restarts == 1 and not recording.counts().running)
    counts = recording.counts()
    assert "choose another folder" in counts.last_words
    assert (counts.runs, counts.running) == (0, False)


def test_without_a_journal_nothing_is_recorded(tmp_path: Path) -> None:
    """Where no journal ever appears, the child ends when it is told to, without a word."""
    with RecordingProcess(tmp_path / "runs.db", tmp_path / "dataset", every_s=0.05) as recording:
        pass
    counts = recording.counts()
    assert (counts.rows, counts.last_words) == (0, "")
    assert not (tmp_path / "dataset").exists()


def test_one_last_child_tells_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the child has died too often, closing starts one more, which tells what had ended meanwhile."""
    monkeypatch.setattr(process, "RESTARTS_MAX", 0)
    journal, dataset = tmp_path / "runs.db", tmp_path / "dataset"
    with RecordingProcess(journal, dataset, every_s=0.05) as recording:
        assert recording._process is not None
        recording._process.kill()
        until(lambda: not recording.counts().running)
        asyncio.run(run_all(journal, ["a", "b"]))
    counts = recording.counts()
    assert (counts.runs, counts.restarts, counts.running) == (2, 1, False)


def alive_after(recording: RecordingProcess, deaths: int) -> bool:
    """Whether the child after so many deaths runs."""
    counts = recording.counts()
    return counts.running and counts.restarts == deaths


def test_deaths_far_apart_are_not_counted_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that was well for long enough begins a new row of deaths, so restarts do not run out."""
    monkeypatch.setattr(process, "RESTART_S", 0.001)
    monkeypatch.setattr(process, "RESTARTS_MAX", 1)
    monkeypatch.setattr(process, "HEALTHY_S", 0.0)
    with RecordingProcess(tmp_path / "runs.db", tmp_path / "dataset", every_s=0.05) as recording:
        for deaths in range(3):
            until(partial(alive_after, recording, deaths))
            assert recording._process is not None
            recording._process.kill()
        until(lambda: recording.counts().restarts == 3)


def test_what_takes_too_long_is_left_for_the_next(tmp_path: Path) -> None:
    """A child that does not end in time is killed and not replaced; the next one tells what it left."""
    journal, dataset = tmp_path / "runs.db", tmp_path / "dataset"
    recording = RecordingProcess(journal, dataset, every_s=0.05)
    recording.start()
    asyncio.run(run_all(journal, ["a"]))
    assert recording._process is not None
    os.kill(recording._process.pid, signal.SIGSTOP)
    counts = recording.close(within_s=0.1)
    assert (counts.running, counts.restarts) == (False, 0)
    assert "not done within 0.1 s" in counts.last_words
    with RecordingProcess(journal, dataset, every_s=0.05):
        pass
    assert [run.run_id for run in DatasetStore(dataset).read_runs()] == ["a"]


def test_a_telling_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child imports the telling that it is given by name, and records as that one says."""
    (tmp_path / "ours.py").write_text(
        "from sagacity_data import Telling\ntelling = Telling(tenant_of=lambda context: 'shop')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    journal, dataset = tmp_path / "runs.db", tmp_path / "dataset"
    with RecordingProcess(journal, dataset, every_s=0.05, telling="ours:telling") as recording:
        asyncio.run(run_all(journal, ["a"]))
    assert recording.counts().last_words == ""
    assert [run.tenant for run in DatasetStore(dataset).read_runs()] == ["shop"]


@pytest.mark.parametrize(
    ("name", "why"), [("nowhere:telling", "No module"), ("json:dumps", "not a Telling"), ("json:x", "json:x")]
)
def test_a_telling_that_cannot_be_had(tmp_path: Path, name: str, why: str) -> None:
    """Nothing is recorded without the telling that was asked for, and the reason is told."""
    recording = RecordingProcess(tmp_path / "runs.db", tmp_path / "dataset", every_s=0.05, telling=name)
    recording.start()
    assert why in recording.close().last_words
    assert not (tmp_path / "dataset").exists()


def test_a_telling_is_named_by_module_and_name(tmp_path: Path) -> None:
    """A name without a module is refused at once."""
    with pytest.raises(ValueError, match="name it as module:name"):
        RecordingProcess(tmp_path / "runs.db", tmp_path / "dataset", telling="telling")


def test_a_fork_of_the_engine_does_not_keep_it(tmp_path: Path) -> None:
    """A process that the engine forked holds the child's input open; the child ends all the same."""
    program = (
        "import os, sys, time\n"
        "from sagacity_data.sinks import RecordingProcess\n"
        "recording = RecordingProcess(sys.argv[1], sys.argv[2], every_s=0.05)\n"
        "recording.start()\n"
        "forked = os.fork()\n"
        "if forked:\n"
        "    print(recording._process.pid, forked, flush=True)\n"
        "time.sleep(600)\n"
    )
    files = [str(tmp_path / "runs.db"), str(tmp_path / "dataset")]
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, *files], stdout=subprocess.PIPE, text=True
    ) as engine:
        assert engine.stdout is not None
        child, forked = map(int, engine.stdout.readline().split())
        engine.send_signal(signal.SIGKILL)
        engine.wait()
        try:
            until(lambda: not runs(child))
        finally:
            os.kill(forked, signal.SIGKILL)
