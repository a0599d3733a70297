"""Execution histories of AWS Step Functions, as `aws stepfunctions get-execution-history` writes them.

A run is called by its execution's ARN where that stands beside or in the events, else by a hash of what the
history holds. Its saga is the state machine, by name: from its ARN or the execution's, or from the role that
the console made for it. Where none is told, it is the first state, with the role: all executions of a machine
begin alike, and only if nothing was entered the file's name has to do.

A history has neither ARN in itself, so keep what `describe-execution` says beside it where you can
(`{"execution": {...}, "events": [...]}`), and the `definition`, whose Catch links tell what undoes what.

An execution that the service calls succeeded after all its effects were undone was compensated. What runs
after the first undo (a message to the customer, say) leaves no effect that should have been undone. Effects
that items of Maps left count with the execution's, too; each item is a run of its own besides.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from sagacity_data.converters.asl_services import masked
from sagacity_data.converters.asl_undos import undo_links
from sagacity_data.converters.converted import ConvertRefused
from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.foreign_runs import ForeignAttempt, ForeignRun
from sagacity_data.importers.json_documents import read_json
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.run_status import End, status_of
from sagacity_data.importers.step_functions_attempts import Attempts
from sagacity_data.importers.step_functions_calls import bytes_of, failed_words
from sagacity_data.importers.step_functions_events import HistoryEvent, event_of, in_order
from sagacity_data.importers.step_functions_files import START, Found, histories_in
from sagacity_data.importers.step_functions_items import REASON_MAX, Levels
from sagacity_data.importers.step_functions_types import ENDS
from sagacity_engine import Direction, Status

_ENDED: Final = {
    "ExecutionSucceeded": (End.COMPLETED, "succeeded"),
    "ExecutionFailed": (End.FAILED, "failed"),
    "ExecutionTimedOut": (End.FAILED, "timed out"),
    "ExecutionAborted": (End.TERMINATED, "aborted"),
}
_CONSOLE_ROLE: Final = re.compile(r"StepFunctions-(.{1,80})-role-\w{6,12}")


def read_runs(path: Path, hints: Hints, tally: Tally) -> Iterator[ForeignRun]:
    """The executions of one file, one at a time.

    Raises `ImportRefused` for what is no JSON, holds no events, or only events of executions whose start is
    missing.
    """
    given: Counter[str] = Counter()
    met = 0
    for found in histories_in(read_json(path, tally)):
        met += 1
        events = in_order([event_of(event, tally.notes) for event in found.events], tally.notes)
        if not any(event.type == START for event in events):
            continue
        folded = _folded(events, found, hints, tally)
        levels = folded.levels()
        run = _run(events, found, folded, levels, tally)
        saga = run.saga or path.name.split(".")[0]
        given[run.run_id] += 1
        if given[run.run_id] > 1:  # Alike in all that the file tells; still two executions.
            run = replace(run, run_id=f"{run.run_id}#{given[run.run_id]}")
        run = replace(run, saga=saga, tenant=hints.tenant)
        yield run
        yield from folded.item_runs(run, levels)
    if not given:
        reason = f"has no {START} event" if met else "holds no events of an execution"
        way_out = "export it whole, with aws stepfunctions get-execution-history, all pages"
        raise ImportRefused(path, "", reason, way_out)
    if met > sum(given.values()):
        tally.notes[f"lists of events without {START}, left out"] += met - sum(given.values())


def _folded(events: Sequence[HistoryEvent], found: Found, hints: Hints, tally: Tally) -> Attempts:
    failing = any(event.type == "FailStateEntered" for event in events)
    undoes = {**_links(found.about.get("definition"), tally), **hints.undoes}
    folded = Attempts(undoes, hints.services, tally, trouble=failing)
    for event in events:
        folded.fold(event)
    return folded


def _run(
    events: Sequence[HistoryEvent], found: Found, folded: Attempts, levels: Levels, tally: Tally
) -> ForeignRun:
    """The execution's own run; its saga is empty where the history tells none."""
    start = next(event for event in events if event.type == START)
    end = _end_of(events)
    ended_at = end.at if end else None
    if ended_at is not None and start.at is not None and ended_at < start.at:
        tally.notes["executions that end before they start"] += 1
        ended_at = None
    status, reason = _status(end, folded.flat())
    return ForeignRun(
        run_id=_run_id(events, found, start),
        saga=_saga(events, found, start, folded.first_state),
        status=status,
        attempts=tuple(levels[None]),
        version=_version(found, start),
        launch_at=start.at,
        ended_at=ended_at,
        reason=reason,
        parent=_parent(start),
        input_bytes=bytes_of(start, "input"),
    )


