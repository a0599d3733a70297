"""Conductor's executions as runs: which tasks are attempts, and what each of them tells."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.conductor import read_runs
from sagacity_data.importers.foreign_runs import ForeignAttempt, ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.rows import AttemptOutcome
from sagacity_engine import Direction, Status

T0 = 1_700_000_000_000  # ms; a run of these tests starts here.
NO_HINTS = Hints()


def task(ref: str, at_s: float = 1, **told: Any) -> dict[str, Any]:
    """A task scheduled `at_s` after the start, taken up half a second later and done another second later."""
    at = T0 + int(at_s * 1000)
    usual = {
        "taskType": ref,
        "taskDefName": ref,
        "referenceTaskName": ref,
        "status": "COMPLETED",
        "taskId": f"{ref}-{at_s}",
        "scheduledTime": at,
        "startTime": at + 500,
        "endTime": at + 1500,
        "retryCount": 0,
        "inputData": {},
    }
    return {**usual, **told}


def execution(*tasks: dict[str, Any], **told: Any) -> dict[str, Any]:
    usual = {
        "workflowId": "run-1",
        "workflowName": "order",
        "workflowVersion": 3,
        "status": "COMPLETED",
        "startTime": T0,
        "endTime": T0 + 60_000,
        "input": {"order": 7},
        "tasks": list(tasks),
    }
    return {**usual, **told}


def written(folder: Path, document: Any) -> Path:
    path = folder / "executions.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def runs_of(document: Any, hints: Hints = NO_HINTS, tally: Tally | None = None) -> list[ForeignRun]:
        return list(read_runs(written(tmp_path, document), hints, tally or Tally()))

    return runs_of


def one(runs: list[ForeignRun]) -> ForeignRun:
    (run,) = runs
    return run


def steps(run: ForeignRun) -> list[tuple[str, int, str]]:
    return [(tried.step, tried.attempt, tried.outcome.value) for tried in run.attempts]


def test_a_run_is_told_by_its_execution(read: Any) -> None:
    """Id, name, version, times and the size of the input come from the execution; milliseconds become s."""
    run = one(read(execution(task("pay"))))
    assert (run.run_id, run.saga, run.version, run.status) == ("run-1", "order", "3", Status.COMPLETED)
    assert (run.launch_at, run.ended_at) == (1_700_000_000.0, 1_700_000_060.0)
    assert (run.reason, run.parent, run.input_bytes) == ("", "", len('{"order":7}'))


def test_an_attempt_is_told_by_its_task(read: Any) -> None:
    """Scheduled, taken up and ended are three times; its definition gives the numbers in force."""
    definition = {"retryCount": 2, "timeoutSeconds": 90, "responseTimeoutSeconds": 30}
    told = task("pay", workflowTask={"taskDefinition": definition}, responseTimeoutSeconds=30)
    assert one(read(execution(told))).attempts == (
        ForeignAttempt(
            step="pay",
            outcome=AttemptOutcome.SUCCEEDED,
            scheduled_at=1_700_000_001.0,
            started_at=1_700_000_001.5,
            ended_at=1_700_000_002.5,
            service="pay",
            timeout_s=30.0,
            maximum_attempts=3,
            input_bytes=2,
        ),
    )


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("COMPLETED", "succeeded"),
        ("COMPLETED_WITH_ERRORS", "failed"),
        ("FAILED", "failed"),
        ("FAILED_WITH_TERMINAL_ERROR", "failed"),
        ("TIMED_OUT", "timed_out"),
        ("CANCELED", "cancelled"),
        ("IN_PROGRESS", "open"),
        ("SCHEDULED", "open"),
    ],
)
def test_every_status_of_a_task_has_an_outcome(read: Any, status: str, outcome: str) -> None:
    """An optional task that failed is called completed with errors, and failed."""
    assert steps(one(read(execution(task("pay", status=status))))) == [("pay", 1, outcome)]


def test_what_was_never_attempted_is_no_attempt(read: Any) -> None:
    """A task that was skipped, or cancelled before a worker took it up, is left out."""
    tally = Tally()
    never = task("ship", 3, status="CANCELED", startTime=0, endTime=T0 + 9_000)
    run = one(read(execution(task("pay"), task("gift", 2, status="SKIPPED"), never), tally=tally))
    assert steps(run) == [("pay", 1, "succeeded")]
    assert sum(tally.notes.values()) == 1


def test_a_task_that_waits_in_the_queue_has_not_started(read: Any) -> None:
    """A time of 0 means not yet: scheduled, but neither started nor ended."""
    waits = task("pay", status="SCHEDULED", startTime=0, endTime=0)
    run = one(read(execution(waits, status="RUNNING", endTime=0)))
    (tried,) = run.attempts
    assert (tried.scheduled_at, tried.started_at, tried.ended_at) == (1_700_000_001.0, None, None)
    assert (run.status, run.ended_at) == (Status.RUNNING, None)


@pytest.mark.parametrize(
    "kind",
    [
        "FORK",
        "FORK_JOIN",
        "FORK_JOIN_DYNAMIC",
        "JOIN",
        "EXCLUSIVE_JOIN",
        "DECISION",
        "SWITCH",
        "DO_WHILE",
        "SET_VARIABLE",
        "TERMINATE",
        "NOOP",
        "WAIT",
    ],
)
def test_tasks_that_hold_the_workflow_together_are_no_attempts(read: Any, kind: str) -> None:
    """Nobody is called by them."""
    assert steps(one(read(execution(task("x", taskType=kind), task("pay"))))) == [("pay", 1, "succeeded")]


@pytest.mark.parametrize(
    ("kind", "told", "service"),
    [
        (
            "HTTP",
            {"inputData": {"http_request": {"uri": "https://u:p@Pay.example:8443/c"}}},
            "pay.example:8443",
        ),
        ("HTTP", {"inputData": {"uri": "http://pay.example/c", "method": "POST"}}, "pay.example"),
        ("HTTP", {"inputData": {"http_request": {"uri": "/c", "vipAddress": "pay.vip"}}}, "pay.vip"),
        ("HTTP", {"inputData": {"http_request": {"uri": "${workflow.input.url}"}}}, "charge_card"),
        ("HTTP", {"inputData": {"http_request": {"uri": "http://[::1"}}}, "charge_card"),
        ("SUB_WORKFLOW", {"inputData": {"subWorkflowName": "billing"}}, "billing"),
        ("SUB_WORKFLOW", {"workflowTask": {"subWorkflowParam": {"name": "billing"}}}, "billing"),
        ("START_WORKFLOW", {"inputData": {"startWorkflow": {"name": "billing"}}}, "billing"),
        ("EVENT", {"workflowTask": {"sink": "sqs:paid"}}, "sqs:paid"),
        ("KAFKA_PUBLISH", {"inputData": {"kafka_request": {"bootStrapServers": "k:9092"}}}, "k:9092"),
        ("INLINE", {}, "conductor"),
        ("LAMBDA", {}, "conductor"),
        ("JSON_JQ_TRANSFORM", {}, "conductor"),
        ("HUMAN", {}, "charge_card"),
        ("SIMPLE", {}, "charge_card"),
        ("charge_card", {"domain": "eu"}, "eu:charge_card"),
        ("A_WORKER_NOBODY_KNOWS", {}, "charge_card"),
    ],
)
def test_the_service_is_whoever_carries_the_task_out(
    read: Any, kind: str, told: dict[str, Any], service: str
) -> None:
    """A host, a workflow, a queue, Conductor itself, or the workers of the task's definition."""
    (tried,) = one(read(execution(task("pay", taskType=kind, taskDefName="charge_card", **told)))).attempts
    assert (tried.step, tried.service) == ("pay", service)


