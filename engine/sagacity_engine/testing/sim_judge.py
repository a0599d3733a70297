"""Holds a simulated day against what was promised: the checker, the fold, the acknowledgements, the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sagacity_engine import codec, machine
from sagacity_engine.events import Event, RunEnded, RunStarted
from sagacity_engine.phases import StepPhase
from sagacity_engine.run_lines import RunSummary
from sagacity_engine.saga import Saga
from sagacity_engine.testing.invariants import violations
from sagacity_engine.testing.sim_clients import Clients
from sagacity_engine.testing.sim_engines import Engines
from sagacity_engine.testing.sim_participants import Participants
from sagacity_engine.testing.sim_run import Run
from sagacity_engine.testing.sim_situations import situations_of

if TYPE_CHECKING:
    from sagacity_engine.testing.simulation import Report


class Judge:
    """Judges one day, once it is over."""

    def __init__(
        self,
        seed: int,
        engines: Engines,
        clients: Clients,
        participants: Participants,
        marks: Mapping[str, set[str]],
    ) -> None:
        self._seed = seed
        self._engines = engines
        self._clients = clients
        self._participants = participants
        self._marks = marks

    def judged(self, report: Report, *, keep_journals: bool) -> Report:
        """The report with every run in it."""
        kept = self._engines.disk.kept
        for line in kept.runs(limit=1_000_000):
            events = kept.read(line.run_id)
            saga = kept.definition(line.definition_hash)
            if saga is None:
                report.breaches.append(f"seed {self._seed}: {line.run_id}: its definition is not kept")
                continue
            words = [*self._breaches(line, saga, events)]
            report.breaches += [f"seed {self._seed}: run {line.run_id}: {each}" for each in words]
            self._count(report, line, saga, events)
            if keep_journals:
                report.journals[line.run_id] = tuple(map(codec.encode, events))
        for run_id in sorted(self._clients.started):
            if kept.run(run_id) is None:
                report.breaches.append(f"seed {self._seed}: run {run_id}: its acknowledged start is lost")
        return report

    def _breaches(self, line: RunSummary, saga: Saga, events: Sequence[Event]) -> list[str]:
        ledger = self._participants.ledger.get(line.run_id, [])
        found = list(violations(saga, events, ledger))
        if not line.status.ended:
            found.append(f"I11 still open: {self._engines.why_open(line.run_id)}")
        state = machine.replay(saga, events)
        told = self._engines.told.get(line.run_id)
        if told is not None and told[1] == events[-1] and told[0] != state:
            found.append("I8 what the engine believed is not the fold of its journal")
        if state.status is not line.status and line.status.ended:
            found.append(f"I8 the list says {line.status.value}, the fold {state.status.value}")
        promised = self._clients.ended.get(line.run_id)
        if promised is not None and not any(
            isinstance(event, RunEnded) and event.status is promised for event in events
        ):
            found.append(f"I7 its acknowledged result {promised.value} is lost")
        return found

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
            ledger=tuple(self._participants.ledger.get(line.run_id, ())),
            marks=frozenset(self._marks.get(line.run_id, ())),
            cuts=tuple(self._engines.cuts.get(line.run_id, ())),
        )
        report.situations.update(situations_of(run))


def phases_at(saga: Saga, events: Sequence[Event], count: int) -> tuple[StepPhase, ...]:
    """Where the steps stood after so many events."""
    state = machine.replay(saga, events[:count])
    return tuple(step.phase for step in state.steps.values())
