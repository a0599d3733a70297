"""What moves a forecast: sizes held to brute force, subjects that a person would name, and their words."""

import math
from dataclasses import replace

import numpy as np
import pytest

from sagacity_models.bundle import Bundle
from sagacity_models.encoding import Features
from sagacity_models.influence_words import subject_of, words
from sagacity_models.influences import INFLUENCES_MAX, Influence, Influences
from sagacity_models.linear import logistic, logit
from sagacity_models.step_models import Cause, KnownSteps, Recipe, RefusalModel, StepRows
from sagacity_models.tree_paths import TreePaths


def encoded(bundle: Bundle, told: list[Features]) -> StepRows:
    keys = [str(row.get("step", "")) for row in told]
    return StepRows.of(KnownSteps(keys, [bundle.base.of_key(key) for key in keys]), bundle.encoding, told)


def test_moves_and_roots_are_the_score(bundle: Bundle, rows: list[Features]) -> None:
    """For every row the roots' values and what each feature adds sum to what the booster says."""
    trees = bundle.encoding.tree_matrix([*rows[:50], {}, {"context.season": "monsoon"}])
    for model in (bundle.service.boosted, bundle.request.boosted):
        assert model is not None
        paths = TreePaths(model, range(trees.shape[1]), trees.shape[1])
        assert paths.root + paths.moves(trees).sum(axis=1) == pytest.approx(
            model.matrix(trees)[:, 0], abs=1e-9
        )


def test_only_features_that_split_move(bundle: Bundle, rows: list[Features]) -> None:
    """The planted law follows the party alone, so no tree gives the season more than a trace."""
    assert bundle.service.boosted is not None
    names = bundle.encoding.names
    trees = bundle.encoding.tree_matrix(rows[:100])
    moves = np.abs(TreePaths(bundle.service.boosted, range(len(names)), len(names)).moves(trees)).mean(axis=0)
    told = dict(zip(names, moves.tolist(), strict=True))
    assert told["context.party"] > 20 * max(told["context.season"], told["step"])


def test_subjects_add_up_their_columns(bundle: Bundle) -> None:
    """Columns of one subject are one column of moves."""
    assert bundle.service.boosted is not None
    columns = len(bundle.encoding.names)
    trees = bundle.encoding.tree_matrix([{"context.party": 5.0, "context.season": "low"}])
    each = TreePaths(bundle.service.boosted, range(columns), columns).moves(trees)
    both = TreePaths(bundle.service.boosted, [0] * columns, 1).moves(trees)
    assert both[0, 0] == pytest.approx(each.sum())


def test_points_are_those_of_leaving_a_subject_out(bundle: Bundle) -> None:
    """For a linear model: 100 times the chance now less the chance with the party at its mean."""
    linear = replace(bundle.service, recipe=Recipe.LINEAR, boosted=None)
    plain = RefusalModel(cause=Cause.REQUEST)
    told: list[Features] = [{"context.party": 6.0, "context.season": "low", "step": "trip/flight"}]
    rows = encoded(bundle, told)
    ((found,),) = Influences(linear, plain, bundle.encoding).of(rows, told, ["airline"])
    (party,) = (column for column in bundle.encoding.numbers if column.name == "context.party")
    base = Cause.SERVICE.base_of(rows.rates[0])
    hopeless = Cause.REQUEST.base_of(rows.rates[0])

    def chance(value: float) -> float:
        score = logit(base) + 0.9 * (value - party.mean) / party.scale
        return linear.calibration(logistic(score)) * (1 - hopeless) + hopeless

    assert found.subject == "context.party"
    assert found.points == pytest.approx(100 * (chance(6.0) - chance(party.mean)))


def test_the_strongest_come_first_and_trifles_not_at_all(bundle: Bundle, rows: list[Features]) -> None:
    """At most three a step, by falling size, none below half a point."""
    influences = Influences(bundle.service, bundle.request, bundle.encoding)
    told = list(rows[:60])
    for found in influences.of(encoded(bundle, told), told, [""] * len(told)):
        sizes = [abs(each.points) for each in found]
        assert len(sizes) <= INFLUENCES_MAX
        assert sizes == sorted(sizes, reverse=True)
        assert all(size >= 0.5 for size in sizes)


