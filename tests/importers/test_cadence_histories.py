import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.cadence import read_runs
from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_engine import Direction, Status

T0 = 1714557600.0  # 2024-05-01T10:00:00Z
Event = dict[str, Any]
Read = Callable[..., ForeignRun]


def event(number: int, kind: str, second: float, **attributes: Any) -> Event:
    member = f"{kind[0].lower()}{kind[1:]}EventAttributes"
    nanoseconds = int(T0) * 10**9 + round(second * 1000) * 10**6
    return {"eventId": number, "timestamp": nanoseconds, "eventType": kind, member: attributes}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def start(**attributes: Any) -> Event:
    told = {
        "workflowType": {"name": "Order"},
        "taskList": {"name": "orders"},
        "originalExecutionRunId": "run-a",
    }
    return event(1, "WorkflowExecutionStarted", 0, **{**told, **attributes})


def scheduled(number: int, second: float, name: str, said: str = "", **attributes: Any) -> Event:
    told: dict[str, Any] = {"activityId": str(number), "taskList": {"name": "orders"}, "input": b64(said)}
    return event(
        number, "ActivityTaskScheduled", second, activityType={"name": name}, **{**told, **attributes}
    )


def started(number: int, second: float, of: int, **attributes: Any) -> Event:
    return event(number, "ActivityTaskStarted", second, scheduledEventId=of, **attributes)


def ended(number: int, second: float, how: str, of: int, **attributes: Any) -> Event:
    return event(number, f"ActivityTask{how}", second, scheduledEventId=of, **attributes)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_one(*events: Event, hints: Hints | None = None, tally: Tally | None = None) -> ForeignRun:
        path = tmp_path / "history.json"
        path.write_text(json.dumps(events))
        (run,) = read_runs(path, hints or Hints(), tally or Tally())
        return run

    return read_one


def rows(run: ForeignRun) -> list[tuple[str, int, str]]:
    return [(tried.step, tried.attempt, tried.outcome.value) for tried in run.attempts]


def test_an_activity_has_its_times_limits_and_sizes(read: Read) -> None:
    """Nanoseconds since 1970, limits in seconds, and base64 that stands for five bytes."""
    run = read(
        start(),
        scheduled(5, 1, "Charge", "12345", startToCloseTimeoutSeconds=30, retryPolicy={"maximumAttempts": 4}),
        started(6, 1.5, 5, attempt=0),
        ended(7, 3.75, "Completed", 5, startedEventId=6),
        event(8, "WorkflowExecutionCompleted", 4),
    )
    (tried,) = run.attempts
    assert (tried.step, tried.attempt, tried.outcome.value) == ("Charge", 1, "succeeded")
    assert (tried.scheduled_at, tried.started_at, tried.ended_at) == (T0 + 1, T0 + 1.5, T0 + 3.75)
    assert (tried.timeout_s, tried.maximum_attempts, tried.input_bytes, tried.service) == (30, 4, 5, "")
    assert (run.run_id, run.saga, run.status) == ("run-a", "Order", Status.COMPLETED)
    assert (run.launch_at, run.ended_at) == (T0, T0 + 4)


def test_a_retry_of_the_clients_goes_on_in_the_same_step(read: Read) -> None:
    """Several schedule/fail pairs of the same input are attempts 1, 2 and 3, each with its times."""
    events = [start()]
    for at in range(3):
        number = 5 + 3 * at
        end = {"reason": "E"} if at < 2 else {}
        events += [
            scheduled(number, 10 * at, "Charge", "order 7"),
            started(number + 1, 10 * at + 1, number, attempt=0),
            ended(number + 2, 10 * at + 3, "Failed" if at < 2 else "Completed", number, **end),
        ]
    run = read(*events, scheduled(14, 40, "Charge", "order 7"))
    assert rows(run) == [
        ("Charge", 1, "failed"),
        ("Charge", 2, "failed"),
        ("Charge", 3, "succeeded"),
        ("Charge#2", 1, "open"),
    ]
    starts = [tried.started_at for tried in run.attempts]
    assert starts == [T0 + 1, T0 + 11, T0 + 21, None]
    assert [tried.scheduled_at for tried in run.attempts] == [T0, T0 + 10, T0 + 20, T0 + 40]


