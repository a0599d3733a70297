"""The journal in a SQLite file: WAL, `synchronous=FULL`, one writer thread, any number of readers.

This is the port's face. Writing is the writer thread's (`writer`, `commit`), reading has a
connection of its own (`reads`), and so have requests (`requests`). What a row holds and how it
is proved whole is `rows`'; the file and its tables, `file`'s and `schema`'s; who may
write, `lease`'s. `archive` moves finished runs into another file.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

from sagacity_engine.batch import Batch, Request, Settle, appended, require_whole
from sagacity_engine.document import saga_document
from sagacity_engine.errors import JournalRefused, SagaRefused
from sagacity_engine.events import Event, Status
from sagacity_engine.run_lines import RunSummary
from sagacity_engine.saga import Saga
from sagacity_engine.sqlite import archive, lease
from sagacity_engine.sqlite import requests as sqlite_requests
from sagacity_engine.sqlite.connection import Connect, connect_sqlite, refusals
from sagacity_engine.sqlite.file import Durability, lay_out_log, open_reader, open_writer
from sagacity_engine.sqlite.reads import Reads
from sagacity_engine.sqlite.writer import CHECKPOINT_FRAMES, SqliteWriter


class SqliteJournal:
    """A journal in the file `path`, which is created when it does not exist.

    Nothing is opened before `open`. With `read_only` the journal can be read, and asked, beside a running
    engine; writing is refused. A process that does not renew its right to write for `lease_s`, in seconds,
    may be taken over. For `durability` see `sqlite_file.Durability`: choose `normal` only where the last
    moments before a power cut may be forgotten, with every call that was made in them. Writing begins with a
    log of `log_pages` pages of 4 KiB, so that no commit has to wait for the file to grow. Raises
    `SagaRefused` for settings that make no sense.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        read_only: bool = False,
        lease_s: float = 10.0,
        durability: Durability = "full",
        log_pages: int = CHECKPOINT_FRAMES,
        connect: Connect = connect_sqlite,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if durability not in get_args(Durability):
            raise SagaRefused(f"durability is {durability!r}; it must be 'full' or 'normal'")
        if not (math.isfinite(lease_s) and lease_s > 0):
            raise SagaRefused(f"lease_s is {lease_s!r}; it must be a positive number of seconds")
        if log_pages < 0:
            raise SagaRefused(f"log_pages is {log_pages!r}; it must be 0 or more pages")
        self.path = Path(path)
        self._read_only = read_only
        self._lease_s = lease_s
        self._durability: Durability = durability
        self._log_pages = log_pages
        self._connect = connect
        self._clock = clock
        self._writer: SqliteWriter | None = None
        self._reads: Reads | None = None
        self._requests: sqlite_requests.Requests | None = None
        self._commits = 0

    @property
    def opened(self) -> bool:
        """Whether `open` succeeded and `close` has not been called since."""
        return self._reads is not None

    @property
    def commits(self) -> int:
        """Commits of batches by this object."""
        return self._commits + (self._writer.commits if self._writer is not None else 0)

    def open(self) -> None:
        """Opens the file and, unless `read_only`, takes it; raises `JournalRefused` naming it."""
        if self.opened:
            raise JournalRefused(f"{self.path}: in use by another engine; give each its own journal")
        try:
            if not self._read_only:
                self._writer = self._open_writer()
            self._reads = Reads(self.path, open_reader(self.path, self._connect))
            self._requests = sqlite_requests.Requests(self.path, open_reader(self.path, self._connect))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Commits what is queued, then lets the file go."""
        if self._reads is not None:
            self._reads.close()
            self._reads = None
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._writer is not None:  # Last, so that it is alone with the file and leaves no log behind.
            self._writer.close()
            self._commits += self._writer.commits
            self._writer = None

    def submit(self, batch: Batch, settle: Settle) -> None:
        """Queues a batch; raises `TypeError` or `ValueError` for what JSON cannot say."""
        require_whole(batch)
        self._require_writer().submit(batch, settle)

    async def append(self, batch: Batch) -> None:
        """Returns when the batch is on the disk."""
        await appended(self.submit, batch)

    def define(self, saga: Saga) -> None:
        """Kept by its hash; raises `JournalRefused` when the file cannot be written."""
        document = json.dumps(saga_document(saga), separators=(",", ":"))
        digest = hashlib.sha256(document.encode()).digest()
        self._require_writer().define(saga.definition_hash, document, digest)

    def definition(self, definition_hash: str) -> Saga | None:
        """The kept definition; raises `JournalRefused` when it was altered."""
        return self._require_reads().definition(definition_hash)

    def read(self, run_id: str) -> tuple[Event, ...]:
        """The run's events; raises `JournalRefused` naming run and place if one was altered or is missing."""
        return self._require_reads().events(run_id)

    def run(self, run_id: str) -> RunSummary | None:
        """One run's line."""
        return self._require_reads().line(run_id)

    def runs(
        self,
        status: Status | None = None,
        limit: int = 100,
        *,
        saga: str | None = None,
        before: str | None = None,
    ) -> tuple[RunSummary, ...]:
        """The newest first."""
        return self._require_reads().newest(status, limit, saga, before)

    def open_runs(self, limit: int | None = None, *, after: str | None = None) -> tuple[RunSummary, ...]:
        """The oldest first."""
        return self._require_reads().open(limit, after)

    def counts(self) -> Mapping[Status, int]:
        """Runs by status; archived ones are not among them."""
        return self._require_reads().counts()

    def ask(self, request: Request) -> int:
        """Puts a request into the file, whether it is open here or not."""
        return sqlite_requests.ask(self.path, self._connect, request)

    def requests(self) -> tuple[tuple[int, Request], ...]:
        """Those without an answer, oldest first."""
        answered = {} if self._writer is None else self._writer.answers
        return self._require_requests().pending(answered)

    def answer(self, number: int, refusal: str = "") -> None:
        """Written with the next commit."""
        self._require_writer().answer(number, refusal)

    def answer_of(self, number: int) -> str | None:
        """None while the request waits; refused when it is not kept any more."""
        return self._require_requests().answer_of(number)

    def archive(self, before: float, into: str | Path, limit: int = 1_000) -> int:
        """Moves up to `limit` finished runs that ended before `before` into the journal `into`; how many."""
        self._require_writer()
        return archive.archive(self.path, before, Path(into), limit, connect=self._connect, clock=self._clock)

    def _open_writer(self) -> SqliteWriter:
        right = lease.Lease(self.path, self._lease_s, self._clock)
        try:
            connection = open_writer(
                self.path, self._connect, self._durability, may_migrate=right.require_locked
            )
            try:
                with refusals(self.path, "cannot be taken; end what holds it"):
                    right.take(connection)
                    lay_out_log(connection, self._log_pages)
                return SqliteWriter(self.path, connection, right)
            except BaseException:
                connection.close()
                raise
        except BaseException:
            right.unlock()
            raise

    def _require_writer(self) -> SqliteWriter:
        if self._writer is None:
            raise JournalRefused(f"{self.path}: is not open for writing; open it, without read_only")
        return self._writer

    def _require_reads(self) -> Reads:
        if self._reads is None:
            raise JournalRefused(f"{self.path}: is not open; open it first")
        return self._reads

    def _require_requests(self) -> sqlite_requests.Requests:
        if self._requests is None:
            raise JournalRefused(f"{self.path}: is not open; open it first")
        return self._requests
