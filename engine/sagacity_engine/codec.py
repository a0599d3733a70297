"""Events to the text that a journal keeps, and back.

A record is the event's class name and a JSON object of its fields, without those that have their default.
The fields of each class are looked up once. The plan in every `RunStarted` is by far its largest part and the
same for many runs, so its plain form is kept for the latest `PLANS_MAX` plan values.
"""

from __future__ import annotations

import dataclasses
import json
from functools import lru_cache
from typing import Any

from sagacity_engine.errors import IllegalEvent, SagaRefused
from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    DeadlineReached,
    Event,
    RunEnded,
    RunStarted,
)
from sagacity_engine.plan import Plan
from sagacity_engine.wire import from_plain, to_plain

PLANS_MAX = 256
"""The most plan values whose plain form is kept."""

KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        RunStarted,
        AttemptStarted,
        AttemptSucceeded,
        AttemptFailed,
        AttemptUnknown,
        DeadlineReached,
        CancelRequested,
        RunEnded,
    )
}


def encode(event: Event) -> tuple[str, str]:
    """The record's kind and text; raises `TypeError` or `ValueError` for what JSON cannot say."""
    body: dict[str, Any] = {}
    for name, default in _FIELDS[type(event).__name__]:
        value = getattr(event, name)
        if default is dataclasses.MISSING or value != default:
            body[name] = plain_plan(value) if isinstance(value, Plan) else value
    return type(event).__name__, _to_json(body)


def decode(kind: str, text: str) -> Event:
    """The event; raises `IllegalEvent` when the record is none of ours."""
    if kind not in KINDS:
        raise IllegalEvent(f"the journal holds an event of unknown kind {kind!r}")
    try:
        event: Event = from_plain(KINDS[kind], json.loads(text), kind)
    except (SagaRefused, ValueError) as refusal:
        raise IllegalEvent(f"the journal holds an unreadable event: {refusal}") from None
    return event


def plain_plan(plan: Plan) -> dict[str, Any]:
    """The plan as JSON-able mappings without defaults; shared by all who ask, so never to be changed."""
    try:
        return _kept_plan(plan)
    except TypeError:  # A plan from elsewhere may hold lists, which cannot be looked up.
        return _plain(plan)


def _plain(plan: Plan) -> dict[str, Any]:
    plain: dict[str, Any] = to_plain(plan, omit_defaults=True)
    return plain


_kept_plan = lru_cache(maxsize=PLANS_MAX)(_plain)


def _fields(kind: type) -> tuple[tuple[str, Any], ...]:
    """Name and default of each field, in the order of the class."""
    return tuple(
        (
            field.name,
            field.default if field.default_factory is dataclasses.MISSING else field.default_factory(),
        )
        for field in dataclasses.fields(kind)
    )


_FIELDS = {name: _fields(kind) for name, kind in KINDS.items()}


def _other(value: object) -> object:
    plain = to_plain(value)
    if plain is value:
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return plain


_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=_other).encode
