"""The rows that judge the step models: first attempts of the select slice, and what was said of them.

The base rate is the better, in hindsight, of two: that of everything before the slice, and that of the latest
slice before it alone, so that a rate that merely drifts is not taken for signal. The champion is asked for
rows launched after it was made only; the others it has learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sagacity_data.labels import label
from sagacity_data.rows import Row
from sagacity_models.base_rates import BaseRates
from sagacity_models.bundle import Bundle
from sagacity_models.step_models import KnownSteps, Recipe, StepRows, composed
from sagacity_training.config import SliceConfig
from sagacity_training.judging.judged import BASE, Judged
from sagacity_training.scores import log_losses
from sagacity_training.slices import Slices, slice_by_time
from sagacity_training.stages import WHEN
from sagacity_training.step_table import StepRow, StepTable, evidence_of
from sagacity_training.targets import Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

TASK: Final = "step_failure"


def judged_steps(
    target: Target,
    rows: Sequence[Row],
    *,
    at: float,
    champion: Bundle | None,
    config: SliceConfig | None = None,
) -> Judged:
    """The task of the refusals that `target` holds the forecasts of; `rows` are those it was trained on, cut
    as then.
    """
    import numpy as np

    table = StepTable.of(rows, label(rows)).where(lambda row: row.known_at <= at)
    slices = slice_by_time(table, config)
    held = slices.targets(*WHEN["refusal"], at).select
    runs = {run_id: number for number, run_id in enumerate(dict.fromkeys(row.run_id for row in held))}
    base = base_of(slices, held, target.outcomes)
    learnt = target.choice.recipe is not Recipe.BASE
    return Judged(
        task=TASK,
        outcomes=target.outcomes,
        forecasts=target.forecasts if learnt else base,
        base=base,
        champion=None if champion is None else forecasts_of(champion, held),
        at=np.array([row.launch_at for row in held], dtype=np.float64),
        cases=np.array([runs[row.run_id] for row in held], dtype=np.int64),
        groups={
            "service": [row.first.service for row in held],
            "saga": [row.first.saga for row in held],
            "region": [row.first.region for row in held],
            "hour": [f"{int(row.launch_at // 3600) % 24:02d}" for row in held],
        },
        n_train=len(table) - len(held),
        chosen=target.choice.recipe.value if learnt else BASE,
        reason=target.choice.reason,
    )


def base_of(slices: Slices, held: StepTable, outcomes: Array) -> Array:
    """The base rates of the held-out rows."""
    earlier = StepTable((*slices.fit, *slices.tune, *slices.calibrate))
    known = [
        BaseRates.estimate(evidence_of(part, slices.cuts[2]))
        for part in (earlier, slices.calibrate)
        if len(part)
    ]
    told = [_rates(each, held) for each in known]
    return min(told, key=lambda each: float(log_losses(outcomes, each).sum()))


def _rates(base: BaseRates, held: StepTable) -> Array:
    import numpy as np

    return np.array([base.of_key(row.key, row.first.service).refusal for row in held], dtype=np.float64)


def forecasts_of(bundle: Bundle, held: Sequence[StepRow] | StepTable) -> Array:
    """What `bundle` says of each row it has not learnt from; nan of the others."""
    import numpy as np

    made_at = datetime.fromisoformat(bundle.created_at).replace(tzinfo=UTC).timestamp()
    rows = list(held)
    told = np.full(len(rows), np.nan)
    new = [place for place, row in enumerate(rows) if row.launch_at >= made_at]
    if not new:
        return told
    encoded = _encoded(bundle, [rows[place] for place in new])
    service, request = bundle.service.probabilities(encoded), bundle.request.probabilities(encoded)
    told[new] = [composed(*both)[0] for both in zip(service, request, strict=True)]
    return told


def _encoded(bundle: Bundle, rows: Sequence[StepRow]) -> StepRows:
    rates = [bundle.base.of_key(row.key, row.first.service) for row in rows]
    steps = KnownSteps([row.key for row in rows], rates)
    return StepRows.of(steps, bundle.encoding, [row.features for row in rows])
