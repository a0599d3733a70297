"""One step as a run's events tell it; what it is believed to have done is said in four words.

It *landed* (a success was confirmed), it *may* have (an outcome stayed unknown), it is *gone* (undone, or a
person said so), or it was *skipped* by a person. Clocks are the run's: the time less its pauses.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sagacity_engine.errors import FailureClass
from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Direction,
    ProbeAnswered,
)
from sagacity_engine.plan import StepPlan
from sagacity_engine.strategy import Strategy

Outcome = AttemptSucceeded | AttemptFailed | AttemptUnknown
Unhappy = AttemptFailed | AttemptUnknown | ProbeAnswered
"""How an attempt ended that did not succeed; a probe's answer stands in for the attempt it asked about."""


@dataclass(slots=True)
class StepStory:
    """What has been told of one step. `made` counts attempts, `fresh` those made before they began anew."""

    open: AttemptStarted | None = None
    hedged: bool = False
    made: Counter[Direction] = field(default_factory=Counter)
    fresh: Counter[Direction] = field(default_factory=Counter)
    round: int = 0
    rank: int = -1
    landed: bool = False
    maybe: bool = False
    gone: bool = False
    skipped: bool = False
    by_hand: bool = False  # In some round a person said what became of it.
    undo_begun: bool = False
    stray: bool = False  # Its undo began while the run went forward.
    excused: bool = False  # A redriven run may or may not need it: whether it had turned back, none can tell.
    relied_on: bool = False  # Something went on in the belief that this step was given up.
    last: Unhappy | None = None  # How the last action ended, if not well.
    last_clock: float = 0.0
    last_undo: AttemptFailed | AttemptUnknown | None = None
    last_undo_clock: float = 0.0
    first_clock: float | None = None
    open_clock: float = 0.0

    def tries(self, direction: Direction) -> int:
        """Attempts since they last began anew."""
        return self.made[direction] - self.fresh[direction]

    def begin_anew(self, *, new_round: bool) -> None:
        """All attempts are there again."""
        self.fresh = Counter(self.made)
        self.open = None
        self.first_clock = self.last = self.last_undo = None
        self.relied_on = self.skipped = self.undo_begun = self.stray = self.excused = False
        if new_round:
            self.round += 1
            self.landed = self.maybe = self.gone = False


def strategy_after(plan: StepPlan, last: Unhappy) -> Strategy:
    """The strategy in force for how the step's action ended."""
    chosen = last.strategy if isinstance(last, AttemptFailed | AttemptUnknown) else None
    failure_class = last.failure_class if isinstance(last, AttemptFailed) else FailureClass.UNKNOWN
    return chosen or plan.on_failure.of(failure_class)
