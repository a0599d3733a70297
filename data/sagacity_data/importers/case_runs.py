"""A case of an event log as a run: the same for every format of logs.

* The activity is the step, and the service whose health it shares: logs of processes name no other. Doing an
  activity again in one case is rework; its attempts are numbered on.
* A log does not say whether a case has failed, nor whether it has ended. A case is a completed run, unless
  work that was started in it never ended (then it was still running), or it was aborted, or its last attempt
  has an outcome that is told and is no success. Where the user says what tells the end, that counts instead,
  but for cases that were aborted or have work under way (`Told`).
* A run's identity is the case's name and a digest of how the case began: cases called `Case 1` in different
  logs are different runs, and a case told again by a later export of its log is the same.
* The launch is the earliest time of the case, its end the latest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sagacity_data.importers.attempt_numbers import AttemptNumbers
from sagacity_data.importers.foreign_runs import ForeignAttempt, ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.run_status import End, status_of
from sagacity_data.importers.xes_lifecycles import LogEvent, WorkItem, WorkItems
from sagacity_data.rows import AttemptOutcome, ContextValues, Scalar

CONTEXT_MAX: Final = 32
"""Attributes of a case beyond this number are left out."""

CONTEXT_CHARACTERS_MAX: Final = 200
"""A text longer than this is no category: it is left out."""

_SUFFIXES: Final = (".gz", ".xes", ".csv", ".tsv", ".txt")


@dataclass(frozen=True, slots=True)
class Told:
    """How a case ended by what its log tells, and in which words. Open: nothing told an end."""

    end: End
    words: str = ""


class CaseRuns:
    """The runs of one log. Cases of one name and one beginning are told apart by a number."""

    def __init__(self, saga: str, hints: Hints, tally: Tally, *, own_lifecycle: bool = False) -> None:
        self._saga = saga
        self._hints = hints
        self._tally = tally
        self._own_lifecycle = own_lifecycle
        self._seen: dict[bytes, int] = {}

    def run_of(
        self, case: str, events: Sequence[LogEvent], context: ContextValues, told: Told | None = None
    ) -> ForeignRun:
        """One case, of at least one event; `told` where the user says what tells its end."""
        work = WorkItems(self._tally, own_lifecycle=self._own_lifecycle)
        items = work.take(events)
        attempts = self._attempts(items)
        end, reason = _end(items, work.aborted, told)
        times = [event.at for event in events if event.at is not None]
        times += [event.started_at for event in events if event.started_at is not None]
        return ForeignRun(
            run_id=self._run_id(case, events, times),
            saga=self._saga,
            status=status_of(end, attempts),
            attempts=attempts,
            tenant=self._hints.tenant,
            launch_at=min(times, default=None),
            ended_at=None if end is End.OPEN else max(times, default=None),
            reason=reason,
            context=context,
        )

    def _attempts(self, items: list[WorkItem]) -> tuple[ForeignAttempt, ...]:
        numbers, attempts = AttemptNumbers(self._hints.undoes), []
        for item in items:
            step, direction, number = numbers.next(item.activity)
            attempts.append(
                ForeignAttempt(
                    step=step,
                    outcome=item.outcome,
                    direction=direction,
                    attempt=number,
                    scheduled_at=item.scheduled_at,
                    started_at=item.started_at,
                    ended_at=item.ended_at,
                    error_type=item.error_type,
                )
            )
        open_ones = sum(item.outcome is AttemptOutcome.OPEN for item in items)
        if open_ones:
            self._tally.notes["attempts have no end in the log and count as open"] += open_ones
        return tuple(attempts)

    def _run_id(self, case: str, events: Sequence[LogEvent], times: Sequence[float]) -> str:
        first, earliest = events[0], min(times, default=None)
        if first.when != earliest:
            first = min(events, key=lambda event: float("inf") if event.when is None else event.when)
        began = f"{case}\n{first.activity}\n{first.when}".encode("utf-8", "replace")
        digest = hashlib.blake2b(began, digest_size=8)
        told = self._seen[digest.digest()] = self._seen.get(digest.digest(), 0) + 1
        if told > 1:
            self._tally.notes[
                "cases have the name and the beginning of an earlier one, and got a number"
            ] += 1
        return f"{case}/{digest.hexdigest()}" + (f"#{told}" if told > 1 else "")


def _end(items: list[WorkItem], aborted: str, told: Told | None) -> tuple[End, str]:
    if aborted:
        return End.TERMINATED, f"aborted at {aborted}"
    if any(item.outcome is AttemptOutcome.OPEN and item.started_at is not None for item in items):
        return End.OPEN, ""
    if told is not None:
        return told.end, told.words
    ended = [item for item in items if item.outcome not in (AttemptOutcome.OPEN, AttemptOutcome.CANCELLED)]
    last = max(ended, key=lambda item: item.ended_at or 0.0, default=None)
    if last is None or last.outcome is AttemptOutcome.SUCCEEDED:
        return End.COMPLETED, ""
    return End.FAILED, f"{last.outcome.value.replace('_', ' ')}: {last.activity}"


def context_of(values: Sequence[tuple[str, Scalar]], tally: Tally) -> dict[str, Scalar]:
    """The values of a case that can serve as its context, in their order."""
    kept: dict[str, Scalar] = {}
    for key, value in values:
        if len(kept) >= CONTEXT_MAX or (isinstance(value, str) and len(value) > CONTEXT_CHARACTERS_MAX):
            tally.notes["attributes of cases were too many or too long and were left out"] += 1
        elif value != "":
            kept[key] = value
    return kept


def name_of(path: Path) -> str:
    """What a log that does not name its process is called: its file, without what only says its format."""
    name = path.name
    while name.lower().endswith(_SUFFIXES) and "." in name.lstrip("."):
        name = name.rpartition(".")[0]
    return name or path.name