def test_the_servers_attempts_are_numbered_from_0(read: Read) -> None:
    """Attempt 2 is the third; of the first two only the latest failure is told."""
    run = read(
        start(),
        scheduled(5, 1, "Charge"),
        started(6, 9, 5, attempt=2, lastFailureReason="CardError", lastFailureDetails=b64("{}")),
        ended(7, 10, "Completed", 5),
    )
    assert rows(run) == [("Charge", 1, "failed"), ("Charge", 2, "failed"), ("Charge", 3, "succeeded")]
    assert [tried.error_type for tried in run.attempts] == ["", "CardError", ""]


@pytest.mark.parametrize(
    ("reason", "details", "words"),
    [
        ("cadenceInternal:Generic", b64("no stock"), "no stock"),
        ("cadenceInternal:Generic", b64('"no stock"'), "no stock"),
        ("cadenceInternal:Generic", "no stock", "no stock"),
        ("cadenceInternal:Generic", {"data": b64("no stock")}, "no stock"),
        ("java.lang.IllegalStateException", b64('{"detailMessage": "no stock", "card": 4}'), "no stock"),
        ("CardError", b64('{"card": 4}'), "CardError"),
        ("CardError", b64("card 4"), "CardError"),
        ("CardError", None, "CardError"),
    ],
)
def test_details_give_words_only_where_a_library_put_them(
    read: Read, reason: str, details: object, words: str
) -> None:
    """The reason is the error's type; details of the application's own are a payload."""
    run = read(
        start(),
        scheduled(5, 1, "Charge"),
        started(6, 2, 5),
        ended(7, 3, "Failed", 5, reason=reason, details=details),
    )
    (tried,) = run.attempts
    assert (tried.outcome.value, tried.error_type, tried.message) == ("failed", reason, words)


@pytest.mark.parametrize(
    ("kind", "was_started", "outcome", "error_type"),
    [
        ("START_TO_CLOSE", True, "timed_out", ""),
        ("HEARTBEAT", True, "timed_out", ""),
        (3, True, "timed_out", ""),
        ("SCHEDULE_TO_START", False, "failed", "ScheduleToStartTimeout"),
        (1, False, "failed", "ScheduleToStartTimeout"),
        ("SCHEDULE_TO_CLOSE", False, "failed", "ScheduleToCloseTimeout"),
    ],
)
def test_a_timeout_is_a_failure_where_nobody_was_called(
    read: Read, kind: object, was_started: bool, outcome: str, error_type: str
) -> None:
    """Its type is written as a name or as the enum's number."""
    begun = [started(6, 2, 5, attempt=0)] if was_started else []
    run = read(start(), scheduled(5, 1, "Charge"), *begun, ended(7, 61, "TimedOut", 5, timeoutType=kind))
    (tried,) = run.attempts
    assert (tried.outcome.value, tried.error_type) == (outcome, error_type)


def test_local_activities_of_go_and_of_java(read: Read) -> None:
    """Go writes the marker's object into the details, Java into the header; failures have their reasons."""
    go = {"activityId": "0", "activityType": "Check", "replayTime": "2024-05-01T12:00:02.5+02:00"}
    failed = {"activityId": "1", "activityType": "Look", "errReason": "E", "errJson": "secret", "attempt": 1}
    java = {"activityId": "x", "activityType": "Peek", "replayTimeMillis": int(T0) * 1000 + 4500}
    header = {"fields": {"LocalActivityHeader": b64(json.dumps(java))}}
    run = read(
        start(),
        event(5, "MarkerRecorded", 3, markerName="LocalActivity", details=b64(json.dumps(go))),
        event(6, "MarkerRecorded", 4, markerName="LocalActivity", details=b64(json.dumps(failed))),
        event(7, "MarkerRecorded", 5, markerName="LocalActivity", header=header, details=b64("secret")),
        event(8, "MarkerRecorded", 6, markerName="Version", details=b64('"change"\n1\n')),
    )
    assert rows(run) == [
        ("Check", 1, "succeeded"),
        ("Look", 1, "failed"),
        ("Look", 2, "failed"),
        ("Peek", 1, "succeeded"),
    ]
    assert [tried.ended_at for tried in run.attempts] == [T0 + 2.5, None, T0 + 4, T0 + 4.5]
    assert "secret" not in repr(run)


