"""The executions that a file of Conductor's holds, each once.

A file holds one execution, a list of them, the answer of a search (`{"results": [...]}`) or of a look-up by
correlation id (`{"id": [...]}`). Objects that are no executions are counted and skipped; a file without any
execution is refused. The same execution twice is read once, as it was last updated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.conductor_runs import Execution, execution_of, workflow_name
from sagacity_data.importers.conductor_values import Object, object_in, objects_in, text_in, whole_in
from sagacity_data.importers.json_documents import read_json
from sagacity_data.importers.reading import Hints, Tally

_TELLING: Final = ("tasks", "status", "startTime", "createTime", "workflowType", "workflowName")


def executions_in(path: Path, hints: Hints, tally: Tally) -> dict[str, Execution]:
    """The executions by id, with those that a failure workflow's input carries.

    Raises `ImportRefused` for what is no JSON, too large or too deep, and for a file without an execution.
    """
    found = _executions(path, read_json(path, tally), tally)
    return {
        run_id: execution_of(document, run_id, hints, tally)
        for run_id, document in _by_id(found, tally).items()
    }


def _executions(path: Path, value: Any, tally: Tally) -> list[Object]:
    """Whatever the file holds of executions; raises `ImportRefused` if that is nothing."""
    found, others = list[Object](), 0
    for each in _documents(value):
        if isinstance(each, dict) and _is_execution(each):
            found.append(each)
        else:
            others += 1
    if not found:
        raise _refused(path, value)
    if others:
        tally.skipped["no workflow execution"] += others
    return found


def _documents(value: Any) -> Sequence[Any]:
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or _is_execution(value):
        return [value]
    if isinstance(value.get("results"), list):
        return list(value["results"])
    lists = [each for each in value.values() if isinstance(each, list)]
    if lists and len(lists) == len(value):
        return [document for each in lists for document in each]
    return [value]


def _is_execution(document: Object) -> bool:
    """It has an id and something that only an execution has, and is no task."""
    if "taskId" in document or not any(key in document for key in _TELLING):
        return False
    named = bool(workflow_name(document)) and isinstance(document.get("tasks"), list)
    return bool(text_in(document.get("workflowId"))) or (named and "status" in document)


def _refused(path: Path, value: Any) -> ImportRefused:
    if isinstance(value, dict) and "name" in value and objects_in(value.get("tasks")):
        reason = "is a workflow's definition, not an execution of it"
        return ImportRefused(path, "", reason, "make a saga of it with: sagacity convert conductor")
    reason = "holds no execution of a workflow (an object with a workflowId and tasks)"
    return ImportRefused(path, "", reason, "export executions with GET /workflow/{id}?includeTasks=true")


def _by_id(documents: Iterable[Object], tally: Tally) -> dict[str, Object]:
    """Executions by id, as they were last updated; and those that a failure workflow's input carries."""
    by_id: dict[str, Object] = {}
    carried: dict[str, Object] = {}
    for document in documents:
        run_id = text_in(document.get("workflowId")) or _fingerprint(document)
        if run_id in by_id:
            tally.notes["executions that a file holds twice are read once"] += 1
        if run_id not in by_id or _updated(document) >= _updated(by_id[run_id]):
            by_id[run_id] = document
        failed = object_in(object_in(document.get("input")).get("failedWorkflow"))
        if _is_execution(failed) and (failed_id := text_in(failed.get("workflowId"))):
            carried[failed_id] = failed
    return {**carried, **by_id}


def _updated(document: Object) -> int:
    return whole_in(document.get("updateTime")) or whole_in(document.get("endTime")) or 0


def _fingerprint(document: Object) -> str:
    """An id from the content, for an execution that has none of its own."""
    written = json.dumps(document, sort_keys=True).encode()
    return f"conductor-{hashlib.blake2b(written, digest_size=16).hexdigest()}"
