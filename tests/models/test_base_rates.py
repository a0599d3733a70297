"""Mean rates are honest: shrunk where little was seen, and durations counted with those a timeout cut off."""

import math
import random

import pytest

from sagacity_engine import FailureClass, Saga, Step
from sagacity_models.base_rate_forecaster import BaseRateForecaster
from sagacity_models.base_rates import BaseRates, Level, StepEvidence
from sagacity_models.censored import Durations, fit_latency
from sagacity_models.forecast import Latency
from sagacity_models.shrinkage import STRENGTH_MAX, shrunk_shares, strength_of


def evidence(refusals: int, attempts: int) -> StepEvidence:
    return StepEvidence(first_attempts=attempts, first_refusals=refusals)


def test_few_cases_are_shrunk() -> None:
    """A step seen twice without a refusal is not called perfect; one seen often keeps its own rate."""
    rates = BaseRates.estimate(
        {"s/often": evidence(300, 3_000), "s/some": evidence(150, 3_000), "s/twice": evidence(0, 2)}
    )
    assert rates.steps["s/often"].refusal == pytest.approx(0.1, abs=0.003)
    assert 0.04 < rates.steps["s/twice"].refusal < 0.1


def test_no_cases_give_the_prior() -> None:
    """Without any history every rate is the stated prior, and an unknown step has the pooled rates."""
    rates = BaseRates.estimate({})
    saga = Saga(name="s", steps=(Step(name="a"),))
    assert rates.of("s", "a") is rates.pooled
    assert rates.pooled.refusal == 0.05
    assert BaseRateForecaster(rates).forecast(saga, {}, 0.0).steps["a"].failure_probability == pytest.approx(
        0.05
    )


def test_forecast_reproduces_the_rates() -> None:
    """The regimes of a step give back its refusal rate and, seen as declared, its permanent share."""
    told = evidence(400, 4_000)
    told.classes.update({FailureClass.PERMANENT: 300, FailureClass.TRANSIENT: 100})
    rates = BaseRates.estimate({"s/a": told})
    step = BaseRateForecaster(rates).forecast(Saga(name="s", steps=(Step(name="a"),)), {}, 0.0).steps["a"]
    assert step.failure_probability == pytest.approx(rates.steps["s/a"].refusal)


def test_rates_survive_json() -> None:
    """Written and read, rates are equal to the last bit."""
    told = evidence(7, 90)
    told.durations = Durations.of([0.3, 1.7, 0.9], [2.0])
    told.classes[FailureClass.PERMANENT] = 3
    rates = BaseRates.estimate({"s/a": told, "s/b": evidence(1, 4)})
    assert BaseRates.from_json(rates.as_json()) == rates


def test_strength_follows_the_spread() -> None:
    """Equal steps pool nearly fully; different steps are left nearly alone."""
    alike = strength_of([(50, 1_000), (52, 1_000), (48, 1_000), (51, 1_000)])
    different = strength_of([(10, 1_000), (300, 1_000), (150, 1_000), (600, 1_000)])
    assert alike == STRENGTH_MAX
    assert different < 20


def test_strength_recovers_a_beta() -> None:
    """Rates drawn from a beta distribution give back the number of cases it is worth, a + b."""
    draw = random.Random(3)
    groups = []
    for _ in range(400):
        rate = draw.betavariate(3, 27)
        groups.append((sum(draw.random() < rate for _ in range(300)), 300))
    assert strength_of(groups) == pytest.approx(30, rel=0.2)


def test_shares_sum_to_one() -> None:
    """Shrunk shares are shares, whatever was counted."""
    towards = {"a": 0.2, "b": 0.8}
    assert sum(shrunk_shares({"a": 7, "c": 99}, towards, 5.0).values()) == pytest.approx(1)
    assert shrunk_shares({}, towards, 5.0) == pytest.approx(towards)


