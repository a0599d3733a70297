import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.temporal import read_runs
from sagacity_data.rows import AttemptOutcome
from sagacity_engine import Direction, Status

T0 = 1714557600.0  # 2024-05-01T10:00:00Z
Event = dict[str, Any]
Read = Callable[..., ForeignRun]


def at(second: float) -> str:
    return f"2024-05-01T10:{int(second) // 60:02d}:{second % 60:012.9f}Z"


def event(number: int, kind: str, second: float, **attributes: Any) -> Event:
    member = f"{kind[0].lower()}{kind[1:]}EventAttributes"
    return {"eventId": str(number), "eventTime": at(second), "eventType": kind, member: attributes}


def start(**attributes: Any) -> Event:
    told = {"workflowType": {"name": "Order"}, "taskQueue": {"name": "orders"}, "workflowId": "order-7"}
    return event(1, "WorkflowExecutionStarted", 0, **told, originalExecutionRunId="run-a", **attributes)


def scheduled(number: int, second: float, name: str, said: str = "", **attributes: Any) -> Event:
    payload = {"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": base64.b64encode(said.encode()).decode()}
    told = {"activityId": str(number), "taskQueue": {"name": "orders"}, "input": {"payloads": [payload]}}
    return event(
        number, "ActivityTaskScheduled", second, activityType={"name": name}, **{**told, **attributes}
    )


def started(number: int, second: float, of: int, **attributes: Any) -> Event:
    return event(number, "ActivityTaskStarted", second, scheduledEventId=str(of), **attributes)


def ended(number: int, second: float, how: str, of: int, **attributes: Any) -> Event:
    return event(number, f"ActivityTask{how}", second, scheduledEventId=str(of), **attributes)


def declined(words: str = "card declined", kind: str = "CardError") -> dict[str, Any]:
    return {"message": words, "source": "GoSDK", "applicationFailureInfo": {"type": kind}}


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_one(*events: Event, hints: Hints | None = None, tally: Tally | None = None) -> ForeignRun:
        path = tmp_path / "history.json"
        path.write_text(json.dumps({"events": events}))
        (run,) = read_runs(path, hints or Hints(), tally or Tally())
        return run

    return read_one


def rows(run: ForeignRun) -> list[tuple[str, int, str]]:
    return [(tried.step, tried.attempt, tried.outcome.value) for tried in run.attempts]


def undos(run: ForeignRun) -> list[tuple[str, int]]:
    return [(tried.step, tried.attempt) for tried in run.attempts if tried.direction is Direction.UNDO]


def test_an_activity_has_its_times_limits_and_sizes(read: Read) -> None:
    """Scheduled, started and ended come from the three events, the limits from the first of them."""
    run = read(
        start(),
        scheduled(5, 1, "Charge", "12345", startToCloseTimeout="30s", retryPolicy={"maximumAttempts": 4}),
        started(6, 1.5, 5, attempt=1),
        ended(7, 3.75, "Completed", 5, startedEventId="6"),
    )
    (tried,) = run.attempts
    assert (tried.step, tried.attempt, tried.outcome) == ("Charge", 1, AttemptOutcome.SUCCEEDED)
    assert (tried.scheduled_at, tried.started_at, tried.ended_at) == (T0 + 1, T0 + 1.5, T0 + 3.75)
    assert (tried.timeout_s, tried.maximum_attempts, tried.input_bytes) == (30.0, 4, 5)
    assert tried.service == ""


def test_attempts_that_only_the_server_saw_have_rows_without_times(read: Read) -> None:
    """Attempt 3 makes three rows: of the first only its scheduling is told, of the second its failure."""
    run = read(
        start(),
        scheduled(5, 1, "Charge"),
        started(6, 9, 5, attempt=3, lastFailure=declined()),
        ended(7, 10, "Completed", 5, startedEventId="6"),
    )
    assert rows(run) == [("Charge", 1, "failed"), ("Charge", 2, "failed"), ("Charge", 3, "succeeded")]
    first, second, third = run.attempts
    assert (first.scheduled_at, first.started_at, first.ended_at) == (T0 + 1, None, None)
    assert (first.error_type, first.message) == ("", "")
    assert (second.scheduled_at, second.started_at, second.ended_at) == (None, None, None)
    assert (second.error_type, second.message) == ("CardError", "card declined")
    assert (third.scheduled_at, third.started_at, third.ended_at) == (None, T0 + 9, T0 + 10)


