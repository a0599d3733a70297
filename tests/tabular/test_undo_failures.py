"""Compensations that fail: which rows tell it, and what is made of few."""

from collections.abc import Callable
from typing import Any

import pytest

from sagacity_data.rows import AttemptOutcome, AttemptRow
from sagacity_engine import Direction
from sagacity_models.step_models import Recipe
from sagacity_training.errors import NothingToLearn
from sagacity_training.undo_failures import learn_undo_failures, undo_features

MakeRow = Callable[..., AttemptRow]


def undo(number: int, passed: bool, **columns: Any) -> dict[str, Any]:
    """The columns of the n-th attempt of an undo."""
    outcome = AttemptOutcome.SUCCEEDED if passed else AttemptOutcome.FAILED
    return {"direction": Direction.UNDO, "attempt": number, "outcome": outcome, **columns}


def story(make: MakeRow, run: str, at: float, *passed: bool, **columns: Any) -> list[AttemptRow]:
    """One undo, attempt by attempt, a second apart; launched at `at`."""
    return [
        make(run, at, **undo(number, each, ended_at=at + number, **columns))
        for number, each in enumerate(passed, 1)
    ]


def test_attempts_and_whole_undos_are_two_rates(attempt: MakeRow) -> None:
    """Of 7 attempts 5 failed, of 3 undos one: it used up its three attempts."""
    rows = [
        *story(attempt, "a", 0.0, False, False, False),
        *story(attempt, "b", 10.0, False, False, True),
        *story(attempt, "c", 20.0, True),
    ]
    learnt = learn_undo_failures(rows, seed=0)
    assert learnt.whole is not None
    assert learnt.attempt.forecaster.rates.totals == (2.0, 5.0)
    assert learnt.whole.forecaster.rates.totals == (2.0, 1.0)


def test_an_undo_with_attempts_left_is_not_over(attempt: MakeRow) -> None:
    """Two failures of three allowed: the attempts count, the undo does not."""
    learnt = learn_undo_failures(story(attempt, "a", 0.0, False, False), seed=0)
    assert learnt.whole is None
    assert learnt.attempt.forecaster.rates.totals == (0.0, 2.0)


def test_few_undos_give_a_shrunk_rate_with_its_evidence(attempt: MakeRow) -> None:
    """Without a signal the base rate is served: all 1.08/5, drawn to the step's own one of one."""
    learnt = learn_undo_failures(story(attempt, "a", 0.0, False, maximum_attempts=1), seed=0)
    forecaster = learnt.attempt.forecaster
    row = undo_features("trip", "resort", "hotel", {})
    other = undo_features("trip2", "resort2", "hotel", {})
    everywhere = (1 + 4 * 0.02) / 5
    assert forecaster.recipe is Recipe.BASE
    assert forecaster.chances([other]) == pytest.approx([everywhere])
    assert forecaster.chances([row])[0] > everywhere
    assert forecaster.evidence_of(row).level == "step"
    assert forecaster.evidence_of(row).cases == 1.0
    assert forecaster.evidence_of(other).level == ""


def test_steps_that_differ_keep_their_rates(attempt: MakeRow) -> None:
    """Three steps with 200 undos each, failing at 2 %, 10 % and 40 %, are told within two points."""
    rows: list[AttemptRow] = []
    for step, every in (("a", 50), ("b", 10), ("c", 2.5)):
        for n in range(200):
            failing = int((n + 1) / every) > int(n / every)
            rows += story(attempt, f"{step}{n:03}", float(n), not failing, step=step, maximum_attempts=1)
    learnt = learn_undo_failures(rows, seed=0)
    told = learnt.attempt.forecaster.rates
    for step, rate in (("a", 0.02), ("b", 0.1), ("c", 0.4)):
        assert told.of(undo_features("trip", "resort", step, {}))[1] == pytest.approx(rate, abs=0.02)


def test_only_what_was_over_by_the_cut_counts(attempt: MakeRow) -> None:
    """An undo that ended at 21 is not known at 20; before the first one there is nothing to learn."""
    rows = [*story(attempt, "a", 0.0, True), *story(attempt, "b", 20.0, False)]
    assert learn_undo_failures(rows, seed=0, cut=20.0).attempt.forecaster.evidence == 1
    with pytest.raises(NothingToLearn, match="no compensation"):
        learn_undo_failures(rows, seed=0, cut=0.5)


def test_forward_attempts_are_no_undos(attempt: MakeRow) -> None:
    """A refused step says nothing about its compensation."""
    rows = [attempt("a", 0.0, outcome=AttemptOutcome.FAILED)]
    with pytest.raises(NothingToLearn):
        learn_undo_failures(rows, seed=0)
