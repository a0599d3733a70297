import base64
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.temporal import read_runs
from sagacity_engine import Status

T0 = 1714557600.0  # 2024-05-01T10:00:00Z
Event = dict[str, Any]
Read = Callable[..., ForeignRun]


def event(number: int, kind: str, second: int, **attributes: Any) -> Event:
    member = f"{kind[0].lower()}{kind[1:]}EventAttributes"
    time = f"2024-05-01T10:00:{second:02d}.123456789Z"
    return {"eventId": str(number), "eventTime": time, "eventType": kind, member: attributes}


def start(**attributes: Any) -> Event:
    told = {
        "workflowType": {"name": "Order"},
        "taskQueue": {"name": "orders"},
        "workflowId": "order-7",
        "originalExecutionRunId": "run-a",
    }
    return event(1, "WorkflowExecutionStarted", 0, **{**told, **attributes})


def charged() -> list[Event]:
    return [
        event(5, "ActivityTaskScheduled", 1, activityId="5", activityType={"name": "Charge"}),
        event(6, "ActivityTaskStarted", 2, scheduledEventId="5", attempt=1),
        event(7, "ActivityTaskCompleted", 4, scheduledEventId="5", startedEventId="6"),
    ]


def whole() -> list[Event]:
    return [
        start(),
        event(2, "WorkflowTaskScheduled", 0),
        event(3, "TimerStarted", 0),
        event(4, "WorkflowExecutionSignaled", 0),
        *charged(),
        event(8, "WorkflowExecutionCompleted", 5),
    ]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_one(document: object, tally: Tally | None = None, hints: Hints | None = None) -> ForeignRun:
        path = tmp_path / "history.json"
        path.write_text(json.dumps(document))
        (run,) = read_runs(path, hints or Hints(), tally or Tally())
        return run

    return read_one


def proto_name(event: Event) -> Event:
    words = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in event["eventType"])
    return {**event, "eventType": f"EVENT_TYPE{words}"}


def plain_attributes(event: Event) -> Event:
    member = next(key for key in event if key.endswith("EventAttributes"))
    return {
        "eventId": int(event["eventId"]),
        "eventTime": event["eventTime"],
        "eventType": event["eventType"],
        "attributes": {"type": member, **event[member]},
    }


def without_type(event: Event) -> Event:
    return {key: value for key, value in event.items() if key != "eventType"}


def without_id(event: Event) -> Event:
    return {key: value for key, value in event.items() if key != "eventId"}


def shuffled(events: list[Event]) -> list[Event]:
    return random.Random(4).sample(events, len(events))


DOCUMENTS: dict[str, Callable[[], object]] = {
    "array": whole,
    "events": lambda: {"events": whole()},
    "history": lambda: {"history": {"events": whole()}, "rawHistory": None, "nextPageToken": ""},
    "batches": lambda: [{"events": whole()[:4]}, {"events": whole()[4:]}],
    "descending": lambda: {"history": {"events": whole()[::-1]}},
    "any order": lambda: shuffled(whole()),
    "proto names": lambda: {"events": [proto_name(each) for each in whole()]},
    "plain attributes": lambda: [plain_attributes(each) for each in whole()],
    "no types": lambda: [without_type(each) for each in whole()],
    "no ids": lambda: [without_id(each) for each in whole()],
    "no ids, descending": lambda: [without_id(each) for each in whole()[::-1]],
    "one without an id": lambda: [without_id(each) if each["eventId"] == "6" else each for each in whole()],
    "twice the same": lambda: [each for each in whole() for _ in range(2)],
    "numbers": lambda: [
        {**each, "eventType": {"1": 1, "5": 10, "6": 11, "7": 12, "8": 2}.get(each["eventId"], 17)}
        for each in whole()
    ],
    "mapping": lambda: {f"event {each['eventId']}": each for each in whole()},
}


@pytest.mark.parametrize("dialect", DOCUMENTS)
def test_every_way_of_writing_a_history_reads_alike(read: Read, dialect: str) -> None:
    """One history in every shape, order and spelling gives one and the same run."""
    run = read(DOCUMENTS[dialect]())
    assert (run.run_id, run.saga, run.status) == ("order-7/run-a", "Order", Status.COMPLETED)
    assert (run.launch_at, run.ended_at, run.reason) == (T0 + 0.123456, T0 + 5.123456, "")
    (tried,) = run.attempts
    assert (tried.step, tried.attempt, tried.outcome.value) == ("Charge", 1, "succeeded")
    assert (tried.scheduled_at, tried.started_at) == (T0 + 1.123456, T0 + 2.123456)
    assert tried.ended_at == T0 + 4.123456


