"""Where in a JSON file the histories of AWS Step Functions are.

`aws stepfunctions get-execution-history` writes `{"events": [...]}`, a script keeps the bare list, its pages,
or several executions, a recorded test wraps it all in its own report, and somebody puts what
`describe-execution` says, or the definition, beside it. So a history is looked for: it is a list of events,
wherever it lies. Whatever names the execution or its state machine on the way there belongs to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sagacity_data.importers.step_functions_events import is_event, plain

START: Final = "ExecutionStarted"
_NAMING: Final = frozenset(
    {"executionarn", "statemachinearn", "statemachineversionarn", "statemachinealiasarn", "definition"}
)
_BESIDE: Final = ("describe", "execution", "statemachine", "metadata")
_PASSING: Final = frozenset({"nexttoken", "responsemetadata"})
Events = list[dict[Any, Any]]


@dataclass(frozen=True, slots=True)
class Found:
    """The events of one execution as they stand in the file, and what was said beside them."""

    events: Events
    about: Mapping[str, Any]  # By plain key: ARNs and the definition.
    mark: tuple[str, ...] = ()  # What else the file says of this one history, to tell it from others.


def histories_in(value: object) -> Iterator[Found]:
    """Every history in a JSON value; none if it holds no events at all."""
    yield from _found(value, {})


def _found(value: object, about: Mapping[str, Any]) -> Iterator[Found]:
    if isinstance(value, dict):
        about = _about(value, about)
        events = _events_of(value)
        if events is not None:
            yield from _apart(Found(events, about, _mark(value)))
            return
        for inner in value.values():
            yield from _found(inner, about)
    elif isinstance(value, list):
        yield from _listed(value, about)


def _listed(values: list[Any], about: Mapping[str, Any]) -> Iterator[Found]:
    if any(is_event(each) for each in values):
        yield from _apart(Found([each for each in values if isinstance(each, dict)], about))
        return
    pages = [each for each in values if isinstance(each, dict) and _events_of(each) is not None]
    whole = all(any(_starts(event) for event in _events_of(page) or []) for page in pages)
    if whole or len(pages) != len(values):
        for each in values:
            yield from _found(each, about)
        return
    joined = [event for page in pages for event in _events_of(page) or []]
    yield from _apart(Found(joined, _about(pages[0], about), _mark(pages[0])))


def _apart(found: Found) -> Iterator[Found]:
    """The executions of one list: told apart by their ARNs, or by their beginnings."""
    arns = {arn: None for event in found.events if (arn := _arn(event))}
    if len(arns) > 1:
        of: dict[str, Events] = {arn: [] for arn in arns}
        for event in found.events:
            of.setdefault(_arn(event), []).append(event)
        for arn, events in of.items():
            yield Found(events, {**found.about, "executionarn": arn}, found.mark)
        return
    starts = [place for place, event in enumerate(found.events) if _starts(event)]
    if len(starts) < 2:
        yield found
        return
    first_last = not _starts(found.events[0])  # Written newest first: an execution ends where it began.
    cuts = [place + 1 for place in starts] if first_last else [*starts[1:], len(found.events)]
    begin = 0
    for cut in cuts:
        yield Found(found.events[begin:cut], found.about, found.mark)
        begin = cut


def _events_of(value: Mapping[Any, Any]) -> Events | None:
    for key, inner in value.items():
        if (
            isinstance(inner, list)
            and plain(key) in ("events", "history")
            and (not inner or _eventful(inner))
        ):
            return [each for each in inner if isinstance(each, dict)] if inner else None
    return None


def _eventful(values: list[Any]) -> bool:
    return any(is_event(each) for each in values)


def _about(value: Mapping[Any, Any], above: Mapping[str, Any]) -> Mapping[str, Any]:
    """What names the execution here, in something that describes it beside here, or further out."""
    own = {plain(key): inner for key, inner in value.items() if plain(key) in _NAMING}
    for key, inner in value.items():
        name = plain(key)
        if isinstance(inner, dict) and name not in _NAMING and name.startswith(_BESIDE):
            beside = {plain(at): item for at, item in inner.items() if plain(at) in _NAMING}
            own = {**beside, **own}
    return {**above, **own}


def _mark(value: Mapping[Any, Any]) -> tuple[str, ...]:
    """The texts and numbers beside the events, but for those of the page they came on."""
    said = ((plain(key), inner) for key, inner in value.items())
    kept = (f"{key}={inner}" for key, inner in said if isinstance(inner, str | int) and key not in _PASSING)
    return tuple(sorted(kept))


def _arn(event: Mapping[Any, Any]) -> str:
    arn = event.get("execution_arn") or event.get("executionArn") or event.get("ExecutionArn")
    return arn if isinstance(arn, str) else ""


def _starts(event: Mapping[Any, Any]) -> bool:
    return event.get("type") == START or event.get("Type") in (START, {"Value": START})
