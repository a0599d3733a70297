"""From shadow to champion and back, by intervals that may be looked at every day."""

from __future__ import annotations

import pytest

from sagacity_training.loop.rollout import DAY_S, Evidence, RolloutPolicy, Stage, next_move
from sagacity_training.uplift.blocks import Estimate


def sure(value: float) -> Estimate:
    """An estimate whose interval lies on one side of zero."""
    return Estimate(value, 0.9 * value, 1.1 * value, *sorted((0.5 * value, 1.5 * value)))


OPEN = Estimate(0.1, -0.1, 0.3, -0.5, 0.7)


@pytest.mark.parametrize(
    ("stage", "evidence", "after", "words"),
    [
        (Stage.SHADOW, Evidence(since_s=1, gain=sure(1), outcomes=1_000), Stage.CHALLENGER, "surely more"),
        (Stage.SHADOW, Evidence(since_s=1, gain=sure(1), outcomes=999), Stage.SHADOW, "999 of 1000"),
        (Stage.SHADOW, Evidence(since_s=1, gain=sure(-1), outcomes=1_000), Stage.RETIRED, "surely less"),
        (Stage.SHADOW, Evidence(since_s=1, gain=OPEN, outcomes=1_000), Stage.SHADOW, "not yet sure"),
        (Stage.SHADOW, Evidence(since_s=31 * DAY_S, gain=OPEN, outcomes=1_000), Stage.RETIRED, "31 days"),
        (Stage.CHALLENGER, Evidence(since_s=1, extra_cost=sure(-1)), Stage.CHAMPION, "surely no more"),
        (Stage.CHALLENGER, Evidence(since_s=1, extra_cost=sure(1)), Stage.RETIRED, "surely more"),
        (Stage.CHALLENGER, Evidence(since_s=1, extra_cost=OPEN), Stage.CHALLENGER, "not yet sure"),
        (Stage.CHALLENGER, Evidence(since_s=1), Stage.CHALLENGER, "no run has followed"),
        (Stage.CHAMPION, Evidence(since_s=1, against_holdout=sure(2)), Stage.RETIRED, "surely more"),
        (Stage.CHAMPION, Evidence(since_s=99 * DAY_S, against_holdout=OPEN), Stage.CHAMPION, "holdout"),
        (Stage.CHAMPION, Evidence(since_s=1), Stage.CHAMPION, "holdout"),
        (Stage.RETIRED, Evidence(since_s=1, gain=sure(1), outcomes=9_999), Stage.RETIRED, "not in use"),
    ],
)
def test_each_stage_by_its_evidence(stage: Stage, evidence: Evidence, after: Stage, words: str) -> None:
    """Sure evidence moves a model, open evidence keeps it until patience ends, and the reason says which."""
    move = next_move(stage, evidence)
    assert move.stage is after
    assert words in move.reason


def test_a_margin_lets_a_model_in_that_costs_little_more() -> None:
    """What surely costs less than the margin passes with it, and not without."""
    dearer = Evidence(since_s=1, extra_cost=Estimate(0.1, 0.05, 0.15, 0.02, 0.2))
    assert next_move(Stage.CHALLENGER, dearer, RolloutPolicy(margin=0.5)).stage is Stage.CHAMPION
    assert next_move(Stage.CHALLENGER, dearer).stage is Stage.RETIRED