def test_the_user_may_name_services(read: Any) -> None:
    """By reference name, or by the name of the task's definition."""
    document = execution(task("pay", taskDefName="charge_card"), task("ship", 3))
    run = one(read(document, Hints(services={"charge_card": "stripe", "ship": "dhl"}, tenant="acme")))
    assert [tried.service for tried in run.attempts] == ["stripe", "dhl"]
    assert run.tenant == "acme"


def test_retries_are_attempts_of_one_step(read: Any) -> None:
    """Tasks of one reference name count on, in the order in which they started, whatever the list's order."""
    first = task("pay", 1, status="FAILED", reasonForIncompletion="card reader offline", seq=1)
    second = task("pay", 4, status="TIMED_OUT", retryCount=1, retriedTaskId="pay-1", seq=2)
    third = task("pay", 8, retryCount=2, retriedTaskId="pay-4", seq=3)
    run = one(read(execution(third, first, second)))
    assert steps(run) == [("pay", 1, "failed"), ("pay", 2, "timed_out"), ("pay", 3, "succeeded")]
    assert [tried.message for tried in run.attempts] == ["card reader offline", "", ""]


def test_iterations_of_a_loop_are_attempts_of_one_step(read: Any) -> None:
    """A loop's `__2` goes, but only where the task says that it is of an iteration."""
    loop = [task(f"poll__{number}", number, iteration=number) for number in (1, 2)]
    run = one(read(execution(*loop, task("part__2", 5))))
    assert steps(run) == [("poll", 1, "succeeded"), ("poll", 2, "succeeded"), ("part__2", 1, "succeeded")]


