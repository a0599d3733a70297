"""The types of events that an AWS Step Functions history can hold, and what the ends of tasks mean."""

from __future__ import annotations

from typing import Final

from sagacity_data.rows import AttemptOutcome

FAMILIES: Final = ("LambdaFunction", "Activity", "Task")
"""What a Task state calls begins the names of the call's events."""

OUTCOMES: Final = {
    "Succeeded": AttemptOutcome.SUCCEEDED,
    "Failed": AttemptOutcome.FAILED,
    "TimedOut": AttemptOutcome.TIMED_OUT,
    "ScheduleFailed": AttemptOutcome.FAILED,  # It never was called, like the next two.
    "StartFailed": AttemptOutcome.FAILED,
    "SubmitFailed": AttemptOutcome.FAILED,
}

TIMEOUTS: Final = ("States.Timeout", "States.HeartbeatTimeout")
"""A failure with one of these errors is a timeout of the service's own."""

ENDS: Final = frozenset({"ExecutionSucceeded", "ExecutionFailed", "ExecutionTimedOut", "ExecutionAborted"})
"""The types of events that end an execution, until it is redriven."""

_STRUCTURE: Final = ("Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map")
_STATE: Final = ("Entered", "Exited", "Started", "Succeeded", "Failed", "Aborted")
_WHOLE: Final = ("Started", "Succeeded", "Failed", "Aborted", "Redriven", "TimedOut")

KNOWN: Final = frozenset(
    [f"{family}{word}" for family in FAMILIES for word in ("Scheduled", "Started", *OUTCOMES)]
    + [f"{state}State{word}" for state in _STRUCTURE for word in _STATE]
    + [f"{what}{word}" for what in ("Execution", "MapRun", "MapIteration") for word in _WHOLE]
    + ["TaskSubmitted", "EvaluationFailed"]
)
"""The types that a reading understands, were it only to know that they matter to no attempt."""
