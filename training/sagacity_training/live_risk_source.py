"""Where live risk's P(success) comes from: the base rate, rates by steps done, or a model; decided honestly.

On the slice that chooses, the rates must surely beat the base rate, and the model must surely beat the base
rate (`case_choice`) and do better than the rates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from sagacity_data.event_log import CaseEvent
from sagacity_models.live_risk import LiveRisk, LiveSource
from sagacity_models.live_risk_events import saga_of, standing_of
from sagacity_models.live_risk_rates import LiveRates, Rate, Travelled
from sagacity_models.shrinkage import STRENGTH_DEFAULT
from sagacity_training.case_choice import GAIN_MIN, TAIL, Choice, Slices
from sagacity_training.case_judged import Forecaster, held_out_rows, model_forecaster
from sagacity_training.case_rows import KnownCase
from sagacity_training.case_scores import CaseBootstrap, log_losses

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def choose_source(slices: Slices, choice: Choice, seed: int) -> tuple[LiveSource, str]:
    """What P(success) is to come from, decided on the latest slice, and why."""
    import numpy as np

    if not choice.candidates:  # There was too little history for any choice.
        return LiveSource.BASE, choice.reason
    rates = live_rates([*slices.fit, *slices.calibrate], slices.calibrate)
    asked = held_out_rows(
        slices.select, {"rates": rates_forecaster(rates), "base": rates_forecaster(rates, by_saga=True)}
    )
    losses = {name: log_losses(asked.labels, said) for name, said in asked.forecasts.items()}
    gain = CaseBootstrap(asked.cases, seed).mean(losses["base"] - losses["rates"], TAIL)
    best = min(candidate.log_loss for candidate in choice.candidates)
    if choice.signal and best < float(np.mean(losses["rates"])):
        return LiveSource.MODEL, choice.reason
    if gain.low > GAIN_MIN:
        return LiveSource.RATES, (
            f"signal: rates by steps done gain {gain.value:.4f} log loss a row over the base rate on later "
            f"runs ({100 - 200 * TAIL:.0f} % interval {gain.low:.4f} to {gain.high:.4f}), and no model more"
        )
    return (LiveSource.MODEL if choice.signal else LiveSource.BASE), choice.reason


def risk_forecaster(risk: LiveRisk) -> Forecaster:
    """What live risk says of runs' P(success), row by row: the same as serving says."""
    assert risk.rates is not None, "live risk of runs has rates"
    rates = risk.rates
    if risk.source is not LiveSource.MODEL:
        return rates_forecaster(rates, by_saga=risk.source is LiveSource.BASE)
    by_model, by_rates = model_forecaster(risk.outcome), rates_forecaster(rates)

    def forecast(cases: Sequence[KnownCase]) -> NDArray[np.float64]:
        import numpy as np

        seen = [rates.of_saga(saga_of(events)).evidence > 0 for events in _prefixes(cases)]
        return np.where(np.array(seen, dtype=bool), by_model(cases), by_rates(cases))

    return forecast


def rates_forecaster(rates: LiveRates, *, by_saga: bool = False) -> Forecaster:
    """The rate where each run stands, or that of its saga type."""

    def forecast(cases: Sequence[KnownCase]) -> NDArray[np.float64]:
        import numpy as np

        told = [
            rates.of_saga(saga_of(events)) if by_saga else rates.of(saga_of(events), standing_of(events))
            for events in _prefixes(cases)
        ]
        return np.array([rate.probability for rate in told], dtype=np.float64)

    return forecast


def live_rates(train: Sequence[KnownCase], latest: Sequence[KnownCase]) -> LiveRates:
    """Rates by standing from all of training; base rates of saga types as of its latest slice."""
    whole = LiveRates.estimate(map(_travelled, _begun(train)))
    now = LiveRates.estimate(map(_travelled, _begun(latest)), whole.whole.probability, STRENGTH_DEFAULT)
    sagas = {
        saga: Rate(now.sagas[saga].probability, rate.evidence) if saga in now.sagas else rate
        for saga, rate in whole.sagas.items()
    }
    return LiveRates(Rate(now.whole.probability, whole.whole.evidence), sagas, whole.standings)


def _travelled(case: KnownCase) -> Travelled:
    events = case.prefix.events
    rows = Counter(standing_of(events[:k]) for k in _lengths(case))
    return Travelled(saga_of(events), rows, case.success)


def _begun(cases: Iterable[KnownCase]) -> list[KnownCase]:
    return [case for case in cases if case.prefix.events]


def _lengths(case: KnownCase) -> range:
    return range(1, len(case.prefix.events) + 1)


def _prefixes(cases: Iterable[KnownCase]) -> Iterator[Sequence[CaseEvent]]:
    return (case.prefix.events[:k] for case in cases for k in _lengths(case))
