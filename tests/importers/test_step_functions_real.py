"""Real executions recorded from AWS and one of moto's, against what stands in their files."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from sagacity_data.importers.foreign_runs import ForeignRun, rows_of
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.step_functions import read_runs
from sagacity_data.rows import AttemptRow
from sagacity_data.taxonomy import default_taxonomy
from sagacity_engine import Status

Reader = Callable[[str], ForeignRun]


@pytest.fixture
def read(shared_data: Path) -> Reader:
    def of(name: str) -> ForeignRun:
        (run,) = read_runs(shared_data / "stepfunctions" / name, Hints(), Tally())
        return run

    return of


def told(run: ForeignRun) -> list[tuple[str, str, int, str, str]]:
    return [
        (tried.step, tried.direction.value, tried.attempt, tried.outcome.value, tried.error_type)
        for tried in run.attempts
    ]


def test_every_recorded_execution_is_read(shared_data: Path) -> None:
    """176 files, 176 different runs: as many calls as were scheduled, and one task that never was."""
    outcomes, statuses, ids = Counter[str](), Counter[Status](), set[str]()
    tally = Tally()
    for path in sorted((shared_data / "stepfunctions" / "histories").glob("*.json")):
        for run in read_runs(path, Hints(), tally):
            ids.add(run.run_id)
            statuses[run.status] += 1
            outcomes.update(tried.outcome.value for tried in run.attempts)
            assert (run.launch_at, run.ended_at) == (None, None)
    assert len(ids) == 176 + 6  # Two Maps had three items each that called something.
    # 49 + 9 + 3 tasks, functions and activities and 2 Maps succeeded, 34 + 10 + 1 failed, 4 timed out.
    assert outcomes == {"succeeded": 63, "failed": 45, "timed_out": 4}
    # 128 executions and 6 items succeeded, 47 failed, one was recorded without its end.
    assert statuses[Status.COMPLETED] == 134
    assert statuses[Status.COMPENSATED] + statuses[Status.NEEDS_ATTENTION] == 47
    assert statuses[Status.RUNNING] == 1
    assert not tally.skipped


def test_a_saga_that_failed_and_was_undone(read: Reader) -> None:
    """Reserve succeeded, Charge was refused three times, Reserve was undone; with real times."""
    run = read("saga_failed.json")
    missing = "DynamoDB.ResourceNotFoundException"
    assert told(run) == [
        ("Reserve", "forward", 1, "succeeded", ""),
        ("Charge", "forward", 1, "failed", missing),
        ("Charge", "forward", 2, "failed", missing),
        ("Charge", "forward", 3, "failed", missing),
        ("Reserve", "undo", 1, "succeeded", ""),
    ]
    rows = [row for row in rows_of(run, "stepfunctions", default_taxonomy()) if isinstance(row, AttemptRow)]
    assert [round(row.duration_s or 0, 3) for row in rows] == [0.004, 0.006, 0.006, 0.005, 0.004]
    waits = [(two.scheduled_at or 0) - (one.ended_at or 0) for one, two in pairwise(rows[1:4])]
    assert [round(wait, 3) for wait in waits] == [1.002, 2.001]
    assert round((run.ended_at or 0) - (run.launch_at or 0), 3) == 3.036
    assert (run.status, run.reason) == (Status.COMPENSATED, "failed: SagaAborted: charge failed")
    assert {tried.service for tried in run.attempts} == {"dynamodb"}


def test_a_function_that_failed_four_times(read: Reader) -> None:
    """One call and three retries of the older kind, then a Catch that ends well."""
    run = read("histories/0089.json")
    assert told(run) == [
        ("InvokeLambdaWithRetry", "forward", number, "failed", "Exception") for number in (1, 2, 3, 4)
    ]
    assert {tried.message for tried in run.attempts} == {"Some exception was raised."}
    assert run.status is Status.COMPLETED


def test_a_task_with_one_retry(read: Reader) -> None:
    """Two calls of an integration within one state."""
    assert told(read("histories/0337.json")) == [
        ("Task", "forward", 1, "failed", "Exception"),
        ("Task", "forward", 2, "failed", "Exception"),
    ]


def test_three_items_of_a_map(shared_data: Path) -> None:
    """Each item's task failed once and was caught: three runs inside that of the Map, which succeeded."""
    path = shared_data / "stepfunctions" / "histories" / "0339.json"
    run, *items = read_runs(path, Hints(), Tally())
    assert told(run) == [("ProcessItems", "forward", 1, "succeeded", "")]
    assert (run.saga, run.status) == ("ProcessItems", Status.COMPLETED)
    for number, item in enumerate(items):
        assert told(item) == [("ProcessItem", "forward", 1, "failed", "Exception")]
        assert (item.saga, item.status) == ("ProcessItems.ProcessItems", Status.COMPLETED)
        assert (item.run_id, item.parent) == (f"{run.run_id}/ProcessItems[{number}]", run.run_id)
    assert len(items) == 3


def test_a_timeout_of_five_seconds(read: Reader) -> None:
    """The timeout in force stands with the attempt that it ended."""
    run = read("histories/0349.json")
    assert told(run) == [("Start", "forward", 1, "timed_out", "States.Timeout")]
    assert (run.attempts[0].timeout_s, run.attempts[0].service) == (5.0, "lambda")
    assert (run.status, run.reason) == (Status.NEEDS_ATTENTION, "failed: States.Timeout")


def test_an_activity(read: Reader) -> None:
    """An activity is a step with the timeout of its state; its ARN is masked."""
    run = read("histories/0003.json")
    assert told(run) == [("ActivityTask", "forward", 1, "succeeded", "")]
    assert run.attempts[0].timeout_s == 60.0


def test_masked_events_out_of_order(read: Reader) -> None:
    """In a branch whose ids are masked the failure stands before the call: it is one attempt that failed."""
    run = read("histories/0343.json")
    assert told(run) == [("ExecuteLambdaTask", "forward", 1, "failed", "Exception")]


def test_two_callbacks_one_after_the_other(read: Reader) -> None:
    """Two messages with a task token, each answered."""
    assert told(read("histories/0023.json")) == [
        ("State1", "forward", 1, "succeeded", ""),
        ("State2", "forward", 1, "succeeded", ""),
    ]


def test_a_task_that_was_never_called(read: Reader) -> None:
    """A path that leads nowhere fails the execution before anything is scheduled."""
    run = read("histories/0225.json")
    assert told(run) == [("task", "forward", 1, "failed", "States.Runtime")]
    assert run.attempts[0].scheduled_at is None