def _links(definition: object, tally: Tally) -> Mapping[str, str]:
    """What undoes what by the Catch links of a definition beside the history."""
    if definition is None:
        return {}
    try:
        return undo_links(definition)
    except ConvertRefused:
        tally.notes["definitions beside a history that make no saga"] += 1
        return {}


def _end_of(events: Sequence[HistoryEvent]) -> HistoryEvent | None:
    """What ended the execution for good; None while it runs, or runs again after a redrive."""
    for event in reversed(events):
        if event.type == "ExecutionRedriven":
            return None
        if event.type in ENDS:
            return event
    return None


def _status(end: HistoryEvent | None, attempts: Sequence[ForeignAttempt]) -> tuple[Status, str]:
    if end is None:
        return status_of(End.OPEN, attempts), ""
    how, word = _ENDED[end.type]
    if how is End.COMPLETED:
        undone = any(tried.direction is Direction.UNDO for tried in attempts)
        if undone and status_of(End.FAILED, attempts) is Status.COMPENSATED:
            return Status.COMPENSATED, "succeeded, after what it had done was undone"
        return Status.COMPLETED, ""
    said = ": ".join(part for part in failed_words(end) if part)
    return status_of(how, _before_turning(attempts)), (f"{word}: {said}" if said else word)[:REASON_MAX]


def _before_turning(attempts: Sequence[ForeignAttempt]) -> list[ForeignAttempt]:
    """The undos, and the work of steps first tried before any undo was."""
    turned, before, kept = False, set[str](), list[ForeignAttempt]()
    for tried in attempts:
        turned = turned or tried.direction is Direction.UNDO
        if not turned:
            before.add(tried.step)
        if tried.direction is Direction.UNDO or tried.step in before:
            kept.append(tried)
    return kept


def _run_id(events: Sequence[HistoryEvent], found: Found, start: HistoryEvent) -> str:
    arn = found.about.get("executionarn") or start.execution
    if isinstance(arn, str) and arn.startswith("arn:") and not masked(arn):
        return arn
    digest = sha256(repr(found.mark).encode("utf-8", "replace"))
    for event in events:
        told = json.dumps(event.details, sort_keys=True, default=str)
        digest.update(f"{event.type}|{event.number}|{event.previous}|{event.at}|{told}\n".encode())
    return f"execution-{digest.hexdigest()[:24]}"


def _saga(events: Sequence[HistoryEvent], found: Found, start: HistoryEvent, first_state: str) -> str:
    for arn in _machine_arns(events, found, start):
        parts = arn.split(":")
        if len(parts) > 6 and not masked(parts[6]):
            return parts[6].split("/")[0]  # Of a Map's run: the machine, then the state's label.
    role = start.words("rolearn").rpartition("/")[2]
    role = "" if masked(role) or not start.words("rolearn").startswith("arn:") else role
    if made := _CONSOLE_ROLE.fullmatch(role):
        return made[1]
    return f"{first_state} ({role})" if first_state and role else first_state


def _machine_arns(events: Sequence[HistoryEvent], found: Found, start: HistoryEvent) -> Iterator[str]:
    beside: tuple[Any, ...] = (found.about.get("statemachinearn"), found.about.get("executionarn"))
    for arn in (*beside, start.execution, start.words("statemachineversionarn")):
        if isinstance(arn, str) and arn:
            yield arn
    for event in events:
        if event.type == "MapRunStarted" and (arn := event.words("maprunarn")):
            yield arn


def _version(found: Found, start: HistoryEvent) -> str:
    arn = start.words("statemachineversionarn") or found.about.get("statemachineversionarn")
    parts = arn.split(":") if isinstance(arn, str) else []
    return parts[7] if len(parts) > 7 and not masked(parts[7]) else ""


def _parent(start: HistoryEvent) -> str:
    """The execution that started this one, as it writes into the input of one it waits for."""
    told: object = start.details.get("input")
    if isinstance(told, str) and "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID" in told:
        try:
            told = json.loads(told)
        except (ValueError, RecursionError):
            return ""
    parent = told.get("AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID") if isinstance(told, Mapping) else ""
    return parent if isinstance(parent, str) and not masked(parent) else ""
