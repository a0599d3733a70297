"""The runs of a dataset as the randomised trial that they are: assigned arm, its probability, what it cost.

An engine that asks an advisor assigns each run an arm by a hash of its id: a permanent holdout keeps the
author's plan. The assignment is what is compared, whatever became of the advice (intention to treat): a run
whose advice failed open stays in its arm, marked `fallback`. A run that was assigned with probability 1 was
not randomised; it tells nothing of the other arm.

Runs that start on one day share outages and load, so they are no independent witnesses: days are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sagacity_data.rows import ContextValues, RunRow
from sagacity_engine import Status
from sagacity_engine.advisor import Arm
from sagacity_training.errors import TrainingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

DAY_S: Final = 86_400.0
DAYS_MIN: Final = 20
"""Fewer days than this are cut into as many blocks of consecutive runs instead."""
METRICS: Final = ("cost", "success", "wasted_cost", "latency_s")
"""What is compared, in this order; lower is better for all but `success`."""


class NoTrial(TrainingError):
    """The dataset holds no runs that were assigned at random; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """n runs in the order of launch. Arrays have length n; a metric that a run does not tell is NaN.

    `advised_probability` is P(the run is assigned to be advised), 0 or 1 where nothing was left to chance.
    `blocks` numbers the days (or blocks of consecutive runs) that are resampled together.
    """

    advised: NDArray[np.bool_]
    advised_probability: Array
    fallback: NDArray[np.bool_]
    blocks: NDArray[np.int64]
    metrics: Mapping[str, Array]
    sagas: tuple[str, ...]
    contexts: tuple[ContextValues, ...]

    def __len__(self) -> int:
        return len(self.sagas)

    @property
    def randomised(self) -> NDArray[np.bool_]:
        """Which runs might have had the other arm as well."""
        chance: NDArray[np.bool_] = (self.advised_probability > 0) & (self.advised_probability < 1)
        return chance


def trial_of(runs: Iterable[RunRow], saga: str | None = None) -> Trial:
    """The trial of these runs, in any order; of `saga` only, if one is named.

    Runs without a launch time, and those that have not ended, are left out; of a run told twice the first
    telling counts. Raises `NoTrial` where none is left.
    """
    import numpy as np

    told: dict[str, RunRow] = {}
    for run in runs:
        if run.launch_at is not None and run.status.ended and run.arm in _ARMS and saga in (None, run.saga):
            told.setdefault(run.run_id, run)
    kept = sorted(told.values(), key=lambda run: (run.launch_at, run.run_id))
    if not kept:
        of = f" of saga {saga!r}" if saga else ""
        raise NoTrial(f"no ended run{of} says which arm it was assigned to; record some with an advisor")
    advised = np.array([run.arm == Arm.ADVISED for run in kept])
    own = np.array([run.propensity for run in kept])
    return Trial(
        advised=advised,
        advised_probability=np.where(advised, own, 1 - own),
        fallback=np.array([run.fallback for run in kept]),
        blocks=_blocks(np.array([run.launch_at for run in kept])),
        metrics={name: np.array([_metric(run, name) for run in kept]) for name in METRICS},
        sagas=tuple(run.saga for run in kept),
        contexts=tuple(run.context for run in kept),
    )


_ARMS: Final = (Arm.ADVISED.value, Arm.AUTHOR.value)


def _metric(run: RunRow, name: str) -> float:
    if name == "success":
        return float(run.status is Status.COMPLETED)
    value = getattr(run, name)
    return float("nan") if value is None else float(value)


def _blocks(launch_at: Array) -> NDArray[np.int64]:
    """The number of each run's day, or of its block where there are too few days; launches rise."""
    import numpy as np

    _, days = np.unique(np.floor(launch_at / DAY_S), return_inverse=True)
    if days[-1] + 1 >= DAYS_MIN:
        return days.astype(np.int64)
    count = min(DAYS_MIN, len(launch_at))
    return (np.arange(len(launch_at)) * count) // len(launch_at)
