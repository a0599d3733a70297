"""What the events of one execution come to: attempts, numbers, outcomes, times, and what undoes what."""

import json
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.step_functions import read_runs
from sagacity_data.rows import AttemptOutcome
from sagacity_engine import Direction, Status

START = 1_700_000_000.0  # 2023-11-14T22:13:20Z
ROLE = "arn:aws:iam::123456789012:role/shop"
CALL: dict[str, Any] = {"resourceType": "lambda", "resource": "invoke"}


class Told:
    """A history being written down: every event follows the one before, a second later."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.event("ExecutionStarted", "executionStarted", input="{}", roleArn=ROLE)

    def event(
        self,
        kind: str,
        details: str = "",
        after: int | None = None,
        *,
        at: float | None = None,
        **values: Any,
    ) -> int:
        number = len(self.events) + 1
        event: dict[str, Any] = {
            "id": number,
            "type": kind,
            "timestamp": START + number if at is None else at,
        }
        event["previousEventId"] = number - 1 if after is None else after
        if details:
            event[f"{details}EventDetails"] = values
        self.events.append(event)
        return number

    def enter(self, name: str, kind: str = "Task", after: int | None = None) -> int:
        return self.event(f"{kind}StateEntered", "stateEntered", after, name=name)

    def leave(self, name: str, kind: str = "Task", after: int | None = None) -> int:
        return self.event(f"{kind}StateExited", "stateExited", after, name=name)

    def call(self, after: int | None = None, **values: Any) -> int:
        told = {"region": "eu-west-1", "parameters": json.dumps({"FunctionName": "charge"}), **CALL, **values}
        scheduled = self.event("TaskScheduled", "taskScheduled", after, **told)
        return self.event("TaskStarted", "taskStarted", scheduled, **CALL)

    def succeed(self, after: int | None = None) -> int:
        return self.event("TaskSucceeded", "taskSucceeded", after, output="{}", **CALL)

    def fail(self, error: str = "Declined", cause: str = "no money", after: int | None = None) -> int:
        return self.event("TaskFailed", "taskFailed", after, error=error, cause=cause, **CALL)

    def step(self, name: str, *, well: bool = True) -> None:
        self.enter(name)
        self.call()
        if well:
            self.succeed()
        else:
            self.fail()
        self.leave(name)

    def end(self, word: str = "Succeeded", **values: Any) -> int:
        return self.event(f"Execution{word}", f"execution{word}", **values)

    def read(
        self, tmp_path: Path, hints: Hints | None = None, tally: Tally | None = None, **beside: Any
    ) -> ForeignRun:
        path = tmp_path / "history.json"
        path.write_text(json.dumps({"events": self.events, **beside}))
        return only(path, hints or Hints(), tally or Tally())


def only(path: Path, hints: Hints, tally: Tally) -> ForeignRun:
    (run,) = read_runs(path, hints, tally)
    return run


def steps(run: ForeignRun) -> list[tuple[str, str, int, str]]:
    return [(tried.step, tried.direction.value, tried.attempt, tried.outcome.value) for tried in run.attempts]


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_retry_makes_attempts_of_one_step(tmp_path: Path, told: Told) -> None:
    """Two calls within one entry are attempts 1 and 2, each with its own times, error and service."""
    told.enter("Pay")  # id 2, at START + 2
    told.call()  # 3 scheduled, 4 started
    told.fail()  # 5
    told.call()  # 6, 7
    told.succeed()  # 8
    told.leave("Pay")
    told.end()  # 10
    run = told.read(tmp_path)
    assert steps(run) == [("Pay", "forward", 1, "failed"), ("Pay", "forward", 2, "succeeded")]
    first, second = run.attempts
    assert (first.scheduled_at, first.started_at, first.ended_at) == (START + 3, START + 4, START + 5)
    assert (second.scheduled_at, second.started_at, second.ended_at) == (START + 6, START + 7, START + 8)
    assert (first.error_type, first.message) == ("Declined", "no money")
    assert (second.error_type, second.message) == ("", "")
    assert (first.service, first.region) == ("charge", "eu-west-1")
    assert (run.status, run.reason) == (Status.COMPLETED, "")
    assert (run.launch_at, run.ended_at, run.input_bytes) == (START + 1, START + 10, 2)


def test_a_state_entered_again_goes_on_numbering(tmp_path: Path, told: Told) -> None:
    """A loop's second entry of the same state is the next attempt of the same step."""
    told.step("Poll")
    told.step("Poll")
    told.end()
    assert [tried.attempt for tried in told.read(tmp_path).attempts] == [1, 2]


