"""Cadence workflow histories: the JSON of `cadence workflow show`, of the web interface and of clients.

A workflow's history is a run, and its type the saga. Steps are executions of activities, local activities and
child workflows; a child's own history is a run of its own, which names its parent. Timers, signals, queries,
search attributes, markers of versions and side effects make no step. Histories do not tell their workflow's
id, so a run goes by its run id.

* **Names**: see `workflow_history_executions`. **Runs and ends**: see `workflow_history_runs`.
* **Retries**: with a retry policy the server retries by itself and tells the last attempt, numbered from 0,
  and the failure before it: attempt 2 makes three rows, the first two without times. Without one, workflows
  and client libraries schedule the activity again: several schedule/fail pairs, each with times, whose
  numbering goes on within the step.
* **Outcomes**: completed; failed, with the reason as error type; timed out for start-to-close and heartbeat,
  whose effect is open; a schedule-to-start timeout is a failure, as nobody was called; cancelled; open.
* **Times** are whole nanoseconds since 1970; details and inputs are base64. **Service**: the task list, where
  it is not the workflow's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sagacity_data.importers.cadence_events import CADENCE_TYPES
from sagacity_data.importers.cadence_failures import earlier_fault_of, fault_of, timeout_of
from sagacity_data.importers.cadence_markers import local_activity_of
from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.json_documents import read_json
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.workflow_history import histories_in
from sagacity_data.importers.workflow_history_calls import Dialect
from sagacity_data.importers.workflow_history_runs import run_of
from sagacity_data.importers.workflow_history_values import bytes_in_base64


def read_runs(path: Path, hints: Hints, tally: Tally) -> Iterator[ForeignRun]:
    """The runs of a file of Cadence histories, usually one.

    Raises `ImportRefused` while iterating for what cannot be parsed or has no start.
    """
    for history in histories_in(path, read_json(path, tally), CADENCE_TYPES, tally):
        yield run_of(history, CADENCE, hints, tally)


def _input_bytes(told: object) -> int | None:
    return bytes_in_base64(told.get("data") if isinstance(told, dict) else told)


CADENCE: Final = Dialect(
    name="cadence",
    types=CADENCE_TYPES,
    first_attempt=0,
    resets=frozenset({"DecisionTaskFailed", "DecisionTaskTimedOut"}),
    fault_of=fault_of,
    timeout_of=timeout_of,
    earlier_fault_of=earlier_fault_of,
    local_activity_of=local_activity_of,
    input_bytes=_input_bytes,
)