def test_the_attempt_before_may_have_timed_out(read: Read) -> None:
    """A last failure that is a start-to-close timeout leaves the effect of that attempt open."""
    timeout = {"message": "activity timeout", "timeoutFailureInfo": {"timeoutType": "StartToClose"}}
    run = read(
        start(),
        scheduled(5, 1, "Charge"),
        started(6, 9, 5, attempt=2, lastFailure=timeout),
        ended(7, 10, "Failed", 5, failure=declined()),
    )
    assert rows(run) == [("Charge", 1, "timed_out"), ("Charge", 2, "failed")]


def test_a_failure_has_its_type_words_and_cause(read: Read) -> None:
    """The type is the application's; the words of causes follow those of the failure itself."""
    failure = {**declined("no payment"), "cause": declined("card declined", "Inner")}
    run = read(
        start(), scheduled(5, 1, "Charge"), started(6, 2, 5), ended(7, 3, "Failed", 5, failure=failure)
    )
    (tried,) = run.attempts
    assert tried.outcome is AttemptOutcome.FAILED
    assert (tried.error_type, tried.message) == ("CardError", "no payment; caused by: card declined")


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ({"message": "x", "applicationFailureInfo": {"type": ""}}, "ApplicationFailure"),
        ({"message": "x", "serverFailureInfo": {}}, "ServerFailure"),
        ({"message": "x", "activityFailureInfo": {}, "cause": declined("y", "Inner")}, "Inner"),
        ({"message": "x", "terminatedFailureInfo": {}}, "Terminated"),
        ({"message": "x"}, ""),
    ],
)
def test_without_a_type_of_the_applications_the_kind_of_failure_counts(
    read: Read, failure: dict[str, Any], kind: str
) -> None:
    """Wrappers that only say which call failed give way to what they wrap."""
    run = read(
        start(), scheduled(5, 1, "Charge"), started(6, 2, 5), ended(7, 3, "Failed", 5, failure=failure)
    )
    assert run.attempts[0].error_type == kind


@pytest.mark.parametrize(
    ("kind", "was_started", "outcome", "error_type"),
    [
        ("StartToClose", True, "timed_out", ""),
        ("TIMEOUT_TYPE_HEARTBEAT", True, "timed_out", ""),
        ("ScheduleToStart", False, "failed", "ScheduleToStartTimeout"),
        (2, False, "failed", "ScheduleToStartTimeout"),
        ("TIMEOUT_TYPE_SCHEDULE_TO_CLOSE", True, "timed_out", ""),
        ("ScheduleToClose", False, "failed", "ScheduleToCloseTimeout"),
    ],
)
def test_a_timeout_is_a_failure_where_nobody_was_called(
    read: Read, kind: object, was_started: bool, outcome: str, error_type: str
) -> None:
    """Only a timeout of work that somebody had taken up leaves open whether it took effect."""
    failure = {"message": "activity timeout", "timeoutFailureInfo": {"timeoutType": kind}}
    begun = [started(6, 2, 5, attempt=1)] if was_started else []
    run = read(start(), scheduled(5, 1, "Charge"), *begun, ended(7, 61, "TimedOut", 5, failure=failure))
    (tried,) = run.attempts
    assert (tried.outcome.value, tried.error_type) == (outcome, error_type)
    assert tried.message == "activity timeout"
    assert (tried.started_at, tried.ended_at) == (T0 + 2 if was_started else None, T0 + 61)


def test_a_timeout_in_the_queue_with_a_cause_tells_of_an_attempt_before(read: Read) -> None:
    """The retry waited in vain: the attempt before it failed with the cause, the retry was never called."""
    timeout = {"timeoutFailureInfo": {"timeoutType": "ScheduleToStart"}, "cause": declined()}
    run = read(
        start(), scheduled(5, 1, "Charge"), ended(6, 61, "TimedOut", 5, failure=timeout, startedEventId="0")
    )
    assert [(tried.outcome.value, tried.error_type) for tried in run.attempts] == [
        ("failed", "CardError"),
        ("failed", "ScheduleToStartTimeout"),
    ]
    assert run.attempts[0].ended_at is None


