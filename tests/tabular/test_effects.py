"""Whether a call in doubt had its effect: what tells, and the rate that is made of it."""

from collections.abc import Callable
from typing import Any

import pytest

from sagacity_data.rows import AttemptOutcome, AttemptRow
from sagacity_engine import Direction
from sagacity_training.effects import EffectSource, effect_features, learn_effects, taught_effects

MakeRow = Callable[..., AttemptRow]
LOST = AttemptOutcome.TIMED_OUT


def doubt(make: MakeRow, run: str, at: float = 0.0, /, **columns: Any) -> AttemptRow:
    """A forward attempt that timed out."""
    return make(run, at, outcome=LOST, **columns)


def refused(make: MakeRow, run: str, at: float, words: str, /, **columns: Any) -> AttemptRow:
    """An attempt that was refused with these words."""
    return make(run, at, outcome=AttemptOutcome.FAILED, error_message=words, **columns)


def test_a_probe_is_believed_first(attempt: MakeRow) -> None:
    """It said that nothing happened at 3; the next attempt's "already" comes later and counts for less."""
    rows = [doubt(attempt, "a"), refused(attempt, "a", 5.0, "already booked", attempt=2)]
    (taught,) = taught_effects(rows, {rows[0].key: (False, 3.0)})
    assert (taught.happened, taught.source, taught.known_at) == (False, EffectSource.PROBE, 3.0)


@pytest.mark.parametrize("words", ["seat is already booked", "Duplicate request <id>", "order exists"])
def test_a_retry_that_meets_the_effect_tells_it(attempt: MakeRow, words: str) -> None:
    """Refused because it is done: the timed-out call had done it."""
    rows = [doubt(attempt, "a"), refused(attempt, "a", 5.0, words, attempt=2)]
    (taught,) = taught_effects(rows, {})
    assert (taught.happened, taught.source, taught.known_at) == (True, EffectSource.RETRY, 5.0)


def test_a_type_that_says_already_tells_it_too(attempt: MakeRow) -> None:
    """`AlreadyExists` is read as its words."""
    rows = [doubt(attempt, "a"), refused(attempt, "a", 5.0, "", error_type="AlreadyExists", attempt=2)]
    assert [each.happened for each in taught_effects(rows, {})] == [True]


def test_a_retry_that_passes_tells_only_where_already_would_be_said(attempt: MakeRow) -> None:
    """At a step that once said "already", passing means that there was nothing; else it means nothing."""
    silent = [doubt(attempt, "b"), attempt("b", 5.0, attempt=2)]
    assert taught_effects(silent, {}) == []
    spoken = [doubt(attempt, "a"), refused(attempt, "a", 5.0, "already booked", attempt=2)]
    told = {each.row.run_id: each.happened for each in taught_effects([*silent, *spoken], {})}
    assert told == {"a": True, "b": False}


def test_an_undo_tells_what_it_found(attempt: MakeRow) -> None:
    """Nothing to undo: it had not happened. Where that would be said, an undo that passed met the effect."""
    undo = {"direction": Direction.UNDO}
    empty = [doubt(attempt, "a"), refused(attempt, "a", 5.0, "booking not found", **undo)]
    full = [doubt(attempt, "b"), attempt("b", 5.0, **undo)]
    assert taught_effects(full, {}) == []
    told = {each.row.run_id: each.happened for each in taught_effects([*empty, *full], {})}
    assert told == {"a": False, "b": True}


def test_an_undo_after_a_later_attempt_tells_nothing(attempt: MakeRow) -> None:
    """What it found may be the work of the second attempt."""
    rows = [
        doubt(attempt, "a"),
        attempt("a", 3.0, attempt=2),
        refused(attempt, "a", 5.0, "not found", direction=Direction.UNDO),
    ]
    assert taught_effects(rows, {}) == []


def test_of_two_calls_in_doubt_a_retry_tells_the_first_only(attempt: MakeRow) -> None:
    """The third attempt met "already": nobody knows whose effect."""
    rows = [
        doubt(attempt, "a"),
        doubt(attempt, "a", 2.0, attempt=2),
        refused(attempt, "a", 5.0, "already booked", attempt=3),
    ]
    assert taught_effects(rows, {}) == []


def test_clear_answers_are_not_in_doubt(attempt: MakeRow) -> None:
    """A refusal is no effect and a success is one: neither is a case."""
    rows = [refused(attempt, "a", 0.0, "no"), attempt("b", 0.0)]
    learnt = learn_effects(rows)
    assert (learnt.in_doubt, learnt.forecaster.evidence) == (0, 0)
    assert learnt.forecaster.chances([{}]) == [0.5]


def test_the_rate_is_drawn_from_all_to_the_step(attempt: MakeRow) -> None:
    """Three of four timeouts happened: all 4/6; an unknown saga is drawn to 3 of 4 of its own way."""
    rows = [doubt(attempt, str(n)) for n in range(4)]
    answers = {row.key: (n > 0, 1.0) for n, row in enumerate(rows)}
    learnt = learn_effects(rows, answers)
    forecaster = learnt.forecaster
    own = effect_features(LOST, "trip", "resort", "hotel")
    new = effect_features(LOST, "other", "other", "other")
    crash = effect_features(AttemptOutcome.CRASHED, "trip", "resort", "hotel")
    every = (3 + 2 * 0.5) / (4 + 2)
    way = (3 + 20 * every) / 24  # One group tells nothing of spread: worth 20 cases.
    assert forecaster.chances([crash]) == pytest.approx([every])
    assert forecaster.chances([new]) == pytest.approx([way])
    assert way < forecaster.chances([own])[0] < 0.75
    assert (forecaster.evidence_of(own).level, forecaster.evidence_of(own).cases) == ("step", 4.0)
    assert forecaster.evidence_of(new).level == "lost"
    assert learnt.sources == {EffectSource.PROBE: 4}
    assert learnt.in_doubt == 4


def test_only_what_was_known_by_the_cut_counts(attempt: MakeRow) -> None:
    """A retry that ended at 5, and a probe's answer of 9, tell nothing at 4."""
    rows = [
        doubt(attempt, "a"),
        refused(attempt, "a", 5.0, "already booked", attempt=2),
        doubt(attempt, "b"),
    ]
    learnt = learn_effects(rows, {rows[2].key: (True, 9.0)}, cut=4.0)
    assert (learnt.in_doubt, learnt.forecaster.evidence) == (2, 0)
