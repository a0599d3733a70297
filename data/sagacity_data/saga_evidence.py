"""What history tells of saga types whose definition nobody gave: counts, modes and orders, one run at a time.

Order is kept as bit masks over a saga's steps, once from times and once from the order of the history. A pair
of steps was *seen* together where a run attempted both, and its order is *broken* where the second started
before the first had settled: with its first success, or with its last attempt if none succeeded. Everything
is a sum, a union or a maximum, so that evidence from several files joins into one, and everything is bounded.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from sagacity_data.rows import AttemptOutcome, AttemptRow, Row
from sagacity_engine import Direction

T = TypeVar("T")

SAGAS_MAX: Final = 1_000
"""Types of sagas; of later ones nothing is kept."""

STEPS_SEEN_MAX: Final = 2_000
"""Steps of one saga type; of later ones nothing is kept."""

VALUES_MAX: Final = 64
"""Different services, timeouts and so on of one step that are counted."""

_Tries = list[tuple[int, AttemptRow]]
"""Attempts with their places in the run."""

Bits = dict[str, dict[str, int]]
"""For each saga type, the bit that each of its steps has. Only ever grows, so evidence may share it."""


@dataclass(slots=True)
class CallEvidence:
    """How the attempts of a step in one direction were made."""

    timeouts_s: Counter[float] = field(default_factory=Counter)
    attempts_allowed: Counter[int] = field(default_factory=Counter)
    longest_s: float = 0.0  # Of attempts that ended well.
    attempts: int = 0  # The most that one run made until the first success.

    def add(self, tries: Sequence[AttemptRow]) -> None:
        """Note one run's attempts."""
        for row in tries:
            _count(self.timeouts_s, row.timeout_s)
            _count(self.attempts_allowed, row.maximum_attempts)
            if row.outcome is AttemptOutcome.SUCCEEDED:
                self.longest_s = max(self.longest_s, row.duration_s or 0.0)
        self.attempts = max(self.attempts, len(_until_settled(tries)))

    def join(self, other: CallEvidence) -> None:
        """Note what the other has noted."""
        _join(self.timeouts_s, other.timeouts_s)
        _join(self.attempts_allowed, other.attempts_allowed)
        self.longest_s = max(self.longest_s, other.longest_s)
        self.attempts = max(self.attempts, other.attempts)


@dataclass(slots=True)
class OrderEvidence:
    """Masks of steps seen in runs of this step, and of those that had not settled when it started."""

    seen: int = 0
    broken: int = 0

    def add(self, seen: int, settled: int) -> None:
        """Note one run."""
        self.seen |= seen
        self.broken |= seen & ~settled

    def join(self, other: OrderEvidence) -> None:
        """Note what the other has noted."""
        self.seen |= other.seen
        self.broken |= other.broken


@dataclass(slots=True)
class StepEvidence:
    """What history tells of one step."""

    runs: int = 0
    places: float = 0.0  # Sum over runs of its place in start order.
    undos: int = 0  # Runs that undid it, or tried to.
    services: Counter[str] = field(default_factory=Counter)
    regions: Counter[str] = field(default_factory=Counter)
    work: CallEvidence = field(default_factory=CallEvidence)
    undo: CallEvidence = field(default_factory=CallEvidence)
    by_time: OrderEvidence = field(default_factory=OrderEvidence)
    by_place: OrderEvidence = field(default_factory=OrderEvidence)

    @property
    def before(self) -> int:
        """The mask of steps that had always settled when this one started, by time where there are times."""
        timed = self.by_time.seen & ~self.by_time.broken
        return timed | (self.by_place.seen & ~self.by_place.broken & ~self.by_time.seen)

    def join(self, other: StepEvidence) -> None:
        """Note what the other has noted."""
        self.runs += other.runs
        self.places += other.places
        self.undos += other.undos
        _join(self.services, other.services)
        _join(self.regions, other.regions)
        self.work.join(other.work)
        self.undo.join(other.undo)
        self.by_time.join(other.by_time)
        self.by_place.join(other.by_place)


