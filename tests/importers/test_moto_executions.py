"""State machines that moto really executes: what is imported is what its histories say.

moto runs definitions with an interpreter of its own and writes histories as AWS does, so it is an engine that
is not ours. Fake credentials; nothing leaves the process.
"""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # It brings no types.
import pytest
from moto import mock_aws

from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.step_functions import read_runs
from sagacity_engine import Status

pytestmark = pytest.mark.slow
REGION = "eu-west-1"
MISSING = "DynamoDB.ResourceNotFoundException"
Events = list[dict[str, Any]]
Call = tuple[str, str, str, float | None, float | None]
ENDS = {"TaskSucceeded": "succeeded", "TaskFailed": "failed"}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """A mocked account with one table, `rooms`; the table `flights` is missing until somebody makes it."""
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(key, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    caplog.set_level(logging.CRITICAL, logger="moto")  # It logs what a task fails with as an error.
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        make_table("rooms")
        yield boto3.client("stepfunctions", region_name=REGION)


def make_table(name: str) -> None:
    boto3.client("dynamodb", region_name=REGION).create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def task(action: str, table: str, then: str | None = None, **more: Any) -> dict[str, Any]:
    """A call of a table; nothing of the state's input is changed by it."""
    key = "Item" if action == "putItem" else "Key"
    return {
        "Type": "Task",
        "Resource": f"arn:aws:states:::dynamodb:{action}",
        "Parameters": {"TableName": table, key: {"id": {"S": "1"}}},
        "ResultPath": None,
        **more,
        **({"Next": then} if then else {"End": True}),
    }


def execute(
    client: Any,
    start: str,
    states: Mapping[str, Any],
    *,
    told: str = "{}",
    meanwhile: Callable[[], None] | None = None,
) -> tuple[str, Events]:
    """The execution's ARN and events when it has ended; `meanwhile` is called once while it runs."""
    definition = json.dumps({"StartAt": start, "States": states})
    role = "arn:aws:iam::123456789012:role/x"
    machine = client.create_state_machine(name="trip", definition=definition, roleArn=role)["stateMachineArn"]
    arn = client.start_execution(stateMachineArn=machine, name="one", input=told)["executionArn"]
    for _ in range(600):
        if client.describe_execution(executionArn=arn)["status"] != "RUNNING":
            return arn, client.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        if meanwhile is not None and failed_once(client, arn):
            meanwhile()
            meanwhile = None
        time.sleep(0.05)
    raise AssertionError("the execution did not end within half a minute")


def failed_once(client: Any, arn: str) -> bool:
    events = client.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    return any(event["type"] == "TaskFailed" for event in events)


def imported(tmp_path: Path, arn: str, events: Events) -> ForeignRun:
    path = tmp_path / "history.json"
    path.write_text(json.dumps({"executionArn": arn, "events": events}, default=str))
    tally = Tally()
    run, *items = read_runs(path, Hints(), tally)
    assert not tally.skipped
    assert not tally.notes
    assert {item.parent for item in items} <= {run.run_id}
    return replace(run, attempts=(*run.attempts, *(tried for item in items for tried in item.attempts)))


def told_by(events: Events) -> list[Call]:
    """(state, outcome, error, start, end) of every call, straight from the history, by following its ids."""
    by_id = {event["id"]: event for event in events}
    calls: list[tuple[int, Call]] = []
    for event in events:
        if event["type"] not in ENDS:
            continue
        started = by_id[event["previousEventId"]]
        scheduled = entered = by_id[started["previousEventId"]]
        while entered["type"] != "TaskStateEntered":
            entered = by_id[entered["previousEventId"]]
        error = event.get("taskFailedEventDetails", {}).get("error", "")
        state = entered["stateEnteredEventDetails"]["name"]
        times = (started["timestamp"].timestamp(), event["timestamp"].timestamp())
        calls.append((scheduled["id"], (state, ENDS[event["type"]], error, *times)))
    return [call for _, call in sorted(calls)]


def as_told(run: ForeignRun, undoes: Mapping[str, str] | None = None) -> list[Call]:
    """The same of an imported run, undos by the name of the state that undid."""
    names = undoes or {}
    return [
        (
            names[tried.step] if tried.direction.value == "undo" else tried.step,
            tried.outcome.value,
            tried.error_type,
            tried.started_at,
            tried.ended_at,
        )
        for tried in run.attempts
    ]


def test_a_retry_that_succeeds_in_the_end(tmp_path: Path, aws: Any) -> None:
    """A booking of a table that somebody makes after the first refusal: failed, then succeeded."""
    retry = [{"ErrorEquals": [MISSING], "IntervalSeconds": 1, "BackoffRate": 1, "MaxAttempts": 9}]
    states = {
        "BookRoom": task("putItem", "rooms", "BookFlight"),
        "BookFlight": task("putItem", "flights", Retry=retry),
    }
    arn, events = execute(aws, "BookRoom", states, meanwhile=lambda: make_table("flights"))
    run = imported(tmp_path, arn, events)
    assert as_told(run) == told_by(events)
    outcomes = [(tried.step, tried.attempt, tried.outcome.value) for tried in run.attempts]
    assert outcomes[:2] == [("BookRoom", 1, "succeeded"), ("BookFlight", 1, "failed")]
    assert outcomes[-1] == ("BookFlight", len(outcomes) - 1, "succeeded")
    assert {tried.error_type for tried in run.attempts} == {"", MISSING}
    assert (run.run_id, run.saga, run.status) == (arn, "trip", Status.COMPLETED)


def test_a_retry_that_is_spent_and_a_catch_that_undoes(tmp_path: Path, aws: Any) -> None:
    """Two refusals, then the room is cancelled and the execution fails: the run was compensated."""
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "CancelRoom", "ResultPath": "$.error"}]
    states = {
        "BookRoom": task("putItem", "rooms", "BookFlight"),
        "BookFlight": task("putItem", "flights", Retry=retry, Catch=catch),
        "CancelRoom": task("deleteItem", "rooms", "Sorry"),
        "Sorry": {"Type": "Fail", "Error": "TripAborted", "Cause": "no flight"},
    }
    arn, events = execute(aws, "BookRoom", states)
    run = imported(tmp_path, arn, events)
    assert as_told(run, {"BookRoom": "CancelRoom"}) == told_by(events)
    assert [(tried.step, tried.direction.value, tried.attempt) for tried in run.attempts] == [
        ("BookRoom", "forward", 1),
        ("BookFlight", "forward", 1),
        ("BookFlight", "forward", 2),
        ("BookRoom", "undo", 1),
    ]
    assert (run.status, run.reason) == (Status.COMPENSATED, "failed: TripAborted: no flight")
    assert {tried.service for tried in run.attempts} == {"dynamodb"}
    assert run.launch_at == events[0]["timestamp"].timestamp()
    assert run.ended_at == events[-1]["timestamp"].timestamp()