def test_branches_side_by_side_keep_their_own_outcomes(tmp_path: Path, told: Told) -> None:
    """The chain of previous ids tells which branch an end belongs to, not the order of the file."""
    told.enter("Both", "Parallel")  # 2
    told.event("ParallelStateStarted")  # 3
    told.enter("Hotel", after=3)
    hotel = told.call()
    told.enter("Flight", after=3)
    flight = told.call()
    told.fail(after=hotel)
    told.event("TaskStateAborted", after=flight)
    told.event("ParallelStateFailed")
    told.end("Failed", error="Declined")
    run = told.read(tmp_path)
    assert steps(run) == [("Hotel", "forward", 1, "failed"), ("Flight", "forward", 1, "cancelled")]


def test_structure_is_no_step(tmp_path: Path, told: Told) -> None:
    """Pass, Choice, Wait, Succeed and Fail leave no attempt."""
    for kind in ("Pass", "Choice", "Wait", "Succeed"):
        told.enter(kind, kind)
        told.leave(kind, kind)
    told.enter("Bad", "Fail")
    told.end("Failed", error="Bad", cause="by design")
    run = told.read(tmp_path)
    assert run.attempts == ()
    assert (run.status, run.reason) == (Status.COMPENSATED, "failed: Bad: by design")


@pytest.mark.parametrize(
    ("kind", "error", "outcome"),
    [
        ("TimedOut", "States.Timeout", AttemptOutcome.TIMED_OUT),
        ("Failed", "States.Timeout", AttemptOutcome.TIMED_OUT),
        ("Failed", "States.HeartbeatTimeout", AttemptOutcome.TIMED_OUT),
        ("Failed", "States.TaskFailed", AttemptOutcome.FAILED),
        ("SubmitFailed", "Throttled", AttemptOutcome.FAILED),
        ("StartFailed", "Throttled", AttemptOutcome.FAILED),
    ],
)
def test_the_ends_of_a_task(
    tmp_path: Path, told: Told, kind: str, error: str, outcome: AttemptOutcome
) -> None:
    """A timeout is one whether an event or only the error says so; all else that fails is a failure."""
    told.enter("Pay")
    told.call(timeoutInSeconds=5)
    told.event(f"Task{kind}", f"task{kind}", error=error, **CALL)
    told.end("Failed", error=error)
    (tried,) = told.read(tmp_path).attempts
    assert (tried.outcome, tried.error_type, tried.timeout_s) == (outcome, error, 5.0)


def test_lambda_functions_and_activities_are_calls_too(tmp_path: Path, told: Told) -> None:
    """The older events of functions and activities name the service in their ARN; Started may be late."""
    told.enter("Old")
    arn = "arn:aws:lambda:eu-north-1:123456789012:function:charge"
    told.event("LambdaFunctionScheduled", "lambdaFunctionScheduled", resource=arn, input='{"a": 1}')
    told.event("LambdaFunctionStarted")
    told.event("LambdaFunctionTimedOut", "lambdaFunctionTimedOut", error="States.Timeout")
    told.leave("Old")
    told.enter("Pack")
    arn = "arn:aws:states:eu-north-1:123456789012:activity:packing"
    told.event("ActivityScheduled", "activityScheduled", resource=arn, timeoutInSeconds=99_999_999)
    told.end("Aborted")
    run = told.read(tmp_path)
    assert steps(run) == [("Old", "forward", 1, "timed_out"), ("Pack", "forward", 1, "cancelled")]
    old, pack = run.attempts
    assert (old.service, old.region, old.input_bytes) == ("charge", "eu-north-1", 8)
    assert (pack.service, pack.started_at, pack.timeout_s) == ("packing", None, None)
    assert (run.status, run.reason) == (Status.ABANDONED, "aborted")


def test_a_task_that_never_was_scheduled_failed(tmp_path: Path, told: Told) -> None:
    """A task whose input could not be made is an attempt that failed, never one that was called."""
    told.enter("Pay")
    told.event("EvaluationFailed", "evaluationFailed", error="States.QueryEvaluationError", state="Pay")
    told.end("Failed", error="States.QueryEvaluationError")
    (tried,) = told.read(tmp_path).attempts
    assert (tried.outcome, tried.started_at) == (AttemptOutcome.FAILED, None)
    assert tried.error_type == "States.QueryEvaluationError"


def test_what_is_under_way_in_an_open_execution_is_open(tmp_path: Path, told: Told) -> None:
    """Without an end the execution runs, and so does its task."""
    told.enter("Pay")
    told.call()
    run = told.read(tmp_path)
    assert steps(run) == [("Pay", "forward", 1, "open")]
    assert (run.status, run.ended_at) == (Status.RUNNING, None)


def test_a_redrive_goes_on_with_the_failed_step(tmp_path: Path, told: Told) -> None:
    """After a redrive the task is scheduled again without its state being entered; the last end counts."""
    told.enter("Pay")
    told.call()
    told.fail()
    told.end("Failed", error="Declined")
    told.event("ExecutionRedriven", "executionRedriven", redriveCount=1)
    told.call()
    told.succeed()
    told.leave("Pay")
    told.end()
    run = told.read(tmp_path)
    assert steps(run) == [("Pay", "forward", 1, "failed"), ("Pay", "forward", 2, "succeeded")]
    assert run.status is Status.COMPLETED


