"""Target three: how long do success and refusal take? Rows of the table become arrays for `duration_laws`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sagacity_models.base_rates import BaseRates, StepRates
from sagacity_models.censored import DURATION_MIN_S
from sagacity_models.durations import DurationModel
from sagacity_models.forecast import Latency
from sagacity_training.matrices import Matrices
from sagacity_training.step_table import StepRow
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
    values = select.told(_log_duration)
    forecasts = select.based(fit_base, lambda rates: math.log(rates.latency.median_s))
    return learnt.model, Target("durations", learnt.choice, learnt.figures, values, forecasts, facts)


def _slices(
    sliced: SlicedMatrices, base: BaseRates, shares: dict[str, float], *, refused: bool
) -> CallSlices:
    from sagacity_training.duration_calls import CallSlices

    parts = (sliced.fit, sliced.tune, sliced.calibrate, sliced.select)
    keys = sorted({row.key for part in parts for row in part.rows})
    return CallSlices(*(_calls(part, base, shares, refused=refused, keys=keys) for part in parts))


def _calls(
    matrices: Matrices,
    base: BaseRates,
    shares: dict[str, float],
    *,
    refused: bool,
    keys: Sequence[str] | None = None,
) -> Calls:
    import numpy as np

    from sagacity_training.duration_calls import Calls

    known = sorted({row.key for row in matrices.rows}) if keys is None else keys
    codes = {key: code for code, key in enumerate(known)}

    def latency(rates: StepRates) -> Latency:
        return rates.refusal_latency if refused else rates.latency

    def weight(row: StepRow) -> float:
        share = shares.get(row.key, 0.0)
        return 1.0 if not row.cut_off else share if refused else 1 - share

    return Calls(
        keys=tuple(known),
        steps=matrices.told(lambda row: codes[row.key]).astype(np.int64),
        logs=matrices.told(_log_duration),
        cut=matrices.told(lambda row: row.cut_off).astype(np.bool_),
        limits=matrices.told(_log_limit),
        weights=matrices.told(weight),
        location=matrices.based(base, lambda rates: math.log(latency(rates).median_s)),
        scale=matrices.based(base, lambda rates: latency(rates).sigma),
        trees=matrices.trees,
    )


def _shares(successes: Matrices, refusals: Matrices) -> dict[str, float]:
    """Per step, P(a call that was cut off would have been refused)."""
    import numpy as np

    from sagacity_training.survival import timeout_shares

    ended = [row for matrices in (successes, refusals) for row in matrices.rows if not row.cut_off]
    keys = sorted({row.key for matrices in (successes, refusals) for row in matrices.rows})
    codes = {key: code for code, key in enumerate(keys)}
    shares = timeout_shares(
        np.array([codes[row.key] for row in ended], dtype=np.int64),
        np.array([_log_duration(row) for row in ended]),
        np.array([row.refused for row in ended], dtype=np.bool_),
        len(keys),
    )
    return dict(zip(keys, shares.tolist(), strict=True))


def _log_duration(row: StepRow) -> float:
    assert row.ended_s is not None  # the caller kept only rows with one
    return math.log(max(row.ended_s, DURATION_MIN_S))


def _log_limit(row: StepRow) -> float:
    return math.inf if row.first.timeout_s is None else math.log(max(row.first.timeout_s, DURATION_MIN_S))