def test_attempts_of_a_fork_stand_in_the_order_of_their_starts(read: Any) -> None:
    """Of two branches scheduled at once, the one that was taken up first comes first."""
    left, right = task("left", 1, startTime=T0 + 3_000, endTime=T0 + 4_000), task("right", 1)
    assert [tried.step for tried in one(read(execution(left, right))).attempts] == ["right", "left"]


def test_a_schedule_after_the_start_is_left_out(read: Any) -> None:
    """A sub-workflow's scheduled time is written again when it ends; its start is right."""
    tally = Tally()
    sub = task(
        "ship", taskType="SUB_WORKFLOW", scheduledTime=T0 + 9_000, startTime=T0 + 1_000, endTime=T0 + 9_100
    )
    (tried,) = one(read(execution(sub), tally=tally)).attempts
    assert (tried.scheduled_at, tried.started_at, tried.ended_at) == (None, T0 / 1000 + 1, T0 / 1000 + 9.1)
    assert list(tally.notes) == ["tasks scheduled after they started: the scheduled time is left out"]


def test_times_that_run_backwards_or_cannot_be_are_left_out(read: Any) -> None:
    """An end before its start, a negative time, one beyond the calendar, one of words: None, and noted."""
    tally = Tally()
    run = one(
        read(
            execution(
                task("a", endTime=T0),
                task("b", 2, scheduledTime=-5, startTime=10**16, endTime="soon"),
                task("c", 3, scheduledTime="2023-11-14T22:13:23Z"),
                endTime=T0 - 1,
            ),
            tally=tally,
        )
    )
    assert [(tried.step, tried.scheduled_at, tried.ended_at) for tried in run.attempts] == [
        ("a", T0 / 1000 + 1, None),
        ("b", None, None),
        ("c", T0 / 1000 + 3, T0 / 1000 + 4.5),
    ]
    assert (run.launch_at, run.ended_at) == (T0 / 1000, None)
    assert sum(tally.notes.values()) == 5


@pytest.mark.parametrize(
    ("told", "error_type"),
    [
        ({"outputData": {"response": {"statusCode": 503}}}, "Http503"),
        ({"status": "FAILED_WITH_TERMINAL_ERROR"}, "FAILED_WITH_TERMINAL_ERROR"),
        ({"outputData": {"response": {"statusCode": 200}}}, ""),
        ({}, ""),
    ],
)
def test_a_failure_has_the_type_that_its_task_tells(read: Any, told: dict[str, Any], error_type: str) -> None:
    """An HTTP status that is an error, or that the worker called it hopeless."""
    failed = task("pay", **{"status": "FAILED", "reasonForIncompletion": "declined", **told})
    run = one(read(execution(failed, status="FAILED", reasonForIncompletion="declined")))
    assert (run.attempts[0].error_type, run.attempts[0].message) == (error_type, "declined")
    assert (run.status, run.reason) == (Status.COMPENSATED, "failed: declined")


def test_the_shortest_timeout_is_the_one_in_force(read: Any) -> None:
    """Of the response timeout, the timeout and the HTTP client's; a number of retries at the task wins."""
    http = {"http_request": {"uri": "http://pay/", "method": "POST", "readTimeOut": 4_000}}
    definition = {"timeoutSeconds": 60, "responseTimeoutSeconds": 10, "retryCount": 9}
    told = task(
        "pay", taskType="HTTP", inputData=http, workflowTask={"taskDefinition": definition, "retryCount": 1}
    )
    (tried,) = one(read(execution(told))).attempts
    assert (tried.timeout_s, tried.maximum_attempts) == (4.0, 2)


