from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from sagacity_data import (
    LABEL_WINDOW_S,
    AttemptOutcome,
    AttemptRow,
    FailureKind,
    Label,
    LabelSource,
    label,
)
from sagacity_data.labels import CASCADE_WINDOW_S, PERMANENT_WINDOW_S
from sagacity_engine import Direction, FailureClass

Make = Callable[..., AttemptRow]
REFUSED, TIMED_OUT = AttemptOutcome.FAILED, AttemptOutcome.TIMED_OUT


def crowd(
    make: Make, outcomes: Iterable[AttemptOutcome], at: float = 101.0, **changes: Any
) -> list[AttemptRow]:
    """One attempt each of other runs, ending at `at`."""
    return [
        make(run_id=f"other{n}", ended_at=at, outcome=outcome, **changes)
        for n, outcome in enumerate(outcomes)
    ]


def mine(labels: list[Label]) -> Label:
    (found,) = (each for each in labels if each.run_id == "r1")
    return found


def test_a_later_success_makes_it_transient(attempt_row: Make) -> None:
    """A refusal followed by a success of the same step is transient, known when the success ended."""
    rows = [attempt_row(attempt=2, ended_at=105.0), attempt_row(outcome=REFUSED)]
    told = mine(label(rows))
    assert (told.failure_class, told.source, told.known_at) == (
        FailureClass.TRANSIENT,
        LabelSource.HINDSIGHT,
        105.0,
    )


def test_a_service_failing_for_others_is_cascading(attempt_row: Make) -> None:
    """When the service fails for most other runs around that time, at whatever step, it is cascading."""
    others = crowd(attempt_row, [TIMED_OUT, REFUSED, AttemptOutcome.SUCCEEDED], step="other", saga="tour")
    told = mine(label([attempt_row(outcome=REFUSED), *others]))
    assert (told.failure_class, told.known_at) == (FailureClass.CASCADING, 101.0 + CASCADE_WINDOW_S)


def test_cascading_is_not_known_before_the_last_attempt(attempt_row: Make) -> None:
    """A label that rests on no later attempt having succeeded waits for the last attempt."""
    rows = [attempt_row(outcome=REFUSED), attempt_row(attempt=2, outcome=REFUSED, ended_at=900.0)]
    told = mine(label([*rows, *crowd(attempt_row, [TIMED_OUT] * 3)]))
    assert (told.failure_class, told.known_at) == (FailureClass.CASCADING, 900.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"at": 101.0 + CASCADE_WINDOW_S + 1},
        {"service": "another"},
        {"failure_class": FailureClass.PERMANENT},
        {"direction": Direction.UNDO},
    ],
)
def test_failures_elsewhere_are_no_cascade(attempt_row: Make, changes: dict[str, Any]) -> None:
    """Failures at another time or service, of undos, or declared permanent prove no cascade."""
    told = mine(label([attempt_row(outcome=REFUSED), *crowd(attempt_row, [REFUSED] * 5, **changes)]))
    assert told.failure_class is FailureClass.UNKNOWN


def test_one_other_run_is_no_cascade(attempt_row: Make) -> None:
    """Many failed attempts of one other run are one run."""
    others = [attempt_row(run_id="other", attempt=n, outcome=REFUSED) for n in range(1, 9)]
    assert mine(label([attempt_row(outcome=REFUSED), *others])).failure_class is FailureClass.UNKNOWN


def test_an_input_that_keeps_failing_while_others_pass_is_permanent(attempt_row: Make) -> None:
    """Several attempts all refused while other runs pass the step: permanent, known after the window."""
    rows = [attempt_row(outcome=REFUSED), attempt_row(attempt=2, outcome=REFUSED, ended_at=110.0)]
    told = mine(label([*rows, *crowd(attempt_row, [AttemptOutcome.SUCCEEDED] * 3, at=400.0)]))
    assert (told.failure_class, told.known_at) == (FailureClass.PERMANENT, 110.0 + PERMANENT_WINDOW_S)
    assert LABEL_WINDOW_S >= PERMANENT_WINDOW_S


