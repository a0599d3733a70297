"""Which fields of events leave the process: each has been decided about."""

import dataclasses
from typing import Any, get_args

import pytest

from sagacity_api.telemetry.redaction import TOLD, redacted
from sagacity_engine import Event

WITHHELD = {
    "RunStarted": {"input", "locks", "reasons"},
    "AttemptSucceeded": {"output"},
    "AttemptFailed": {"message"},
    "AttemptUnknown": {"message"},
    "ProbeAnswered": {"output", "message"},
    "SignalReceived": {"payload", "who"},
    "CancelRequested": {"why", "who"},
    "OperatorActed": {"why", "who", "output"},
    "RunEnded": {"reason"},
}


@pytest.mark.parametrize("kind", get_args(Event))
def test_every_field_is_decided_about(kind: type) -> None:
    """Each field of each kind of event is told or withheld: a new one fails here until one has decided."""
    fields = {field.name for field in dataclasses.fields(kind)}
    told, withheld = TOLD[kind.__name__], WITHHELD.get(kind.__name__, set())
    assert told | withheld == fields
    assert told & withheld == frozenset()


def test_what_is_told_stays_the_same(story: Any, play: Any) -> None:
    """A redacted event has every told field as it was, and none of the withheld ones."""
    for _, event in play(story, listener=lambda *_: None):
        kept = redacted(event)
        kind = type(event).__name__
        for name in TOLD[kind]:
            assert getattr(kept, name) == getattr(event, name)
        for name in WITHHELD.get(kind, ()):
            assert not getattr(kept, name)