def test_undos_are_told_by_their_names_once_something_went_wrong(tmp_path: Path, told: Told) -> None:
    """Cancel after a failure undoes what was booked; the message after it is no effect that stands."""
    told.step("BookRoom")
    told.step("Pay", well=False)
    told.step("CancelRoom")
    told.step("SendRegrets")
    told.enter("Sorry", "Fail")
    told.end("Failed", error="Sorry")
    run = told.read(tmp_path)
    assert steps(run) == [
        ("BookRoom", "forward", 1, "succeeded"),
        ("Pay", "forward", 1, "failed"),
        ("BookRoom", "undo", 1, "succeeded"),
        ("SendRegrets", "forward", 1, "succeeded"),
    ]
    assert run.status is Status.COMPENSATED


def test_a_name_alone_undoes_nothing_while_all_goes_well(tmp_path: Path, told: Told) -> None:
    """A cluster that is ended after its work was done was not taken back."""
    told.step("CreateCluster")
    told.step("Count")
    told.step("DeleteCluster")
    told.end()
    run = told.read(tmp_path)
    assert {tried.direction for tried in run.attempts} == {Direction.FORWARD}
    assert run.status is Status.COMPLETED


def test_the_user_says_what_undoes_what(tmp_path: Path, told: Told) -> None:
    """A mapping wins over names, and services are named by state."""
    told.step("Alpha")
    told.step("Omega", well=False)
    told.step("Beta")
    told.end("Failed", error="Declined")
    hints = Hints(undoes={"Beta": "Alpha"}, services={"Alpha": "letters"}, tenant="acme")
    run = told.read(tmp_path, hints)
    assert [(tried.step, tried.direction) for tried in run.attempts][-1] == ("Alpha", Direction.UNDO)
    assert (run.attempts[0].service, run.tenant, run.status) == ("letters", "acme", Status.COMPENSATED)


def test_a_definition_beside_the_history_says_what_undoes_what(tmp_path: Path, told: Told) -> None:
    """Its Catch chain links a state to the step it undoes even where the name says nothing."""
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke"}
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Beta"}]
    definition = {
        "StartAt": "Alpha",
        "States": {
            "Alpha": {**task, "Next": "Omega"},
            "Omega": {**task, "Catch": catch, "End": True},
            "Beta": {**task, "Next": "Bad"},
            "Bad": {"Type": "Fail"},
        },
    }
    told.step("Alpha")
    told.step("Omega", well=False)
    told.step("Beta")
    told.end("Failed", error="Declined")
    run = told.read(tmp_path, definition=json.dumps(definition))
    assert steps(run)[-1] == ("Alpha", "undo", 1, "succeeded")


def test_an_execution_that_succeeds_after_undoing_all_was_compensated(tmp_path: Path, told: Told) -> None:
    """The service's word for the end does not make undone work done."""
    told.step("BookRoom")
    told.step("Pay", well=False)
    told.step("CancelRoom")
    told.end()
    assert told.read(tmp_path).status is Status.COMPENSATED


def test_effects_that_stand_need_attention(tmp_path: Path, told: Told) -> None:
    """A failed execution with a booking that nobody took back is for a person."""
    told.step("BookRoom")
    told.step("Pay", well=False)
    told.end("TimedOut")
    run = told.read(tmp_path)
    assert (run.status, run.reason) == (Status.NEEDS_ATTENTION, "timed out")


def test_times_that_run_backwards_are_left_out(tmp_path: Path, told: Told) -> None:
    """An end before its start is no end, and is noted."""
    told.enter("Pay")
    told.call()
    told.event("TaskSucceeded", "taskSucceeded", at=START, **CALL)
    told.end(at=START)
    tally = Tally()
    run = told.read(tmp_path, tally=tally)
    assert (run.attempts[0].started_at, run.attempts[0].ended_at, run.ended_at) == (START + 4, None, None)
    assert tally.notes["times that run backwards"] == 1
    assert tally.notes["executions that end before they start"] == 1


def test_types_that_nobody_knows_are_counted(tmp_path: Path, told: Told) -> None:
    """An event of tomorrow is skipped; the chain through it holds."""
    told.enter("Pay")
    told.event("TaskPondered")
    told.call()
    told.succeed()
    told.end()
    tally = Tally()
    assert steps(told.read(tmp_path, tally=tally)) == [("Pay", "forward", 1, "succeeded")]
    assert tally.skipped == {"TaskPondered": 1}


def test_a_cause_in_json_gives_its_words(tmp_path: Path, told: Told) -> None:
    """What a function raised is told by a field of the cause."""
    told.enter("Pay")
    told.call()
    told.fail("CardError", json.dumps({"errorMessage": "card expired", "stackTrace": ["x"]}))
    told.end("Failed")
    (tried,) = told.read(tmp_path).attempts
    assert (tried.error_type, tried.message) == ("CardError", "card expired")
