"""What a step table says of each step's mean rates, from what was known by then: for `BaseRates.estimate`."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from sagacity_data.rows import AttemptOutcome
from sagacity_engine import FailureClass
from sagacity_models.base_rates import StepEvidence
from sagacity_models.censored import DURATION_MIN_S, Durations
from sagacity_models.health import Met, met
from sagacity_training.step_columns import OUTCOMES, SEEN, StepCalls
from sagacity_training.step_table import StepTable
from sagacity_training.survival import by_step, timeout_shares

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Codes = NDArray[np.int64]

_SUCCEEDED, _FAILED, _TIMED_OUT = map(
    OUTCOMES.index, (AttemptOutcome.SUCCEEDED, AttemptOutcome.FAILED, AttemptOutcome.TIMED_OUT)
)
_PERMANENT, _UNKNOWN = map(SEEN.index, (FailureClass.PERMANENT, FailureClass.UNKNOWN))
_COUNT_BITS: Final = 10
"""A run's refusals of one class are told apart up to 1,023."""


def evidence_of(table: StepTable, cut: float = math.inf) -> dict[str, StepEvidence]:
    """By step key, what the rows say that was known by `cut` (seconds since 1970)."""
    import numpy as np

    rows = table.where(table.known_at <= cut)
    told = np.where(rows.class_known_at <= cut, rows.failure_class, -1)
    tries, undos = (_ended(calls, cut) for calls in (rows.tries(), rows.undos()))
    of_runs = _met(rows, told, tries)
    shares = _refused_timeouts(rows)
    undos_of = {code: undos.where(rows.key[undos.row] == code) for code in np.unique(rows.key).tolist()}
    return {
        rows.columns.keys[code]: _evidence(
            rows.where(_flags(own, len(rows))), told[own], of_runs[code], undos_of[code], float(shares[code])
        )
        for code, own in by_step(rows.key)
    }


def services_of(table: StepTable) -> dict[str, str]:
    """The service that each step called last."""
    import numpy as np

    if not len(table):
        return {}
    codes, last = np.unique(table.key[::-1], return_index=True)
    services = table.service[::-1][last]
    return {
        table.columns.keys[code]: table.columns.services[service]
        for code, service in zip(codes.tolist(), services.tolist(), strict=True)
    }


def _evidence(
    rows: StepTable, told: NDArray[np.int8], of_runs: Counter[Met], undos: StepCalls, share: float
) -> StepEvidence:
    evidence = StepEvidence(first_attempts=len(rows), first_refusals=int(rows.refused.sum()), met=of_runs)
    evidence.classes = _counted(told[rows.refused])
    evidence.permanent_seen = _counted(rows.seen[told == _PERMANENT])
    evidence.durations = _durations(rows.ended_s[rows.succeeded], rows.timeout_s[rows.cut_off], 1 - share)
    evidence.refusal_durations = _durations(rows.ended_s[rows.refused], rows.timeout_s[rows.cut_off], share)
    evidence.undos = len(undos.row)
    evidence.undo_failures = int((undos.outcome == _FAILED).sum())
    evidence.undo_durations = _durations(
        undos.duration_s[undos.outcome == _SUCCEEDED], undos.timeout_s[undos.outcome == _TIMED_OUT], 1.0
    )
    return evidence


def _ended(calls: StepCalls, cut: float) -> StepCalls:
    return calls.where(calls.ended_at <= cut)


def _flags(places: Codes, count: int) -> NDArray[np.bool_]:
    import numpy as np

    flags = np.zeros(count, dtype=np.bool_)
    flags[places] = True
    return flags


def _counted(codes: NDArray[np.int8]) -> Counter[FailureClass]:
    """How many of each class; what has none is unknown."""
    import numpy as np

    found: Counter[FailureClass] = Counter()
    for code, count in zip(*np.unique(codes, return_counts=True), strict=True):
        found[SEEN[code] if code >= 0 else FailureClass.UNKNOWN] += int(count)
    return found


def _durations(seen_s: Array, timeouts_s: Array, weight: float) -> Durations:
    import numpy as np

    logs = np.log(np.maximum(seen_s[~np.isnan(seen_s)], DURATION_MIN_S))
    limits = np.log(np.maximum(timeouts_s[~np.isnan(timeouts_s)], DURATION_MIN_S))
    each, count = np.unique(limits, return_counts=True)
    return Durations.of_sums(
        len(logs),
        float(logs.sum()),
        float((logs**2).sum()),
        zip(each.tolist(), (count * weight).tolist(), strict=True),
    )


def _refused_timeouts(rows: StepTable) -> Array:
    """Per step code, P(a call that was cut off would have been refused)."""
    import numpy as np

    seconds = rows.columns.duration_s[rows.places]
    ended = ~rows.cut_off & ~np.isnan(seconds)
    return timeout_shares(rows.key[ended], seconds[ended], rows.refused[ended], len(rows.columns.keys))


def _met(rows: StepTable, told: NDArray[np.int8], tries: StepCalls) -> defaultdict[int, Counter[Met]]:
    """By step code: the service's refusals and answers to each run, and how many runs met the same.

    A permanent refusal is an answer, and what came after the first answer does not count.
    """
    import numpy as np

    tries = tries.where((tries.outcome == _FAILED) | (tries.outcome == _SUCCEEDED))
    seen = np.where(tries.seen < 0, _UNKNOWN, tries.seen)
    hopeless = (seen == _PERMANENT) | ((seen == _UNKNOWN) & (told[tries.row] == _PERMANENT))
    answers = (tries.outcome == _SUCCEEDED) | hopeless
    total = np.cumsum(answers)
    begins = np.ones(len(total), dtype=np.bool_)
    begins[1:] = tries.row[1:] != tries.row[:-1]
    before_run = (total - answers)[begins][np.cumsum(begins) - 1] if len(total) else total
    open_yet = (total - answers) == before_run
    answered = _flags(tries.row[answers & open_yet], len(rows))
    packed = rows.key * 2 + answered
    for code in range(len(SEEN)):
        refused = tries.row[open_yet & ~answers & (seen == code)]
        counts = np.minimum(np.bincount(refused, minlength=len(rows)), 2**_COUNT_BITS - 1)
        packed = (packed << _COUNT_BITS) | counts
    return _unpacked(packed)


def _unpacked(packed: Codes) -> defaultdict[int, Counter[Met]]:
    import numpy as np

    found: defaultdict[int, Counter[Met]] = defaultdict(Counter)
    for value, runs in zip(*(each.tolist() for each in np.unique(packed, return_counts=True)), strict=True):
        refusals: Counter[FailureClass] = Counter()
        rest = value
        for failure_class in reversed(SEEN):
            if count := rest & (2**_COUNT_BITS - 1):
                refusals[failure_class] = count
            rest >>= _COUNT_BITS
        found[rest >> 1][met(refusals, rest & 1)] += runs
    return found
