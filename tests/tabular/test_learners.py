"""What `learn` promises: honest slices, no signal from noise, known truth found, the same every time."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sagacity_models.feature_columns import Columns
from sagacity_models.step_models import Recipe
from sagacity_models.tabular import BINARY, TabularForecaster
from sagacity_training.errors import NothingToLearn
from sagacity_training.learners import Learnt, learn, served, turns_of
from sagacity_training.learners_candidates import Candidates, Tried
from sagacity_training.learners_config import LearnerConfig
from sagacity_training.learners_slices import folds_of, slices_of
from sagacity_training.learners_table import RowFacts, TrainingTable

Array = NDArray[np.float64]
ROWS = 4_000
SMALL = LearnerConfig(rounds_max=60)


def world(seed: int) -> tuple[dict[str, list[float | str]], Array, Array]:
    """Columns, the chance of the event (log-odds -1 + 1.5 x, 1 more for "b"), and outcomes."""
    rng = np.random.default_rng(seed)
    x, kind = rng.normal(size=ROWS), rng.choice(["a", "b"], ROWS)
    chance = 1 / (1 + np.exp(1 - 1.5 * x - (kind == "b")))
    return {"x": x.tolist(), "kind": kind.tolist()}, chance, (rng.random(ROWS) < chance).astype(float)


def tried_on(columns: Columns, outcomes: Array) -> tuple[TrainingTable, Candidates]:
    """A table of the world, and its candidates."""
    table = TrainingTable.checked(
        columns,
        outcomes,
        np.arange(ROWS, dtype=float),
        classes=BINARY,
        seed=1,
        facts=RowFacts(),
        config=LearnerConfig(rounds_max=10, linear_strengths=(1.0,)),
    )
    return table, Candidates.on(table, turns_of(table)[0])


@pytest.fixture(scope="module")
def learnt() -> Learnt:
    columns, _, outcomes = world(1)
    return learn(columns, outcomes, np.arange(ROWS, dtype=float), seed=1, task="t", config=SMALL)


def test_it_finds_a_known_law(learnt: Learnt) -> None:
    """On fresh rows it recovers at least nine tenths of the log loss between the constant and the law."""
    columns, chance, outcomes = world(2)
    names = list(columns)
    rows = [dict(zip(names, told, strict=True)) for told in zip(*columns.values(), strict=True)]
    told = np.array(learnt.forecaster.chances(rows))

    def loss(chances: Array) -> float:
        return float(-np.mean(outcomes * np.log(chances) + (1 - outcomes) * np.log(1 - chances)))

    constant = loss(np.full(ROWS, outcomes.mean()))
    assert constant - loss(told) >= 0.9 * (constant - loss(chance))


def test_what_is_judged_was_not_learnt_from(learnt: Learnt) -> None:
    """The held rows are the last 15 %, and their forecasts those of the judged task."""
    (judged,) = learnt.judged
    assert learnt.held.tolist() == list(range(3_400, ROWS))
    assert (judged.task, judged.n_train, len(judged)) == ("t", 3_400, 600)
    assert judged.chosen == learnt.choice.recipe.value != "base"
    assert judged.forecasts.tolist() == learnt.forecasts[:, 1].tolist()


def test_the_future_does_not_change_the_forecasts() -> None:
    """Other outcomes in the last slice leave every candidate's forecasts of it as they were."""
    columns, _, outcomes = world(1)
    turned = outcomes.copy()
    turned[3_400:] = 1 - turned[3_400:]
    one, other = (tried_on(columns, told)[1] for told in (outcomes, turned))
    for recipe in (Recipe.LINEAR, Recipe.BOOSTED, Recipe.MEAN):
        assert one.select[recipe].tolist() == other.select[recipe].tolist()


def test_noise_is_no_signal() -> None:
    """Outcomes that depend on nothing: the base rate is served, and the reason says so."""
    rng = np.random.default_rng(5)
    columns = {f"x{n}": rng.normal(size=1_500).tolist() for n in range(5)}
    outcomes = (rng.random(1_500) < 0.3).astype(float)
    told = learn(columns, outcomes, np.arange(1_500, dtype=float), seed=1, config=SMALL)
    assert not told.signal
    assert told.reason.startswith("no signal")
    assert told.forecaster.recipe is Recipe.BASE
    share = (outcomes.sum() + 2) / (1_500 + 4)
    assert told.forecaster.chances([{"x0": 3.0}]) == pytest.approx([share])


def test_too_little_is_no_signal() -> None:
    """Eight rows teach the shrunk share and nothing else: (2 + 2) / (8 + 4)."""
    told = learn({"x": [1.0] * 8}, np.array([0, 1] + [0, 1] + [0] * 4), np.arange(8.0), seed=0)
    assert told.forecaster.chances([{}]) == pytest.approx([4 / 12])
    assert "too little" in told.reason


