"""The running sagas of a journal, and what is to be expected of each.

The journal is read beside the engine that has it; nothing is changed or locked. Every running saga is told
again from its events, among the latest runs that have ended, because how a service has been doing is what all
runs met there. All of them go through one watch in the order of time, as training went through history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sagacity_data import Recorder
from sagacity_data.event_log import CaseEvent
from sagacity_data.redaction import NO_REDACTION
from sagacity_data.rows import AttemptRow
from sagacity_engine import Event, RunSummary, Saga, SqliteJournal
from sagacity_engine.errors import EngineError
from sagacity_engine.events import RunStarted
from sagacity_engine.journal import line_after
from sagacity_models.live_risk import LiveForecast, LiveRisk
from sagacity_models.live_risk_events import AttemptEnd
from sagacity_models.live_risk_watch import LiveWatch

RUNS_MAX: Final = 10_000
"""Running sagas that are looked at, the oldest first."""
HISTORY_RUNS: Final = 2_000
"""The latest runs whose calls tell how services have been doing."""


@dataclass(frozen=True, slots=True)
class RunAtRisk:
    """A running saga as of one moment. `within` is the forecast for a time limit that was asked about."""

    run_id: str
    saga: str
    launched_at: float
    deadline_s: float | None
    said: LiveForecast
    within: float | None
    latest: CaseEvent


@dataclass(frozen=True, slots=True)
class RunsAtRisk:
    """The running sagas, the most hopeless first; `refused` are those that could not be read, and why.

    `more` says that there are more of them than are looked at.
    """

    runs: tuple[RunAtRisk, ...]
    refused: tuple[tuple[str, str], ...]
    more: bool


@dataclass(frozen=True, slots=True)
class _Told:
    """A run as its journal tells it."""

    saga: Saga
    started: RunStarted
    ends: tuple[AttemptEnd, ...]
    running: bool


def runs_at_risk(
    journal: SqliteJournal, risk: LiveRisk, at: float, *, within_s: float | None = None
) -> RunsAtRisk:
    """What `risk` says, as of `at` (seconds since 1970), of every running saga of a journal that is open.

    With `within_s` also how likely each is to succeed within so many seconds from then. Raises
    `JournalRefused` where the list of runs cannot be read.
    """
    lines = journal.open_runs(RUNS_MAX + 1)
    running = {line.run_id: line for line in lines[:RUNS_MAX]}
    others = [line for line in journal.runs(limit=HISTORY_RUNS) if line.run_id not in running]
    told: dict[str, _Told] = {}
    refused: dict[str, str] = {}
    recorder = Recorder()
    for line in (*running.values(), *others):
        try:
            told[line.run_id] = _told(journal, recorder, line)
        except EngineError as problem:
            refused[line.run_id] = str(problem)
    watch = LiveWatch(risk, RUNS_MAX)
    open_still = {run_id: told[run_id] for run_id in running if run_id in told and told[run_id].running}
    _go_through(watch, told, open_still.keys())
    found = [_at_risk(watch, run_id, each, at, within_s) for run_id, each in open_still.items()]
    return RunsAtRisk(
        tuple(sorted(found, key=lambda each: (each.said.success, each.run_id))),
        tuple((run_id, why) for run_id, why in refused.items() if run_id in running),
        len(lines) > RUNS_MAX,
    )


def _told(journal: SqliteJournal, recorder: Recorder, line: RunSummary) -> _Told:
    saga = journal.definition(line.definition_hash)
    if saga is None:
        raise EngineError("the journal lacks its definition; restore the journal from a copy")
    events = journal.read(line.run_id)
    rows = recorder.recall(saga, events)
    started = events[0]
    assert isinstance(started, RunStarted), "the recorder refuses a run that begins otherwise"
    ends = (AttemptEnd.of(row) for row in rows if isinstance(row, AttemptRow))
    return _Told(saga, started, tuple(end for end in ends if end is not None), _is_open(events))


def _is_open(events: Iterable[Event]) -> bool:
    """It may have ended since the list was read."""
    line = line_after(None, events)
    return line is not None and not line.status.ended


def _go_through(watch: LiveWatch, told: Mapping[str, _Told], watched: Iterable[str]) -> None:
    """Tells the watch what has happened, in the order of time; a launch before whatever ended with it."""
    for at, run_id, end in sorted(_moments(told, watched), key=_order):
        if end is not None:
            watch.ended(run_id, end)
        else:
            context = NO_REDACTION.of_context(told[run_id].started.context)
            watch.launched(run_id, told[run_id].saga, context, at)


_Moment = tuple[float, str, AttemptEnd | None]


def _moments(told: Mapping[str, _Told], watched: Iterable[str]) -> Iterator[_Moment]:
    for run_id in watched:
        yield told[run_id].started.at, run_id, None
    for run_id, each in told.items():
        for end in each.ends:
            yield end.ended_at, run_id, end


def _order(moment: _Moment) -> tuple[float, bool, str, str, int, str]:
    at, run_id, end = moment
    if end is None:
        return at, False, run_id, "", 0, ""
    return at, True, run_id, end.step, end.attempt, end.direction


def _at_risk(watch: LiveWatch, run_id: str, told: _Told, at: float, within_s: float | None) -> RunAtRisk:
    within = None if within_s is None else watch.forecast(run_id, at, within_s=within_s).within_deadline
    return RunAtRisk(
        run_id,
        told.saga.name,
        told.started.at,
        told.saga.deadline_s,
        watch.forecast(run_id, at),
        within,
        watch.latest(run_id),
    )