def test_cancelled_and_open_activities(read: Read) -> None:
    """Only the event that says so cancels; one without an end stays open even where its run has ended."""
    run = read(
        start(),
        scheduled(5, 1, "Charge"),
        scheduled(6, 1, "Reserve"),
        started(7, 2, 5),
        event(8, "ActivityTaskCancelRequested", 3, scheduledEventId="5"),
        event(9, "ActivityTaskCancelRequested", 3, scheduledEventId="6"),
        ended(10, 4, "Canceled", 5, startedEventId="7"),
        event(11, "WorkflowExecutionCompleted", 5),
    )
    assert sorted(rows(run)) == [("Charge", 1, "cancelled"), ("Reserve", 1, "open")]
    assert next(tried.ended_at for tried in run.attempts if tried.step == "Charge") == T0 + 4


def test_calls_of_one_type_are_steps_of_their_own(read: Read) -> None:
    """Executions of a type are numbered in the order of scheduling, whatever order they run in."""
    run = read(
        start(),
        scheduled(5, 1, "Charge", "a"),
        scheduled(6, 1, "Charge", "b"),
        started(7, 2, 6),
        ended(8, 3, "Completed", 6),
        started(9, 4, 5),
        ended(10, 5, "Completed", 5),
        scheduled(11, 6, "Charge", "a"),
    )
    assert rows(run) == [("Charge#2", 1, "succeeded"), ("Charge", 1, "succeeded"), ("Charge#3", 1, "open")]
    assert [tried.service for tried in run.attempts] == ["Charge", "", "Charge"]


def test_a_call_after_a_failure_with_the_same_input_is_a_retry(read: Read) -> None:
    """What the workflow calls again after it failed goes on in the same step; other input is another step."""
    run = read(
        start(),
        scheduled(5, 1, "Charge", "a"),
        started(6, 2, 5),
        ended(7, 3, "Failed", 5, failure=declined()),
        scheduled(8, 4, "Charge", "b"),
        scheduled(9, 5, "Charge", "a"),
        started(10, 6, 9, attempt=2, lastFailure=declined()),
        ended(11, 7, "Completed", 9),
    )
    assert rows(run) == [
        ("Charge", 1, "failed"),
        ("Charge#2", 1, "open"),
        ("Charge", 2, "failed"),
        ("Charge", 3, "succeeded"),
    ]


def test_another_task_queue_names_the_service(read: Read) -> None:
    """The workflow's own queue says nothing; the user's word wins over any queue."""
    other = scheduled(5, 1, "Charge", taskQueue={"name": "payments"})
    assert read(start(), other).attempts[0].service == "payments"
    assert read(start(), other, hints=Hints(services={"Charge": "bank"})).attempts[0].service == "bank"


def child(number: int, second: float, name: str, **attributes: Any) -> Event:
    return event(
        number, "StartChildWorkflowExecutionInitiated", second, workflowType={"name": name}, **attributes
    )


@pytest.mark.parametrize(
    ("how", "outcome", "error_type"),
    [
        ("Completed", "succeeded", ""),
        ("Failed", "failed", "CardError"),
        ("Canceled", "cancelled", ""),
        ("Terminated", "cancelled", ""),
        ("TimedOut", "timed_out", ""),
    ],
)
def test_a_child_workflow_is_a_step(read: Read, how: str, outcome: str, error_type: str) -> None:
    """The step takes the child's type and its limits; its end is the child's end."""
    told: dict[str, Any] = {"initiatedEventId": "5", "startedEventId": "6"}
    if how == "Failed":
        told["failure"] = {"message": "child failed", "activityFailureInfo": {}, "cause": declined()}
    run = read(
        start(),
        child(5, 1, "Ship", workflowRunTimeout="0s", workflowExecutionTimeout="90s"),
        event(6, "ChildWorkflowExecutionStarted", 2, initiatedEventId="5"),
        event(7, f"ChildWorkflowExecution{how}", 4, **told),
    )
    (tried,) = run.attempts
    assert (tried.step, tried.outcome.value, tried.error_type) == ("Ship", outcome, error_type)
    assert (tried.started_at, tried.ended_at, tried.timeout_s) == (T0 + 2, T0 + 4, 90.0)


