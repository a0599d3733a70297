"""What the live part left behind, read from the journal and held against the services' own ledgers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sagacity_engine import Arm, Direction, Saga, SqliteJournal, Status
from sagacity_engine.events import RunStarted
from sagacity_engine.handlers import idempotency_key

RUNS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run as the journal has it; `advised` means it was assigned advice and got it."""

    run_id: str
    status: Status
    advised: bool


def run_lines(path: Path) -> list[RunLine]:
    """Every run of a journal that no engine has open."""
    journal = SqliteJournal(path)
    journal.open()
    try:
        lines = []
        for summary in journal.runs(limit=RUNS_MAX):
            started = journal.read(summary.run_id)[0]
            assert isinstance(started, RunStarted), "a run's journal begins with its start"
            advised = started.arm == Arm.ADVISED and not started.fallback
            lines.append(RunLine(summary.run_id, summary.status, advised))
        return lines
    finally:
        journal.close()


@dataclass(frozen=True, slots=True)
class LiveReport:
    """What became of the live sagas. `broken` lists runs whose outcome the services' ledgers contradict."""

    sagas: int
    advised: int
    completed: int
    compensated: int
    needs_attention: int
    in_flight_at_kill_and_ended: int
    broken: tuple[str, ...]

    def plain(self) -> dict[str, int]:
        """The keys that the demo's JSON line promises."""
        return {
            "sagas": self.sagas,
            "advised": self.advised,
            "completed": self.completed,
            "compensated": self.compensated,
            "needs_attention": self.needs_attention,
            "in_flight_at_kill_and_ended": self.in_flight_at_kill_and_ended,
        }


def report(
    saga: Saga, lines: list[RunLine], open_at_kill: set[str], effects: Mapping[str, int]
) -> LiveReport:
    """The figures; `effects` is how often each idempotency key took effect, over all services."""
    statuses = Counter(line.status for line in lines)
    return LiveReport(
        sagas=len(lines),
        advised=sum(line.advised for line in lines),
        completed=statuses[Status.COMPLETED],
        compensated=statuses[Status.COMPENSATED],
        needs_attention=statuses[Status.NEEDS_ATTENTION],
        in_flight_at_kill_and_ended=sum(line.status.ended and line.run_id in open_at_kill for line in lines),
        broken=tuple(breach for line in lines for breach in _breaches(saga, line, effects)),
    )


def _breaches(saga: Saga, line: RunLine, effects: Mapping[str, int]) -> Iterator[str]:
    """A completed run booked every step and cancelled none; a compensated one cancelled what it booked."""
    for step in saga.steps:
        booked = effects.get(idempotency_key(line.run_id, step.name, Direction.FORWARD), 0)
        cancelled = effects.get(idempotency_key(line.run_id, step.name, Direction.UNDO), 0)
        if line.status is Status.COMPLETED and (booked != 1 or cancelled):
            counts = f"booked {booked} and cancelled {cancelled} times"
            yield f"{line.run_id} completed, but {step.name} was {counts}"
        if line.status is Status.COMPENSATED and booked and not cancelled:
            yield f"{line.run_id} was compensated, but {step.name} is still booked"
