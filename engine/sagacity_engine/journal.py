"""The journal: the truth about every run, and the port that keeps it.

A journal is append-only. `append` returns when the entries are durable, all of them or none. Entries of one
run are numbered from 1 without a gap; an entry that does not follow the last one is refused with
`JournalConflict`, so that two writers can never share a run. A run's state is the fold of its events; the
list of runs is kept beside them only to be found quickly.

`MemoryJournal` keeps everything in memory for tests and trials: durable as long as the object lives.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

from sagacity_engine import codec
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import Event, RunEnded, RunStarted, Status
from sagacity_engine.saga import Saga


class JournalConflict(JournalRefused):
    """The entries do not continue their run: it exists already, or something else has written to it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of one run, with its place in the run, from 1."""

    run_id: str
    seq: int
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One line of the list of runs. An open run is `RUNNING` here, whichever way it is going."""

    run_id: str
    saga: str
    definition_hash: str
    status: Status
    started_at: float
    ended_at: float | None = None
    reason: str = ""
    step: str = ""


class Journal(Protocol):
    """Keeps events for ever. Reads are plain calls that may take a moment; `append` never blocks the loop.

    Every method raises `JournalRefused` when the store does not do its part; the message names the place and
    the way out.
    """

    @property
    def opened(self) -> bool:
        """Whether the journal can be read and written now."""
        ...

    def open(self) -> None:
        """Makes the journal usable and keeps every other writer out."""
        ...

    def close(self) -> None:
        """Writes what is queued and lets other writers in. A closed journal can be opened again."""
        ...

    def append(self, entries: Sequence[Entry]) -> Awaitable[None]:
        """Keeps entries of one run, all or none; the awaitable is done when they are durable."""
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

    def runs(self, status: Status | None = None, limit: int = 100) -> tuple[RunSummary, ...]:
        """The newest runs first, of one status or of all."""
        ...

    def open_runs(self) -> tuple[RunSummary, ...]:
        """Every run that has not ended, oldest first."""
        ...

    def counts(self) -> Mapping[Status, int]:
        """How many runs have each status; statuses that no run has are left out."""
        ...


def summary_of(started: RunStarted, saga: str) -> RunSummary:
    """The line of a run that has just started."""
    return RunSummary(
        run_id=started.run_id,
        saga=saga,
        definition_hash=started.definition_hash,
        status=Status.RUNNING,
        started_at=started.at,
    )


def ended_summary(summary: RunSummary, ended: RunEnded) -> RunSummary:
    """The line of the run after its end."""
    return replace(summary, status=ended.status, ended_at=ended.at, reason=ended.reason, step=ended.step)


class MemoryJournal:
    """A journal in memory. It encodes every event and decodes it on reading, as a stored one must."""

    def __init__(self) -> None:
        self.opened = False
        self._definitions: dict[str, Saga] = {}
        self._events: dict[str, list[tuple[str, str]]] = {}
        self._runs: dict[str, RunSummary] = {}

    def open(self) -> None:
        """Raises `JournalRefused` when an engine has it open."""
        if self.opened:
            raise JournalRefused("the journal in memory is in use by another engine; give each its own")
        self.opened = True

    def close(self) -> None:
        """What was written stays."""
        self.opened = False

    async def append(self, entries: Sequence[Entry]) -> None:
        """Durable at once, as far as memory is."""
        if not self.opened:
            raise JournalRefused("the journal in memory is not open; open it first")
        require_one_run(entries)
        for entry in entries[:1]:
            due = len(self._events.get(entry.run_id, ())) + 1
            if entry.seq != due:
                raise JournalConflict(
                    f"run {entry.run_id!r}: entry {entry.seq} does not follow {due - 1}; "
                    "another writer has been here"
                )
        records = [
            codec.encode(entry.event) for entry in entries
        ]  # All or none: what cannot be kept fails here.
        for entry, record in zip(entries, records, strict=True):
            self._keep(entry, record)

    def _keep(self, entry: Entry, record: tuple[str, str]) -> None:
        self._events.setdefault(entry.run_id, []).append(record)
        if isinstance(entry.event, RunStarted):
            self._runs[entry.run_id] = summary_of(entry.event, entry.event.plan.saga)
        elif isinstance(entry.event, RunEnded):
            self._runs[entry.run_id] = ended_summary(self._runs[entry.run_id], entry.event)

    def define(self, saga: Saga) -> None:
        """Kept by its hash."""
        self._definitions[saga.definition_hash] = saga

    def definition(self, definition_hash: str) -> Saga | None:
        """The kept definition."""
        return self._definitions.get(definition_hash)

    def read(self, run_id: str) -> tuple[Event, ...]:
        """The run's events, decoded."""
        return tuple(codec.decode(kind, body) for kind, body in self._events.get(run_id, ()))

    def run(self, run_id: str) -> RunSummary | None:
        """One run's line."""
        return self._runs.get(run_id)

    def runs(self, status: Status | None = None, limit: int = 100) -> tuple[RunSummary, ...]:
        """The newest first."""
        chosen = [run for run in self._runs.values() if status is None or run.status is status]
        return newest_first(chosen)[:limit]

    def open_runs(self) -> tuple[RunSummary, ...]:
        """The oldest first."""
        return newest_first(run for run in self._runs.values() if not run.status.ended)[::-1]

    def counts(self) -> Mapping[Status, int]:
        """Runs by status."""
        held = [run.status for run in self._runs.values()]
        return {status: held.count(status) for status in Status if status in held}


def newest_first(runs: Iterable[RunSummary]) -> tuple[RunSummary, ...]:
    """By start, newest first; runs that started together by their id."""
    return tuple(sorted(runs, key=lambda run: (run.started_at, run.run_id), reverse=True))


def require_one_run(entries: Sequence[Entry]) -> None:
    """Asserts what the callers of `append` owe: entries of one run, numbered without a gap."""
    for before, entry in pairwise(entries):
        assert entry.run_id == before.run_id, "entries of two runs in one append"
        assert entry.seq == before.seq + 1, "entries with a gap in one append"
    for entry in entries:
        starts = isinstance(entry.event, RunStarted)
        assert starts == (entry.seq == 1), "a run starts with RunStarted, and only once"
