"""Runs as the journal alone has them: read and folded, whether somebody registered their definitions or not.

The journal keeps every definition, so it can tell where a run stands, what it holds, and whether it wants
nothing but its end, also when nobody has the functions behind its steps any more. Everything here is read in
plain calls that may take a moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import Event, RunStarted, Status, UnknownReason
from sagacity_engine.handlers import BoundSaga, Call, Handler
from sagacity_engine.hosting.outcomes import Outcomes
from sagacity_engine.journal import Journal, RunSummary
from sagacity_engine.machine import machine
from sagacity_engine.machine.run_state import RunState, in_flight
from sagacity_engine.saga import Saga


@dataclass(frozen=True, slots=True)
class Loaded:
    """A run as the journal has it, ready to be carried on."""

    bound: BoundSaga
    state: RunState
    seq: int
    last_at: float


@dataclass(frozen=True, slots=True)
class Lost:
    """A run that cannot be carried on, and why. `kept`, without functions, may still be ended."""

    reason: str
    kept: Loaded | None = None

    @property
    def locks(self) -> tuple[str, ...]:
        """What it holds all the same; nothing when the journal cannot tell."""
        if self.kept is None or not self.kept.state.locked:
            return ()
        return self.kept.state.started.locks


class KeptRuns:
    """The runs of a journal; `by_hash` holds the registered definitions with their functions."""

    def __init__(self, journal: Journal, by_hash: Mapping[str, BoundSaga]) -> None:
        self._journal = journal
        self._by_hash = by_hash
        self._locking: dict[str, bool] = {}  # Whether runs of a definition may hold resources, by its hash.

    def state(self, run_id: str) -> RunState | None:
        """Where a run stands; None when there is none. Raises `JournalRefused`."""
        line = self._journal.run(run_id)
        if line is None:
            return None
        return machine.replay(self._saga(line), self._journal.read(run_id))

    def load(self, lines: Iterable[RunSummary]) -> Iterator[Loaded | Lost]:
        """Each run, or why it cannot be carried on."""
        for line in lines:
            bound = self._by_hash.get(line.definition_hash)
            try:
                yield self._unregistered(line) if bound is None else self._folded(line, bound)
            except Exception as problem:  # noqa: BLE001  one run that cannot be read must not stop the others
                yield Lost(str(problem) if bound is not None else _not_registered(line))

    def attended(self, limit: int, before: str | None) -> tuple[RunSummary, ...]:
        """The newest runs that need attention, below the run `before`."""
        return self._journal.runs(Status.NEEDS_ATTENTION, limit, before=before)

    def locks_of(self, lines: Iterable[RunSummary]) -> Iterator[tuple[str, tuple[str, ...] | JournalRefused]]:
        """What each of the runs asked for when it started, or why it cannot be read.

        Runs whose definition has no locks are passed over without being read.
        """
        for line in lines:
            if self._may_lock(line):
                try:
                    first = self._journal.read(line.run_id)[0]
                except JournalRefused as problem:
                    yield line.run_id, problem
                else:
                    yield line.run_id, first.locks if isinstance(first, RunStarted) else ()

    def _may_lock(self, line: RunSummary) -> bool:
        known = self._locking.get(line.definition_hash)
        if known is None:
            try:
                known = bool(self._saga(line).locks)
            except JournalRefused:  # Its runs themselves say what they hold.
                known = True
            self._locking[line.definition_hash] = known
        return known

    def _saga(self, line: RunSummary) -> Saga:
        bound = self._by_hash.get(line.definition_hash)
        saga = self._journal.definition(line.definition_hash) if bound is None else bound.saga
        if saga is None:
            raise JournalRefused(
                f"the journal lacks the definition of run {line.run_id!r}; restore it from a copy"
            )
        return saga

    def _unregistered(self, line: RunSummary) -> Lost:
        return Lost(_not_registered(line), self._folded(line, without_functions(self._saga(line))))

    def _folded(self, line: RunSummary, bound: BoundSaga) -> Loaded:
        events = self._journal.read(line.run_id)
        state = machine.replay(bound.saga, events)
        return Loaded(bound, state, len(events), max(event.at for event in events))


def ending_without_calls(state: RunState, now: float) -> Sequence[Event]:
    """What has to happen to an open run so that it ends and no call is made; nothing when calls are needed.

    Of an abandoned run that are the attempts that nobody will hear of again, of another what it is owed.
    """
    lost = [
        Outcomes(attempt, now, lambda: 0.5).unknown(UnknownReason.CRASHED, _LEFT)
        for attempt in in_flight(state)
    ]
    if state.ended is not None or (lost and state.abandoned is None):
        return ()
    after = state.copy()
    events, launches = machine.advance(after, lost, now)
    if launches or after.ended is None:
        return ()
    return lost or events[:1]  # What follows from it follows by itself.


def without_functions(saga: Saga) -> BoundSaga:
    """The definition with functions that are never called, so that its runs can be folded and ended."""
    return BoundSaga(
        saga,
        {
            step.name: Handler(
                _never,
                None if step.compensation is None else _never,
                None if step.probe is None else _never,
            )
            for step in saga.steps
            if step.approval is None and step.sub_saga is None
        },
        {
            step.name: without_functions(step.sub_saga.saga)
            for step in saga.steps
            if step.sub_saga is not None
        },
    )


_LEFT = "the engine stopped while the attempt was in flight"


def _never(call: Call) -> NoReturn:
    raise AssertionError(f"{call.step} of run {call.run_id} is only ended here, and was called")


def _not_registered(line: RunSummary) -> str:
    return (
        f"its definition {line.definition_hash[:12]} of saga {line.saga!r} is not registered; "
        "register the definition it was started with"
    )
