"""One writer at a time: who is kept out, who may take over, and what becomes of the one taken over."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import CancelRequested, RunStarted
from sagacity_engine.journal import Batch, JournalFenced, Request
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga, Step
from sagacity_engine.sqlite.journal import SqliteJournal

SAGA = Saga(name="s", steps=(Step(name="a"),))
LONG_S = 3600.0  # So long that no thread renews by itself while a test runs.

WRITER = """
import asyncio, sys
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import RunStarted
from sagacity_engine.journal import Batch
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga, Step
from sagacity_engine.sqlite.journal import SqliteJournal

saga = Saga(name="s", steps=(Step(name="a"),))
journal = SqliteJournal(sys.argv[1], lease_s=float(sys.argv[2]))
journal.open()
print("open", flush=True)
for run_id in sys.stdin:
    run_id = run_id.strip()
    start = RunStarted(run_id=run_id, at=1.0, definition_hash=saga.definition_hash, plan=author_plan(saga))
    try:
        asyncio.run(journal.append(Batch(run_id, 1, (start,))))
        print("kept", flush=True)
    except JournalRefused as refusal:
        print(type(refusal).__name__, flush=True)
journal.close()
print("closed", flush=True)
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def start(run_id: str) -> Batch:
    started = RunStarted(run_id=run_id, at=1.0, definition_hash=SAGA.definition_hash, plan=author_plan(SAGA))
    return Batch(run_id, 1, (started,))


def keep(journal: SqliteJournal, run_id: str) -> None:
    asyncio.run(journal.append(start(run_id)))


def opened(path: Path, **options: Any) -> SqliteJournal:
    journal = SqliteJournal(path, **options)
    journal.open()
    return journal


@contextmanager
def writer(path: Path, lease_s: float) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the journal open and starts the runs it is told to."""
    command = [sys.executable, "-c", WRITER, str(path), str(lease_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert said(process) == "open"
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def told(process: subprocess.Popen[str], run_id: str) -> str:
    assert process.stdin is not None
    process.stdin.write(run_id + "\n")
    process.stdin.flush()
    return said(process)


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """A living owner is named, with the time its lease ends; a dead one is replaced at once."""
    path = tmp_path / "runs.db"
    with writer(path, LONG_S) as owner:
        assert told(owner, "theirs") == "kept"
        words = f"in use by another engine \\(process {owner.pid}\\).*renews its lease, that ends in \\d+"
        with pytest.raises(JournalRefused, match=words):
            opened(path)
        reader = opened(path, read_only=True)
        assert len(reader.runs()) == 1
        reader.close()
        owner.kill()
        owner.wait()
        journal = opened(path)
    keep(journal, "ours")
    assert len(journal.runs()) == 2
    journal.close()


def test_a_stopped_writer_is_taken_over_and_fenced(tmp_path: Path) -> None:
    """An owner that hangs is replaced when its lease ran out; when it goes on, its next commit is refused."""
    path = tmp_path / "runs.db"
    with writer(path, 0.5) as owner:
        assert told(owner, "theirs") == "kept"
        os.kill(owner.pid, signal.SIGSTOP)
        journal = patiently_opened(path)
        keep(journal, "ours")
        os.kill(owner.pid, signal.SIGCONT)
        assert told(owner, "late") == "JournalFenced"
        assert told(owner, "later") == "JournalFenced"
        assert [run.run_id for run in journal.runs()] == ["ours", "theirs"]
        assert owner.stdin is not None
        owner.stdin.close()
        assert said(owner) == "closed"
        keep(journal, "still ours")
        journal.close()


def patiently_opened(path: Path) -> SqliteJournal:
    """Opened as soon as that is allowed: the stopped process may have been renewing its lease just then."""
    give_up_at = time.monotonic() + 30
    while True:
        try:
            return opened(path)
        except JournalRefused:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)


def test_a_lease_that_ran_out_is_taken_by_one(tmp_path: Path) -> None:
    """Of two takers of a hanging owner's journal one wins; the other is refused like any second writer."""
    path, clock = tmp_path / "runs.db", Clock()
    hanging = opened(path, lease_s=LONG_S, clock=clock)
    with pytest.raises(JournalRefused, match="in use by another engine"):
        opened(path, clock=clock)
    clock.now += LONG_S + 1
    taker = opened(path, lease_s=LONG_S, clock=clock)
    with pytest.raises(JournalRefused, match="in use by another engine"):
        opened(path, clock=clock)
    with pytest.raises(JournalFenced, match="was taken over by process"):
        keep(hanging, "late")
    with pytest.raises(JournalFenced):
        hanging.define(SAGA)
    assert hanging.runs() == ()
    hanging.close()
    keep(taker, "ours")
    taker.close()
    opened(path, clock=clock).close()