@pytest.mark.parametrize(
    ("status", "tasks", "ours", "reason"),
    [
        ("RUNNING", [], Status.RUNNING, ""),
        ("PAUSED", [], Status.RUNNING, ""),
        ("TERMINATED", [task("pay")], Status.ABANDONED, "terminated: why"),
        ("FAILED", [task("pay")], Status.NEEDS_ATTENTION, "failed: why"),
        ("TIMED_OUT", [task("pay", status="FAILED")], Status.COMPENSATED, "timed out: why"),
        ("FAILED", [task("pay", status="TIMED_OUT")], Status.NEEDS_ATTENTION, "failed: why"),
        ("FAILED", [task("pay"), task("refund_pay", 4)], Status.COMPENSATED, "failed: why"),
    ],
)
def test_a_run_ends_where_its_effects_stand(
    read: Any, status: str, tasks: list[dict[str, Any]], ours: Status, reason: str
) -> None:
    """A failed run is compensated when nothing that may have happened stands."""
    run = one(read(execution(*tasks, status=status, reasonForIncompletion="why")))
    assert (run.status, run.reason) == (ours, reason)


@pytest.mark.parametrize(
    "harmless",
    [
        task("look", taskType="HTTP", inputData={"http_request": {"uri": "http://x/", "method": "get"}}),
        task("work_out", taskType="INLINE"),
        task("approve", taskType="HUMAN"),
    ],
)
def test_what_has_no_effect_does_not_stand(read: Any, harmless: dict[str, Any]) -> None:
    """Reading, computing and asking a person leave nothing behind that a failed run would have to undo."""
    run = one(read(execution(harmless, task("pay", 4, status="FAILED"), status="FAILED")))
    assert (len(run.attempts), run.status) == (2, Status.COMPENSATED)


def test_undos_within_one_workflow_are_found_by_name(read: Any) -> None:
    """By reference name, by task name where that tells, or by the user's word; and only after the work."""
    document = execution(
        task("cancel_hotel", 1),
        task("step1", 2, taskDefName="book_flight"),
        task("book_hotel", 4),
        task("step9", 6, taskDefName="cancel_flight"),
        task("tidy", 8),
    )
    run = one(read(document, Hints(undoes={"tidy": "book_hotel"})))
    assert [(tried.step, tried.direction) for tried in run.attempts] == [
        ("cancel_hotel", Direction.FORWARD),
        ("step1", Direction.FORWARD),
        ("book_hotel", Direction.FORWARD),
        ("step1", Direction.UNDO),
        ("book_hotel", Direction.UNDO),
    ]


@pytest.mark.parametrize("shape", ["list", "search", "correlated"])
def test_many_executions_may_be_in_one_file(read: Any, shape: str) -> None:
    """A list, a search's answer, or executions by correlation id."""
    two = [execution(task("pay")), execution(task("pay"), workflowId="run-2", parentWorkflowId="run-1")]
    shapes = {
        "list": two,
        "search": {"totalHits": 2, "results": two},
        "correlated": {"c1": two[:1], "c2": two[1:]},
    }
    runs = read(shapes[shape])
    assert [(run.run_id, run.parent) for run in runs] == [("run-1", ""), ("run-2", "run-1")]


def test_a_search_may_give_summaries(read: Any) -> None:
    """Without tasks there are no attempts, times are ISO text, and a failed run needs attention."""
    summary = {
        "workflowType": "order",
        "version": 1,
        "workflowId": "run-1",
        "startTime": "2023-11-14T22:13:20.000Z",
        "endTime": "2023-11-14T22:14:20.000Z",
        "status": "FAILED",
        "reasonForIncompletion": "declined",
    }
    run = one(read({"totalHits": 1, "results": [summary]}))
    assert (run.attempts, run.status, run.version) == ((), Status.NEEDS_ATTENTION, "1")
    assert (run.launch_at, run.ended_at) == (1_700_000_000.0, 1_700_000_060.0)


def test_an_execution_twice_in_a_file_is_read_once(read: Any) -> None:
    """As it was last updated, wherever that stands; a task twice in an execution as well."""
    tally = Tally()
    early = execution(task("pay", status="IN_PROGRESS"), status="RUNNING", updateTime=T0 + 2_000)
    late = execution(task("pay"), task("pay"), updateTime=T0 + 60_000)
    assert steps(one(read([late, early], tally=tally))) == [("pay", 1, "succeeded")]
    assert sum(tally.notes.values()) == 2


def test_an_execution_without_an_id_gets_one_from_its_content(read: Any, tmp_path: Path) -> None:
    """Equal content gives the equal id, wherever the file lies."""
    document = {key: value for key, value in execution(task("pay")).items() if key != "workflowId"}
    first, again = one(read(document)).run_id, one(read(document)).run_id
    other = one(read({**document, "input": {"order": 8}})).run_id
    assert first == again != other


