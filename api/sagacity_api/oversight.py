"""Runs in a journal's file, seen and decided about from outside the engine that carries them on.

Looking opens the file beside whatever engine has it. A decision goes one of two ways. When no process has the
file, its event is written there, alone: nothing is called from here, and the run goes on when an engine opens
the journal. When a process has it, the event becomes a request, and the engine there answers. Either way the
decision is held against the run first, and what the run has something against leaves the file as it was.

A process that has the file but does not answer is never pushed aside: its request waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType

from sagacity_engine.errors import EngineError, JournalRefused, RunRefused
from sagacity_engine.events import Event, Status
from sagacity_engine.journal import Batch, Request, RunSummary
from sagacity_engine.machine import machine
from sagacity_engine.machine.operations import refusal
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.sqlite.journal import SqliteJournal
from sagacity_engine.sqlite.lease import lock

AT_ONCE_MAX = 200
"""The most decisions that are written side by side."""

LOOKS_EVERY_S = 0.05
"""How often is looked for an answer, in seconds."""


class Fate(StrEnum):
    """What became of a decision."""

    WRITTEN = "written"  # It is in the journal; the run goes on when an engine opens it.
    ACCEPTED = "accepted"  # The engine that has the journal carries it out.
    REFUSED = "refused"  # The run has something against it; nothing was written.
    WAITING = "waiting"  # The engine that has the journal has not answered yet; the request stays.
    FAILED = "failed"  # The run cannot be read, or the journal cannot be written.


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one decision, and why."""

    run_id: str
    fate: Fate
    words: str = ""


@dataclass(frozen=True, slots=True)
class Sight:
    """One run as the journal has it. The state is the reader's own copy."""

    line: RunSummary
    state: RunState
    events: tuple[Event, ...]

    def dated(self, event: Event, now: float) -> Event:
        """The event at `now`, or at the run's latest event where that lies ahead of our clock."""
        return replace(event, at=max(now, *(each.at for each in self.events)))


class Oversight:
    """The runs of the journal in the file `path`; use it as a context manager.

    Entering raises `JournalRefused` for what is no journal. `now` gives seconds since the epoch.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.path = path
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep
        self._journal = SqliteJournal(path, read_only=True)

    def __enter__(self) -> Oversight:
        self._journal.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()

    def runs(
        self, status: Status | None, limit: int, *, saga: str | None = None, before: str | None = None
    ) -> tuple[RunSummary, ...]:
        """The newest runs first."""
        return self._journal.runs(status, limit, saga=saga, before=before)

    def counts(self) -> Mapping[Status, int]:
        """How many runs have each status."""
        return self._journal.counts()

    def line(self, run_id: str) -> RunSummary | None:
        """One run's line."""
        return self._journal.run(run_id)

    def sight(self, run_id: str) -> Sight:
        """A run; raises `RunRefused` when there is none, and `EngineError` when it cannot be read."""
        return _sight(self._journal, run_id)

    def foresee(self, run_id: str, event: Event) -> tuple[str, tuple[Event, ...], Status]:
        """Why the event cannot happen to the run now, or "", what would follow, and the status then.

        Nothing is written. Raises what `sight` raises.
        """
        seen = self.sight(run_id)
        dated = seen.dated(event, self._now())
        if why := refusal(seen.state, dated):
            return why, (), seen.state.status
        after = seen.state.copy()
        events, _ = machine.advance(after, [dated], dated.at)
        return "", tuple(events[1:]), after.status

    def decide(self, wishes: Sequence[tuple[str, Event]], wait_s: float) -> tuple[Outcome, ...]:
        """Makes each event happen to its run, or says why not, in the same order.

        Where an engine has the journal, waits at most `wait_s` seconds for each next answer.
        """
        outcomes: dict[str, Outcome] = {}
        open_wishes: list[tuple[str, Event]] = []
        for run_id, event in wishes:
            judged = _judged(self._journal, run_id, event)
            if isinstance(judged, Outcome):
                outcomes[run_id] = judged
            else:
                open_wishes.append((run_id, judged.dated(event, self._now())))
        if open_wishes:
            writer, why = self._take()
            decided = (
                self._ask(open_wishes, wait_s, why)
                if writer is None
                else asyncio.run(_write_all(writer, open_wishes))
            )
            outcomes.update((outcome.run_id, outcome) for outcome in decided)
        return tuple(outcomes[run_id] for run_id, _ in wishes)

    def _take(self) -> tuple[SqliteJournal | None, str]:
        """The journal, open for writing; or None, and why, when a process has it."""
        free = lock(self.path)
        if free is None:  # Its owner is alive, and may be asleep: opening the file now could push it aside.
            return None, ""
        free.close()
        writer = SqliteJournal(self.path)
        try:
            writer.open()
        except JournalRefused as problem:
            return None, str(problem)
        return writer, ""

    def _ask(self, wishes: Iterable[tuple[str, Event]], wait_s: float, why: str) -> list[Outcome]:
        """Puts the wishes in as requests and waits for answers, as long as they keep coming."""
        outcomes: list[Outcome] = []
        waiting: dict[int, str] = {}
        for run_id, event in wishes:
            try:
                waiting[self._journal.ask(Request.of(run_id, event))] = run_id
            except JournalRefused as problem:
                outcomes.append(Outcome(run_id, Fate.FAILED, why or str(problem)))
        until = self._monotonic() + wait_s
        while waiting:
            for number, run_id in tuple(waiting.items()):
                answer = self._journal.answer_of(number)
                if answer is not None:
                    outcomes.append(Outcome(run_id, Fate.REFUSED if answer else Fate.ACCEPTED, answer))
                    del waiting[number]
                    until = self._monotonic() + wait_s
            if self._monotonic() >= until:
                break
            self._sleep(LOOKS_EVERY_S)
        words = "the engine that has the journal has not answered; request {} stays queued for it"
        outcomes += (Outcome(run_id, Fate.WAITING, words.format(each)) for each, run_id in waiting.items())
        return outcomes


