"""Runs of a dataset as cases for live risk: the launch, then every attempt's end, and the end of the run.

All runs are gone through together in the order of time, because the health of a service at some moment is
what every run met there until then: the same fold that serves (`live_risk_events`). Of more runs than
`RUNS_MAX` the latest are read. Runs without a launch time, and attempts without an end, are left out; a run
that had not ended at the moment of training is open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sagacity_data.case_tables import CaseSummary
from sagacity_data.event_log import Case, CaseEvent
from sagacity_data.outcomes import Outcome
from sagacity_data.rows import AttemptRow, Row, RunRow
from sagacity_data.store import DatasetStore
from sagacity_data.store_where import Where
from sagacity_engine import Saga, Status
from sagacity_models.live_risk_events import AttemptEnd, RunEvents, RunShape, ServiceHealth
from sagacity_training.case_rows import PREFIX_EVENTS_MAX, KnownCase

RUNS_MAX: Final = 50_000
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run as a case. `end_us` is None while it is open; `success` means COMPLETED."""

    number: int
    case: Case
    end_us: int | None
    success: bool
    deadline_s: float | None = None

    @property
    def summary(self) -> CaseSummary:
        """The run as the split by time wants it: its outcome is told, and final, at its end."""
        case, end_us = self.case, self.end_us
        outcome = None if end_us is None else Outcome(self.success, end_us, end_us)
        latest_us = max(case.end_us, end_us or 0)
        return CaseSummary(self.number, case.case_id, 0, len(case.events), case.start_us, latest_us, outcome)

    @property
    def known(self) -> KnownCase:
        """What may be used to predict the run: its events strictly before its end."""
        end_us = self.case.end_us + 1 if self.end_us is None else self.end_us
        events = tuple(event for event in self.case.events if event.at_us < end_us)
        return KnownCase(self.number, Case(self.case.case_id, events[:PREFIX_EVENTS_MAX]), self.success)


def live_runs(store: DatasetStore, at: float) -> list[LiveRun]:
    """The runs launched before `at` (seconds since 1970), with what was known then, by launch and name."""
    rows = _latest(store.scan_rows(RunRow, Where(until=at)), at, RUNS_MAX)
    if not rows:
        return []
    since = Where(since=rows[0].launch_at, until=at)
    attempts = store.scan_rows(AttemptRow, since, without=("features", "context"))
    return _told(rows, attempts, store.definitions(), at)


def runs_of(rows: Iterable[Row], definitions: Mapping[str, Saga], at: float, most: int) -> list[LiveRun]:
    """The same of rows that were read already; `definitions` are by hash. At most the latest `most` runs."""
    runs, attempts = list[RunRow](), list[AttemptRow]()
    for row in rows:
        if isinstance(row, RunRow):
            runs.append(row)
        else:
            attempts.append(row)
    launched = _latest(runs, at, most)
    return _told(launched, attempts, definitions, at) if launched else []


def _latest(rows: Iterable[RunRow], at: float, most: int) -> list[RunRow]:
    launched = [row for row in rows if row.launch_at is not None and row.launch_at < at]
    return sorted(launched, key=lambda row: (row.launch_at, row.run_id))[-most:]


def _told(
    rows: list[RunRow], attempts: Iterable[AttemptRow], definitions: Mapping[str, Saga], at: float
) -> list[LiveRun]:
    wanted = {row.run_id for row in rows}
    ends: list[tuple[str, AttemptEnd]] = []
    for attempt in attempts:
        end = AttemptEnd.of(attempt) if attempt.run_id in wanted else None
        if end is not None and end.ended_at <= at:
            ends.append((attempt.run_id, end))
    shapes = {key: RunShape.of(saga) for key, saga in definitions.items()}
    events = _events(rows, ends, shapes)
    return [
        LiveRun(
            number,
            Case(row.run_id, tuple(events[row.run_id])),
            *_ended(row, at),
            shapes[row.definition_hash].deadline_s if row.definition_hash in shapes else None,
        )
        for number, row in enumerate(rows)
    ]


def _events(
    rows: list[RunRow], ends: list[tuple[str, AttemptEnd]], shapes: Mapping[str, RunShape]
) -> dict[str, list[CaseEvent]]:
    """The events of every run; launches come before ends of the same instant."""
    health = ServiceHealth()
    making = {row.run_id: RunEvents(row.saga, health, shapes.get(row.definition_hash)) for row in rows}
    events: dict[str, list[CaseEvent]] = {}
    ends.sort(key=lambda each: (each[1].ended_at, each[0], each[1].step, each[1].attempt, each[1].direction))
    at = 0
    for run_id, end in ends:
        while at < len(rows) and _launch(rows[at]) <= end.ended_at:
            events[rows[at].run_id] = [making[rows[at].run_id].launched(rows[at].context, _launch(rows[at]))]
            at += 1
        health.note(end)
        if run_id in events:  # An attempt that ended before its run was launched is nobody's.
            events[run_id].append(making[run_id].ended(end))
    for row in rows[at:]:
        events[row.run_id] = [making[row.run_id].launched(row.context, _launch(row))]
    return events


def _ended(row: RunRow, at: float) -> tuple[int | None, bool]:
    if not row.status.ended or row.ended_at is None or row.ended_at > at:
        return None, False
    return round(row.ended_at * _SECOND_US), row.status is Status.COMPLETED


def _launch(row: RunRow) -> float:
    assert row.launch_at is not None  # the others were left out
    return row.launch_at
