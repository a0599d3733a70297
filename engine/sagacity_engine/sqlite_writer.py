"""The writer thread of a SQLite journal: group commit.

It takes everything that all running sagas have queued, commits it as one transaction and then wakes them all
at once, so the price of reaching the disk is shared. A commit that fails fails the appends in it and nothing
else: nothing unacknowledged was promised, and nothing acknowledged is touched. An append that is repeated
after such a failure is recognised if it had reached the disk after all.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from sagacity_engine.errors import JournalRefused
from sagacity_engine.journal import Entry, JournalConflict
from sagacity_engine.sqlite_file import Connect, lock, open_writer, refusals
from sagacity_engine.sqlite_rows import Record, Tail, checksum, no_tail, records_of

QUEUE_MAX = 10_000
"""The most appends that may wait for the writer; one more is refused."""

BATCH_MAX = 2_000
"""The most appends in one transaction."""

_NO_WRITE = "cannot be written; free disk space or end what holds it, waiting runs are tried again"


@dataclass(slots=True)
class _Append:
    """Entries of one run on their way to the disk, and who waits for them."""

    run_id: str
    records: list[Record]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    problem: JournalRefused | None = None


@dataclass(slots=True)
class _Batch:
    """The rows of one transaction."""

    events: list[tuple[str, int, str, float, str, bytes]] = field(default_factory=list)
    started: list[tuple[object, ...]] = field(default_factory=list)
    ended: list[tuple[object, ...]] = field(default_factory=list)
    tails: dict[str, Tail] = field(default_factory=dict)


class SqliteWriter:
    """The only writer of a journal's file, from its making to `close`.

    Raises `JournalRefused` when another engine has the file or it cannot be written.
    """

    def __init__(self, path: Path, connect: Connect) -> None:
        self.commits = 0  # Transactions written.
        self._path = path
        self._writing = threading.Lock()
        self._queue: deque[_Append] = deque()
        self._queued = threading.Condition()
        self._closed = False
        self._tails: dict[str, Tail] = {}  # Of open runs.
        self._lock: IO[str] | None = lock(path) if not path.is_dir() and path.parent.is_dir() else None
        try:
            self._connection = open_writer(path, connect)
        except BaseException:
            self._unlock()
            raise
        self._thread = threading.Thread(target=self._write_all, name="sagacity-journal", daemon=True)
        self._thread.start()

    def append(self, entries: Sequence[Entry]) -> asyncio.Future[None]:
        """Queues entries of one run; the future is done when they are on the disk."""
        records = records_of(entries)  # What cannot be kept fails here, alone.
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        if not entries:
            done.set_result(None)
            return done
        with self._queued:
            if self._closed:
                problem = f"{self._path}: is not open for writing; open it, without read_only"
            elif len(self._queue) >= QUEUE_MAX:
                problem = f"{self._path}: {QUEUE_MAX} appends are waiting; start fewer runs at a time"
            else:
                self._queue.append(_Append(entries[0].run_id, records, loop, done))
                self._queued.notify()
                return done
        done.set_exception(JournalRefused(problem))
        return done

    def define(self, definition_hash: str, document: str) -> None:
        """Keeps a definition at once."""
        with self._writing, refusals(self._path, _NO_WRITE):
            row = (definition_hash, document)
            self._connection.execute("INSERT OR IGNORE INTO definitions VALUES (?, ?)", row)

    def close(self) -> None:
        """Commits what is queued, then lets the file go."""
        with self._queued:
            self._closed = True
            self._queued.notify()
        self._thread.join()
        self._connection.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def _write_all(self) -> None:
        """The thread: one transaction after another, until closed and the queue is empty."""
        while True:
            with self._queued:
                while not self._queue and not self._closed:
                    self._queued.wait()
                if not self._queue:
                    return
                taken = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAX))]
            try:
                self._commit(taken)
            except Exception as problem:  # noqa: BLE001  whatever it is, the runs that wait must be told
                for append in taken:
                    append.problem = JournalRefused(f"{self._path}: {problem}; the journal {_NO_WRITE}")
            for loop in {append.loop for append in taken}:
                _wake(loop, [append for append in taken if append.loop is loop])

    def _commit(self, taken: list[_Append]) -> None:
        with self._writing:
            batch = _Batch()
            for append in taken:
                append.problem = self._add(batch, append)
            try:
                self._insert(batch)
            except BaseException:
                # Whether the commit arrived is unknown now: the disk is asked before anything is added.
                self._tails.clear()
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self.commits += 1
            self._tails.update(batch.tails)
            for *_, run_id in batch.ended:
                self._tails.pop(str(run_id), None)

    def _insert(self, batch: _Batch) -> None:
        write = self._connection
        write.execute("BEGIN IMMEDIATE")
        write.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", batch.events)
        write.executemany(
            "INSERT INTO runs (run_id, saga, definition_hash, status, started_at) VALUES (?, ?, ?, ?, ?)",
            batch.started,
        )
        write.executemany(
            "UPDATE runs SET status = ?, ended_at = ?, reason = ?, step = ? WHERE run_id = ?", batch.ended
        )
        write.execute("COMMIT")

    def _add(self, batch: _Batch, append: _Append) -> JournalRefused | None:
        """Adds the rows of one append to the batch, or says why they cannot follow what is there."""
        run_id, first = append.run_id, append.records[0]
        seq, held = batch.tails.get(run_id) or self._tails.get(run_id) or self._stored_tail(run_id)
        if first.seq != seq + 1:
            if self._stored_already(append):
                return None
            return JournalConflict(
                f"{self._path}: run {run_id!r}: event {first.seq} does not follow {seq}; "
                "the run exists already, or another writer has been here"
            )
        for record in append.records:
            held = checksum(held, record.seq, record.kind, record.at, record.body)
            batch.events.append((run_id, record.seq, record.kind, record.at, record.body, held))
            if record.started is not None:
                batch.started.append(record.started)
            if record.ended is not None:
                batch.ended.append(record.ended)
        batch.tails[run_id] = (append.records[-1].seq, held)
        return None

    def _stored_tail(self, run_id: str) -> Tail:
        query = "SELECT seq, checksum FROM events WHERE run_id = ? ORDER BY seq DESC LIMIT 1"
        found: Tail | None = self._connection.execute(query, (run_id,)).fetchone()
        return found or no_tail(run_id)

    def _stored_already(self, append: _Append) -> bool:
        """Whether exactly these events are on the disk: an append that failed and yet arrived."""
        query = "SELECT kind, body FROM events WHERE run_id = ? AND seq BETWEEN ? AND ? ORDER BY seq"
        bounds = (append.run_id, append.records[0].seq, append.records[-1].seq)
        wanted = [(record.kind, record.body) for record in append.records]
        return self._connection.execute(query, bounds).fetchall() == wanted


def _wake(loop: asyncio.AbstractEventLoop, appends: list[_Append]) -> None:
    with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
        loop.call_soon_threadsafe(_settle, appends)


def _settle(appends: list[_Append]) -> None:
    for append in appends:
        if append.done.done():
            continue
        if append.problem is None:
            append.done.set_result(None)
        else:
            append.done.set_exception(append.problem)
