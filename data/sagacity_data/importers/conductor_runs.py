"""An execution of a Conductor workflow as a run, with the undos that its failure workflow made.

A workflow that fails may have a *failure workflow* started for it: an execution of its own that takes back
what the first one did. Conductor gives it the failed execution's id (`input.workflowId`) with the reason and
the status, in newer versions the whole failed execution (`input.failedWorkflow`), and writes the new id into
the failed one's output. Where both are at hand, they are one run of ours: the tasks of the failure workflow
that are named like undos of the failed one's steps become its undos, and it ends when they have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sagacity_data.importers.conductor_names import StepNames
from sagacity_data.importers.conductor_tasks import TriedTask, tried_task
from sagacity_data.importers.conductor_values import (
    Object,
    bytes_in,
    in_order,
    instant_in,
    object_in,
    objects_in,
    text_in,
    whole_in,
)
from sagacity_data.importers.foreign_runs import ForeignAttempt, ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.run_status import End, status_of
from sagacity_engine import Direction, Status

_ENDS: Final = {
    "COMPLETED": End.COMPLETED,
    "FAILED": End.FAILED,
    "TIMED_OUT": End.FAILED,
    "TERMINATED": End.TERMINATED,
    "RUNNING": End.OPEN,
    "PAUSED": End.OPEN,
}


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution as its file tells it; `tasks` in the order in which they started."""

    run_id: str
    saga: str
    version: str
    end: End
    reason: str
    launch_at: float | None
    ended_at: float | None
    parent: str
    correlation: str
    tasks: tuple[TriedTask, ...]
    tells_tasks: bool  # A search's summary does not.
    input_bytes: int | None
    failure_workflow: str  # The name of the workflow to be started if this one fails.
    may_be_undone: bool  # It names a failure workflow, or the document does not tell its definition.
    undoing: str  # The id of the execution whose failure workflow this is.
    undone_in: str  # The id of this one's failure workflow, where its output says so.


def execution_of(document: Object, run_id: str, hints: Hints, tally: Tally) -> Execution:
    """What a document tells of an execution."""
    definition, given = object_in(document.get("workflowDefinition")), object_in(document.get("input"))
    status = text_in(document.get("status")).upper()
    if status not in _ENDS:
        tally.skipped[f"workflow status {status[:40] or '(none)'}"] += 1
    end = _ENDS.get(status, End.OPEN)
    launch = instant_in(document.get("startTime"), tally) or instant_in(document.get("createTime"), tally)
    ended = None if end is End.OPEN else instant_in(document.get("endTime"), tally)
    if ended is not None and launch is not None and ended < launch:
        tally.notes["runs that ended before they started: the end is left out"] += 1
        ended = None
    external = document.get("externalInputPayloadStoragePath")
    return Execution(
        run_id=run_id,
        saga=workflow_name(document),
        version=text_in(document.get("workflowVersion"), document.get("version"), definition.get("version")),
        end=end,
        reason=_reason(end, status, text_in(document.get("reasonForIncompletion"))),
        launch_at=launch,
        ended_at=ended,
        parent=text_in(document.get("parentWorkflowId")),
        correlation=text_in(document.get("correlationId")),
        tasks=_tasks(document.get("tasks"), hints, tally),
        tells_tasks=isinstance(document.get("tasks"), list),
        input_bytes=None if external else bytes_in(document.get("input")),
        failure_workflow=text_in(definition.get("failureWorkflow")),
        may_be_undone=not definition or bool(text_in(definition.get("failureWorkflow"))),
        undoing=_undoing(given, run_id),
        undone_in=text_in(object_in(document.get("output")).get("conductor.failure_workflow")),
    )


def workflow_name(document: Object) -> str:
    """What the workflow is called."""
    definition = object_in(document.get("workflowDefinition"))
    return text_in(document.get("workflowName"), document.get("workflowType"), definition.get("name"))


def run_of(execution: Execution, undoing: Sequence[Execution], hints: Hints, tally: Tally) -> ForeignRun:
    """The run that an execution and its failure workflows make together."""
    later = [task for other in undoing for task in undos_in(other, execution, hints)]
    tasks = _with_undos(execution.tasks, hints) + later
    merged = in_order((task.attempt.started_at or task.attempt.scheduled_at, task) for task in tasks)
    end, ended_at = execution.end, execution.ended_at
    if any(other.end is End.OPEN for other in undoing):
        end, ended_at = End.OPEN, None
    elif ended_at is not None:
        ended_at = max((ended_at, *(other.ended_at for other in undoing if other.ended_at is not None)))
    if execution.undone_in and not undoing:
        tally.notes["failure workflows that are not in the import: the undos they made are not seen"] += 1
    return ForeignRun(
        run_id=execution.run_id,
        saga=execution.saga or "(unnamed)",
        status=_status(end, merged, execution.tells_tasks),
        attempts=_numbered(merged),
        version=execution.version,
        tenant=hints.tenant,
        launch_at=execution.launch_at,
        ended_at=ended_at,
        reason=_whole_reason(execution, undoing),
        parent=execution.parent or execution.undoing,
        input_bytes=execution.input_bytes,
    )


