"""Events to the text that a journal keeps, and back.

An event's record is its class name and a JSON object of its fields, without those that have their default; a
batch is one JSON array of such records. A plan is by far the largest part of a run and the same for many, so
a batch names it by its hash, and the plan's own text, a `PlanText`, is kept once. A record by itself, as
layout 1 kept it and as a request travels, has the plan inside. Both are read.

The fields of each class are looked up once, and the texts of the latest plans are kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any, get_args

from sagacity_engine.errors import IllegalEvent, SagaRefused
from sagacity_engine.events import Event, RunStarted
from sagacity_engine.plan import Plan
from sagacity_engine.wire import from_plain, to_plain

PLANS_MAX = 256
"""The most plan values whose text is kept."""

KINDS: dict[str, type] = {kind.__name__: kind for kind in get_args(Event)}


@dataclasses.dataclass(frozen=True, slots=True)
class PlanText:
    """A plan as it is kept: its text, and the SHA-256 of the text as its name."""

    hash: str
    document: str

    def __post_init__(self) -> None:
        if hashlib.sha256(self.document.encode()).hexdigest() != self.hash:
            raise ValueError(f"the plan {self.hash[:12]} was altered")


def encode_batch(events: Iterable[Event]) -> tuple[str, PlanText | None]:
    """The text of a batch, and of the plan that it names if it starts a run.

    Raises `TypeError` or `ValueError` for what JSON cannot say.
    """
    named: PlanText | None = None
    records: list[tuple[str, dict[str, Any]]] = []
    for event in events:
        kind = type(event).__name__
        body = _body(kind, event)
        if isinstance(event, RunStarted):
            named = plan_text(event.plan)
            body["plan"] = named.hash
            if event.definition_hash == event.plan.definition_hash:
                del body["definition_hash"]
        records.append((kind, body))
    return _to_json(records), named


def decode_batch(text: str, plan_named: Callable[[str], Plan]) -> tuple[Event, ...]:
    """The events of a batch; raises `IllegalEvent` when a record is none of ours."""
    try:
        records = [(str(kind), dict(body)) for kind, body in json.loads(text)]
    except (ValueError, TypeError) as problem:
        raise IllegalEvent(f"the journal holds an unreadable batch: {problem}") from None
    return tuple(
        _started(body, plan_named) if kind == RunStarted.__name__ else _event(kind, body)
        for kind, body in records
    )


def plan_named(text: str) -> str:
    """The hash of the plan that a run's first batch names."""
    return str(json.loads(text)[0][1]["plan"])


def encode(event: Event) -> tuple[str, str]:
    """One record's kind and text; raises `TypeError` or `ValueError` for what JSON cannot say."""
    kind = type(event).__name__
    return kind, _to_json(_body(kind, event))


def decode(kind: str, text: str) -> Event:
    """The event of one record; raises `IllegalEvent` when it is none of ours."""
    try:
        body = json.loads(text)
    except ValueError as problem:
        raise IllegalEvent(f"the journal holds an unreadable event: {problem}") from None
    return _event(kind, body)


def plan_text(plan: Plan) -> PlanText:
    """The plan's text; that of a plan seen before is not made again."""
    kept = _LATEST.get(id(plan))
    if kept is not None and kept[0] is plan:
        return kept[1]
    try:
        text = _text_of_equal(plan)
    except TypeError:  # A plan from elsewhere may hold lists, which cannot be looked up.
        text = _text(plan)
    if len(_LATEST) >= PLANS_MAX:
        _LATEST.clear()
    _LATEST[id(plan)] = (plan, text)
    return text


def read_plan_text(text: PlanText) -> Plan:
    """The plan; raises `IllegalEvent` when it is none of ours."""
    try:
        return from_plain(Plan, json.loads(text.document), "plan")
    except (SagaRefused, ValueError) as refusal:
        raise IllegalEvent(f"the journal holds an unreadable plan: {refusal}") from None


def _event(kind: str, body: object) -> Event:
    if kind not in KINDS:
        raise IllegalEvent(f"the journal holds an event of unknown kind {kind!r}")
    try:
        event: Event = from_plain(KINDS[kind], body, kind)
    except (SagaRefused, ValueError) as refusal:
        raise IllegalEvent(f"the journal holds an unreadable event: {refusal}") from None
    return event


def _started(body: dict[str, Any], plan_named: Callable[[str], Plan]) -> Event:
    plan = plan_named(str(body.get("plan")))
    event = _event(RunStarted.__name__, {"definition_hash": plan.definition_hash, **body, "plan": _NO_PLAN})
    assert isinstance(event, RunStarted), "the record says so"
    return dataclasses.replace(event, plan=plan)


def _body(kind: str, event: Event) -> dict[str, Any]:
    names, values, usual = _FIELDS[kind]
    return {
        name: value
        for name, value, default in zip(names, values(event), usual, strict=True)
        if value is not default and value != default
    }


def _fields(kind: type) -> tuple[tuple[str, ...], Callable[[object], tuple[Any, ...]], tuple[Any, ...]]:
    """The names of the fields, what reads them all at once, and their defaults."""
    fields = dataclasses.fields(kind)
    names = tuple(field.name for field in fields)
    usual = tuple(
        field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in fields
    )
    values: Callable[[object], Any] = attrgetter(*names)
    return names, values if len(names) > 1 else (lambda event: (values(event),)), usual


def _other(value: object) -> object:
    plain = to_plain(value, omit_defaults=isinstance(value, Plan))
    if plain is value:
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return plain


def _text(plan: Plan) -> PlanText:
    document = _to_json(to_plain(plan, omit_defaults=True))
    return PlanText(hashlib.sha256(document.encode()).hexdigest(), document)


_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False, default=_other)
_to_json = _ENCODER.encode
_FIELDS = {name: _fields(kind) for name, kind in KINDS.items()}
_NO_PLAN: Mapping[str, Any] = {"saga": "", "definition_hash": "", "steps": ()}
_LATEST: dict[int, tuple[Plan, PlanText]] = {}
_text_of_equal = lru_cache(maxsize=PLANS_MAX)(_text)
