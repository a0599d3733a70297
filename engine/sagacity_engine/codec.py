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
from json.encoder import encode_basestring_ascii
from math import isfinite
from operator import attrgetter
from typing import Any, get_args

from sagacity_engine.errors import FailureClass, IllegalEvent, SagaRefused
from sagacity_engine.event_forms import EventForm
from sagacity_engine.events import (
    AttemptStarted,
    AttemptSucceeded,
    Direction,
    Event,
    RunEnded,
    RunStarted,
    Status,
)
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
    plan: PlanText | None = None
    records: list[str] = []
    last_at, at = None, ""  # Events of one batch often have one time.
    for event in events:
        kind = type(event).__name__
        if event.at is not last_at:
            last_at, at = event.at, _number(event.at)
        if isinstance(event, AttemptStarted) or (
            isinstance(event, AttemptSucceeded) and event.output is None
        ):
            step, direction = encode_basestring_ascii(event.step), event.direction
            about = f'"at":{at},"step":{step},"direction":"{direction}","attempt":{event.attempt}'
            records.append(f'["{kind}",{{{about}}}]')
        elif isinstance(event, RunStarted):
            plan = plan_text(event.plan)
            records.append(_started_record(event, at, plan))
        elif isinstance(event, RunEnded) and not (event.reason or event.step):
            records.append(f'["{kind}",{{"at":{at},"status":"{event.status}"}}]')
        else:
            records.append(f'["{kind}",{_WRITERS[kind].text(event)}]')
    return f"[{','.join(records)}]", plan


def decode_batch(text: str, plan_named: Callable[[str], Plan]) -> tuple[Event, ...]:
    """The events of a batch; raises `IllegalEvent` when a record is none of ours."""
    try:
        records = [(str(kind), dict(body)) for kind, body in _from_json(text)]
    except (ValueError, TypeError) as problem:
        raise IllegalEvent(f"the journal holds an unreadable batch: {problem}") from None
    return tuple(
        [
            _started(body, plan_named) if kind == RunStarted.__name__ else _event(kind, body)
            for kind, body in records
        ]
    )


def plan_named(text: str) -> str:
    """The hash of the plan that a run's first batch names."""
    return str(json.loads(text)[0][1]["plan"])


def encode(event: Event) -> tuple[str, str]:
    """One record's kind and text; raises `TypeError` or `ValueError` for what JSON cannot say."""
    kind = type(event).__name__
    return kind, _WRITERS[kind].text(event)


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
    event: Event | None = _FORMS[kind].read(body) if isinstance(body, dict) else None
    if event is not None:
        return event
    try:
        made: Event = from_plain(KINDS[kind], body, kind)
    except (SagaRefused, ValueError) as refusal:
        raise IllegalEvent(f"the journal holds an unreadable event: {refusal}") from None
    return made


def _started(body: dict[str, Any], plan_named: Callable[[str], Plan]) -> Event:
    plan = plan_named(str(body.get("plan")))
    told = {"definition_hash": plan.definition_hash, **body}
    if (swift := _START.read({**told, "plan": plan})) is not None:
        return swift
    event = _event(RunStarted.__name__, {**told, "plan": _NO_PLAN})
    assert isinstance(event, RunStarted), "the record says so"
    return dataclasses.replace(event, plan=plan)


def _started_record(event: RunStarted, at: str, plan: PlanText) -> str:
    text = f'["RunStarted",{{"run_id":{encode_basestring_ascii(event.run_id)},"at":{at}'
    if event.definition_hash != event.plan.definition_hash:
        text += f',"definition_hash":{encode_basestring_ascii(event.definition_hash)}'
    text += f',"plan":"{plan.hash}"'
    return f"{text}{_WRITERS[RunStarted.__name__].optional(event)}}}]"


class _Writer:
    """Writes the fields of one class of events as a JSON object; looks the class up once."""

    def __init__(self, kind: type) -> None:
        defaults = tuple((field.name, _default(field)) for field in dataclasses.fields(kind))
        required = [name for name, default in defaults if default is dataclasses.MISSING]
        optional = {name: default for name, default in defaults if name not in required}
        self._optional = [(f',"{name}":', default) for name, default in optional.items()]
        self._form = ",".join(f'"{name}":%s' for name in required)
        # With a name that always comes twice, what is read is always a tuple.
        self._required = attrgetter(*required, required[0])
        self._optional_values = attrgetter(*optional, required[0], required[0])

    def text(self, event: Event) -> str:
        """The object, without the fields that have their default."""
        values = self._required(event)
        text = self._form % tuple([_VALUES.get(type(value), _to_json)(value) for value in values[:-1]])
        return f"{{{text}{self.optional(event)}}}"

    def optional(self, event: Event) -> str:
        """The fields that need not be given, each after a comma, without those that have their default."""
        text = ""
        for (key, default), value in zip(self._optional, self._optional_values(event)):  # noqa: B905  longer by those
            if value is not default and value != default:
                text += key + _VALUES.get(type(value), _to_json)(value)
        return text


def _number(value: float) -> str:
    if not isfinite(value):
        raise ValueError(f"{value!r} is no number that JSON can say")
    return repr(value)


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _other(value: object) -> object:
    plain = to_plain(value, omit_defaults=isinstance(value, Plan))
    if plain is value:
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return plain


def _text(plan: Plan) -> PlanText:
    document = _to_json(to_plain(plan, omit_defaults=True))
    return PlanText(hashlib.sha256(document.encode()).hexdigest(), document)


_to_json = json.JSONEncoder(
    separators=(",", ":"), check_circular=False, allow_nan=False, default=_other
).encode
_from_json = json.JSONDecoder().decode
_VALUES: dict[type, Callable[[Any], str]] = {
    **dict.fromkeys((str, Direction, Status, FailureClass), encode_basestring_ascii),
    int: int.__repr__,
    float: _number,
    tuple: lambda values: f"[{','.join([_VALUES.get(type(value), _to_json)(value) for value in values])}]",
}
"""What writes the most frequent values faster than an encoder that first has to look what they are."""

_WRITERS = {name: _Writer(kind) for name, kind in KINDS.items()}
_FORMS: dict[str, EventForm[Any]] = {name: EventForm(kind) for name, kind in KINDS.items()}
_START: EventForm[RunStarted] = _FORMS[RunStarted.__name__]
_NO_PLAN: Mapping[str, Any] = {"saga": "", "definition_hash": "", "steps": ()}
_LATEST: dict[int, tuple[Plan, PlanText]] = {}
_text_of_equal = lru_cache(maxsize=PLANS_MAX)(_text)
