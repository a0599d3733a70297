"""The journal: the truth about every run, and the port that keeps it.

A journal is append-only. What a run writes at one time is a `Batch`, and a batch is kept whole or not at all.
Events of one run are numbered from 1 without a gap; a batch that does not follow the last one is refused with
`JournalConflict`, so that two writers can never share a run. A run's state is the fold of its events; the
list of runs is kept beside them only to be found quickly, in the order in which the runs began here.

Other processes may put `Request`s into a journal for the engine that has it open: the engine finds them with
`requests`, acts, and answers.

What goes in is in `batch`, the list of runs in `run_lines`, a journal in memory in `memory_journal`; all of
it can be had from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from sagacity_engine.batch import (
    REQUESTS_MAX,
    Batch,
    JournalConflict,
    JournalFenced,
    Request,
    Settle,
    appended,
)
from sagacity_engine.events import Event, Status
from sagacity_engine.memory_journal import MemoryJournal
from sagacity_engine.run_lines import RunSummary, line_after, reopens
from sagacity_engine.saga import Saga

__all__ = [
    "REQUESTS_MAX",
    "Batch",
    "Journal",
    "JournalConflict",
    "JournalFenced",
    "MemoryJournal",
    "Request",
    "RunSummary",
    "Settle",
    "appended",
    "line_after",
    "reopens",
]


class Journal(Protocol):
    """Keeps events for ever. Reads are plain calls that may take a moment; `submit` never blocks the loop.

    Every method raises `JournalRefused` when the store does not do its part; the message names the place and
    the way out. Runs are ordered as the journal took them on.
    """

    @property
    def opened(self) -> bool:
        """Whether the journal can be read now."""
        ...

    def open(self) -> None:
        """Makes the journal usable and keeps every other writer out."""
        ...

    def close(self) -> None:
        """Writes what is queued and lets other writers in. A closed journal can be opened again."""
        ...

    def submit(self, batch: Batch, settle: Settle) -> None:
        """Queues the batch; `settle` is called exactly once, later, in the thread of the running loop.

        Raises `TypeError` or `ValueError` at once for what JSON cannot say; then nothing is queued. A journal
        that cannot write settles with the refusal. Batches are kept in the order of submission.
        """
        ...

    async def append(self, batch: Batch) -> None:
        """Returns when the batch is durable, or raises why it is not."""
        ...

    def define(self, saga: Saga) -> None:
        """Keeps a definition, so that its runs can be read when nobody registers it any more."""
        ...

    def definition(self, definition_hash: str) -> Saga | None:
        """A kept definition."""
        ...

    def read(self, run_id: str) -> tuple[Event, ...]:
        """Every event of a run, in order; empty for a run that does not exist."""
        ...

    def run(self, run_id: str) -> RunSummary | None:
        """One run's line."""
        ...

    def runs(
        self,
        status: Status | None = None,
        limit: int = 100,
        *,
        saga: str | None = None,
        before: str | None = None,
    ) -> tuple[RunSummary, ...]:
        """The newest runs first, of one status and one saga or of all.

        `before` is the id of the last run of the page before; only runs older than it are given.
        """
        ...

    def open_runs(self, limit: int | None = None, *, after: str | None = None) -> tuple[RunSummary, ...]:
        """Every run that has not ended, oldest first; or the next `limit` of them after the run `after`."""
        ...

    def counts(self) -> Mapping[Status, int]:
        """How many runs have each status; statuses that no run has are left out."""
        ...

    def ask(self, request: Request) -> int:
        """Puts a request in for the engine that has the journal, or the next that opens it; its number.

        Any process may, also while another has the journal open. Refused when `REQUESTS_MAX` are waiting.
        """
        ...

    def requests(self) -> tuple[tuple[int, Request], ...]:
        """The requests without an answer, oldest first, each with its number. Cheap enough to poll."""
        ...

    def answer(self, number: int, refusal: str = "") -> None:
        """Answers a request: why it was refused, or "" when it was accepted. Never blocks.

        From now on `requests` leaves it out here. The answer is durable with the next commit; a request whose
        answer a crash lost is pending again for the next engine.
        """
        ...

    def answer_of(self, number: int) -> str | None:
        """Why the request was refused, "" when it was accepted, None while it waits."""
        ...
