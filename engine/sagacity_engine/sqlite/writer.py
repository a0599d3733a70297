"""The writer thread of a SQLite journal: group commit.

It takes everything that all running sagas have queued, commits it as one and then settles all of it by one
call into the event loop, so the price of reaching the disk is shared. A commit that fails fails the batches
in it and nothing else: nothing unacknowledged was promised, and nothing acknowledged is touched.

Between commits, never inside one, the thread renews its lease, writes answers and folds SQLite's log (the
`-wal` file) into the journal: after about `CHECKPOINT_FRAMES` pages, so that the log stays near 4 MB and is
used over and over, and when it is closed. A reader of somebody else's that holds a read transaction open for
long lets the log grow until it lets go.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from sagacity_engine.batch import Batch, JournalFenced, Settle
from sagacity_engine.errors import JournalRefused
from sagacity_engine.sqlite.commit import COMMIT_MAX, Commits, Outcome
from sagacity_engine.sqlite.connection import Connection, refusals, roll_back, transaction
from sagacity_engine.sqlite.lease import Lease
from sagacity_engine.sqlite.rows import Record, record_of

QUEUE_MAX = 10_000
"""The most batches that may wait for the writer; one more is refused."""

CHECKPOINT_FRAMES = 1_000
"""About how many pages of the log are written before it is folded into the file."""

_NO_WRITE = "cannot be written; free disk space or end what holds it, waiting runs are tried again"

_Queued = tuple[Record, Settle, asyncio.AbstractEventLoop]


class SqliteWriter:
    """The only writer of a journal's file, from its making to `close`."""

    def __init__(self, path: Path, connection: Connection, lease: Lease) -> None:
        self.answers: dict[int, str] = {}  # Given, and not yet on the disk.
        self._path = path
        self._connection = connection
        self._lease = lease
        self._commits = Commits(path, connection, lease)
        self._writing = threading.Lock()
        self._gate = threading.Lock()  # Around the next five.
        self._queue: deque[_Queued] = deque()
        self._answered = False
        self._closed = False
        self._sleeping = False
        self._bell = threading.Lock()  # Held while nobody rings.
        self._bell.acquire()
        self._fenced: JournalFenced | None = None
        self._frames = 0
        self._unsettled: dict[asyncio.AbstractEventLoop, list[tuple[Settle, Outcome]]] = {}
        self._thread = threading.Thread(target=self._work, name="sagacity-journal", daemon=True)
        self._thread.start()

    @property
    def commits(self) -> int:
        """Commits of batches."""
        return self._commits.count

    def submit(self, batch: Batch, settle: Settle) -> None:
        """Queues a batch; `settle` is told in the running loop's thread what became of it."""
        queued = (record_of(batch), settle, asyncio.get_running_loop())  # What cannot be kept fails here.
        with self._gate:
            refusal = self._why_not()
            if refusal is None:
                self._queue.append(queued)
                self._wake()
                return
        queued[2].call_soon(settle, refusal)

    def define(self, definition_hash: str, document: str, checksum: bytes) -> None:
        """Keeps a definition at once."""
        with self._writing, refusals(self._path, _NO_WRITE), transaction(self._connection):
            self._lease.require(self._connection)
            row = (definition_hash, document, checksum)
            self._connection.execute("INSERT OR IGNORE INTO definitions VALUES (?, ?, ?)", row)

    def answer(self, number: int, refusal: str) -> None:
        """Queues the answer to a request."""
        with self._gate:
            self.answers[number] = refusal
            self._answered = True
            self._wake()

    def close(self) -> None:
        """Commits what is queued, then lets the file go."""
        with self._gate:
            self._closed = True
            self._wake()
        self._thread.join()
        with contextlib.suppress(Exception):  # What cannot be given back runs out by itself.
            self._lease.give_back(self._connection)
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._connection.close()
        self._lease.unlock()

    def _why_not(self) -> JournalRefused | None:
        if self._closed:
            return JournalRefused(f"{self._path}: is not open for writing; open it, without read_only")
        if self._fenced is not None:
            return self._fenced
        if len(self._queue) >= QUEUE_MAX:
            return JournalRefused(f"{self._path}: {QUEUE_MAX} batches wait; start fewer runs at a time")
        return None

    def _wake(self) -> None:
        if self._sleeping:
            self._sleeping = False
            if self._bell.locked():
                self._bell.release()

    def _work(self) -> None:
        """The thread: one commit after another, until closed and the queue is empty."""
        while True:
            with self._gate:
                taken = self._take()
                if not taken and self._closed and not self._unsettled:
                    break
                sleep = self._sleeping = not (taken or self._answered or self._unsettled)
                self._answered = False
            if taken:
                self._commit(taken)
            else:
                self._settle()
                if sleep:
                    self._bell.acquire(timeout=self._lease.renewal_s)
            self._keep_up()
        self._keep_up()

    def _take(self) -> list[_Queued]:
        share = min(len(self._queue), COMMIT_MAX)
        return [self._queue.popleft() for _ in range(share)]

    def _commit(self, taken: Sequence[_Queued]) -> None:
        """Commits what was taken; meanwhile the loop goes on with what was committed before."""
        outcomes: Sequence[Outcome]
        try:
            with self._writing, refusals(self._path, _NO_WRITE):
                commit = self._commits.prepare([record for record, _, _ in taken])
                self._settle()
                outcomes = self._commits.write(commit)
        except Exception as problem:  # noqa: BLE001  whatever it is, the runs that wait must be told
            outcomes = [self._refusal(problem)] * len(taken)
        self._settle()
        self._frames += _frames(taken)
        for (_, settle, loop), outcome in zip(taken, outcomes, strict=True):
            self._unsettled.setdefault(loop, []).append((settle, outcome))

    def _settle(self) -> None:
        """Tells those of the commit before; their loop wakes while this thread is in the next commit."""
        settled, self._unsettled = self._unsettled, {}
        for loop, pairs in settled.items():
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                loop.call_soon_threadsafe(_settle, pairs)

    def _refusal(self, problem: Exception) -> JournalRefused:
        if isinstance(problem, JournalFenced):
            self._give_up(problem)
        if isinstance(problem, JournalRefused):
            return problem
        return JournalRefused(f"{self._path}: {problem}; the journal {_NO_WRITE}")

    def _give_up(self, fenced: JournalFenced) -> None:
        self._fenced = fenced
        self._lease.unlock()  # Whoever has the journal now needs it.

    def _keep_up(self) -> None:
        """What is due between commits; what fails is tried again next time."""
        fold = self._frames >= CHECKPOINT_FRAMES
        if self._fenced is not None or not (fold or self.answers or self._lease.due):
            return
        self._settle()  # Nobody waits for this.
        try:
            with self._writing:
                self._lease.renew(self._connection)
                self._write_answers()
                if fold:
                    self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                    self._frames = 0
        except JournalFenced as fenced:
            self._give_up(fenced)
        except Exception:  # noqa: BLE001  the next commit says what is wrong with the file, to those who wait
            roll_back(self._connection)

    def _write_answers(self) -> None:
        if not self.answers:
            return
        given = dict(self.answers)
        rows = [(refusal, number) for number, refusal in given.items()]
        with transaction(self._connection):
            self._lease.require(self._connection)
            self._connection.executemany("UPDATE requests SET answer = ? WHERE number = ?", rows)
        for number in given:
            del self.answers[number]


def _frames(taken: Sequence[_Queued]) -> int:
    """About how many pages a commit adds to the log: batches lie close together, and so do runs' lines."""
    return 5 + len(taken) // 8 + 3 * sum(len(record.body) for record, _, _ in taken) // 8192


def _settle(pairs: Sequence[tuple[Settle, Outcome]]) -> None:
    for settle, outcome in pairs:
        try:
            settle(outcome)
        except Exception as problem:  # noqa: BLE001  one who cannot be told must not keep the others waiting
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a run could not be told about its journal", "exception": problem}
            )
