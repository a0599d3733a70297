"""The journal in a SQLite file: WAL, `synchronous=FULL`, one writer thread.

The writer takes everything that all running sagas have queued, commits it as one transaction and then wakes
them all at once, so the price of reaching the disk is shared. A commit that fails fails the appends in it and
nothing else: nothing unacknowledged was promised, and nothing acknowledged is touched. An append that is
repeated after such a failure is recognised if it had reached the disk after all.

Every event carries a checksum over its predecessor's and itself. A changed, reordered or missing event is
refused on reading, naming run and place; only the loss of the last events of an open run cannot be told.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sqlite3
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sagacity_engine.document import read_saga, saga_document
from sagacity_engine.errors import IllegalEvent, JournalRefused
from sagacity_engine.events import Event, EventCodec, RunEnded, RunStarted, Status
from sagacity_engine.journal import Entry, JournalConflict, RunSummary, require_one_run
from sagacity_engine.saga import Saga
from sagacity_engine.sqlite_file import Connect, connect_sqlite, lock, open_reader, open_writer, refusals

QUEUE_MAX = 10_000
"""The most appends that may wait for the writer; one more is refused."""

BATCH_MAX = 2_000
"""The most appends in one transaction."""

_NO_WRITE = "cannot be written; free disk space or end what holds it, waiting runs are tried again"
_NO_READ = "cannot be read; restore it from a copy"
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_COLUMNS = "run_id, saga, definition_hash, status, started_at, ended_at, reason, step"


@dataclass(slots=True)
class _Append:
    """Entries on their way to the disk, and who waits for them."""

    entries: Sequence[Entry]
    encoded: list[tuple[str, str]]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    problem: JournalRefused | None = None


@dataclass(slots=True)
class _Batch:
    """The rows of one transaction."""

    events: list[tuple[str, int, str, float, str, bytes]] = field(default_factory=list)
    started: list[tuple[object, ...]] = field(default_factory=list)
    ended: list[tuple[object, ...]] = field(default_factory=list)
    tails: dict[str, tuple[int, bytes]] = field(default_factory=dict)


class SqliteJournal:
    """A journal in the file `path`, which is created when it does not exist.

    Nothing is opened before `open`. With `read_only` the journal can be read beside a running engine, and
    `append` and `define` are refused.
    """

    def __init__(
        self, path: str | Path, *, read_only: bool = False, connect: Connect = connect_sqlite
    ) -> None:
        self.path = Path(path)
        self.commits = 0  # Transactions written since the journal was opened.
        self._read_only = read_only
        self._connect = connect
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._lock: IO[str] | None = None
        self._thread: threading.Thread | None = None
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._queue: deque[_Append] = deque()
        self._queued = threading.Condition()
        self._closing = False
        self._tails: dict[str, tuple[int, bytes]] = {}  # The last place and checksum of open runs.

    @property
    def opened(self) -> bool:
        """Whether `open` succeeded and `close` has not been called since."""
        return self._reader is not None

    def open(self) -> None:
        """Opens and, unless `read_only`, locks the file; raises `JournalRefused` naming it."""
        if self.opened:
            raise JournalRefused(f"{self.path}: in use by another engine; give each its own journal")
        if not self._read_only:
            self._open_for_writing()
        try:
            self._reader = open_reader(self.path, self._connect)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Commits what is queued, then lets the file go."""
        with self._queued:
            self._closing = True
            self._queued.notify()
        if self._thread is not None:
            self._thread.join()
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        if self._lock is not None:
            self._lock.close()
        self._reader = self._writer = self._lock = self._thread = None
        self._tails.clear()

    def append(self, entries: Sequence[Entry]) -> asyncio.Future[None]:
        """Queues entries of one run; the future is done when they are on the disk."""
        require_one_run(entries)
        encoded = [_encoded(entry.event) for entry in entries]  # What cannot be kept fails here, alone.
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        with self._queued:
            if self._thread is None or self._closing:
                problem = f"{self.path}: is not open for writing; open it, without read_only"
            elif len(self._queue) >= QUEUE_MAX:
                problem = f"{self.path}: {QUEUE_MAX} appends are waiting; start fewer runs at a time"
            else:
                self._queue.append(_Append(entries, encoded, loop, done))
                self._queued.notify()
                return done
        done.set_exception(JournalRefused(problem))
        return done

    def define(self, saga: Saga) -> None:
        """Kept by its hash; raises `JournalRefused` when the file cannot be written."""
        row = (saga.definition_hash, json.dumps(saga_document(saga)))
        with self._writing, refusals(self.path, _NO_WRITE):
            if self._writer is None:
                raise JournalRefused(f"{self.path}: is not open for writing; open it, without read_only")
            self._writer.execute("INSERT OR IGNORE INTO definitions VALUES (?, ?)", row)

    def definition(self, definition_hash: str) -> Saga | None:
        """The kept definition; raises `JournalRefused` when it was altered."""
        rows = self._select("SELECT document FROM definitions WHERE hash = ?", (definition_hash,))
        if not rows:
            return None
        saga = read_saga(json.loads(rows[0][0]))
        if saga.definition_hash != definition_hash:
            raise JournalRefused(
                f"{self.path}: definition {definition_hash[:12]} was altered; restore the file from a copy"
            )
        return saga

    def read(self, run_id: str) -> tuple[Event, ...]:
        """The run's events; raises `JournalRefused` naming run and place if one was altered or is missing."""
        rows = self._select(
            "SELECT seq, kind, at, body, checksum FROM events WHERE run_id = ? ORDER BY seq", (run_id,)
        )
        events = tuple(self._verified(run_id, rows))
        summary = self.run(run_id)
        ended = bool(events) and isinstance(events[-1], RunEnded)
        if summary is not None and summary.status.ended and not ended:
            raise self._altered(run_id, len(events) + 1)
        return events

    def run(self, run_id: str) -> RunSummary | None:
        """One run's line."""
        rows = self._select(f"SELECT {_COLUMNS} FROM runs WHERE run_id = ?", (run_id,))  # noqa: S608  our constant
        return _summary(rows[0]) if rows else None

    def runs(self, status: Status | None = None, limit: int = 100) -> tuple[RunSummary, ...]:
        """The newest first."""
        where, values = ("WHERE status = ?", (status.value,)) if status else ("", ())
        rows = self._select(
            f"SELECT {_COLUMNS} FROM runs {where} ORDER BY started_at DESC, run_id DESC LIMIT ?",  # noqa: S608  our constants
            (*values, limit),
        )
        return tuple(map(_summary, rows))

    def open_runs(self) -> tuple[RunSummary, ...]:
        """The oldest first."""
        rows = self._select(
            f"SELECT {_COLUMNS} FROM runs WHERE ended_at IS NULL ORDER BY started_at, run_id",  # noqa: S608  our constant
            (),
        )
        return tuple(map(_summary, rows))

    def counts(self) -> Mapping[Status, int]:
        """Runs by status."""
        rows = self._select("SELECT status, count(*) FROM runs GROUP BY status", ())
        held = {Status(status): count for status, count in rows}
        return {status: held[status] for status in Status if status in held}

    def _open_for_writing(self) -> None:
        self._lock = lock(self.path) if not self.path.is_dir() and self.path.parent.is_dir() else None
        try:
            self._writer = open_writer(self.path, self._connect)
        except BaseException:
            self.close()
            raise
        self._closing = False
        self._thread = threading.Thread(target=self._write_all, name="sagacity-journal", daemon=True)
        self._thread.start()

    def _select(self, query: str, values: tuple[object, ...]) -> list[Any]:
        with self._reading, refusals(self.path, _NO_READ):
            if self._reader is None:
                raise JournalRefused(f"{self.path}: is not open; open it first")
            return self._reader.execute(query, values).fetchall()

    def _verified(self, run_id: str, rows: Iterable[Any]) -> Iterable[Event]:
        checksum = _origin(run_id)
        for due, (seq, kind, at, body, kept) in enumerate(rows, start=1):
            checksum = _checksum(checksum, seq, kind, at, body)
            if seq != due or checksum != kept:
                raise self._altered(run_id, due)
            try:
                yield EventCodec.decode(kind, json.loads(body))
            except (IllegalEvent, ValueError) as problem:
                raise JournalRefused(
                    f"{self.path}: run {run_id!r}, event {seq}: {problem}; "
                    "use the version of Sagacity that wrote it"
                ) from None

    def _altered(self, run_id: str, seq: int) -> JournalRefused:
        return JournalRefused(
            f"{self.path}: run {run_id!r}, event {seq} was altered or is missing; "
            "restore the file from a copy"
        )

    def _write_all(self) -> None:
        """The writer thread: one transaction after another, until closed and the queue is empty."""
        while True:
            with self._queued:
                while not self._queue and not self._closing:
                    self._queued.wait()
                if not self._queue:
                    return
                taken = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAX))]
            try:
                self._commit(taken)
            except Exception as problem:  # noqa: BLE001  whatever it is, the runs that wait must be told
                for append in taken:
                    append.problem = JournalRefused(f"{self.path}: {problem}; the journal {_NO_WRITE}")
            for loop in {append.loop for append in taken}:
                _wake(loop, [append for append in taken if append.loop is loop])

    def _commit(self, taken: list[_Append]) -> None:
        with self._writing:
            connection = self._writer
            assert connection is not None, "the writer thread outlived its connection"
            batch = _Batch()
            for append in taken:
                append.problem = self._add(batch, append, connection)
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", batch.events)
                connection.executemany(
                    "INSERT INTO runs (run_id, saga, definition_hash, status, started_at) "
                    "VALUES (?, ?, ?, ?, ?)",
                    batch.started,
                )
                connection.executemany(
                    "UPDATE runs SET status = ?, ended_at = ?, reason = ?, step = ? WHERE run_id = ?",
                    batch.ended,
                )
                connection.execute("COMMIT")
            except BaseException:
                # Whether the commit arrived is unknown now: the disk is asked before anything is added.
                self._tails.clear()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self.commits += 1
            self._tails.update(batch.tails)
            for *_, run_id in batch.ended:
                self._tails.pop(str(run_id), None)

    def _add(self, batch: _Batch, append: _Append, connection: sqlite3.Connection) -> JournalRefused | None:
        """Adds the rows of one append to the batch, or says why they cannot follow what is there."""
        if not append.entries:
            return None
        first = append.entries[0]
        run_id = first.run_id
        tail = batch.tails.get(run_id) or self._tails.get(run_id) or self._stored_tail(run_id, connection)
        if first.seq != tail[0] + 1:
            if self._stored_already(append, connection):
                return None
            return JournalConflict(
                f"{self.path}: run {run_id!r}: event {first.seq} does not follow {tail[0]}; "
                "the run exists already, or another writer has been here"
            )
        checksum = tail[1]
        for entry, (kind, body) in zip(append.entries, append.encoded, strict=True):
            at = float(entry.event.at)
            checksum = _checksum(checksum, entry.seq, kind, at, body)
            batch.events.append((run_id, entry.seq, kind, at, body, checksum))
            _add_line(batch, run_id, entry.event)
        batch.tails[run_id] = (append.entries[-1].seq, checksum)
        return None

    def _stored_tail(self, run_id: str, connection: sqlite3.Connection) -> tuple[int, bytes]:
        query = "SELECT seq, checksum FROM events WHERE run_id = ? ORDER BY seq DESC LIMIT 1"
        found: tuple[int, bytes] | None = connection.execute(query, (run_id,)).fetchone()
        return found or (0, _origin(run_id))

    def _stored_already(self, append: _Append, connection: sqlite3.Connection) -> bool:
        """Whether exactly these events are on the disk: an append that failed and yet arrived."""
        query = "SELECT kind, body FROM events WHERE run_id = ? AND seq BETWEEN ? AND ? ORDER BY seq"
        first, last = append.entries[0], append.entries[-1]
        bounds = (first.run_id, first.seq, last.seq)
        return connection.execute(query, bounds).fetchall() == append.encoded


def _summary(row: Sequence[Any]) -> RunSummary:
    run_id, saga, definition_hash, status, started_at, ended_at, reason, step = row
    return RunSummary(
        run_id=run_id,
        saga=saga,
        definition_hash=definition_hash,
        status=Status(status),
        started_at=started_at,
        ended_at=ended_at,
        reason=reason,
        step=step,
    )


def _encoded(event: Event) -> tuple[str, str]:
    kind, body = EventCodec.encode(event)
    return kind, _to_json(body)


def _add_line(batch: _Batch, run_id: str, event: Event) -> None:
    match event:
        case RunStarted(definition_hash=pinned, at=at, plan=plan):
            batch.started.append((run_id, plan.saga, pinned, Status.RUNNING.value, at))
        case RunEnded(status=status, at=at, reason=reason, step=step):
            batch.ended.append((status.value, at, reason, step, run_id))
        case _:
            pass


def _origin(run_id: str) -> bytes:
    return hashlib.sha256(run_id.encode()).digest()


def _checksum(previous: bytes, seq: int, kind: str, at: float, body: str) -> bytes:
    return hashlib.sha256(previous + f"{seq}|{kind}|{at!r}|{body}".encode()).digest()


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
