"""What a journal's reader makes at once is what the general reader makes, and it makes nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sagacity_engine import codec
from sagacity_engine.errors import FailureClass, IllegalEvent
from sagacity_engine.event_forms import EventForm
from sagacity_engine.events import (
    AttemptFailed,
    AttemptSucceeded,
    AttemptUnknown,
    Direction,
    RunEnded,
    RunStarted,
    SignalReceived,
    Status,
    UnknownReason,
)
from sagacity_engine.plan import Plan
from sagacity_engine.wire import from_plain

PAY: dict[str, Any] = {"at": 2.5, "step": "pay", "direction": "forward", "attempt": 1}
START: dict[str, Any] = {"run_id": "r", "at": 1.0, "definition_hash": "d", "plan": "p"}
PLAN = Plan(saga="trip", definition_hash="d", steps=())


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (AttemptSucceeded, PAY),
        (AttemptSucceeded, {**PAY, "output": {"seats": [1, None, {"row": 2}]}}),
        (AttemptFailed, {**PAY, "error_type": "Busy", "failure_class": "transient", "jitter": 0.25}),
        (AttemptFailed, {**PAY, "error_type": "Busy", "retry_after_s": None, "strategy": None}),
        (AttemptFailed, {**PAY, "error_type": "Busy", "retry_after_s": 3.5, "terminal": True}),
        (AttemptUnknown, {**PAY, "direction": "undo", "reason": "lost_reply"}),
        (SignalReceived, {"at": 3.0, "name": "go", "approve": False, "payload": "x"}),
        (RunEnded, {"at": 4.0, "status": "COMPLETED"}),
    ],
)
def test_what_is_made_at_once_is_what_the_general_reader_makes(kind: type, body: dict[str, Any]) -> None:
    """Members, optional values and defaults come out equal, of the same class, and as frozen."""
    made = EventForm(kind).read(body)
    assert made == from_plain(kind, body, "")
    assert type(made) is kind
    with pytest.raises(AttributeError):
        made.at = 0.0  # type: ignore[attr-defined]


def test_members_are_members_and_lists_are_tuples() -> None:
    """A text that names a member becomes it; a list of texts becomes a tuple; a plan is taken as it is."""
    failed = EventForm(AttemptFailed).read({**PAY, "error_type": "Busy", "failure_class": "permanent"})
    assert failed is not None
    assert failed.direction is Direction.FORWARD
    assert failed.failure_class is FailureClass.PERMANENT
    unknown = EventForm(AttemptUnknown).read({**PAY, "reason": "crashed"})
    assert unknown is not None
    assert unknown.reason is UnknownReason.CRASHED
    started = EventForm(RunStarted).read({**START, "plan": PLAN, "reasons": ["a", "b"], "locks": []})
    assert started is not None
    assert (started.plan, started.reasons, started.locks, started.input) == (PLAN, ("a", "b"), (), {})


@pytest.mark.parametrize(
    "change",
    [
        {"at": 2},  # A whole number, which the general reader makes a float of.
        {"at": "2.5"},
        {"at": True},
        {"attempt": 1.0},
        {"attempt": True},
        {"step": None},
        {"step": ["pay"]},
        {"direction": "sideways"},
        {"direction": None},
        {"direction": ["forward"]},
        {"surplus": 1},
    ],
)
def test_whatever_is_not_of_the_very_type_is_left_to_the_general_reader(change: dict[str, Any]) -> None:
    """Nothing is converted or refused here."""
    assert EventForm(AttemptSucceeded).read({**PAY, **change}) is None


def test_a_field_that_is_missing_is_left_to_the_general_reader() -> None:
    """No event is made of less than its fields."""
    for name in PAY:
        body = {field: value for field, value in PAY.items() if field != name}
        assert EventForm(AttemptSucceeded).read(body) is None


@pytest.mark.parametrize("change", [{"reasons": ["a", 1]}, {"reasons": "ab"}, {"input": []}, {"plan": {}}])
def test_a_start_of_other_types_is_left_to_the_general_reader(change: dict[str, Any]) -> None:
    """Lists hold what their field says; a mapping is one; a plan that is still text is none."""
    assert EventForm(RunStarted).read({**START, "plan": PLAN, **change}) is None


def test_a_batch_is_read_as_strictly_as_before() -> None:
    """What may be converted is; what may not is refused in the same words, whatever the event."""

    def decoded(kind: str, body: dict[str, Any]) -> Any:
        [event] = codec.decode_batch(json.dumps([[kind, body]]), {"p": PLAN}.__getitem__)
        return event

    made = decoded("AttemptSucceeded", {**PAY, "at": 2})
    assert (made.at, type(made.at)) == (2.0, float)
    assert decoded("RunStarted", {**START, "at": 1, "reasons": ["a"]}) == decoded(
        "RunStarted", {**START, "reasons": ["a"]}
    )
    assert decoded("RunEnded", {"at": 4.0, "status": "ABANDONED"}).status is Status.ABANDONED
    for kind, body, words in (
        ("AttemptSucceeded", {**PAY, "at": "soon"}, r"AttemptSucceeded.at is 'soon'; it must be a number"),
        ("AttemptSucceeded", {**PAY, "step": 7}, r"AttemptSucceeded.step is 7; it must be text"),
        ("AttemptSucceeded", {**PAY, "stepp": 7}, r"unknown field 'stepp'; did you mean 'step'\?"),
        ("AttemptSucceeded", {**PAY, "direction": "up"}, r"direction is 'up'; it must be one of forward"),
        ("RunStarted", {**START, "reasons": [1]}, r"RunStarted.reasons\[0\] is 1; it must be text"),
        ("RunEnded", {"at": 4.0}, r"RunEnded lacks 'status'; add it"),
    ):
        with pytest.raises(IllegalEvent, match=words):
            decoded(kind, body)