def test_many_takers_at_once_leave_one_owner(tmp_path: Path) -> None:
    """Processes that race for a journal whose owner died leave exactly one of them with it."""
    path = tmp_path / "runs.db"
    with writer(path, LONG_S) as owner:
        owner.kill()
        owner.wait()
    command = [sys.executable, "-c", WRITER, str(path), str(LONG_S)]
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            )
            for _ in range(4)
        ]
        for racer in racers:
            stack.callback(racer.kill)
        heard = [said(racer) for racer in racers]
        assert sorted(heard) == ["", "", "", "open"]
        assert told(racers[heard.index("open")], "run") == "kept"


def test_a_taker_without_the_lock_waits_for_its_own_lease(tmp_path: Path) -> None:
    """While a hanging former owner keeps the lock, its successor is protected by its lease alone."""
    path, clock = tmp_path / "runs.db", Clock()
    hanging = opened(path, lease_s=LONG_S, clock=clock)
    clock.now += LONG_S + 1
    taker = opened(path, lease_s=LONG_S, clock=clock)
    with pytest.raises(JournalFenced):
        keep(hanging, "late")  # Fenced, it lets the lock go, which the taker does not have yet.
    with pytest.raises(JournalRefused, match="in use by another engine"):
        opened(path, clock=clock)
    clock.now += LONG_S + 1
    last = opened(path, lease_s=LONG_S, clock=clock)
    with pytest.raises(JournalFenced):
        keep(taker, "late")
    keep(last, "ours")
    for journal in (hanging, taker, last):
        journal.close()


def test_a_lease_is_renewed_between_commits(tmp_path: Path) -> None:
    """An owner that writes now and then keeps its lease, however long it has had it."""
    path, clock = tmp_path / "runs.db", Clock()
    owner = opened(path, lease_s=LONG_S, clock=clock)
    for number in range(4):
        clock.now += LONG_S / 2
        keep(owner, f"r{number}")
        keep(owner, f"s{number}")  # Settled after the renewal that followed the commit before.
        with pytest.raises(JournalRefused, match="in use by another engine"):
            opened(path, clock=clock)
    owner.close()


def test_an_idle_owner_renews_its_lease(tmp_path: Path) -> None:
    """An owner without anything to write is not taken for one that hangs."""
    path = tmp_path / "runs.db"
    owner = opened(path, lease_s=0.3)
    connection = sqlite3.connect(path)
    query = "SELECT renewed_at, epoch FROM lease"
    taken_at, epoch = connection.execute(query).fetchone()
    give_up_at = time.monotonic() + 30
    while (renewed := connection.execute(query).fetchone()) == (taken_at, epoch):
        assert time.monotonic() < give_up_at, "the lease was never renewed"
        time.sleep(0.02)
    assert renewed > (taken_at, epoch)
    connection.close()
    owner.close()


def test_a_fenced_writer_leaves_requests_to_its_successor(tmp_path: Path) -> None:
    """An answer of a writer that was taken over is not written."""
    path, clock = tmp_path / "runs.db", Clock()
    hanging = opened(path, lease_s=LONG_S, clock=clock)
    number = hanging.ask(Request.of("r", CancelRequested(at=1, who="ann")))
    clock.now += LONG_S + 1
    taker = opened(path, lease_s=LONG_S, clock=clock)
    hanging.answer(number, "no")
    hanging.close()
    assert [asked for asked, _ in taker.requests()] == [number]
    taker.close()


def test_a_link_to_the_file_is_the_same_journal(tmp_path: Path) -> None:
    """Two names of one file do not make two writers."""
    path = tmp_path / "runs.db"
    first = opened(path)
    (tmp_path / "alias.db").symlink_to(path)
    with pytest.raises(JournalRefused, match="in use by another engine"):
        opened(tmp_path / "alias.db")
    first.close()


def test_those_who_come_and_go_leave_the_writers_log_alone(tmp_path: Path) -> None:
    """A process that is refused, or that only reads, does not take the log away under the one that writes."""
    path = tmp_path / "runs.db"
    owner = opened(path)
    keep(owner, "first")
    visit = (
        "import sys\nfrom sagacity_engine.sqlite.journal import SqliteJournal\n"
        "journal = SqliteJournal(sys.argv[1], read_only=sys.argv[2] == 'read')\n"
        "try:\n    journal.open()\n    print(len(journal.runs()))\n    journal.close()\n"
        "except Exception as refusal:\n    print(type(refusal).__name__)\n"
    )

    def visited(how: str) -> str:
        command = [sys.executable, "-c", visit, str(path), how]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert visited("write") == "JournalRefused"
    assert visited("read") == "1"
    keep(owner, "second")
    assert visited("read") == "2"
    owner.close()
