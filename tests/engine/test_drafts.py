"""Frozen values that are made fast are the values that their class makes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sagacity_engine.batch import Batch, new_batch
from sagacity_engine.drafts import maker
from sagacity_engine.events import (
    AttemptStarted,
    AttemptSucceeded,
    Direction,
    RunEnded,
    Status,
    attempt_started,
    attempt_succeeded,
    run_ended,
)
from sagacity_engine.handlers import Call, new_call

STARTED: dict[str, Any] = {"at": 1.5, "step": "pay", "direction": Direction.FORWARD, "attempt": 2}
CALL: dict[str, Any] = {
    "run_id": "r-1",
    "saga": "trip",
    "step": "pay",
    "direction": Direction.UNDO,
    "attempt": 1,
    "input": {"who": "Asha"},
    "outputs": {},
    "context": {},
}
MADE = [
    (attempt_started(**STARTED), AttemptStarted(**STARTED)),
    (attempt_succeeded(**STARTED), AttemptSucceeded(**STARTED)),
    (attempt_succeeded(**STARTED, output=[1]), AttemptSucceeded(**STARTED, output=[1])),
    (run_ended(at=2.0, status=Status.COMPLETED), RunEnded(at=2.0, status=Status.COMPLETED)),
    (new_batch("r-1", 3, ()), Batch("r-1", 3, ())),
    (new_call(**CALL), Call(**CALL)),
]


@pytest.mark.parametrize(("made", "value"), MADE, ids=lambda value: type(value).__name__)
def test_what_is_made_fast_is_what_the_class_makes(made: Any, value: Any) -> None:
    """It is of the same class, equal, told alike, copied alike and as frozen."""
    assert type(made) is type(value)
    assert made == value
    assert repr(made) == repr(value)
    assert dataclasses.replace(made) == value
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, dataclasses.fields(made)[0].name, "other")
    with pytest.raises(AttributeError):
        object.__setattr__(made, "unheard_of", 1)


def test_what_is_left_out_or_unknown_is_refused() -> None:
    """The maker asks for the fields that the class asks for, and for no others."""
    make: Any = attempt_started
    with pytest.raises(TypeError, match="missing"):
        make(at=1.0)
    with pytest.raises(TypeError, match="unexpected"):
        make(**STARTED, output=None)


def test_a_class_that_checks_its_values_has_no_maker() -> None:
    """What a class does beside filling its fields in would be left out."""

    @dataclasses.dataclass(frozen=True, slots=True)
    class Checked:
        number: int

        def __post_init__(self) -> None:
            assert self.number

    with pytest.raises(AssertionError, match="makes them itself"):
        maker(Checked)
