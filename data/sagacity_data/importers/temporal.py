"""Temporal workflow histories: the JSON of `temporal workflow show`, of exports, of the web interface.

A workflow's history is a run, and its type the saga. Steps are executions of activities, local activities and
child workflows; a child's own history is a run of its own, which names its parent. Timers, signals, queries,
updates, Nexus operations, search attributes, markers of versions and side effects make no step.

* **Names**: see `workflow_history_executions`. **Runs and ends**: see `workflow_history_runs`.
* **Retries**: the server retries an activity by itself and writes `ActivityTaskStarted` only when it is over,
  with the number of the last attempt, its start, and the failure of the attempt before. Attempt 3 thus makes
  three rows: 1, of which is known that it failed; 2, with that failure; 3, with times and end. The first has
  the time of the scheduling, the last its start and end; the waits between are not told. An activity that is
  still open shows no attempt numbers at all: it is one open attempt. A timeout that has a cause but no start
  (schedule-to-start or schedule-to-close of a retry) tells of at least one attempt before.
* **Outcomes**: completed; failed, with the application's error type, else the kind of failure; timed out for
  start-to-close and heartbeat, whose effect is open; a schedule-to-start timeout is a failure, as nobody was
  called; cancelled or terminated; open while the history has no end for it, even if the run has ended.
* **Service**: the task queue, where it is not the workflow's own.
* **Sizes** are those of payloads as stored; histories whose payloads were decoded tell none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.json_documents import read_json
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.temporal_events import TEMPORAL_TYPES
from sagacity_data.importers.temporal_failures import earlier_fault_of, fault_of, timeout_of
from sagacity_data.importers.temporal_markers import local_activity_of
from sagacity_data.importers.workflow_history import histories_in
from sagacity_data.importers.workflow_history_calls import Dialect
from sagacity_data.importers.workflow_history_runs import run_of
from sagacity_data.importers.workflow_history_values import bytes_in_base64


def read_runs(path: Path, hints: Hints, tally: Tally) -> Iterator[ForeignRun]:
    """The runs of a file of Temporal histories, usually one.

    Raises `ImportRefused` while iterating for what cannot be parsed or has no start.
    """
    for history in histories_in(path, read_json(path, tally), TEMPORAL_TYPES, tally):
        yield run_of(history, TEMPORAL, hints, tally)


def _input_bytes(payloads: object) -> int | None:
    told = payloads.get("payloads") if isinstance(payloads, dict) else None
    if not isinstance(told, list):
        return None
    sizes = [_payload_bytes(payload) for payload in told]
    return None if None in sizes else sum(size for size in sizes if size)


def _payload_bytes(payload: object) -> int | None:
    if not isinstance(payload, dict) or "metadata" not in payload:
        return None
    return bytes_in_base64(payload.get("data") or "")


TEMPORAL: Final = Dialect(
    name="temporal",
    types=TEMPORAL_TYPES,
    first_attempt=1,
    resets=frozenset({"WorkflowTaskFailed", "WorkflowTaskTimedOut"}),
    fault_of=fault_of,
    timeout_of=timeout_of,
    earlier_fault_of=earlier_fault_of,
    local_activity_of=local_activity_of,
    input_bytes=_input_bytes,
)