@pytest.mark.parametrize("cut_off", [0.99, 0.9, 0.6])
def test_censored_likelihood_recovers_the_law(cut_off: float) -> None:
    """A log-normal(1) cut at a quantile gives back mean 1.65 and p95 5.18; dropping what was cut does not."""
    draw = random.Random(11)
    limit = Latency(1.0, 1.0).quantile(cut_off)
    calls = [draw.lognormvariate(0, 1) for _ in range(20_000)]
    seen = [call for call in calls if call <= limit]
    fitted = fit_latency(Durations.of(seen, [limit] * (len(calls) - len(seen))), Latency(0.5, 1.0), 4.0)
    dropped = fit_latency(Durations.of(seen), Latency(0.5, 1.0), 4.0)
    assert fitted.median_s * math.exp(fitted.sigma**2 / 2) == pytest.approx(math.exp(0.5), rel=0.05)
    assert fitted.quantile(0.95) == pytest.approx(5.18, rel=0.06)
    if cut_off < 0.95:
        assert dropped.quantile(0.95) < 4.0


def test_only_timeouts_stay_bounded() -> None:
    """After 50 timeouts against 5 believed calls, about one call in eleven is expected within the timeout."""
    fitted = fit_latency(Durations.of([], [10.0] * 50), Latency(1.0, 1.0), 5.0)
    assert fitted.survival(10.0) == pytest.approx(10 / 11, abs=0.03)


def test_no_evidence_gives_the_prior_latency() -> None:
    """Without a call, the latency is the one that was believed before."""
    fitted = fit_latency(Durations(), Latency(2.0, 0.7), 5.0)
    assert (fitted.median_s, fitted.sigma) == pytest.approx((2.0, 0.7))


def test_evidence_adds_up() -> None:
    """Durations of two logs together are those of the one log."""
    whole = Durations.of([1.0, 2.0, 3.0], [5.0, 5.0])
    parts = Durations.of([1.0, 2.0], [5.0]) + Durations.of([3.0], [5.0])
    assert fit_latency(whole, Latency(1, 1), 1.0) == fit_latency(parts, Latency(1, 1), 1.0)


def test_an_unknown_step_has_the_nearest_rates() -> None:
    """A new step has its service's rates, else its saga type's, else all, and they say from how much."""
    told = {
        "trip/pay": evidence(300, 1_000),
        "stay/pay": evidence(290, 1_000),
        "stay/room": evidence(10, 1_000),
    }
    rates = BaseRates.estimate(told, {"trip/pay": "bank", "stay/pay": "bank", "stay/room": "hotel"})
    known = rates.of("trip", "pay", "bank")
    assert (known.level, known.first_attempts) == (Level.STEP, 1_000)
    bank, stay, other = (
        rates.of("loan", "refund", "bank"),
        rates.of("stay", "dine", "kitchen"),
        rates.of("loan", "post", "mail"),
    )
    assert (bank.level, bank.first_attempts) == (Level.SERVICE, 2_000)
    assert bank.refusal == pytest.approx(0.295, abs=0.01)
    assert (stay.level, stay.first_attempts) == (Level.SAGA, 2_000)
    assert stay.refusal == pytest.approx(0.15, abs=0.01)
    assert (other.level, other.first_attempts) == (Level.ALL, 3_000)


def test_a_step_seen_twice_leans_on_its_service() -> None:
    """Two cases say little: the rate is near that of the service elsewhere, not near the mean of all."""
    told = {f"trip/{name}": evidence(5, 1_000) for name in "abcdef"}
    told |= {"stay/pay": evidence(300, 1_000), "trip/pay": evidence(0, 2)}
    owners = {key: "bank" if key.endswith("pay") else key for key in told}
    assert BaseRates.estimate(told, owners).steps["trip/pay"].refusal > 0.15
    assert BaseRates.estimate(told).steps["trip/pay"].refusal < 0.05


def test_the_same_evidence_does_not_count_twice() -> None:
    """A service and a saga type that hold one step only change nothing of what it is drawn towards."""
    told = {"trip/pay": evidence(5, 10), "stay/room": evidence(10, 1_000), "loan/sign": evidence(10, 1_000)}
    owners = {"trip/pay": "bank", "stay/room": "hotel", "loan/sign": "law"}
    assert BaseRates.estimate(told, owners).steps == BaseRates.estimate(told).steps
