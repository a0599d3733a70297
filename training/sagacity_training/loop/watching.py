"""When to learn again: there is much that is new, the forecasts have drifted, or the model has grown old.

    look -> due? -> train -> look ...

Looking is cheap and happens every `every_s`; training happens when `due` gives a reason, and not within
`rest_s` of the last time, whatever the reason, so that a dataset that is being filled does not keep it busy.
A training that is refused or fails is told, and tried again after the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sagacity_training.judging.policy import bounded
from sagacity_training.loop.drift import Alarm, Moved

HOUR_S: Final = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPolicy:
    """`grown` is the share and `runs` the number of runs that must be new; both must hold. Times in s."""

    every_s: float = bounded(60.0, 0.01, 86_400.0, "`--watch`: seconds between two looks at the dataset")
    rest_s: float = bounded(HOUR_S, 0.0, 1e9, "`--watch`: seconds between two trainings, at least")
    grown: float = bounded(
        0.1, 0.0, 100.0, "`--watch`: new runs that are worth a training, as a share of all"
    )
    runs: int = bounded(500, 1, 1_000_000_000, "`--watch`: and how many they must be at least")
    age_max_s: float = bounded(
        7 * 24 * HOUR_S, 1.0, 1e9, "`--watch`: seconds after which any new run is worth a training"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The latest training: when, and on how many runs. `at` is in seconds since 1970."""

    at: float
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a look found: runs in the dataset, and what drifted since the latest training."""

    runs: int
    alarms: tuple[Alarm, ...] = ()
    moved: tuple[Moved, ...] = ()


def due(trained: Trained | None, seen: Seen, now: float, policy: WatchPolicy) -> str:
    """Why to train now, in words; empty where there is no reason to. `now` is in seconds since 1970."""
    if seen.runs == 0:
        return ""
    if trained is None:
        return "nothing was trained yet"
    if now - trained.at < policy.rest_s:
        return ""
    if seen.alarms:
        first, *others = seen.alarms
        return f"drift: {first.words}" + (f" and {len(others)} more" if others else "")
    if seen.moved:
        first_moved, *others_moved = seen.moved
        return f"drift: {first_moved.words}" + (f" and {len(others_moved)} more" if others_moved else "")
    new = seen.runs - trained.runs
    if new >= policy.runs and new >= policy.grown * trained.runs:
        return f"{new} runs are new beside {trained.runs}"
    if new > 0 and now - trained.at >= policy.age_max_s:
        return f"the latest training is {(now - trained.at) / (24 * HOUR_S):.0f} days old"
    return ""


def watch(
    look: Callable[[Trained | None], Seen],
    train: Callable[[str], Trained],
    *,
    clock: Callable[[], float],
    wait: Callable[[float], bool],
    policy: WatchPolicy | None = None,
    trained: Trained | None = None,
) -> None:
    """Looks, and trains when that is due, until `wait(seconds)` says to stop.

    `train` is given the reason and says what it learnt from; it must not raise for what a later try may mend.
    """
    rules = policy or WatchPolicy()
    while True:
        if reason := due(trained, look(trained), clock(), rules):
            trained = train(reason)
        if wait(rules.every_s):
            return
