"""A workflow's history as a run: who it is, how it ended, and its attempts.

* The run's id is the workflow's id and the run's id, joined by a slash, as far as the history tells them; a
  history that tells no run id is named by its content. A reset makes a new run that keeps the events up to
  the reset, and the history of that run is read as one run under the new id.
* The parent is named in the same manner: without its workflow id where this history leaves out its own, since
  then the parent's history, of the same server, leaves out its own too.
* A run that continued as new has completed as far as it goes, and the reason names the run that goes on;
  where it did so because it had failed (a retry or cron schedule of the server's), it has failed.
* Cancelled, failed and timed out are ends in failure; terminated is given up by somebody.
* The context holds the search attributes that were set at the start, if they are numbers, truth values or
  short keywords: they were given for telling runs apart, unlike inputs and memos, which are payloads. Those
  that the server and the libraries set themselves, free text and instants are left out.
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.instants import instant_of
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.run_status import End, status_of
from sagacity_data.importers.workflow_history import STARTED, History, HistoryEvent
from sagacity_data.importers.workflow_history_attempts import attempts_of
from sagacity_data.importers.workflow_history_calls import Dialect, calls_in
from sagacity_data.importers.workflow_history_executions import executions_in
from sagacity_data.importers.workflow_history_values import (
    WORDS_MAX,
    Attributes,
    attributes_in,
    bytes_of,
    fingerprint,
    json_in,
    member,
    name_in,
    text_in,
)
from sagacity_data.rows import ContextValues, Scalar

REASON_MAX: Final = 500
CONTEXT_MAX: Final = 32
"""Search attributes beyond this are left out."""
KEYWORD_MAX: Final = 100
"""Longer values are taken for free text."""

_COMPLETED: Final = "WorkflowExecutionCompleted"
_CONTINUED: Final = "WorkflowExecutionContinuedAsNew"
_ENDS: Final = {
    _COMPLETED: End.COMPLETED,
    _CONTINUED: End.COMPLETED,
    "WorkflowExecutionFailed": End.FAILED,
    "WorkflowExecutionTimedOut": End.FAILED,
    "WorkflowExecutionCanceled": End.FAILED,
    "WorkflowExecutionTerminated": End.TERMINATED,
}
_OWN_ATTRIBUTES: Final = ("BinaryChecksums", "BuildIds", "CadenceChangeVersion")
_KEYWORD_TYPES: Final = ("", "Keyword", "Int", "Double", "Bool")


def run_of(history: History, dialect: Dialect, hints: Hints, tally: Tally) -> ForeignRun:
    """The run that a history tells of. The history has to have a start."""
    start = next(event for event in history.events if event.kind == STARTED)
    closing = next((event for event in history.events if event.kind in _ENDS), None)
    told = start.attributes
    executions = executions_in(calls_in(history, dialect, tally), hints)
    queue = name_in(member(told, "taskQueue", "taskList"))
    attempts = attempts_of(executions, queue, hints, tally)
    end, reason = _end_of(history, closing, dialect)
    return ForeignRun(
        run_id=_run_id(history, told, dialect),
        saga=name_in(told.get("workflowType")) or "(unnamed)",
        status=status_of(end, attempts),
        attempts=attempts,
        tenant=hints.tenant,
        launch_at=start.at,
        ended_at=_ended_at(start, closing, tally),
        reason=reason,
        parent=_parent(history, told),
        input_bytes=dialect.input_bytes(told.get("input")),
        context=_context(told),
    )


def _run_id(history: History, start: Attributes, dialect: Dialect) -> str:
    workflow_id = _workflow_id(history, start)
    run_id = _reset_to(history, dialect) or history.run_id or text_in(start.get("originalExecutionRunId"))
    if not run_id and not member(start, "continuedExecutionRunId"):
        run_id = text_in(start.get("firstExecutionRunId"))
    if not run_id:
        run_id = f"history-{fingerprint(history.content)}"
    return f"{workflow_id}/{run_id}" if workflow_id else run_id


def _workflow_id(history: History, start: Attributes) -> str:
    return history.workflow_id or text_in(start.get("workflowId"))


def _reset_to(history: History, dialect: Dialect) -> str:
    """The id of the run that the latest reset made, if there was one."""
    told = (event.attributes.get("newRunId") for event in history.events if event.kind in dialect.resets)
    ids = [run_id for value in told if (run_id := text_in(value))]
    return ids[-1] if ids else ""


def _parent(history: History, start: Attributes) -> str:
    info = attributes_in(start.get("parentExecutionInfo"))
    parent = attributes_in(member(start, "parentWorkflowExecution") or info.get("workflowExecution"))
    workflow_id, run_id = text_in(parent.get("workflowId")), text_in(parent.get("runId"))
    if not run_id or not _workflow_id(history, start):
        return run_id or workflow_id
    return f"{workflow_id}/{run_id}" if workflow_id else run_id


def _ended_at(start: HistoryEvent, closing: HistoryEvent | None, tally: Tally) -> float | None:
    if closing is None or closing.at is None:
        return None
    if start.at is not None and closing.at < start.at:
        tally.notes["ends before the start are left out"] += 1
        return None
    return closing.at


def _end_of(history: History, closing: HistoryEvent | None, dialect: Dialect) -> tuple[End, str]:
    if closing is None:
        return End.OPEN, "still open when the history was written"
    end, told = _ENDS[closing.kind], closing.attributes
    fault = dialect.fault_of(told)
    failed = _phrase("failed", (fault.words or fault.type) if fault else "")
    on = text_in(told.get("newExecutionRunId"))
    match closing.kind:
        case "WorkflowExecutionContinuedAsNew":
            if fault is not None:
                return End.FAILED, f"{failed}; {_phrase('continued as new', on)}"[:REASON_MAX]
            return end, _phrase("continued as new", on)
        case "WorkflowExecutionFailed":
            return end, failed
        case "WorkflowExecutionTimedOut":
            return end, "timed out"
        case "WorkflowExecutionCanceled":
            return end, _phrase("cancelled", _cancel_cause(history))
        case "WorkflowExecutionTerminated":
            return end, _phrase("terminated", text_in(told.get("reason"), WORDS_MAX))
        case _:
            return end, ""


def _cancel_cause(history: History) -> str:
    asked = [event for event in history.events if event.kind == "WorkflowExecutionCancelRequested"]
    return text_in(asked[0].attributes.get("cause"), WORDS_MAX) if asked else ""


def _phrase(what: str, words: str) -> str:
    return f"{what}: {words}"[:REASON_MAX] if words.strip() else what


def _context(start: Attributes) -> ContextValues:
    told = attributes_in(attributes_in(start.get("searchAttributes")).get("indexedFields"))
    context: dict[str, Scalar] = {}
    for key, value in told.items():
        name, scalar = text_in(key, KEYWORD_MAX), _keyword(value)
        if scalar is None or name.startswith("Temporal") or name in _OWN_ATTRIBUTES:
            continue
        if len(context) >= CONTEXT_MAX:
            break
        context[name] = scalar
    return context


def _keyword(value: Any) -> Scalar | None:
    if isinstance(value, dict):
        written = bytes_of(attributes_in(value.get("metadata")).get("type")) or b""
        if written.decode("ascii", "replace") not in _KEYWORD_TYPES:
            return None
        value = json_in(bytes_of(value.get("data")) or b"")
    elif isinstance(value, str) and (decoded := bytes_of(value)):
        inner = json_in(decoded)  # Cadence: base64 of JSON.
        value = value if inner is None else inner
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value)
    if not isinstance(value, str) or not 0 < len(value) <= KEYWORD_MAX or _is_instant(value):
        return None
    return text_in(value)


def _is_instant(text: str) -> bool:
    try:
        instant_of(text)
    except ValueError:
        return False
    return True


def _number(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) else None