def test_without_a_model_nothing_moves(bundle: Bundle) -> None:
    """Base rates are the same whatever a launch is like, so there is nothing to tell."""
    none = Influences(RefusalModel(), RefusalModel(cause=Cause.REQUEST), bundle.encoding)
    told: list[Features] = [{"context.party": 6.0}]
    assert none.of(encoded(bundle, told), told, [""]) == [()]
    assert none.of(encoded(bundle, []), [], []) == []


def test_a_booster_with_other_columns_is_refused(bundle: Bundle) -> None:
    """Subjects must be given for every column of the booster."""
    assert bundle.service.boosted is not None
    with pytest.raises(ValueError, match="each of their columns"):
        TreePaths(bundle.service.boosted, [0], 1)


@pytest.mark.parametrize(
    ("subject", "features", "expected"),
    [
        (
            "service failures",
            {"service_health_failure_30m": 0.234, "service_health_failure_7d": 0.03},
            "hotel vendor failed 23 % of calls of late (half-life 30m), usually 3 %",
        ),
        (
            "step failures",
            {"step_failure_30m": 0.5, "step_failure_7d": 0.125},
            "this step failed 50 % of first attempts of late (half-life 30m), usually 12 %",
        ),
        ("service failures", {}, "the service failures of this launch"),
        (
            "hour",
            {"hour_sin": math.sin(1.5 * math.pi), "hour_cos": math.cos(1.5 * math.pi)},
            "it is 18:00 UTC",
        ),
        ("weekday", {"weekday": 6.0}, "it is Sunday"),
        ("load", {"service_in_flight": 12.0}, "12 calls of hotel vendor are under way, usually 3.5"),
        (
            "pace",
            {"service_log_latency_30m": math.log(4.0), "service_log_latency_7d": 0.0},
            "calls of hotel vendor took 4 s of late, usually 1 s",
        ),
        ("experience", {"service_calls_7d": math.log1p(9.0)}, "9 calls of hotel vendor are remembered"),
        ("context.amount", {"context.amount": 900.0}, "context.amount is 900, usually 55"),
        ("context.amount", {}, "context.amount is missing"),
        ("context.tier", {"context.tier": "free" * 50}, f"context.tier is {'free' * 10}"),
        ("definition", {}, "what kind of step this is"),
    ],
)
def test_words_say_what_is_and_what_is_usual(subject: str, features: Features, expected: str) -> None:
    """Each subject has words of its own, and plain ones where the features that tell are missing."""
    assert (
        words(subject, features, {"service_in_flight": 3.5, "context.amount": 55.0}, "hotel vendor")
        == expected
    )


def test_features_have_subjects_that_people_name() -> None:
    """The four windows of a rate are one subject; a feature nobody knows is its own."""
    windows = [
        f"service_{kind}_{late}" for kind in ("failure", "health_failure_logit") for late in ("30m", "7d")
    ]
    assert {subject_of(name) for name in windows} == {"service failures"}
    told = {
        "hour_sin": "hour",
        "step": "definition",
        "runs_in_flight": "load",
        "context.hour_sin": "context.hour_sin",
    }
    assert {name: subject_of(name) for name in told} == told
    assert subject_of("new") == "new"


def test_an_influence_reads_as_a_clause() -> None:
    """Direction and size follow the words."""
    assert Influence("hour", -2.04, "it is 18:00 UTC").text == "it is 18:00 UTC: lowers it by 2.0 points"


def test_arrays_are_told_what_numbers_are(bundle: Bundle, rows: list[Features]) -> None:
    """Encoding rows together, and calibrating them together, gives what one at a time gives."""
    strange: list[Features] = [
        *rows[:20],
        {},
        {"context.party": math.inf, "step": 7},
        {"context.party": None},
    ]
    several: list[list[Features]] = [strange, [*strange, {"context.party": "six"}], [{}]]
    for told in several:
        matrix = bundle.encoding.tree_matrix(told)
        alone = np.array([bundle.encoding.tree_row(row) for row in told])
        np.testing.assert_array_equal(matrix, alone)
        designs = [bundle.encoding.design_row(row) for row in alone.tolist()]
        np.testing.assert_allclose(bundle.encoding.design_rows(matrix), designs, rtol=1e-12)
    assert bundle.encoding.tree_matrix([]).shape == (0, len(bundle.encoding.names))