def test_what_nobody_knows_is_counted_and_skipped(read: Any) -> None:
    """Statuses from the future, and objects in a list that are no executions."""
    tally = Tally()
    runs = read([execution(task("pay", status="DREAMING"), status="DOZING"), {"a": 1}, 7], tally=tally)
    assert (steps(one(runs)), one(runs).status) == ([], Status.RUNNING)
    assert tally.skipped == {
        "task status DREAMING": 1,
        "workflow status DOZING": 1,
        "no workflow execution": 2,
    }


def test_compressed_files_are_read(tmp_path: Path) -> None:
    """A gzip file is read by its content."""
    path = tmp_path / "execution.json.gz"
    path.write_bytes(gzip.compress(json.dumps(execution(task("pay"))).encode()))
    assert len(list(read_runs(path, NO_HINTS, Tally()))) == 1


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"a": 1}, "holds no execution"),
        ([], "holds no execution"),
        (7, "holds no execution"),
        ({"results": []}, "holds no execution"),
        ({"taskId": "t", "workflowId": "run-1", "status": "COMPLETED"}, "holds no execution"),
        ({"name": "order", "tasks": [{"name": "pay"}], "schemaVersion": 2}, "definition"),
    ],
)
def test_what_is_no_execution_is_refused(read: Any, document: Any, words: str) -> None:
    """Nothing in it started; the refusal says what to do instead."""
    with pytest.raises(ImportRefused, match=words):
        read(document)


def test_the_real_execution_that_completed_reads_as_by_eye(shared_data: Path) -> None:
    """15 tasks, of which two are decisions; the sub-workflow was scheduled 9.2 s after it started."""
    tally = Tally()
    path = shared_data / "conductor" / "executions" / "completed.json"
    run = one(list(read_runs(path, NO_HINTS, tally)))
    assert (run.run_id, run.saga, run.version) == (
        "1be75865-00a1-4e2b-95c0-573c444d98d7",
        "performance_test_1",
        "1",
    )
    assert (run.status, run.launch_at, run.ended_at) == (Status.COMPLETED, 1547430586.952, 1547430613.55)
    assert [tried.step for tried in run.attempts] == [
        *(
            "perf_task_1",
            "perf_task_2",
            "perf_task_3",
            "get_es_1",
            "perf_task_7",
            "perf_task_8",
            "perf_task_9",
        ),
        *("perf_task_21", "wf3", "perf_task_22", "perf_task_28", "perf_task_29", "perf_task_30"),
    ]
    assert {tried.outcome for tried in run.attempts} == {AttemptOutcome.SUCCEEDED}
    first, sub = run.attempts[0], run.attempts[8]
    assert (first.scheduled_at, first.started_at, first.ended_at) == (
        1547430586.967,
        1547430589.848,
        1547430589.873,
    )
    assert (first.timeout_s, first.maximum_attempts) == (300.0, 3)
    assert (sub.scheduled_at, sub.started_at, sub.ended_at) == (None, 1547430597.443, 1547430606.672)
    assert (sub.service, run.attempts[1].service) == ("sub_flow_1", "perf_task_10")
    assert sum(tally.notes.values()) == 1


def test_the_real_execution_under_way_reads_as_by_eye(shared_data: Path) -> None:
    """Six tasks, one of them a decision; the workflow runs, so it has no end."""
    path = shared_data / "conductor" / "executions" / "test.json"
    run = one(list(read_runs(path, NO_HINTS, Tally())))
    assert (run.status, run.launch_at, run.ended_at) == (Status.RUNNING, 1505587453.961, None)
    assert steps(run) == [
        (step, 1, "succeeded")
        for step in ("perf_task_1", "perf_task_2", "perf_task_3", "get_es_1", "perf_task_4")
    ]
    last, http = run.attempts[4], run.attempts[3]
    assert (last.started_at, last.ended_at, last.timeout_s) == (1505587463.699, 1505587463.718, 3600.0)
    assert (http.service, http.timeout_s) == ("es_cpe_wfe.us-east-1.cloud.netflix.com", None)


def test_the_payload_beside_the_real_executions_is_refused(shared_data: Path) -> None:
    """One file there is what a task wrote, not an execution: it has no workflow and no start."""
    with pytest.raises(ImportRefused, match="holds no execution"):
        list(read_runs(shared_data / "conductor" / "executions" / "output.json", NO_HINTS, Tally()))