def test_a_single_failure_is_never_permanent(attempt_row: Make) -> None:
    """Without a later attempt the class is unknown, however many others pass."""
    told = mine(label([attempt_row(outcome=REFUSED), *crowd(attempt_row, [AttemptOutcome.SUCCEEDED] * 9)]))
    assert (told.failure_class, told.source) == (FailureClass.UNKNOWN, LabelSource.HINDSIGHT)


def test_two_others_prove_nothing(attempt_row: Make) -> None:
    """With too few other runs to compare with, several failures stay unknown."""
    rows = [attempt_row(outcome=REFUSED), attempt_row(attempt=2, outcome=REFUSED)]
    told = mine(label([*rows, *crowd(attempt_row, [AttemptOutcome.SUCCEEDED] * 2)]))
    assert told.failure_class is FailureClass.UNKNOWN


def test_a_declared_class_beats_hindsight(attempt_row: Make) -> None:
    """What the participant declared is trusted although a later attempt succeeded, and known at once."""
    rows = [attempt_row(outcome=REFUSED, failure_class=FailureClass.CASCADING), attempt_row(attempt=2)]
    told = mine(label(rows))
    assert (told.failure_class, told.source, told.known_at) == (
        FailureClass.CASCADING,
        LabelSource.DECLARED,
        101.0,
    )


def test_a_declared_unknown_is_no_declaration(attempt_row: Make) -> None:
    """A participant that does not know leaves the word to hindsight, or to its own later word."""
    first = attempt_row(outcome=REFUSED, failure_class=FailureClass.UNKNOWN)
    again = attempt_row(attempt=2, outcome=REFUSED, failure_class=FailureClass.PERMANENT, ended_at=109.0)
    told = mine(label([first, again]))
    assert (told.failure_class, told.source, told.known_at) == (
        FailureClass.PERMANENT,
        LabelSource.DECLARED,
        109.0,
    )


def test_the_user_has_the_last_word(attempt_row: Make) -> None:
    """The user's label replaces a declared one; for a step not attempted, or passed, it is no label."""
    said = [
        Label(
            run_id="r1",
            step=step,
            kind=FailureKind.BUSINESS,
            source=LabelSource.USER,
            known_at=5_000.0,
        )
        for step in ("book", "passed", "never")
    ]
    rows = [
        attempt_row(outcome=REFUSED, failure_class=FailureClass.TRANSIENT),
        attempt_row(step="passed"),
    ]
    assert label(rows, said) == [said[0]]


def test_a_crash_is_no_failure_of_the_step(attempt_row: Make) -> None:
    """A step whose only trouble was a crash of the engine has no label; its later refusal has one."""
    crashed = attempt_row(outcome=AttemptOutcome.CRASHED, started_at=None)
    assert label([crashed, attempt_row(attempt=2)]) == []
    assert (
        mine(label([crashed, attempt_row(attempt=2, outcome=REFUSED)])).failure_class is FailureClass.UNKNOWN
    )


def test_a_missing_time_is_not_guessed(attempt_row: Make) -> None:
    """A failure without a time is unknown and known at no time, whatever happened around it."""
    rows = [attempt_row(outcome=TIMED_OUT, ended_at=None), *crowd(attempt_row, [TIMED_OUT] * 5)]
    told = mine(label(rows))
    assert (told.kind, told.known_at) == (FailureKind.SLOW, None)
    told = mine(label([attempt_row(outcome=REFUSED, ended_at=None), *crowd(attempt_row, [TIMED_OUT] * 5)]))
    assert (told.kind, told.known_at) == (FailureKind.UNKNOWN, None)


def test_success_and_undos_have_no_label(attempt_row: Make) -> None:
    """A step that succeeded at once, and a failing undo, are not labelled."""
    assert label([attempt_row(), attempt_row(direction=Direction.UNDO, outcome=REFUSED)]) == []


@pytest.mark.parametrize(
    ("before", "kind"),
    [
        ([REFUSED], FailureKind.TRANSIENT),
        ([TIMED_OUT], FailureKind.SLOW),
        ([TIMED_OUT, TIMED_OUT], FailureKind.SLOW),
        ([TIMED_OUT, REFUSED], FailureKind.TRANSIENT),
    ],
)
def test_timeouts_before_a_success_were_slow(
    attempt_row: Make, before: list[AttemptOutcome], kind: FailureKind
) -> None:
    """What passed was slow if only timeouts came before the success, and transient otherwise."""
    tries = [attempt_row(attempt=n, outcome=outcome) for n, outcome in enumerate(before, 1)]
    assert mine(label([*tries, attempt_row(attempt=len(before) + 1)])).kind is kind