def _sight(journal: SqliteJournal, run_id: str) -> Sight:
    line = journal.run(run_id)
    if line is None:
        raise RunRefused(f"there is no run {run_id!r} in this journal; check the id")
    saga = journal.definition(line.definition_hash)
    if saga is None:
        raise JournalRefused(f"the journal lacks the definition of run {run_id!r}; restore it from a copy")
    events = journal.read(run_id)
    return Sight(line, machine.replay(saga, events), events)


def _judged(journal: SqliteJournal, run_id: str, event: Event) -> Sight | Outcome:
    """The run, when it has nothing against the event."""
    try:
        seen = _sight(journal, run_id)
    except RunRefused as problem:
        return Outcome(run_id, Fate.REFUSED, str(problem))
    except EngineError as problem:
        return Outcome(run_id, Fate.FAILED, str(problem))
    why = refusal(seen.state, event)
    return Outcome(run_id, Fate.REFUSED, why) if why else seen


async def _write_all(writer: SqliteJournal, wishes: Sequence[tuple[str, Event]]) -> list[Outcome]:
    """Writes the events to the journal, which is closed then."""
    try:
        outcomes: list[Outcome] = []
        for first in range(0, len(wishes), AT_ONCE_MAX):
            some = wishes[first : first + AT_ONCE_MAX]
            outcomes += await asyncio.gather(*(_write(writer, run_id, event) for run_id, event in some))
        return outcomes
    finally:
        writer.close()


async def _write(writer: SqliteJournal, run_id: str, event: Event) -> Outcome:
    judged = _judged(writer, run_id, event)  # Again: an engine may have had the file a moment ago.
    if isinstance(judged, Outcome):
        return judged
    dated = judged.dated(event, event.at)
    try:
        await writer.append(Batch(run_id, len(judged.events) + 1, (dated,)))
    except JournalRefused as problem:
        return Outcome(run_id, Fate.FAILED, str(problem))
    return Outcome(run_id, Fate.WRITTEN)
