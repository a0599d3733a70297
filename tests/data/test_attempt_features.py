"""What is known when an attempt starts, worked out by hand, and that nothing of its end is in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sagacity_data import AttemptOutcome, AttemptRow, FailureKind, LabelSource
from sagacity_data.attempt_features import as_of_start, attempt_features, attempts_with_features
from sagacity_data.feature_catalogue import ATTEMPT_FEATURES, FEATURES, KNOWN_AT
from sagacity_data.rows import Known
from sagacity_engine import Direction, FailureClass, Kind

Make = Callable[..., AttemptRow]


def test_every_feature_says_since_when_it_is_known() -> None:
    """Launch features are known at the launch, attempt features at the attempt, and no name is both."""
    assert {feature.known for feature in FEATURES} == {Known.LAUNCH}
    assert {feature.known for feature in ATTEMPT_FEATURES} == {Known.ATTEMPT}
    assert len(KNOWN_AT) == len(FEATURES) + len(ATTEMPT_FEATURES)


def test_the_values_are_those_of_the_start(attempt_row: Make) -> None:
    """A second attempt, seven seconds after the launch and three after the first one's end."""
    first = attempt_row(
        ended_at=104.0, outcome=AttemptOutcome.FAILED, failure_class=FailureClass.TRANSIENT, error_type="Busy"
    )
    second = attempt_row(
        attempt=2,
        scheduled_at=106.0,
        started_at=107.0,
        ended_at=108.0,
        steps_done=4,
        position=5,
        rank=6,
        stage=2,
        in_flight=3,
        breaker_state="half_open",
        input_bytes=1_000,
    )
    assert attempt_features(second, first) == {
        "attempt_direction": "forward",
        "attempt_number": 2.0,
        "attempt_left": 1.0,
        "attempt_timeout_s": 10.0,
        "attempt_position": 5.0,
        "attempt_rank": 6.0,
        "attempt_stage": 2.0,
        "attempt_steps_done": 4.0,
        "attempt_since_launch": math.log(8.0),
        "attempt_late": math.log(2.0),
        "attempt_in_flight": 3.0,
        "attempt_breaker": "half_open",
        "attempt_input": math.log(1_001.0),
        "attempt_last_outcome": "failed",
        "attempt_last_class": "transient",
        "attempt_since_last": math.log(4.0),
    }


def test_what_is_not_known_is_left_out(attempt_row: Make) -> None:
    """Without times and counts there is no number in their place; a first attempt has none before it."""
    told = attempt_features(
        attempt_row(
            launch_at=None,
            started_at=None,
            scheduled_at=None,
            timeout_s=None,
            maximum_attempts=None,
            position=None,
            steps_done=None,
            in_flight=None,
        )
    )
    assert told == {
        "attempt_direction": "forward",
        "attempt_number": 1.0,
        "attempt_breaker": "",
        "attempt_last_outcome": "none",
        "attempt_last_class": "none",
    }


def test_an_end_that_comes_after_the_start_is_not_known_yet(attempt_row: Make) -> None:
    """Of an attempt before that was still open at the start, only that it was open is told."""
    first = attempt_row(ended_at=120.0, outcome=AttemptOutcome.FAILED)
    told = attempt_features(attempt_row(attempt=2, started_at=110.0), first)
    assert told["attempt_last_outcome"] == "open"
    assert told["attempt_last_class"] == "none"
    assert "attempt_since_last" not in told


def test_attempts_follow_their_own_step_and_direction(attempt_row: Make) -> None:
    """In any order, an attempt knows the one before it of its run, step and direction, and no other."""
    rows = [
        attempt_row(attempt=2, started_at=103.0),
        attempt_row(direction=Direction.UNDO, started_at=110.0),
        attempt_row(outcome=AttemptOutcome.LOST_REPLY),
        attempt_row(run_id="r2", attempt=2, started_at=103.0),
        attempt_row(step="pay", outcome=AttemptOutcome.FAILED),
    ]
    told = {row.key: features["attempt_last_outcome"] for row, features in attempts_with_features(rows)}
    assert told == {
        ("r1", "book", "forward", 1): "none",
        ("r1", "book", "forward", 2): "lost_reply",
        ("r1", "book", "undo", 1): "none",
        ("r1", "pay", "forward", 1): "none",
        ("r2", "book", "forward", 2): "none",
    }


ANY_TIME = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@given(
    times=st.tuples(ANY_TIME, ANY_TIME, ANY_TIME, ANY_TIME),
    outcome=st.sampled_from(AttemptOutcome),
    number=st.integers(1, 5),
)
def test_nothing_of_the_end_is_in_it(times: tuple[Any, ...], outcome: AttemptOutcome, number: int) -> None:
    """A row from the store and the same row as of its start give the same features, and finite ones."""
    launch_at, scheduled_at, started_at, ended_at = times
    row = replace(
        ROW,
        launch_at=launch_at,
        scheduled_at=scheduled_at,
        started_at=started_at,
        ended_at=ended_at,
        outcome=outcome,
        attempt=number,
        failure_class=FailureClass.CASCADING,
        failure_kind=FailureKind.OVERLOAD,
        kind_source=LabelSource.USER,
        kind_known_at=ended_at,
    )
    told = attempt_features(row)
    assert told == attempt_features(as_of_start(row))
    assert all(isinstance(value, str) or math.isfinite(value) for value in told.values())


ROW = AttemptRow(
    run_id="r1", saga="trip", definition_hash="", step="book", service="hotels", region="",
    kind=Kind.COMPENSATABLE, direction=Direction.FORWARD, attempt=1, position=None, steps_done=None,
    in_flight=None, scheduled_at=None, started_at=None, timeout_s=None, maximum_attempts=None, ended_at=None,
    outcome=AttemptOutcome.OPEN, error_type="", failure_class=None, launch_at=None, arm="", propensity=1.0,
    fallback=False, advice_id="", model_version="", context={}, features={},
)  # fmt: skip


def test_the_start_knows_nothing_of_the_end(attempt_row: Make) -> None:
    """As of its start an attempt is open, with no end, error or kind; all else is as it was."""
    row = attempt_row(outcome=AttemptOutcome.FAILED, error_message="no", failure_kind=FailureKind.SLOW)
    started = as_of_start(row)
    assert (started.outcome, started.ended_at, started.error_type) == (AttemptOutcome.OPEN, None, "")
    assert (started.failure_class, started.failure_kind, started.error_message) == (None, None, "")
    assert (
        replace(
            started,
            **{
                field.name: getattr(row, field.name)
                for field in fields(AttemptRow)
                if field.metadata["known"] == "end"
            },
        )
        == row
    )