def test_known_types_without_a_step_are_not_counted_as_skipped(read: Read) -> None:
    """Timers, signals, updates, Nexus operations and the rest are known; only unknown types are counted."""
    known = ["TimerFired", "WorkflowExecutionUpdateAccepted", "NexusOperationScheduled", "MarkerRecorded"]
    others = [event(number, kind, 1) for number, kind in enumerate(known, 10)]
    tally = Tally()
    read([*whole(), *others, event(20, "TeaBreakTaken", 1), event(21, "TeaBreakTaken", 1)], tally)
    assert tally.skipped == {"TeaBreakTaken": 2}


def test_what_cannot_be_linked_is_noted_and_left_out(read: Read) -> None:
    """A completion without its scheduling, a second end, and entries that are no events do no harm."""
    tally = Tally()
    strange = [
        event(9, "ActivityTaskCompleted", 4, scheduledEventId="77"),
        event(10, "ActivityTaskFailed", 4, scheduledEventId="5"),
        17,
    ]
    run = read([*whole(), *strange], tally)
    assert [tried.outcome.value for tried in run.attempts] == ["succeeded"]
    assert sum(tally.notes.values()) == 3


@pytest.mark.parametrize(
    ("kind", "told", "status", "reason"),
    [
        ("Failed", {"failure": {"message": "no stock"}}, Status.NEEDS_ATTENTION, "failed: no stock"),
        ("TimedOut", {"retryState": "Timeout"}, Status.NEEDS_ATTENTION, "timed out"),
        ("Terminated", {"reason": "by hand"}, Status.ABANDONED, "terminated: by hand"),
        (
            "ContinuedAsNew",
            {"newExecutionRunId": "run-b", "failure": None},
            Status.COMPLETED,
            "continued as new: run-b",
        ),
        (
            "ContinuedAsNew",
            {"newExecutionRunId": "run-b", "failure": {"message": "no stock"}},
            Status.NEEDS_ATTENTION,
            "failed: no stock; continued as new: run-b",
        ),
    ],
)
def test_ends_of_runs(read: Read, kind: str, told: dict[str, Any], status: Status, reason: str) -> None:
    """A failed run with a step that succeeded needs attention; the reason is in the history's words."""
    run = read([start(), *charged(), event(9, f"WorkflowExecution{kind}", 6, **told)])
    assert (run.status, run.reason, run.ended_at) == (status, reason, T0 + 6.123456)


def test_a_cancelled_run_failed_for_the_cause_that_was_asked_for(read: Read) -> None:
    """Nothing had been done, so nothing stands."""
    asked = event(4, "WorkflowExecutionCancelRequested", 1, cause="customer left")
    run = read([start(), asked, event(9, "WorkflowExecutionCanceled", 6)])
    assert (run.status, run.reason) == (Status.COMPENSATED, "cancelled: customer left")


def test_a_run_without_an_end_is_running(read: Read) -> None:
    """It has no end, whatever else it has."""
    run = read([start(), *charged()])
    assert (run.status, run.ended_at) == (Status.RUNNING, None)


def test_a_reset_is_one_run_under_its_new_id(read: Read) -> None:
    """The events before the reset were kept, and a later reset wins over an earlier one."""
    resets = [
        event(8 + at, "WorkflowTaskFailed", 5, cause="ResetWorkflow", baseRunId="run-a", newRunId=run_id)
        for at, run_id in enumerate(("run-b", "run-c", ""))
    ]
    run = read([start(), *charged(), *resets, event(20, "WorkflowExecutionCompleted", 6)])
    assert (run.run_id, len(run.attempts), run.status) == ("order-7/run-c", 1, Status.COMPLETED)


def test_the_parent_is_named_as_its_own_history_names_it(read: Read) -> None:
    """By both ids where this server tells workflow ids, else by the run's id alone."""
    parent = {"parentWorkflowExecution": {"workflowId": "cart-1", "runId": "run-p"}}
    assert read([start(**parent)]).parent == "cart-1/run-p"
    assert read([start(workflowId=None, **parent)]).parent == "run-p"
    assert read([start()]).parent == ""


def test_ids_that_are_told_around_the_events_count(read: Read) -> None:
    """A wrapper may name the workflow and the run; without any id the content names the run."""
    bare = start(workflowId=None, originalExecutionRunId=None)
    wrapped = {"workflowExecution": {"workflowId": "w", "runId": "r"}, "history": {"events": [bare]}}
    assert read(wrapped).run_id == "w/r"
    first, again, other = read([bare]), read({"events": [bare]}), read([bare, *charged()])
    assert first.run_id == again.run_id
    assert first.run_id != other.run_id
    assert first.run_id.startswith("history-")