@pytest.mark.parametrize(
    ("kind", "told", "status", "reason"),
    [
        (
            "Failed",
            {"reason": "cadenceInternal:Generic", "details": b64("no stock")},
            Status.COMPENSATED,
            "failed: no stock",
        ),
        ("TimedOut", {"timeoutType": "START_TO_CLOSE"}, Status.COMPENSATED, "timed out"),
        ("Canceled", {"details": b64("secret")}, Status.COMPENSATED, "cancelled"),
        ("Terminated", {"reason": "by hand"}, Status.ABANDONED, "terminated: by hand"),
        ("ContinuedAsNew", {"newExecutionRunId": "run-b"}, Status.COMPLETED, "continued as new: run-b"),
    ],
)
def test_ends_of_runs(read: Read, kind: str, told: dict[str, Any], status: Status, reason: str) -> None:
    """Nothing had been done in them, so nothing stands."""
    run = read(start(), event(9, f"WorkflowExecution{kind}", 6, **told))
    assert (run.status, run.reason, run.ended_at) == (status, reason, T0 + 6)


def test_a_reset_and_a_parent(read: Read) -> None:
    """The run goes by the id that the reset made; the parent by its run id, as its own history does."""
    parent = {"workflowId": "cart-1", "runId": "run-p"}
    reset = event(4, "DecisionTaskFailed", 1, cause="RESET_WORKFLOW", baseRunId="run-a", newRunId="run-b")
    run = read(start(parentWorkflowExecution=parent), reset)
    assert (run.run_id, run.parent) == ("run-b", "run-p")


def test_an_undo_goes_by_the_name_of_what_it_undoes(read: Read) -> None:
    """Names of packages around it do not hide it."""
    events = [start()]
    for number, name in ((5, "main.BookFlight"), (8, "main.CancelFlight")):
        events += [scheduled(number, number, name), ended(number + 1, number + 1, "Completed", number)]
    undo = read(*events).attempts[1]
    assert (undo.step, undo.direction, undo.attempt) == ("main.BookFlight", Direction.UNDO, 1)


def test_the_form_of_the_protocol_buffers_reads_alike(read: Read) -> None:
    """No event type, times as text, `attributes` naming the member that holds them, limits as `30s`."""
    events: list[Event] = [
        {"workflowExecutionStartedEventAttributes": start()["workflowExecutionStartedEventAttributes"]},
        {
            "activityTaskScheduledEventAttributes": {
                "activityType": {"name": "Charge"},
                "input": {"data": b64("12345")},
                "startToCloseTimeout": {"seconds": "30", "nanos": 0},
            }
        },
        {
            "activityTaskFailedEventAttributes": {
                "scheduledEventId": "2",
                "failure": {"reason": "CardError", "details": b64("secret")},
            }
        },
    ]
    for number, each in enumerate(events, 1):
        (member,) = each
        each |= {"eventId": str(number), "eventTime": f"2024-05-01T10:00:0{number}Z", "attributes": member}
    (tried,) = read(*events).attempts
    assert (tried.step, tried.error_type, tried.message) == ("Charge", "CardError", "CardError")
    assert (tried.timeout_s, tried.input_bytes, tried.ended_at) == (30, 5, T0 + 3)


def test_only_search_attributes_reach_the_context(read: Read) -> None:
    """They are base64 of JSON, and none of the library's own."""
    fields = {"Region": b64('"eu"'), "Items": b64("3"), "CadenceChangeVersion": b64('["a-1"]')}
    run = read(start(searchAttributes={"indexedFields": fields}, input=b64("secret")))
    assert dict(run.context) == {"Region": "eu", "Items": 3.0}
    assert run.input_bytes == 6


def test_what_nobody_knows_is_counted(read: Read) -> None:
    """Decision tasks and timers are known; events of the other server are not."""
    tally = Tally()
    kinds = ["DecisionTaskScheduled", "TimerCanceled", "CancelTimerFailed", "WorkflowTaskScheduled"]
    read(start(), *(event(number, kind, 1) for number, kind in enumerate(kinds, 2)), tally=tally)
    assert tally.skipped == {"WorkflowTaskScheduled": 1}


def test_a_history_without_a_start_is_refused(read: Read) -> None:
    """As its events do not say what ran."""
    with pytest.raises(ImportRefused, match="has no start"):
        read(scheduled(5, 1, "Charge"))
