"""Base rates of running sagas fall back from the place to the saga to all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sagacity_models.live_risk_rates import LiveRates, Rate, Travelled


def test_rates_are_drawn_from_place_to_saga_to_whole() -> None:
    """Ten good runs of one saga and ten bad ones of another, by hand; rows weigh, runs are the evidence."""
    runs = [Travelled("good", {"good/0": 1, "good/1": 1}, success=True)] * 10
    runs += [Travelled("bad", {"bad/0": 3}, success=False)] * 10
    rates = LiveRates.estimate(runs)
    whole = (20 / 50 * 20 + 0.5) / 21
    assert rates.whole == Rate(_near(whole), 20)
    good = (10 + 20 * whole) / 30
    assert rates.of_saga("good") == Rate(_near(good), 10)
    assert rates.of("good", "good/1") == Rate(_near((10 + 20 * good) / 30), 10)
    assert rates.of("bad", "bad/0").probability == pytest.approx(20 * (20 * whole / 30) / 30)


def test_what_nobody_has_seen_has_evidence_zero() -> None:
    """An unknown place has its saga's rate, an unknown saga the whole's; without runs it is the prior."""
    rates = LiveRates.estimate([Travelled("a", {"a/0": 1}, success=True)] * 30)
    assert rates.of("a", "a/7") == Rate(rates.of_saga("a").probability, 0)
    assert rates.of("b", "b/0") == Rate(rates.whole.probability, 0)
    assert LiveRates.estimate([]).of("b", "b/0") == Rate(0.5, 0)


def test_rates_come_back_from_json_and_others_are_refused() -> None:
    """What was written is read as it was; a probability outside (0, 1) is no rate."""
    rates = LiveRates.estimate([Travelled("a", {"a/0": 2, "a/undoing": 1}, success=False)] * 4)
    written = json.loads(json.dumps(rates.as_json()))
    assert LiveRates.from_json(written) == rates
    with pytest.raises(ValueError, match="no rate"):
        LiveRates.from_json(written | {"whole": [1.5, 3]})


def _near(expected: float) -> Any:
    return pytest.approx(expected)
