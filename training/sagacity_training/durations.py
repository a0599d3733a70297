"""Target three: how long do success and refusal take? Rows of the table become arrays for `duration_laws`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sagacity_models.base_rates import BaseRates, StepRates
from sagacity_models.censored import DURATION_MIN_S
from sagacity_models.durations import DurationModel
from sagacity_models.forecast import Latency
from sagacity_training.matrices import Matrices
from sagacity_training.targets import SlicedMatrices, Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sagacity_training.duration_calls import Calls, CallSlices

    Array = NDArray[np.float64]
    Kind = tuple[SlicedMatrices, Matrices]
    """The slices, and the whole history, of successes or of refusals; timeouts are in both."""


def train_durations(
    successes: Kind, refusals: Kind, fit_base: BaseRates, base: BaseRates, *, seed: int
) -> tuple[DurationModel, Target]:
    """The model to serve, learnt over `base`, and what was found on slices over `fit_base`."""
    from sagacity_training.duration_laws import learn_durations

    shares = [
        _shares(one, two) for one, two in ((successes[0].fit, refusals[0].fit), (successes[1], refusals[1]))
    ]
    learnt = learn_durations(
        _slices(successes[0], fit_base, shares[0], refused=False),
        _slices(refusals[0], fit_base, shares[0], refused=True),
        (
            _calls(successes[1], base, shares[1], refused=False),
            _calls(refusals[1], base, shares[1], refused=True),
        ),
        categories=successes[1].categories,
        seed=seed,
    )
    select = successes[0].select
    facts = {"by_step": learnt.by_step, "refusals": learnt.refusal_figures}
    values = _logs(select.table.ended_s)
    forecasts = select.based(fit_base, lambda rates: math.log(rates.latency.median_s))
    return learnt.model, Target("durations", learnt.choice, learnt.figures, values, forecasts, facts)


def _slices(sliced: SlicedMatrices, base: BaseRates, shares: Array, *, refused: bool) -> CallSlices:
    from sagacity_training.duration_calls import CallSlices

    parts = (sliced.fit, sliced.tune, sliced.calibrate, sliced.select)
    return CallSlices(*(_calls(part, base, shares, refused=refused) for part in parts))


def _calls(matrices: Matrices, base: BaseRates, shares: Array, *, refused: bool) -> Calls:
    import numpy as np

    from sagacity_training.duration_calls import Calls

    def latency(rates: StepRates) -> Latency:
        return rates.refusal_latency if refused else rates.latency

    table = matrices.table
    share = shares[table.key]
    limits = table.timeout_s
    return Calls(
        keys=table.columns.keys,
        steps=table.key,
        logs=_logs(table.ended_s),
        cut=table.cut_off,
        limits=np.where(np.isnan(limits), math.inf, _logs(limits)),
        weights=np.where(table.cut_off, share if refused else 1 - share, 1.0),
        location=matrices.based(base, lambda rates: math.log(latency(rates).median_s)),
        scale=matrices.based(base, lambda rates: latency(rates).sigma),
        trees=matrices.trees,
    )


def _shares(successes: Matrices, refusals: Matrices) -> Array:
    """Per step code, P(a call that was cut off would have been refused)."""
    import numpy as np

    from sagacity_training.survival import timeout_shares

    ended = [each.table.where(~each.table.cut_off) for each in (successes, refusals)]
    return timeout_shares(
        np.concatenate([each.key for each in ended]),
        np.concatenate([_logs(each.ended_s) for each in ended]),
        np.concatenate([each.refused for each in ended]),
        len(successes.table.columns.keys),
    )


def _logs(seconds: Array) -> Array:
    import numpy as np

    return np.log(np.maximum(seconds, DURATION_MIN_S))
