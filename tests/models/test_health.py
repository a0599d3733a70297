"""The two-state law of a service's health: learnt from retries, and what it makes of a forecast."""

import random
from collections import Counter

import pytest

from sagacity_engine import FailureClass
from sagacity_models.forecast import Latency
from sagacity_models.health import HealthLaw, Met, fit_health, met

QUICK = Latency(1.0, 0.5)
T, C, P = FailureClass.TRANSIENT, FailureClass.CASCADING, FailureClass.PERMANENT


def lived(runs: int, *, ill: float, well: float, share: float, seed: int = 1, tries: int = 3) -> Counter[Met]:
    """What `runs` runs meet that stop at the first answer or after `tries` attempts."""
    dice = random.Random(seed)
    counts: Counter[Met] = Counter()
    for _ in range(runs):
        is_ill = dice.random() < share
        refusals: Counter[FailureClass] = Counter()
        answered = 0
        while not answered and refusals.total() < tries:
            if dice.random() < (ill if is_ill else well):
                refusals[C if dice.random() < (0.9 if is_ill else 0.2) else T] += 1
            else:
                answered = 1
        counts[met(refusals, answered)] += 1
    return counts


def test_law_is_recovered_from_retries() -> None:
    """From a few thousand runs the rates, the share of ill runs and what refusals look like are found."""
    law = fit_health(lived(4_000, ill=0.9, well=0.04, share=0.06))
    assert law.ill == pytest.approx(0.9, abs=0.04)
    assert law.well == pytest.approx(0.04, abs=0.01)
    assert law.ill_share == pytest.approx(0.06, abs=0.01)
    assert law.ill_seen is not None
    assert law.ill_seen[C] == pytest.approx(0.9, abs=0.05)
    assert law.well_seen is not None
    assert law.well_seen[C] == pytest.approx(0.2, abs=0.06)


def test_nothing_seen_keeps_the_prior() -> None:
    """A step without history has the stated belief, and its refusals are seen as unknown."""
    law = fit_health({})
    assert (law.ill, law.well) == (HealthLaw().ill, HealthLaw().well)
    assert law.ill_seen == {FailureClass.UNKNOWN: 1.0}


@pytest.mark.parametrize("refusal", [0.0, 0.01, 0.05, 0.3, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("permanent_share", [0.0, 0.4, 1.0])
def test_regimes_reproduce_the_forecast(refusal: float, permanent_share: float) -> None:
    """Whatever the forecast, the weights add to 1 and first attempts are refused just so often."""
    law = HealthLaw(0.9, 0.04, 0.05, {C: 0.9, T: 0.1}, {C: 0.2, T: 0.8})
    regimes = law.regimes(refusal, permanent_share, QUICK, QUICK)
    assert sum(regime.weight for regime in regimes) == pytest.approx(1)
    assert sum(r.weight * r.failure_probability for r in regimes) == pytest.approx(refusal)
    permanent = sum(r.weight * r.failures.get(P, 0.0) for r in regimes)
    assert permanent == pytest.approx(refusal * permanent_share)


def test_a_high_forecast_means_retries_help_less() -> None:
    """The chance that a retry is refused too rises with the forecast: a sick service stays sick."""
    law = HealthLaw(0.9, 0.04, 0.05, {C: 1.0}, {T: 1.0})

    def repeat(refusal: float) -> float:
        regimes = law.regimes(refusal, 0.0, QUICK, QUICK)
        return sum(r.weight * r.failure_probability**2 for r in regimes) / refusal

    assert repeat(0.05) < repeat(0.2) < repeat(0.8)


def test_json_round_trip() -> None:
    """A law written as JSON is read back equal."""
    law = fit_health(lived(300, ill=0.8, well=0.05, share=0.1))
    assert HealthLaw.from_json(law.as_json()) == law
