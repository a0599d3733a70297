"""What is known of a running saga: its events so far, where it stands, and its services' health."""

from __future__ import annotations

import pytest

from sagacity_data.rows import AttemptOutcome
from sagacity_engine import Direction, FailureClass, Saga, Step
from sagacity_models.live_risk_events import (
    AttemptEnd,
    RunEvents,
    RunShape,
    ServiceHealth,
    saga_of,
    standing_of,
)

FORWARD, UNDO = Direction.FORWARD, Direction.UNDO
FAILED, DONE = AttemptOutcome.FAILED, AttemptOutcome.SUCCEEDED


def end(
    step: str,
    at: float,
    outcome: AttemptOutcome = DONE,
    *,
    attempt: int = 1,
    direction: Direction = FORWARD,
    failure_class: FailureClass | None = None,
) -> AttemptEnd:
    return AttemptEnd(
        step=step,
        service=f"{step} vendor",
        direction=direction,
        attempt=attempt,
        outcome=outcome,
        ended_at=at,
        duration_s=2.5,
        failure_class=failure_class,
        maximum_attempts=3,
    )


def test_events_tell_where_a_run_stands() -> None:
    """Done, left, retries, failures and undos are counted by hand over a run that turns back."""
    saga = Saga(name="trip", steps=(Step(name="a"), Step(name="b"), Step(name="c")))
    run = RunEvents("trip", ServiceHealth(), RunShape.of(saga))
    told = [run.launched({"tier": "gold"}, 100.0)]
    told += [
        run.ended(each)
        for each in (
            end("a", 101.0, FAILED, failure_class=FailureClass.TRANSIENT),
            end("a", 102.0, attempt=2),
            end("b", 103.0, FAILED, failure_class=FailureClass.PERMANENT),
            end("a", 104.0, direction=UNDO),
        )
    ]
    columns = [
        tuple(event.attributes[key] for key in ("steps done", "steps left", "retries", "failures", "undos"))
        for event in told
    ]
    assert columns == [(0, 3, 0, 0, 0), (0, 3, 0, 1, 0), (1, 2, 1, 1, 0), (1, 2, 1, 2, 0), (0, 3, 1, 2, 1)]
    assert told[0].attributes["context tier"] == "gold"
    assert (told[1].attributes["class"], told[2].attributes["class"]) == ("transient", "none")
    assert (told[2].attributes["attempts left"], told[2].attributes["duration"]) == (1, 2.5)
    assert [standing_of(told[: k + 1]) for k in range(5)] == [
        "trip/0",
        "trip/0",
        "trip/1",
        "trip/1",
        "trip/undoing",
    ]
    assert saga_of(told) == "trip"


def test_without_a_definition_nothing_is_said_of_what_is_left() -> None:
    """A run of an unknown definition has its counts, and no steps left."""
    run = RunEvents("trip", ServiceHealth())
    assert "steps left" not in run.launched({}, 1.0).attributes


def test_alternatives_are_not_counted_as_still_to_come() -> None:
    """A step that only runs in place of another is no step left."""
    saga = Saga(name="trip", steps=(Step(name="a"), Step(name="b", alternative_to="a")))
    assert set(RunShape.of(saga).services) == {"a"}


def test_health_forgets_by_half_each_quarter_of_an_hour() -> None:
    """Three failures of four calls, then time: the late share falls towards the long run by the half-life."""
    health = ServiceHealth()
    assert health.failing("x", 0.0) == 0.1
    for outcome in (FAILED, FAILED, DONE, FAILED):
        health.note(end("x", 1000.0, outcome))
    long_run = 4 / 14
    assert health.failing("x vendor", 1000.0) == pytest.approx((3 + 3 * long_run) / 7)
    assert health.failing("x vendor", 1900.0) == pytest.approx((1.5 + 3 * long_run) / 5)
    assert health.failing("x vendor", 1e9) == pytest.approx(long_run)


def test_hopeless_inputs_and_cut_off_calls_do_not_speak_against_a_service() -> None:
    """A permanent refusal counts as an answer; a call that was cut off counts as nothing."""
    health = ServiceHealth()
    health.note(end("x", 1.0, FAILED, failure_class=FailureClass.PERMANENT))
    health.note(end("x", 1.0, AttemptOutcome.CANCELLED))
    assert health.failing("x vendor", 1.0) == pytest.approx((0 + 3 * (1 / 11)) / 4)


def test_a_moment_that_is_no_number_is_refused() -> None:
    """A launch at no moment cannot be placed in time."""
    with pytest.raises(ValueError, match="no moment"):
        RunEvents("trip", ServiceHealth()).launched({}, float("nan"))