def test_branches_and_items_side_by_side(tmp_path: Path, aws: Any) -> None:
    """A Parallel of two, then a Map over three items, all succeed; no item is a retry of another."""
    branches = [
        {"StartAt": name, "States": {name: task("putItem", "rooms")}} for name in ("BookRoom", "BookTable")
    ]
    each = {"StartAt": "PackBag", "States": {"PackBag": task("putItem", "rooms")}}
    states = {
        "Both": {"Type": "Parallel", "Branches": branches, "ResultPath": None, "Next": "Bags"},
        "Bags": {"Type": "Map", "ItemsPath": "$.bags", "ItemProcessor": each, "End": True},
    }
    arn, events = execute(aws, "Both", states, told='{"bags": [1, 2, 3]}')
    run = imported(tmp_path, arn, events)
    called = [call for call in as_told(run) if call[0] != "Bags"]
    assert sorted(called, key=str) == sorted(told_by(events), key=str)
    times = Counter(tried.step for tried in run.attempts)
    assert times == {"BookRoom": 1, "BookTable": 1, "Bags": 1, "PackBag": 3}
    assert {tried.attempt for tried in run.attempts} == {1}
    assert run.status is Status.COMPLETED


def test_a_branch_that_fails_fails_the_execution(tmp_path: Path, aws: Any) -> None:
    """One branch succeeds and stands, the other is refused: somebody has to look."""
    branches: list[dict[str, Any]] = [
        {"StartAt": "BookRoom", "States": {"BookRoom": task("putItem", "rooms")}},
        {"StartAt": "Nap", "States": {"Nap": {"Type": "Wait", "Seconds": 1, "Next": "BookFlight"}}},
    ]
    branches[1]["States"]["BookFlight"] = task("putItem", "flights")
    states = {"Both": {"Type": "Parallel", "Branches": branches, "End": True}}
    arn, events = execute(aws, "Both", states)
    run = imported(tmp_path, arn, events)
    assert as_told(run) == told_by(events)
    assert [(tried.step, tried.outcome.value) for tried in run.attempts] == [
        ("BookRoom", "succeeded"),
        ("BookFlight", "failed"),
    ]
    assert run.status is Status.NEEDS_ATTENTION
    assert run.reason.startswith(f"failed: {MISSING}")
