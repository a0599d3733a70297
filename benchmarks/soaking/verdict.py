"""The soak's books compared: what was acknowledged, what the journal has, what the ledger did."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.soaking.sagas import ask

from sagacity_engine import Direction, SqliteJournal
from sagacity_engine.events import AttemptUnknown, Event, RunEnded, UnknownReason
from sagacity_engine.testing import Effect, violations
from sagacity_engine.testing.simulation.between import nesting_breaches

RUNS_MAX = 1_000_000


@dataclass(slots=True)
class Verdict:
    """Figures, and every breach in words."""

    runs: int = 0
    events: int = 0
    effects: int = 0
    crashed_calls: int = 0  # Attempts that a kill left in flight.
    statuses: Counter[str] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)


def reach(folder: Path, accepted: set[str], ended: Mapping[str, str]) -> Verdict:
    """Compares the books; the ledger must still be there, and no engine."""
    verdict = Verdict()
    ledger, verdict.breaches = _ledger(folder)
    verdict.effects = sum(map(len, ledger.values()))
    journal = SqliteJournal(folder / "runs.db", read_only=True)
    journal.open()
    try:
        runs: dict[str, Sequence[Event]] = {}
        for line in journal.runs(limit=RUNS_MAX):
            events = runs[line.run_id] = journal.read(line.run_id)
            saga = journal.definition(line.definition_hash)
            assert saga is not None, "definitions are kept before their runs"
            found = violations(saga, events, ledger.pop(line.run_id, []))
            verdict.breaches += [f"run {line.run_id}: {each}" for each in found]
            verdict.statuses[line.status.value] += 1
        verdict.breaches += [f"run {run_id}: I7 effects without a run" for run_id in ledger]
        verdict.breaches += nesting_breaches(runs)
        verdict.breaches += _lost(runs, accepted, ended)
    finally:
        journal.close()
    verdict.runs = len(runs)
    verdict.events = sum(map(len, runs.values()))
    verdict.crashed_calls = sum(
        isinstance(event, AttemptUnknown) and event.reason is UnknownReason.CRASHED
        for events in runs.values()
        for event in events
    )
    if not (accepted and ended and verdict.effects and verdict.crashed_calls):
        verdict.breaches.append("the soak did not come to anything: see its figures")
    return verdict


def _ledger(folder: Path) -> tuple[dict[str, list[Effect]], list[str]]:
    """What took effect, by run id, and what went wrong in the ledger itself."""
    dumped: dict[str, Any] = json.loads(ask(str(folder / "ledger"), b'{"what": "dump"}\n'))
    held = {
        run_id: [Effect(**{**each, "direction": Direction(each["direction"])}) for each in effects]
        for run_id, effects in dumped["held"].items()
    }
    return held, dumped["faults"][:5]


def _lost(runs: Mapping[str, Sequence[Event]], accepted: set[str], ended: Mapping[str, str]) -> Iterator[str]:
    """Acknowledged facts that are not in the journal."""
    for run_id in sorted(accepted - set(runs)):
        yield f"run {run_id}: I7 its acknowledged start is lost"
    for run_id, status in ended.items():
        ends = {event.status.value for event in runs.get(run_id, ()) if isinstance(event, RunEnded)}
        if status not in ends:
            yield f"run {run_id}: I7 its acknowledged result {status} is lost"
