from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sagacity_data import (
    FEATURE_NAMES,
    AttemptOutcome,
    AttemptRow,
    FailureKind,
    Label,
    LabelSource,
    LaunchFeatures,
    feature_columns,
    launch_frame,
)
from sagacity_data.training_frame import IDENTITY_COLUMNS, OUTCOME_COLUMNS
from sagacity_engine import Direction, RetryPolicy, Saga, Step
from sagacity_engine.virtual.host import Reply

Make = Callable[..., AttemptRow]
SAGA = Saga(
    name="trip",
    steps=(
        Step(name="fly"),
        Step(
            name="stay", idempotent=True, start_to_close_timeout_s=5.0, retry=RetryPolicy(maximum_attempts=2)
        ),
        Step(name="car"),
    ),
)
SCRIPT = {
    "fly": [Reply(duration_s=2.0, error_type="Busy")],
    "stay": [Reply(duration_s=60.0), Reply(duration_s=1.0, error_type="SoldOut")],
}


def test_one_line_per_attempted_step(play: Callable[..., Any]) -> None:
    """Steps that were attempted have one line with the first attempt's outcome; the others have none."""
    frame = launch_frame(play(SAGA, SCRIPT, features=LaunchFeatures()).rows)
    columns = [
        "step",
        "first_outcome",
        "refused",
        "timed_out",
        "duration_s",
        "timeout_s",
        "attempts",
        "final_outcome",
    ]
    assert frame[columns].to_numpy().tolist() == [
        ["fly", "failed", True, False, 2.0, 10.0, 2, "succeeded"],
        ["stay", "timed_out", False, True, 5.0, 5.0, 2, "failed"],
    ]
    assert frame["failure_class"].tolist() == [
        "transient",
        "permanent",
    ]  # Sold out: it will not help to ask again.
    assert frame["position"].tolist() == [0.0, 1.0]


def test_columns_are_named_by_their_role(play: Callable[..., Any]) -> None:
    """Identity, features and outcomes make up the columns, and no feature has another column's name."""
    frame = launch_frame(
        play(SAGA, launches=[("r1", 1.0, {"season": "high"})], features=LaunchFeatures()).rows
    )
    assert set(feature_columns(frame)) == {*FEATURE_NAMES, "context.season"}
    assert {*feature_columns(frame), *IDENTITY_COLUMNS, *OUTCOME_COLUMNS} == set(frame.columns)
    assert not set(FEATURE_NAMES) & {*IDENTITY_COLUMNS, *OUTCOME_COLUMNS}


def test_features_are_those_of_the_rows(play: Callable[..., Any]) -> None:
    """Each line has its row's features: numbers as floats, texts as they are."""
    rows = play(SAGA, SCRIPT, features=LaunchFeatures()).rows
    frame = launch_frame(rows)
    first = next(row for row in rows if isinstance(row, AttemptRow))
    line = frame.iloc[0]
    assert {name: line[name] for name in FEATURE_NAMES} == dict(first.features)
    assert frame["service_failure_3h"].dtype == "float64"


def test_an_absent_feature_is_missing(attempt_row: Make) -> None:
    """A context key that a run did not have is NaN, or None for text; a key of both types is text."""
    rows = [
        attempt_row(run_id="r1", features={"context.n": 1.0, "context.mixed": 1.0}),
        attempt_row(run_id="r2", features={"context.tier": "gold", "context.mixed": "two"}),
    ]
    frame = launch_frame(rows)
    assert frame["context.n"].tolist()[0] == 1.0
    assert math.isnan(frame["context.n"].tolist()[1])
    assert frame["context.tier"].tolist() == [None, "gold"]
    assert frame["context.mixed"].tolist() == ["1.0", "two"]


def test_a_step_whose_first_attempt_is_unknown_to_us_is_left_out(attempt_row: Make) -> None:
    """A second attempt without its first, and an undo, make no line."""
    rows = [attempt_row(attempt=2), attempt_row(step="other", direction=Direction.UNDO)]
    assert len(launch_frame(rows)) == 0
    assert set(launch_frame([]).columns) == {*IDENTITY_COLUMNS, *OUTCOME_COLUMNS}


def test_missing_times_are_missing(attempt_row: Make) -> None:
    """A masked time gives no duration and no time of knowledge, and stays a number column."""
    frame = launch_frame([attempt_row(started_at=None, ended_at=None, timeout_s=None, launch_at=None)])
    for name in ("duration_s", "known_at", "timeout_s", "launch_at", "label_known_at"):
        assert frame[name].dtype == "float64"
        assert math.isnan(frame[name].tolist()[0])


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_given_labels_are_used(attempt_row: Make, shift: float) -> None:
    """Labels that are handed in replace those of hindsight, with their source and time."""
    said = Label(
        run_id="r1",
        step="book",
        kind=FailureKind.BUSINESS,
        source=LabelSource.USER,
        known_at=500.0 + shift,
    )
    row = attempt_row(outcome=AttemptOutcome.FAILED)
    line = launch_frame([row, replace(row, run_id="r2")], [said])
    assert line["failure_class"].tolist() == ["permanent", None]
    assert line["label_source"].tolist() == ["user", None]
    assert line["label_known_at"].tolist()[0] == 500.0 + shift
