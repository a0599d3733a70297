"""The exact filter over hidden outages, held against an enumeration of every hidden path."""

import itertools
import math
import random

import pytest

from sagacity_engine import Direction, FailureClass
from sagacity_engine.events import AttemptFailed, AttemptSucceeded, AttemptUnknown, UnknownReason
from sagacity_engine.worlds import GOA_LAW
from sagacity_engine.worlds.outages import OutageLaw
from sagacity_training.ladder.outage_filter import OutageFilter, Outcome, likelihood

LAW = OutageLaw(share=0.05, mean_down_s=6 * 3600.0)
STEP = GOA_LAW.steps["book_hotel"]


def enumerated(observed: list[tuple[float, Outcome]], at: float) -> float:
    """P(down at `at`) by summing over every combination of hidden states at the observations and at `at`."""
    ordered = sorted(observed, key=lambda pair: pair[0])
    moments = [start for start, _ in ordered] + [at]
    weights = {False: 0.0, True: 0.0}
    for path in itertools.product((False, True), repeat=len(moments)):
        weight = LAW.share if path[0] else 1 - LAW.share
        for i, (_, outcome) in enumerate(ordered):
            law = STEP.attempt(at=ordered[i][0], load=0.0, down=path[i])
            weight *= likelihood(outcome, outcome.at - ordered[i][0], law)
            to_down = LAW.predicted(float(path[i]), moments[i + 1] - moments[i])
            weight *= to_down if path[i + 1] else 1 - to_down
        weights[path[-1]] += weight
    return weights[True] / (weights[True] + weights[False])


def outcome(kind: str, at: float) -> Outcome:
    """One finished call of a kind."""
    if kind == "ok":
        return AttemptSucceeded(at=at, step="book_hotel", direction=Direction.FORWARD, attempt=1)
    if kind == "timeout":
        return AttemptUnknown(
            at=at, step="book_hotel", direction=Direction.FORWARD, attempt=1, reason=UnknownReason.TIMED_OUT
        )
    return AttemptFailed(
        at=at,
        step="book_hotel",
        direction=Direction.FORWARD,
        attempt=1,
        error_type="x",
        failure_class=FailureClass(kind),
    )


@pytest.mark.parametrize("seed", range(8))
def test_filter_equals_enumeration_whatever_the_order_of_arrival(seed: int) -> None:
    """The filter's posterior is the enumerated one, also when calls finish out of order."""
    dice = random.Random(seed)
    starts = sorted(dice.uniform(0, 40_000) for _ in range(7))
    kinds = [dice.choice(["ok", "timeout", "transient", "cascading", "permanent"]) for _ in starts]
    observed = [
        (start, outcome(kind, start + dice.uniform(0.5, 9.0)))
        for start, kind in zip(starts, kinds, strict=True)
    ]
    shuffled = observed[:]
    dice.shuffle(shuffled)
    tested = OutageFilter(LAW)
    for position, (start, seen) in enumerate(shuffled):
        up, down = (STEP.attempt(at=start, load=0.0, down=state) for state in (False, True))
        tested.observe(start, seen, up, down)
        if position == 3:
            tested.probability_down(50_000.0)  # An answer in between must not spoil what is added later.
    assert tested.probability_down(50_000.0) == pytest.approx(enumerated(observed, 50_000.0), rel=1e-9)


def test_nothing_observed_is_the_long_run_share() -> None:
    """Without any call the filter knows the law's share and nothing else."""
    assert OutageFilter(LAW).probability_down(123.0) == LAW.share


def test_what_can_be_seen_of_a_call_adds_up_to_one() -> None:
    """Over every reply and duration, and the timeout, the likelihood integrates to one in either state."""
    for down in (False, True):
        law = STEP.attempt(at=0.0, load=0.3, down=down)
        timeout_s, steps = 7.0, 20_000
        width = timeout_s / steps
        replies = 0.0
        for kind in ("ok", "transient", "cascading"):
            for i in range(steps):
                moment = (i + 0.5) * width
                replies += likelihood(outcome(kind, moment), moment, law) * width
        # The density leaves out the constant of the normal law, which is the same in both states.
        whole = replies / math.sqrt(2 * math.pi) + likelihood(outcome("timeout", timeout_s), timeout_s, law)
        assert whole == pytest.approx(1.0, abs=1e-6)