def test_the_first_run_of_a_chain_is_its_own(read: Read) -> None:
    """The chain's first run id names this run only where nothing was continued."""
    told = {"originalExecutionRunId": None, "firstExecutionRunId": "run-f"}
    assert read([start(**told)]).run_id == "order-7/run-f"
    assert "run-f" not in read([start(**told, continuedExecutionRunId="run-e")]).run_id


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def attribute(kind: str, value: object) -> dict[str, Any]:
    return {"metadata": {"encoding": b64("json/plain"), "type": b64(kind)}, "data": b64(json.dumps(value))}


def test_only_search_attributes_reach_the_context_and_no_payload_does(read: Read) -> None:
    """Numbers, truth values and keywords do; free text, instants, the server's own and memos do not."""
    fields = {
        "Region": attribute("Keyword", "eu"),
        "Items": attribute("Int", 3),
        "Vip": attribute("Bool", True),
        "Plan": "gold",
        "Remark": attribute("Text", "call first"),
        "Due": attribute("Datetime", "2024-05-01T10:00:00Z"),
        "Since": "2024-05-01T10:00:00Z",
        "Tags": attribute("KeywordList", ["a"]),
        "TemporalScheduledById": attribute("Keyword", "nightly"),
        "BinaryChecksums": attribute("Keyword", "e56c"),
    }
    secret = {"payloads": [attribute("", "secret")]}
    memo = {"fields": {"note": attribute("", "secret")}}
    run = read([start(searchAttributes={"indexedFields": fields}, input=secret, memo=memo)])
    assert dict(run.context) == {"Region": "eu", "Items": 3.0, "Vip": True, "Plan": "gold"}
    assert run.input_bytes == 8  # "secret" in quotes.
    assert "secret" not in repr(run)


def test_decoded_payloads_tell_no_size(read: Read) -> None:
    """Their size as stored is not known; no input at all is told as nothing, an empty list as none."""
    assert read([start(input={"payloads": ["secret"]})]).input_bytes is None
    assert read([start(input=None)]).input_bytes is None
    assert read([start(input={"payloads": []})]).input_bytes == 0


def test_the_users_tenant_is_the_runs(read: Read) -> None:
    """Histories name no tenant."""
    assert read([start()], hints=Hints(tenant="acme")).tenant == "acme"


@pytest.mark.parametrize(
    ("time", "told"),
    [
        ("2024-05-01T12:00:00+02:00", T0),
        ("2024-05-01T10:00:00", T0),
        (int(T0) * 10**9 + 999, T0),
        (str(int(T0) * 10**9), T0),
        ({"seconds": str(int(T0)), "nanos": 500_000_000}, T0 + 0.5),
        ("0001-01-01T00:00:00Z", None),
        ("yesterday", None),
        ("1901-01-01T00:00:00Z", None),
        (-5, None),
        (True, None),
        ([], None),
    ],
)
def test_times_in_every_spelling(read: Read, time: object, told: float | None) -> None:
    """What is no time, or cannot be one, is missing; it is never guessed."""
    assert read([{**start(), "eventTime": time}]).launch_at == told


def test_several_histories_in_one_file(tmp_path: Path) -> None:
    """Each is a run of its own; gzip is read as well."""
    path = tmp_path / "exported.json.gz"
    other = start(originalExecutionRunId="run-b")
    document = {"items": [{"history": {"events": whole()}}, {"history": {"events": [other]}}]}
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    assert [run.run_id for run in read_runs(path, Hints(), Tally())] == ["order-7/run-a", "order-7/run-b"]


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        17,
        None,
        {"events": []},
        {"events": None},
        charged(),
        {"workflowExecutionInfo": {"status": "Running"}, "pendingChildren": []},
    ],
)
def test_what_has_no_start_is_refused(read: Read, document: object) -> None:
    """The refusal says so, in a line, with a way out."""
    with pytest.raises(ImportRefused) as refusal:
        read(document)
    assert refusal.value.reason.startswith("has no start")
    assert refusal.value.way_out


def test_names_that_no_table_can_hold_are_mended(read: Read) -> None:
    """Lone surrogates and NUL are replaced, and endless names are cut off."""
    run = read([start(workflowType={"name": "a\ud800b\x00" + "c" * 1000})])
    assert run.saga.startswith("a?b\ufffdccc")
    assert len(run.saga) == 300