def test_a_child_workflow_that_was_not_started_failed(read: Read) -> None:
    """The reason why the server did not start it is the error's type, in one spelling of both dialects."""
    for cause in (
        "WorkflowAlreadyExists",
        "START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS",
    ):
        failed = event(6, "StartChildWorkflowExecutionFailed", 2, initiatedEventId="5", cause=cause)
        (tried,) = read(start(), child(5, 1, "Ship"), failed).attempts
        assert (tried.outcome.value, tried.error_type) == ("failed", "WorkflowAlreadyExists")
        assert tried.started_at is None


def payloads(value: object) -> dict[str, Any]:
    data = base64.b64encode(json.dumps(value).encode()).decode()
    return {"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": data}]}


def go_marker(number: int, second: float, data: object, **attributes: Any) -> Event:
    details = {"data": payloads(data), "result": payloads("secret")}
    return event(number, "MarkerRecorded", second, markerName="LocalActivity", details=details, **attributes)


def test_a_local_activity_of_go_is_a_step(read: Read) -> None:
    """Its marker tells the type and when it ended; when it started is not told."""
    data = {"ActivityID": "1", "ActivityType": "Check", "ReplayTime": at(2.5), "Attempt": 1, "Backoff": 0}
    (tried,) = read(start(), go_marker(5, 3, data)).attempts
    assert (tried.step, tried.attempt, tried.outcome.value) == ("Check", 1, "succeeded")
    assert (tried.started_at, tried.ended_at) == (None, T0 + 2.5)


def test_a_local_activity_that_backs_off_goes_on_in_the_next_marker(read: Read) -> None:
    """The first marker tells of attempts 1 and 2, the second of 3; a parallel one of the type is apart."""
    first = {"ActivityID": "1", "ActivityType": "Check", "Attempt": 2, "Backoff": 60_000_000_000}
    other = {"ActivityID": "2", "ActivityType": "Check", "Attempt": 1, "Backoff": 0}
    third = {"ActivityID": "3", "ActivityType": "Check", "Attempt": 3, "Backoff": 0}
    run = read(
        start(), go_marker(5, 3, first, failure=declined()), go_marker(6, 4, other), go_marker(9, 70, third)
    )
    assert rows(run) == [
        ("Check", 1, "failed"),
        ("Check", 2, "failed"),
        ("Check#2", 1, "succeeded"),
        ("Check", 3, "succeeded"),
    ]
    assert [tried.error_type for tried in run.attempts] == ["", "CardError", "", ""]


def test_parallel_local_activities_are_numbered_as_they_were_called(read: Read) -> None:
    """Markers come as the calls end, their ids count the calls."""
    markers = [
        go_marker(number, 3, {"ActivityID": str(called), "ActivityType": "Check", "Attempt": 1})
        for number, called in ((5, 10), (6, 9), (7, 11))
    ]
    assert [tried.step for tried in read(start(), *markers).attempts] == ["Check#2", "Check", "Check#3"]


def test_local_activities_of_the_core_and_of_java(read: Read) -> None:
    """The core writes seconds and nanoseconds, Java milliseconds and a member for each thing."""
    core = {
        "activity_id": "1",
        "activity_type": "Check",
        "attempt": 1,
        "complete_time": {"seconds": int(T0) + 2, "nanos": 500_000_000},
        "original_schedule_time": {"seconds": int(T0) + 1, "nanos": 0},
    }
    java = {
        "activityId": payloads("2"),
        "type": payloads("Look"),
        "time": payloads(int(T0) * 1000 + 4500),
        "meta": payloads({"atpt": 2, "firstSkd": int(T0) * 1000 + 3000}),
    }
    run = read(
        start(),
        event(5, "MarkerRecorded", 3, markerName="core_local_activity", details={"data": payloads(core)}),
        event(6, "MarkerRecorded", 5, markerName="LocalActivity", details=java),
        event(7, "MarkerRecorded", 6, markerName="Version", details={}),
    )
    assert rows(run) == [("Check", 1, "succeeded"), ("Look", 1, "failed"), ("Look", 2, "succeeded")]
    assert (run.attempts[0].scheduled_at, run.attempts[0].ended_at) == (T0 + 1, T0 + 2.5)
    assert (run.attempts[1].scheduled_at, run.attempts[2].ended_at) == (T0 + 3, T0 + 4.5)


