"""What there is to undo after the steps that went on, and what a run that turns back pays for it.

Money and one-at-a-time undo times are additive and exact; the time of side-by-side undos comes from
`undo_times` (sampled, deterministic).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sagacity_optimizer.outcomes import ByClass, Flags
from sagacity_optimizer.problem import Floats, Problem


class Done:
    """The effects of the steps that went on so far, and what undoing them takes."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.money = 0.0  # of compensations
        self.one_by_one_s = 0.0
        self.clean = 1.0  # P(every undo succeeds and no effect stands)
        self.spent = 0.0  # money of successful attempts that an abort would waste
        self._present: list[tuple[int, float]] = []
        self._paths: dict[int, Floats] = {}
        self._longest: Floats | None = None
        self._settled = 0

    def add(self, i: int, present: float) -> None:
        """Step i went on; its effect is there with probability `present` (below 1 for an optional step)."""
        undo = self.problem.undos[i]
        self.money += present * undo.money
        self.one_by_one_s += present * undo.seconds
        if self.problem.structure.undoable[i]:
            self.spent += present * self.problem.steps[i].cost
            self.clean *= 1 - present * undo.failure
        elif self.problem.structure.stands[i]:
            self.clean *= 1 - present
        self._present.append((i, present))

    def side_by_side_s(self, own: int = -1) -> float:
        """E[time of all undos side by side], with the undo of step `own` too if given."""
        self._catch_up()
        longest = self._longest
        if own >= 0:
            path = self._path(own, 1.0)
            longest = path if longest is None else np.maximum(longest, path)
        return 0.0 if longest is None else float(longest.mean())

    def _catch_up(self) -> None:
        for i, present in self._present[self._settled :]:
            path = self._paths[i] = self._path(i, present)
            self._longest = path if self._longest is None else np.maximum(self._longest, path)
        self._settled = len(self._present)

    def _path(self, i: int, present: float) -> Floats:
        durations = self.problem.undo_samples[i]
        if present < 1.0:
            durations = np.where(self.problem.presence_draws[i] < present, durations, 0.0)
        before = [self._paths[b] for b in self.problem.structure.before_lists[i] if b in self._paths]
        if not before:
            return np.asarray(durations)
        earlier = before[0]
        for path in before[1:]:
            earlier = np.maximum(earlier, path)
        return np.asarray(durations + earlier)


class Rollback:
    """What turning back at step i costs, given the masses of its final failures by class.

    `refused` are failures without an effect, `tainted` those after which one may exist; `side_by_side` says
    per class how the undos run. An uncertain pivot does not turn back, so its tainted masses do not count.
    """

    __slots__ = ("clean", "money", "probability", "seconds", "wasted")

    def __init__(
        self, done: Done, i: int, refused: ByClass, tainted: ByClass, *, side_by_side: Flags
    ) -> None:
        problem = done.problem
        undo = problem.undos[i]
        together, apart = _split(refused, side_by_side)
        together_own, apart_own = _split(tainted, side_by_side)
        if i == problem.structure.pivot:
            together_own = apart_own = 0.0
        own = together_own + apart_own
        self.probability = together + apart + own
        self.money = self.probability * done.money + own * undo.money
        self.wasted = self.money + self.probability * done.spent
        seconds = (apart + apart_own) * done.one_by_one_s + apart_own * undo.seconds
        if together > 0.0:
            seconds += together * done.side_by_side_s()
        if together_own > 0.0:
            seconds += together_own * done.side_by_side_s(i)
        self.seconds = seconds
        own_clean = 1 - undo.failure if problem.structure.undoable[i] else 1.0
        if problem.structure.stands[i]:
            own_clean = 0.0
        self.clean = (together + apart + own * own_clean) * done.clean


def _split(masses: Sequence[float], flags: Sequence[bool]) -> tuple[float, float]:
    """(mass of the flagged classes, mass of the others)."""
    together = sum(mass for mass, flag in zip(masses, flags, strict=True) if flag)
    return together, sum(masses) - together