class SagaEvidence:
    """What is known of the saga types of a history; `bits` is shared by evidence that will be joined."""

    def __init__(self, bits: Bits | None = None) -> None:
        self.bits: Bits = {} if bits is None else bits
        self.sagas: dict[str, dict[str, StepEvidence]] = {}
        self.versions: dict[str, Counter[str]] = {}

    def add(self, rows: Iterable[Row]) -> None:
        """Note one run's rows, its attempts in start order."""
        attempts = [row for row in rows if isinstance(row, AttemptRow)]
        if not attempts or (attempts[0].saga not in self.bits and len(self.bits) >= SAGAS_MAX):
            return
        saga = attempts[0].saga
        bits = self.bits.setdefault(saga, {})
        steps = self.sagas.setdefault(saga, {})
        _count(self.versions.setdefault(saga, Counter()), attempts[0].version or None)
        work: dict[str, _Tries] = {}
        undos: dict[str, list[AttemptRow]] = {}
        for place, row in enumerate(attempts):
            if row.step in bits or len(bits) < STEPS_SEEN_MAX:
                bits.setdefault(row.step, len(bits))
                if row.direction is Direction.FORWARD:
                    work.setdefault(row.step, []).append((place, row))
                else:
                    undos.setdefault(row.step, []).append(row)
        for place, (name, tries) in enumerate(work.items()):
            _add_work(_step(steps, name), place, [row for _, row in tries])
        for name, undoing in undos.items():
            step = _step(steps, name)
            step.undos += 1
            step.undo.add(undoing)
        _add_order(steps, [_Span.of(bits[name], name, tries) for name, tries in work.items()])

    def join(self, other: SagaEvidence) -> None:
        """Note what the other has noted; both must share their bits."""
        for saga, steps in other.sagas.items():
            own = self.sagas.setdefault(saga, {})
            _join(self.versions.setdefault(saga, Counter()), other.versions[saga])
            for name, step in steps.items():
                _step(own, name).join(step)


def _step(steps: dict[str, StepEvidence], name: str) -> StepEvidence:
    found = steps.get(name)
    if found is None:
        found = steps[name] = StepEvidence()
    return found


def _add_work(step: StepEvidence, place: int, tries: Sequence[AttemptRow]) -> None:
    step.runs += 1
    step.places += place
    _count(step.services, tries[0].service)
    _count(step.regions, tries[0].region or None)
    step.work.add(tries)


@dataclass(frozen=True, slots=True)
class _Span:
    """From when to when a step was under way in one run, in seconds and in places of the history."""

    bit: int
    step: str
    start: float | None
    end: float | None
    first: int
    last: int

    @classmethod
    def of(cls, bit: int, step: str, tries: Sequence[tuple[int, AttemptRow]]) -> _Span:
        settling = _until_settled([row for _, row in tries])
        last = settling[-1]
        end = math.inf if last.outcome is AttemptOutcome.OPEN else last.ended_at
        return cls(bit, step, tries[0][1].started_at, end, tries[0][0], tries[len(settling) - 1][0])


def _add_order(steps: Mapping[str, StepEvidence], spans: Sequence[_Span]) -> None:
    ends = sorted((span.end, span.last, span.bit) for span in spans if span.end is not None)
    starts = sorted((span.start, span.first, span.bit, span.step) for span in spans if span.start is not None)
    lasts = sorted((span.last, span.bit) for span in spans)
    firsts = sorted((span.first, span.bit, span.step) for span in spans)
    timed, everything = _mask(bit for _, _, bit in ends), _mask(bit for _, bit in lasts)
    settled = told = 0
    for start, first, bit, step in starts:
        while told < len(ends) and ends[told][:2] < (start, first):
            settled |= 1 << ends[told][2]
            told += 1
        steps[step].by_time.add(timed & ~(1 << bit), settled)
    settled = told = 0
    for first, bit, step in firsts:
        while told < len(lasts) and lasts[told][0] < first:
            settled |= 1 << lasts[told][1]
            told += 1
        steps[step].by_place.add(everything & ~(1 << bit), settled)


def _mask(bits: Iterable[int]) -> int:
    mask = 0
    for bit in bits:
        mask |= 1 << bit
    return mask


def _until_settled(tries: Sequence[AttemptRow]) -> Sequence[AttemptRow]:
    """The attempts up to the first success; all of them where none succeeded."""
    for number, row in enumerate(tries, 1):
        if row.outcome is AttemptOutcome.SUCCEEDED:
            return tries[:number]
    return tries


def _count(counter: Counter[T], value: T | None, times: int = 1) -> None:
    if value is not None and (value in counter or len(counter) < VALUES_MAX):
        counter[value] += times


def _join(counter: Counter[T], other: Counter[T]) -> None:
    for value, times in other.items():
        _count(counter, value, times)