def done(number: int, second: float, name: str, said: str = "") -> list[Event]:
    return [
        scheduled(number, second, name, said),
        started(number + 1, second + 0.1, number),
        ended(number + 2, second + 0.2, "Completed", number),
    ]


def test_an_undo_goes_by_the_name_of_what_it_undoes(read: Read) -> None:
    """`CancelFlight` after `BookFlight` is its undo, and the failed run is compensated."""
    failing = scheduled(8, 2, "Charge")
    run = read(
        start(),
        *done(5, 1, "BookFlight"),
        failing,
        started(9, 2.5, 8),
        ended(10, 3, "Failed", 8, failure=declined()),
        *done(11, 4, "CancelFlight"),
        event(20, "WorkflowExecutionFailed", 6, failure=declined()),
    )
    assert rows(run)[-1] == ("BookFlight", 1, "succeeded")
    assert undos(run) == [("BookFlight", 1)]
    assert (run.status, run.reason) == (Status.COMPENSATED, "failed: card declined")


def test_undos_of_several_executions_find_their_own(read: Read) -> None:
    """By the same input first, else the latest that still stands."""
    booked = [*done(5, 1, "BookRoom", "a"), *done(8, 2, "BookRoom", "b"), *done(11, 3, "BookRoom", "c")]
    same = read(start(), *booked, *done(14, 4, "CancelRoom", "a"), *done(17, 5, "CancelRoom", "c"))
    assert undos(same) == [("BookRoom", 1), ("BookRoom#3", 1)]
    other = read(start(), *booked, *done(14, 4, "CancelRoom", "x"), *done(17, 5, "CancelRoom", "y"))
    assert undos(other) == [("BookRoom#3", 1), ("BookRoom#2", 1)]


def test_an_undo_before_anything_was_done_is_no_undo(read: Read) -> None:
    """Only the user may say that a step undoes something that was not executed before it."""
    events = [start(), *done(5, 1, "CancelFlight"), *done(8, 2, "BookFlight")]
    assert undos(read(*events)) == []
    assert undos(read(*events, hints=Hints(undoes={"CancelFlight": "BookFlight"}))) == [("BookFlight", 1)]


def test_the_users_mapping_names_undos(read: Read) -> None:
    """A name that says nothing is an undo where the user says so."""
    events = [start(), *done(5, 1, "Pay"), *done(8, 2, "MoneyBack")]
    assert undos(read(*events)) == []
    assert undos(read(*events, hints=Hints(undoes={"MoneyBack": "Pay"}))) == [("Pay", 1)]


def test_times_that_run_backwards_are_left_out(read: Read) -> None:
    """An end before its start has no time, and a scheduling after the start neither; both are noted."""
    tally = Tally()
    run = read(start(), scheduled(5, 9, "Charge"), started(6, 5, 5), ended(7, 4, "Completed", 5), tally=tally)
    (tried,) = run.attempts
    assert (tried.scheduled_at, tried.started_at, tried.ended_at) == (None, T0 + 5, None)
    assert tried.outcome is AttemptOutcome.SUCCEEDED
    assert sum(tally.notes.values()) == 2


def test_very_many_attempts_that_nothing_is_told_of_are_bounded(read: Read) -> None:
    """The latest thousand become rows, the last one keeps its number, and the rest are noted."""
    tally = Tally()
    run = read(start(), scheduled(5, 1, "Charge"), started(6, 9, 5, attempt=50_000), tally=tally)
    assert len(run.attempts) == 1001
    assert (run.attempts[0].attempt, run.attempts[-1].attempt) == (49_000, 50_000)
    assert sum(tally.notes.values()) == 48_999
