"""What happened to a run, in words: one line an event. Pure functions.

Words from participants and from people are shown without control characters, so that nothing in a journal can
drive the terminal of whoever reads it, and are cut where a line would run on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from sagacity_engine import Saga
from sagacity_engine.events import (
    Action,
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    DeadlineReached,
    Direction,
    Event,
    LocksAcquired,
    OperatorActed,
    ProbeAnswered,
    RolledBack,
    RunEnded,
    RunStarted,
    SignalReceived,
    Status,
)
from sagacity_engine.machine.verdict import describe

TEXT_MAX = 200
"""The longest piece of foreign text in a line."""

_CALLS = {
    Direction.FORWARD: "attempt",
    Direction.UNDO: "undo",
    Direction.PROBE: "probe",
}
_DONE = {
    Action.RETRY: "retries",
    Action.SKIP: "skips",
    Action.RESOLVE: "resolves",
    Action.ABANDON: "abandons the run",
    Action.REDRIVE: "sends the run forward again",
    Action.UNDO: "takes the run back",
    Action.PAUSE: "pauses the run",
    Action.RESUME: "lets the run go on",
}


def event_words(saga: Saga, event: Event) -> str:
    """What happened, in one line.

    >>> from sagacity_engine import Step
    >>> event_words(Saga(name="a", steps=(Step(name="b"),)), DeadlineReached(at=0.0))
    'the deadline passes: the run turns back'
    """
    match event:
        case RunStarted():
            return _started(event)
        case LocksAcquired():
            return "the run holds every resource it asked for"
        case AttemptStarted():
            return _attempt_started(saga, event)
        case AttemptHedged():
            return f"{event.step}: a second call beside the slow attempt {event.attempt}"
        case AttemptSucceeded() | AttemptFailed() | AttemptUnknown() | ProbeAnswered():
            return f"{event.step}: {_outcome(event)}"
        case SignalReceived():
            said = "approves" if event.approve else "rejects"
            return f"{shown(event.who) or 'somebody'} {said} {shown(event.name)}"
        case DeadlineReached():
            return "the deadline passes: the run turns back"
        case CancelRequested():
            return f"{shown(event.who)} asks to cancel the run{_because(event.why)}"
        case OperatorActed():
            step = f" {event.step}" if event.step else ""
            return f"{shown(event.who)} {_DONE[event.action]}{step}{_because(event.why)}"
        case RolledBack():
            return f"the run goes forward again from {event.savepoint}"
        case RunEnded():
            return _ended(event)


def shown(text: str, most: int = TEXT_MAX) -> str:
    """Foreign text as it may stand in a line: without control characters, at most `most` characters.

    >>> shown("a\\x1b[31mb\\n"), shown("abcdef", 4)
    ('a [31mb', 'abc…')
    """
    one_line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return one_line if len(one_line) <= most else one_line[: most - 1] + "…"


def value_shown(value: object) -> str:
    """A JSON value in one line."""
    return shown(json.dumps(value, ensure_ascii=False))


def moment(at: float | None) -> str:
    """A time as UTC, to the second; "-" for none.

    >>> moment(0), moment(None)
    ('1970-01-01 00:00:00Z', '-')
    """
    if at is None:
        return "-"
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return f"{at:g} s"


def _started(event: RunStarted) -> str:
    plan = "the author's plan" if event.fallback or event.arm == "author" else "the advised plan"
    inside = f", inside run {shown(event.parent)}" if event.parent else ""
    return f"the run starts under {plan}{inside}"


def _attempt_started(saga: Saga, event: AttemptStarted) -> str:
    step = saga.by_name.get(event.step)
    if step is not None and step.approval is not None and event.direction is Direction.FORWARD:
        return f"{event.step}: waits for the signal {step.approval.signal}"
    return f"{event.step}: {_CALLS[event.direction]} {event.attempt} begins"


def _outcome(event: AttemptSucceeded | AttemptFailed | AttemptUnknown | ProbeAnswered) -> str:
    if isinstance(event, ProbeAnswered):
        because = f" ({shown(event.message)})" if event.message else ""
        return f"probe {event.attempt} answers: {event.answer.value.replace('_', ' ')}{because}"
    call = f"{_CALLS[event.direction]} {event.attempt}"
    if isinstance(event, AttemptSucceeded):
        return f"{call} succeeds"
    verb = "is refused, " if isinstance(event, AttemptFailed) else "ends, "
    marks = ", ".join(_marks(event))
    return f"{call} {verb}{shown(describe(event))}{f' ({marks})' if marks else ''}"


def _marks(event: AttemptFailed | AttemptUnknown) -> Iterator[str]:
    if isinstance(event, AttemptFailed):
        yield event.failure_class.value
        if event.terminal:
            yield "never to be retried"
        if event.retry_after_s is not None:
            yield f"retry after {event.retry_after_s:g} s"
    if event.retry_refused:
        yield "the service's retry budget is spent"
    if event.strategy is not None:
        yield f"the advisor chose {event.strategy.value}"


def _ended(event: RunEnded) -> str:
    at_step = f" at {event.step}" if event.step else ""
    because = f": {shown(event.reason)}" if event.reason else ""
    if event.status is Status.NEEDS_ATTENTION:
        return f"the run needs attention{at_step}{because}"
    return f"the run ends {event.status.value}{at_step}{because}"


def _because(why: str) -> str:
    return f": {shown(why)}" if why else ""
