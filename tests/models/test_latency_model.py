"""The model of durations: base, trees and residual laws become one latency, and its texts come back."""

import json
import math
from collections.abc import Mapping

import numpy as np
import pytest

from sagacity_models.base_rates import BaseRates
from sagacity_models.bundle import Bundle
from sagacity_models.durations import DurationModel, ResidualLaw, ResidualLaws, moved
from sagacity_models.encoding import FeatureEncoding, Features, columns_of
from sagacity_models.shape import NORMAL, Shape
from sagacity_models.step_models import KnownSteps, Recipe, StepRows

SHAPE = Shape((0.0, 0.5, 0.9), (-1.0, 0.0, 2.0), tail_rate=4.0, shown_to=0.9)
LAWS = ResidualLaws({"trip/flight": ResidualLaw(0.3, SHAPE, 90.0)}, ResidualLaw(-0.1, SHAPE))


@pytest.fixture(scope="module")
def steps(base: BaseRates, rows: list[Features]) -> StepRows:
    keys = ["trip/flight", "trip/hotel", "trip/new"]
    trees = [[6.0, 0.0, 0.0], [1.0, 1.0, 1.0], [2.0, 0.0, 1.0]]
    rates = [base.steps.get(key, base.pooled) for key in keys]
    encoding = FeatureEncoding.learn(columns_of(rows))
    return StepRows(KnownSteps(keys, rates), np.array(trees), encoding)


def test_no_law_is_log_normal(steps: StepRows) -> None:
    """Without laws and trees both durations are the base's."""
    pairs = DurationModel().pairs(steps)
    assert pairs == [(rates.latency, rates.refusal_latency) for rates in steps.rates]


def test_a_step_has_its_law_and_others_the_pooled_one(steps: StepRows) -> None:
    """The median moves by the law's offset in scales of the base; a step never seen gets the pooled law."""
    model = DurationModel(successes=LAWS)
    for latency, offset, rates in zip(model.latencies(steps), (0.3, -0.1, -0.1), steps.rates, strict=True):
        base = rates.latency
        assert (latency.sigma, latency.shape) == (base.sigma, SHAPE)
        assert latency.median_s == pytest.approx(base.median_s * math.exp(offset * base.sigma), rel=1e-12)
    assert model.refusal_latencies(steps)[0].shape is NORMAL


def test_done_by_is_one_minus_the_survival(steps: StepRows) -> None:
    """P(done by t) is that of each step's latency."""
    model = DurationModel(successes=LAWS)
    told = [1 - latency.survival(1.7) for latency in model.latencies(steps)]
    assert model.p_done_by(steps, 1.7) == pytest.approx(told)


def test_trees_move_success_and_refusals_only_where_they_follow(bundle: Bundle, steps: StepRows) -> None:
    """What trees add moves both kinds of durations, or success alone."""
    trees = bundle.durations
    for follow in (False, True):
        model = DurationModel(Recipe.BOOSTED, trees.median, trees.p90, LAWS, LAWS, follow)
        for (success, refusal), rates in zip(model.pairs(steps), steps.rates, strict=True):
            assert success.median_s / rates.latency.median_s != pytest.approx(1.0, abs=0.01)
            assert (refusal.sigma == rates.refusal_latency.sigma) is not follow


def test_moves_are_bounded() -> None:
    """Trees move a duration by at most exp(4), and narrow its scale to a quarter at most."""
    medians, sigmas = moved(np.ones(2), np.full(2, 0.8), np.array([99.0, 0.0]), np.array([99.0, -4.0]))
    assert medians.tolist() == [pytest.approx(math.exp(4.0)), 1.0]
    assert sigmas.tolist() == [pytest.approx(0.8), pytest.approx(0.2)]


def test_texts_come_back(bundle: Bundle) -> None:
    """Whatever the parts, the model is read back from its texts, which are the same each time."""
    trees = bundle.durations
    for model in (
        DurationModel(),
        DurationModel(successes=LAWS, refusals=ResidualLaws({}, ResidualLaw(0.0, SHAPE))),
        DurationModel(Recipe.BOOSTED, trees.median, trees.p90, LAWS, LAWS, refusals_follow=True),
    ):
        texts = model.texts()
        again = DurationModel.from_texts({**texts, "other.json": "{}"})
        assert again.texts() == texts
        assert (again.successes, again.refusals) == (model.successes, model.refusals)
        assert (again.recipe, again.refusals_follow) == (model.recipe, model.refusals_follow)


def test_older_texts_are_log_normal() -> None:
    """Texts from before there were laws are read as log-normal."""
    model = DurationModel.from_texts({"durations.json": '{"recipe": "base"}'})
    assert model == DurationModel()


def _altered(path: tuple[str, ...], value: object) -> Mapping[str, str]:
    told = json.loads(DurationModel(successes=LAWS).texts()["durations.json"])
    place = told
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return {"durations.json": json.dumps(told)}


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"durations.json": "not JSON"},
        {"durations.json": "[]"},
        {"durations.json": '{"recipe": "boosted"}'},
        {"durations.json": '{"recipe": "linear"}'},
        _altered(("successes", "pooled", "offset"), math.nan),
        _altered(("successes", "pooled", "shape", "heights"), [0.0, 1.0, math.inf]),
        _altered(("successes", "pooled", "shape", "levels"), [0.0, 0.5, 1.5]),
        _altered(("successes", "steps"), 7),
    ],
)
def test_texts_that_do_not_fit_are_refused(texts: Mapping[str, str]) -> None:
    """Missing, unreadable or impossible texts raise ValueError, never anything else."""
    with pytest.raises(ValueError, match=r".+"):
        DurationModel.from_texts(texts)
