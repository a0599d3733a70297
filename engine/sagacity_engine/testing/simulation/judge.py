"""Holds a simulated day against what was promised: the checker, the fold, the acknowledgements, the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sagacity_engine import codec
from sagacity_engine.events import Event, RunEnded, RunStarted
from sagacity_engine.machine import machine
from sagacity_engine.run_lines import RunSummary
from sagacity_engine.saga import Saga
from sagacity_engine.testing.checker.invariants import violations
from sagacity_engine.testing.simulation.between import lock_breaches, nesting_breaches
from sagacity_engine.testing.simulation.clients import Clients
from sagacity_engine.testing.simulation.engines import Engines
from sagacity_engine.testing.simulation.participants import Participants
from sagacity_engine.testing.simulation.report import Report
from sagacity_engine.testing.simulation.run import Run
from sagacity_engine.testing.simulation.situations import situations_of

RUNS_MAX = 1_000_000


class Judge:
    """Judges one day, once it is over. `marks` are what was noted of runs while they ran."""

    def __init__(
        self, engines: Engines, clients: Clients, participants: Participants, marks: Mapping[str, set[str]]
    ) -> None:
        self._engines = engines
        self._clients = clients
        self._ledger = participants.ledger
        self._marks = marks

    def judged(self, *, keep_journals: bool) -> Report:
        """The report with every run in it."""
        report, kept = Report(), self._engines.disk.kept
        runs: dict[str, tuple[Event, ...]] = {}
        for line in reversed(kept.runs(limit=RUNS_MAX)):
            events = runs[line.run_id] = kept.read(line.run_id)
            saga = kept.definition(line.definition_hash)
            assert saga is not None, "definitions are kept before their runs"
            report.breaches += [f"run {line.run_id}: {each}" for each in self._breaches(line, saga, events)]
            self._count(report, line, saga, events)
            if keep_journals:
                report.journals[line.run_id] = tuple(map(codec.encode, events))
        report.breaches += lock_breaches(self._engines.disk.order)
        report.breaches += nesting_breaches(runs)
        lost = sorted(self._clients.started - set(runs))
        report.breaches += [f"run {run_id}: I7 its acknowledged start is lost" for run_id in lost]
        return report

    def _breaches(self, line: RunSummary, saga: Saga, events: Sequence[Event]) -> Iterator[str]:
        yield from violations(saga, events, self._ledger.get(line.run_id, []))
        if not line.status.ended:
            yield f"I11 it is still open: {self._engines.why_open(line.run_id)}"
        state = machine.replay(saga, events)
        told = self._engines.told.get(line.run_id)
        up_to_date = told is not None and told[1] == events[-1] and events.count(events[-1]) == 1
        if told is not None and up_to_date and told[0] != state:
            yield "I8 what the engine believed is not the fold of its journal"
        if line.status.ended and state.status is not line.status:
            yield f"I8 the list says {line.status.value}, the fold {state.status.value}"
        promised = self._clients.ended.get(line.run_id)
        ends = [event.status for event in events if isinstance(event, RunEnded)]
        if promised is not None and promised not in ends:
            yield f"I7 its acknowledged result {promised.value} is lost"

    def _count(self, report: Report, line: RunSummary, saga: Saga, events: Sequence[Event]) -> None:
        started = events[0]
        assert isinstance(started, RunStarted), "a run begins with its start"
        report.inner_runs += bool(started.parent)
        report.runs += not started.parent
        report.events += len(events)
        report.statuses[line.status.value] += 1
        run = Run(
            saga=saga,
            events=tuple(events),
            ledger=tuple(self._ledger.get(line.run_id, ())),
            marks=frozenset(self._marks.get(line.run_id, ())),
            cuts=tuple(self._engines.cuts.get(line.run_id, ())),
        )
        report.situations.update(situations_of(run))
