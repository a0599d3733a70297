"""Is what is said of whole runs true? A map per saga type from P(the run completes) to what then happened.

Every step's forecast may be honest and the run's still be off: steps of one run share their luck, and the
composition takes them for independent given the launch. So forecasts of held-out runs, by a model that was
fitted before them, are compared with how those runs ended, and a monotone map is learnt. Only runs under the
author's plan teach, for that is the plan whose chance is computed here. A map is kept only if one learnt on
the earlier half of these runs makes the forecasts of the later half surely better; else the forecast stands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from sagacity_data.rows import Row, RunRow
from sagacity_engine import Status
from sagacity_engine.plan import author_plan
from sagacity_models.calibration import Calibration, Identity
from sagacity_optimizer import evaluate
from sagacity_optimizer.priced import unpriced
from sagacity_training.fit_calibration import fit_calibration
from sagacity_training.scores import improvement, log_losses

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sagacity_training.judging.decisions import HeldOutRun

    Array = NDArray[np.float64]

RUNS_MAX: Final = 1_000
"""Held-out runs that are forecast for this, evenly over time."""
RUNS_MIN: Final = 200
"""Of a saga type; fewer teach no map."""


def completed_runs(rows: Iterable[Row], advised_arm: str = "advised") -> dict[str, bool]:
    """Whether each ended run under its author's plan completed, by its identity."""
    return {
        row.run_id: row.status is Status.COMPLETED
        for row in rows
        if isinstance(row, RunRow) and row.status.ended and (row.arm != advised_arm or row.fallback)
    }


def learn_saga_calibrations(
    runs: Iterable[HeldOutRun], completed: Mapping[str, bool]
) -> dict[str, Calibration]:
    """The maps by saga type, from held-out runs in time order; of those in `completed` alone.

    A saga with a part whose chance is not computed yet, such as an approval, has no forecast to correct.
    """
    import numpy as np

    told: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for run in runs:
        if run.run_id in completed and not unpriced(run.saga):
            chance = evaluate(author_plan(run.saga), run.saga, run.advised).success_probability
            told[run.saga.name].append((min(max(chance, 0.0), 1.0), completed[run.run_id]))
    found = {saga: _map_of(np.array(pairs, dtype=np.float64)) for saga, pairs in sorted(told.items())}
    return {saga: each for saga, each in found.items() if not isinstance(each, Identity)}


def _map_of(pairs: Array) -> Calibration:
    chances, outcomes = pairs[:, 0], pairs[:, 1]
    half = len(pairs) // 2
    if len(pairs) < RUNS_MIN:
        return Identity()
    earlier = fit_calibration(outcomes[:half], chances[:half])
    later = outcomes[half:]
    before, after = log_losses(later, chances[half:]), log_losses(later, earlier.many(chances[half:]))
    return fit_calibration(outcomes, chances) if improvement(before, after).is_signal else Identity()
