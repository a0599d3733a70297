"""The two-state filter of a service's health, held against an enumeration and its own promises."""

import itertools
import math

import pytest

from sagacity_data.rows import AttemptOutcome
from sagacity_data.sickness import LOG_ODDS_MAX, MEMORIES_S, SHARE_ILL, Sickness, evidence_of
from sagacity_engine import FailureClass

REFUSED, SUCCEEDED, TIMED_OUT = AttemptOutcome.FAILED, AttemptOutcome.SUCCEEDED, AttemptOutcome.TIMED_OUT
T, C, P = FailureClass.TRANSIENT, FailureClass.CASCADING, FailureClass.PERMANENT
LONG_RUN = math.log(SHARE_ILL / (1 - SHARE_ILL))


def test_filter_is_exact() -> None:
    """The score is that of summing over every path of hidden states at the calls' ends."""
    calls = [(10.0, REFUSED, C), (600.0, SUCCEEDED, None), (4_000.0, REFUSED, T), (4_100.0, TIMED_OUT, None)]
    tested = Sickness()
    for at, outcome, failure_class in calls:
        tested.end(at, outcome, failure_class)
    asked_at = 9_000.0
    for score, memory in zip(tested.as_of(asked_at), MEMORIES_S.values(), strict=True):
        moments = [at for at, _, _ in calls] + [asked_at]
        ill_weight = {True: 0.0, False: 0.0}
        for path in itertools.product((True, False), repeat=len(moments)):
            weight = SHARE_ILL if path[0] else 1 - SHARE_ILL
            for i, (_, outcome, failure_class) in enumerate(calls):
                weight *= math.exp(evidence_of(outcome, failure_class) or 0.0) if path[i] else 1.0
                kept = math.exp(-(moments[i + 1] - moments[i]) / memory)
                to_ill = SHARE_ILL + (float(path[i]) - SHARE_ILL) * kept
                weight *= to_ill if path[i + 1] else 1 - to_ill
            ill_weight[path[-1]] += weight
        assert score == pytest.approx(math.log(ill_weight[True] / ill_weight[False]), abs=1e-9)


def test_silence_forgets() -> None:
    """Long after the last call nothing but the long-run share is left."""
    tested = Sickness()
    tested.end(0.0, REFUSED, C)
    assert tested.as_of(0.0)[0] > 0
    assert tested.as_of(1e7) == pytest.approx([LONG_RUN, LONG_RUN])


def test_a_blamed_input_speaks_for_the_service() -> None:
    """A permanent refusal is an answer; a refusal nobody can explain says nothing; a crash says nothing."""
    assert evidence_of(REFUSED, P) == evidence_of(SUCCEEDED, None)
    assert evidence_of(REFUSED, FailureClass.UNKNOWN) is None
    assert evidence_of(AttemptOutcome.CRASHED, None) is None


def test_late_calls_change_nothing() -> None:
    """A call that ended before the last one folded is ignored."""
    tested = Sickness()
    tested.end(100.0, SUCCEEDED, None)
    before = tested.as_of(100.0)
    tested.end(50.0, REFUSED, C)
    assert tested.as_of(100.0) == before


def test_scores_stay_open_to_change() -> None:
    """However long a service was well, a few outages in a row make it look ill."""
    tested = Sickness()
    for second in range(1_000):
        tested.end(float(second), SUCCEEDED, None)
    assert tested.as_of(1_000.0)[0] >= -LOG_ODDS_MAX
    for second in range(1_000, 1_004):
        tested.end(float(second), REFUSED, C)
    assert min(tested.as_of(1_004.0)) > 0
