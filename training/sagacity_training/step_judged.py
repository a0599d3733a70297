"""The rows that judge the step models: first attempts of the select slice, and what was said of them.

The base rate is the better, in hindsight, of two: that of everything before the slice, and that of the latest
slice before it alone, so that a rate that merely drifts is not taken for signal. The champion is asked for
rows launched after it was made only; the others it has learnt from.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sagacity_models.base_rates import BaseRates, saga_of
from sagacity_models.bundle import Bundle
from sagacity_models.step_models import KnownSteps, Recipe, StepRows
from sagacity_training.judging.judged import BASE, Judged
from sagacity_training.matrices import PIECE, based, encode
from sagacity_training.scores import log_losses
from sagacity_training.slices import Slices
from sagacity_training.stages import WHEN
from sagacity_training.step_evidence import evidence_of
from sagacity_training.step_table import StepTable
from sagacity_training.targets import Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

TASK: Final = "step_failure"


def judged_steps(
    target: Target, table: StepTable, slices: Slices, *, at: float, champion: Bundle | None
) -> Judged:
    """The task of the refusals that `target` holds the forecasts of; `table` and `slices` are what it was
    trained on.
    """
    import numpy as np

    held = slices.targets(WHEN["refusal"], at).select
    _, cases = np.unique(held.run, return_inverse=True)
    base = base_of(slices, held, target.outcomes)
    learnt = target.choice.recipe is not Recipe.BASE
    keys = held.step_keys()
    return Judged(
        task=TASK,
        outcomes=target.outcomes,
        forecasts=target.forecasts if learnt else base,
        base=base,
        champion=None if champion is None else forecasts_of(champion, held),
        at=held.launch_at,
        cases=cases,
        groups={
            "service": held.services(),
            "saga": [saga_of(key) for key in keys],
            "region": held.regions(),
            "hour": [f"{int(at // 3600) % 24:02d}" for at in held.launch_at.tolist()],
        },
        n_train=len(table) - len(held),
        chosen=target.choice.recipe.value if learnt else BASE,
        reason=target.choice.reason,
    )


def base_of(slices: Slices, held: StepTable, outcomes: Array) -> Array:
    """The base rates of the held-out rows."""
    earlier = slices.fit.joined(slices.tune, slices.calibrate)
    known = [
        BaseRates.estimate(evidence_of(part, slices.cuts[2]))
        for part in (earlier, slices.calibrate)
        if len(part)
    ]
    told = [based(held, each, lambda rates: rates.refusal) for each in known]
    return min(told, key=lambda each: float(log_losses(outcomes, each).sum()))


def forecasts_of(bundle: Bundle, held: StepTable) -> Array:
    """What `bundle` says of each row it has not learnt from; nan of the others."""
    import numpy as np

    made_at = datetime.fromisoformat(bundle.created_at).replace(tzinfo=UTC).timestamp()
    told = np.full(len(held), np.nan)
    new = np.flatnonzero(held.launch_at >= made_at)
    for start in range(0, len(new), PIECE):
        own = new[start : start + PIECE]
        encoded = _encoded(bundle, StepTable(held.columns, held.places[own]))
        service, request = bundle.service.chances(encoded), bundle.request.chances(encoded)
        told[own] = service + (1 - service) * request
    return told


def _encoded(bundle: Bundle, rows: StepTable) -> StepRows:
    keys = rows.step_keys()
    rates = [bundle.base.of_key(*pair) for pair in zip(keys, rows.services(), strict=True)]
    trees = encode(rows, bundle.encoding).trees.astype("float64")
    return StepRows(KnownSteps(keys, rates), trees, bundle.encoding)
