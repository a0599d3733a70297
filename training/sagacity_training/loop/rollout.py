"""How a new model becomes the champion, and how it stops being that: one stage at a time, by evidence.

| stage | who follows its advice | it goes on, or back, by |
|---|---|---|
| shadow | nobody; it forecasts beside the champion | the log loss of both on what then happened |
| challenger | a small share of the advised runs | their cost beside the others', within `margin` |
| champion | all advised runs | the cost of advised runs beside the permanent holdout's |

Every interval is one that may be looked at as often as one likes, so the stages can be checked daily. What is
not sure stays where it is, up to `patience_s`; then the newcomer is dropped, because a model that cannot be
told from the one in use is not worth two.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sagacity_training.uplift.blocks import Estimate

DAY_S: Final = 86_400.0


class Stage(StrEnum):
    """Where a model stands."""

    SHADOW = "shadow"
    CHALLENGER = "challenger"
    CHAMPION = "champion"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """`share` of advised runs follow a challenger. `margin` is in the owner's unit; times in seconds."""

    share: float = 0.05
    margin: float = 0.0
    shadow_outcomes_min: int = 1_000
    patience_s: float = 30 * DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a model in its stage by now; None where nothing was measured.

    `gain` is the champion's log loss less the newcomer's on the same outcomes (positive is better) and
    `outcomes` how many there were; `extra_cost` the cost of runs that followed the newcomer less that of
    those that followed the champion; `against_holdout` that of advised runs less that of the holdout.
    """

    since_s: float
    gain: Estimate | None = None
    outcomes: int = 0
    extra_cost: Estimate | None = None
    against_holdout: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """The stage from now on, and why."""

    stage: Stage
    reason: str


def next_move(stage: Stage, evidence: Evidence, policy: RolloutPolicy | None = None) -> Move:
    """Where a model in `stage` goes by this evidence."""
    rules = policy or RolloutPolicy()
    match stage:
        case Stage.SHADOW:
            return _from_shadow(evidence, rules)
        case Stage.CHALLENGER:
            return _from_challenger(evidence, rules)
        case Stage.CHAMPION:
            return _from_champion(evidence)
        case Stage.RETIRED:
            return Move(Stage.RETIRED, "it is not in use")


def _from_shadow(evidence: Evidence, rules: RolloutPolicy) -> Move:
    gain = evidence.gain
    if gain is None or evidence.outcomes < rules.shadow_outcomes_min:
        known = f"{evidence.outcomes} of {rules.shadow_outcomes_min} outcomes are known"
        return _patient(Stage.SHADOW, known, evidence, rules)
    told = f"{gain.value:+.4f} log loss an outcome gained over the champion"
    if gain.always_low > 0:
        return Move(Stage.CHALLENGER, f"{told}, surely more than nothing")
    if gain.always_high < 0:
        return Move(Stage.RETIRED, f"{told}, surely less than nothing")
    return _patient(Stage.SHADOW, f"{told}, not yet sure", evidence, rules)


def _from_challenger(evidence: Evidence, rules: RolloutPolicy) -> Move:
    extra = evidence.extra_cost
    if extra is None:
        return _patient(Stage.CHALLENGER, "no run has followed it yet", evidence, rules)
    told = f"its runs cost {extra.value:+.4g} beside the champion's"
    if extra.always_low > rules.margin:
        return Move(Stage.RETIRED, f"{told}, surely more than {rules.margin:g}")
    if extra.always_high < rules.margin:
        return Move(Stage.CHAMPION, f"{told}, surely no more than {rules.margin:g}")
    return _patient(Stage.CHALLENGER, f"{told}, not yet sure", evidence, rules)


def _from_champion(evidence: Evidence) -> Move:
    against = evidence.against_holdout
    if against is not None and against.always_low > 0:
        return Move(
            Stage.RETIRED,
            f"advised runs cost {against.value:+.4g} beside the holdout's, surely more than nothing",
        )
    return Move(Stage.CHAMPION, "the holdout does not surely do better")


def _patient(stage: Stage, known: str, evidence: Evidence, rules: RolloutPolicy) -> Move:
    if evidence.since_s >= rules.patience_s:
        return Move(
            Stage.RETIRED, f"{known} after {evidence.since_s / DAY_S:.0f} days; it is not worth two models"
        )
    return Move(stage, known)