def test_the_arrays_of_training_are_the_numbers_of_serving() -> None:
    """For each recipe, the forecasts on arrays equal those of the forecaster made of the same parts."""
    columns, _, outcomes = world(1)
    table, tried = tried_on(columns, outcomes)
    (parts,) = turns_of(table)
    names = list(columns)
    rows = [{name: columns[name][place] for name in names} for place in parts.select.tolist()]
    base = served(table, Tried([tried], [parts]), Recipe.BASE)
    for recipe in (Recipe.LINEAR, Recipe.BOOSTED, Recipe.MEAN):
        forecaster = TabularForecaster(
            classes=base.classes,
            evidence=1,
            rates=base.rates,
            recipe=recipe,
            encoding=tried.fit.encoding,
            linear=tried.fit.linear,
            boosted=tried.fit.boosted,
        )
        assert np.array(forecaster.log_probabilities(rows)) == pytest.approx(tried.logs[recipe][1], abs=1e-9)


def test_slices_keep_cases_whole_and_labels_in_their_time() -> None:
    """Ten cases of two rows: 6, 1, 1 and 2 of them; a label known too late leaves its slice."""
    at = np.repeat(np.arange(10.0), 2)
    known = at.copy()
    known[0] = 6.5  # After the fit slice is over.
    parts = slices_of(at, known, np.repeat(np.arange(10), 2), (0.6, 0.72, 0.85))
    assert parts.fit.tolist() == list(range(1, 12))
    assert [part.tolist() for part in (parts.tune, parts.calibrate)] == [[12, 13], [14, 15]]
    assert parts.select.tolist() == [16, 17, 18, 19]


def test_folds_judge_every_row_once_and_keep_cases_whole() -> None:
    """Of five folds each row is judged in one; a case's rows are never in two roles."""
    cases = np.array([7, 7, 3, 3, 1, 5, 5, 5, 2, 9, 9, 4])
    turns = folds_of(cases, 5)
    judged = sorted(place for turn in turns for place in turn.select.tolist())
    assert judged == list(range(12))
    for turn in turns:
        roles = [set(cases[part].tolist()) for part in turn.parts]
        assert sum(map(len, roles)) == len(set(cases.tolist()))


def test_folds_find_signal_in_a_small_table_without_time() -> None:
    """Three classes, 240 rows: every row is held out once, and the classes are told apart."""
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 3, 240)
    columns = {"x": (codes + rng.normal(0, 0.3, 240)).tolist()}
    config = LearnerConfig(folds=5, rounds_max=20)
    told = learn(columns, codes, np.zeros(240), classes=("a", "b", "c"), seed=0, task="t", config=config)
    assert told.held.tolist() == list(range(240))
    assert (told.forecasts.argmax(axis=1) == codes).mean() > 0.85
    assert [judged.task for judged in told.judged] == ["t.a", "t.b", "t.c"]


@pytest.mark.parametrize(
    ("outcomes", "at", "config", "why"),
    [
        ([0.0, 2.0], [0.0, 1.0], LearnerConfig(), "whole numbers from 0 to 1"),
        ([0.0, 0.5], [0.0, 1.0], LearnerConfig(), "whole numbers"),
        ([0.0, 1.0], [1.0, 0.0], LearnerConfig(), "time order"),
        ([0.0, 1.0, 0.0], [0.0, 1.0, 2.0], LearnerConfig(), "columns of"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    outcomes: list[float], at: list[float], config: LearnerConfig, why: str
) -> None:
    """The message names what is wrong."""
    with pytest.raises(ValueError, match=why):
        learn({"x": [1.0, 2.0]}, np.array(outcomes), np.array(at), seed=0, config=config)


def test_an_empty_table_teaches_nothing() -> None:
    """No rows are said to be no rows."""
    with pytest.raises(NothingToLearn, match="without rows"):
        learn({}, np.zeros(0), np.zeros(0), seed=0)


def test_settings_that_cannot_be_are_refused() -> None:
    """Shares must rise, signs be 1 or -1, folds be enough, candidates learn."""
    with pytest.raises(ValueError, match="rise"):
        LearnerConfig(shares=(0.5, 0.5, 0.9))
    with pytest.raises(ValueError, match="sign"):
        LearnerConfig(monotone={"x": 2})
    with pytest.raises(ValueError, match="folds"):
        LearnerConfig(folds=2)
    with pytest.raises(ValueError, match="no candidate"):
        LearnerConfig(recipes=(Recipe.BASE,))


def test_more_than_two_classes_are_not_monotone() -> None:
    """What "more makes it likelier" means is only said for two classes."""
    with pytest.raises(ValueError, match="two classes"):
        learn(
            {"x": [1.0]},
            np.array([0]),
            np.zeros(1),
            classes=("a", "b", "c"),
            seed=0,
            config=LearnerConfig(monotone={"x": 1}),
        )