@pytest.mark.parametrize(
    ("others", "kind"),
    [
        ([REFUSED, TIMED_OUT, REFUSED], FailureKind.UNAVAILABLE),
        ([REFUSED, TIMED_OUT, AttemptOutcome.SUCCEEDED], FailureKind.OVERLOAD),
        ([REFUSED, AttemptOutcome.SUCCEEDED, AttemptOutcome.SUCCEEDED], FailureKind.UNKNOWN),
    ],
)
def test_a_service_that_fails_for_all_is_unavailable(
    attempt_row: Make, others: list[AttemptOutcome], kind: FailureKind
) -> None:
    """A service that failed for all others was not there, for most overloaded, for few neither."""
    assert mine(label([attempt_row(outcome=REFUSED), *crowd(attempt_row, others)])).kind is kind


def test_a_lone_timeout_was_slow(attempt_row: Make) -> None:
    """A timeout of which nothing more is known was slow."""
    assert mine(label([attempt_row(outcome=TIMED_OUT)])).kind is FailureKind.SLOW


def worded(make: Make, kind: FailureKind, **changes: Any) -> AttemptRow:
    """A failed attempt whose words told a kind."""
    told = {"failure_kind": kind, "kind_source": LabelSource.TAXONOMY, "kind_known_at": 101.0}
    return make(**{"outcome": REFUSED, **told, **changes})


def test_words_are_trusted_more_than_hindsight(attempt_row: Make) -> None:
    """An error whose words told its kind keeps it though a later attempt succeeded, known at its end."""
    told = mine(label([worded(attempt_row, FailureKind.UNAVAILABLE), attempt_row(attempt=2)]))
    assert (told.kind, told.source, told.known_at) == (
        FailureKind.UNAVAILABLE,
        LabelSource.TAXONOMY,
        101.0,
    )


def test_a_bare_timeout_has_no_words(attempt_row: Make) -> None:
    """A timeout is slow by what happened next only: others' failures tell more."""
    bare = worded(attempt_row, FailureKind.SLOW, outcome=TIMED_OUT)
    told = mine(label([bare, *crowd(attempt_row, [TIMED_OUT] * 3)]))
    assert (told.kind, told.source) == (FailureKind.UNAVAILABLE, LabelSource.HINDSIGHT)


def test_words_refine_a_declared_class(attempt_row: Make) -> None:
    """Of a declared class the words tell the finer kind; against it they tell nothing."""
    finer = attempt_row(
        outcome=REFUSED, failure_class=FailureClass.CASCADING, failure_kind=FailureKind.UNAVAILABLE
    )
    against = attempt_row(
        outcome=REFUSED, failure_class=FailureClass.CASCADING, failure_kind=FailureKind.BUSINESS
    )
    assert mine(label([finer])).kind is FailureKind.UNAVAILABLE
    assert mine(label([against])).kind is FailureKind.OVERLOAD
    assert mine(label([against])).source is LabelSource.DECLARED


@pytest.mark.parametrize("outcome", [AttemptOutcome.CANCELLED, AttemptOutcome.OPEN])
def test_what_the_caller_gave_up_is_no_failure(attempt_row: Make, outcome: AttemptOutcome) -> None:
    """An attempt that was cancelled, or had not ended, is no label, and no evidence against a service."""
    assert label([attempt_row(outcome=outcome, ended_at=None)]) == []
    others = crowd(attempt_row, [outcome] * 5)
    assert mine(label([attempt_row(outcome=REFUSED), *others])).kind is FailureKind.UNKNOWN


def test_collateral_of_a_rollback_is_no_failure(attempt_row: Make) -> None:
    """A call that was never made because its run turned back is no failure of its step."""
    collateral = attempt_row(
        outcome=REFUSED,
        error_type="NoFreeThread",
        error_message="the run turned back; the function was not called",
        failure_class=FailureClass.CASCADING,
    )
    assert label([collateral]) == []
    full = replace(collateral, error_message="no place within <n> s; the function was not called")
    assert mine(label([full])).kind is FailureKind.OVERLOAD
