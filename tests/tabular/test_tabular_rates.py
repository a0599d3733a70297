"""Shrunk rates by hand, and texts of forecasters that do not fit."""

import json

import numpy as np
import pytest

from sagacity_models.encoding import FeatureEncoding, NumberColumn
from sagacity_models.linear import LinearModel
from sagacity_models.shrinkage import strength_of
from sagacity_models.step_models import Recipe
from sagacity_models.tabular import ABSTAINED, BINARY, FORECASTER, TabularForecaster
from sagacity_models.tabular_calibration import ClassScaling, log_softmax, softmax
from sagacity_models.tabular_rates import Evidence, RateLevel, ShrunkRates
from sagacity_training.learners_fits import fit_linear, fit_rates, fit_scaling, strength_of_classes

LEVELS = (
    RateLevel("saga", 10.0, {"trip": (20.0, 10.0)}),
    RateLevel("step", 4.0, {"trip/hotel": (1.0, 1.0)}),
)
RATES = ShrunkRates((0.9, 0.1), 10.0, (80.0, 10.0), LEVELS)


def test_rates_are_drawn_level_by_level() -> None:
    """All: (10+1)/100; the saga: (10+1.1)/40; the step: (1+4*0.2775)/6."""
    assert RATES.of({})[1] == pytest.approx(0.11)
    assert RATES.of({"saga": "trip"})[1] == pytest.approx(11.1 / 40)
    assert RATES.of({"saga": "trip", "step": "trip/hotel"})[1] == pytest.approx((1 + 4 * 11.1 / 40) / 6)


def test_an_unknown_step_has_the_rate_of_the_narrowest_known_level() -> None:
    """A step that nobody has seen, of a saga that is known, has the saga's rate and its evidence."""
    row = {"saga": "trip", "step": "trip/yacht"}
    assert RATES.of(row) == RATES.of({"saga": "trip"})
    assert RATES.evidence(row) == Evidence("saga", 30.0)
    assert RATES.evidence({"step": "trip/hotel"}) == Evidence("step", 2.0)
    assert RATES.evidence({}) == Evidence("", 90.0)


def test_counts_are_those_of_the_rows_that_are_told() -> None:
    """Only the named rows count; a row without the feature counts in all, not in a level."""
    columns = {"step": ["a", "a", None, "b", "b"]}
    rates = fit_rates(columns, np.array([1, 0, 1, 0, 1]), np.arange(4), (0.5, 0.5), 4.0, levels=("step",))
    assert rates.totals == (2.0, 2.0)
    assert rates.levels[0].counts == {"a": (1.0, 1.0), "b": (1.0, 0.0)}


def test_the_strength_for_two_classes_is_that_of_the_binary_estimate() -> None:
    """Summed over both classes, noise and scatter double, and their ratio stays."""
    counts = [(3, 40), (20, 50), (1, 60), (9, 30)]
    table = np.array([(cases - events, events) for events, cases in counts], dtype=float)
    assert strength_of_classes(table) == pytest.approx(strength_of(counts))


def test_it_abstains_below_its_confidence() -> None:
    """0.89 for no is enough for 0.8 and not for 0.9."""
    sure = TabularForecaster(classes=BINARY, evidence=90, rates=RATES, confidence_min=0.8)
    unsure = TabularForecaster(classes=BINARY, evidence=90, rates=RATES, confidence_min=0.9)
    assert sure.decide([{}]) == ["no"]
    assert unsure.decide([{}]) == [ABSTAINED]


def test_a_linear_forecast_is_the_softmax_of_its_scores() -> None:
    """Three classes with scores (0, ln 2, ln 5) at x = 1 have shares 1/8, 2/8 and 5/8."""
    forecaster = TabularForecaster(
        classes=("a", "b", "c"),
        evidence=1,
        rates=ShrunkRates((1 / 3,) * 3, 1.0, (0.0, 0.0, 0.0)),
        recipe=Recipe.LINEAR,
        encoding=FeatureEncoding((NumberColumn("x", 0.0, 1.0),), ()),
        linear=LinearModel((0.0, 0.0, 0.0), ((0.0,), (float(np.log(2)),), (float(np.log(5)),))),
    )
    assert forecaster.probabilities([{"x": 1.0}, {}]) == [
        pytest.approx([1 / 8, 2 / 8, 5 / 8]),
        pytest.approx([1 / 3] * 3),
    ]


def test_a_linear_model_of_the_wrong_width_is_refused() -> None:
    """One column of weights does not fit an encoding of two."""
    with pytest.raises(ValueError, match="linear model of other columns"):
        TabularForecaster(
            classes=BINARY,
            evidence=1,
            rates=RATES,
            recipe=Recipe.LINEAR,
            encoding=FeatureEncoding((NumberColumn("x", 0.0, 1.0), NumberColumn("y", 0.0, 1.0)), ()),
            linear=LinearModel((0.0,), ((1.0,),)),
        )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schema_version": 2}, "schema version"),
        ({"recipe": "boosted"}, "lacks the model"),
        ({"recipe": "causes"}, "cannot be"),
        ({"classes": ["yes", "yes"]}, "different classes"),
        ({"classes": ["a", "b", "c"]}, "rates of 2 classes"),
        ({"confidence_min": 2.0}, "cannot be"),
        ({"calibration": {"kind": "classes", "slope": 1.0, "shifts": [0.0, 0.0]}}, "calibrated"),
    ],
)
def test_texts_that_contradict_themselves_are_refused(change: dict[str, object], why: str) -> None:
    """A reader says which part does not belong."""
    written = json.loads(TabularForecaster(classes=BINARY, evidence=90, rates=RATES).texts()[FORECASTER])
    with pytest.raises(ValueError, match=why):
        TabularForecaster.from_texts({FORECASTER: json.dumps({**written, **change})})


def test_class_scaling_undoes_a_known_distortion() -> None:
    """Where the truth is the forecast at half its slope, the map finds slope 0.5 and no shift."""
    rng = np.random.default_rng(3)
    logs = np.array([log_softmax(scores) for scores in rng.normal(0, 3, (4_000, 3)).tolist()])
    shares = np.array([softmax(row) for row in (0.5 * logs).tolist()])
    codes = (rng.random((4_000, 1)) > shares.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    found = fit_scaling(logs, codes)
    assert found.slope == pytest.approx(0.5, abs=0.04)
    assert found.shifts == pytest.approx((0.0, 0.0, 0.0), abs=0.1)


def test_class_scaling_needs_evidence_to_change_anything() -> None:
    """No rows leave it at slope 1 and no shifts."""
    assert fit_scaling(np.zeros((0, 3)), np.zeros(0, dtype=int)) == ClassScaling(1.0, (0.0, 0.0, 0.0))


def test_a_class_that_never_occurred_is_unlikely_not_impossible() -> None:
    """Of three classes two occur in 100 rows: the third is given less than a hundredth."""
    designs = np.linspace(-1, 1, 100).reshape(-1, 1)
    model = fit_linear(designs, (designs[:, 0] > 0).astype(int) * 2, 3, 1.0, {})
    shares = softmax(model.scores([0.0]))
    assert 0 < shares[1] < 0.01


def test_a_weight_of_the_wrong_sign_is_dropped() -> None:
    """Where more in truth makes it likelier, declaring the opposite leaves a weight of zero."""
    rng = np.random.default_rng(0)
    designs = rng.normal(size=(400, 2))
    codes = (designs[:, 0] + designs[:, 1] > 0).astype(int)
    weights = fit_linear(designs, codes, 2, 1.0, {0: -1}).weights[0]
    assert weights[0] == 0.0
    assert weights[1] > 0.5