def _whole_reason(execution: Execution, undoing: Iterable[Execution]) -> str:
    if not execution.reason:
        return ""
    also = [f"its failure workflow {other.reason}" for other in undoing if other.reason]
    return "; ".join([execution.reason, *also])


def undos_in(execution: Execution, failed: Execution, hints: Hints) -> list[TriedTask]:
    """The tasks of a failure workflow that undo steps of the failed execution, as undos."""
    names = _names_in(failed)
    undone = ((task, _undone_by(task, names, hints)) for task in execution.tasks)
    return [_as_undo(task, step) for task, step in undone if step is not None]


def without_undos(execution: Execution, failed: Execution, hints: Hints) -> Execution:
    """What a failure workflow did besides undoing."""
    names = _names_in(failed)
    rest = tuple(task for task in execution.tasks if _undone_by(task, names, hints) is None)
    return replace(execution, tasks=rest, parent=execution.parent or failed.run_id)


def _undone_by(task: TriedTask, names: StepNames, hints: Hints) -> str | None:
    """The step that a task undoes, by the user's word or by its names."""
    step = task.attempt.step
    said = hints.undoes.get(step) or hints.undoes.get(task.task)
    return said if said and said != step else names.undone_by(step, task.task)


def _names_in(execution: Execution) -> StepNames:
    names = StepNames()
    for task in execution.tasks:
        names.add(task.attempt.step, task.task)
    return names


def _with_undos(tasks: Iterable[TriedTask], hints: Hints) -> list[TriedTask]:
    """The tasks of one execution, those that undo what was attempted before them as undos."""
    names, read = StepNames(), list[TriedTask]()
    for task in tasks:
        step = _undone_by(task, names, hints)
        if step is None:
            names.add(task.attempt.step, task.task)
        read.append(task if step is None else _as_undo(task, step))
    return read


def _as_undo(task: TriedTask, step: str) -> TriedTask:
    return replace(task, attempt=replace(task.attempt, step=step, direction=Direction.UNDO))


def _numbered(tasks: Iterable[TriedTask]) -> tuple[ForeignAttempt, ...]:
    """Retries, iterations of a loop and tasks run again by hand all count on."""
    counts: Counter[tuple[str, Direction]] = Counter()
    numbered = []
    for task in tasks:
        key = (task.attempt.step, task.attempt.direction)
        counts[key] += 1
        numbered.append(replace(task.attempt, attempt=counts[key]))
    return tuple(numbered)


def _status(end: End, tasks: Iterable[TriedTask], tells_tasks: bool) -> Status:
    if end is End.FAILED and not tells_tasks:
        return Status.NEEDS_ATTENTION  # Nobody says what it left behind.
    return status_of(end, (task.attempt for task in tasks if task.may_have_effect))


def _tasks(value: object, hints: Hints, tally: Tally) -> tuple[TriedTask, ...]:
    seen: set[str] = set()
    documents = list[Object]()
    for document in objects_in(value):
        task_id = text_in(document.get("taskId"))
        if task_id and task_id in seen:
            tally.notes["tasks that a file holds twice are read once"] += 1
            continue
        seen.add(task_id)
        documents.append(document)
    listed = in_order((whole_in(document.get("seq")), document) for document in documents)
    tried = [task for document in listed if (task := tried_task(document, hints, tally)) is not None]
    return tuple(in_order((task.attempt.started_at or task.attempt.scheduled_at, task) for task in tried))


def _reason(end: End, status: str, words: str) -> str:
    if end in (End.COMPLETED, End.OPEN):
        return ""
    said = status.lower().replace("_", " ")
    return f"{said}: {words}" if words else said


def _undoing(given: Object, run_id: str) -> str:
    """The id of the failed execution that this one was started for, as Conductor's own input says it."""
    failed = object_in(given.get("failedWorkflow"))
    told = text_in(given.get("workflowId"), failed.get("workflowId"))
    started_for_it = "failureStatus" in given or "failureTaskId" in given or "reason" in given or failed
    return told if told != run_id and started_for_it else ""
