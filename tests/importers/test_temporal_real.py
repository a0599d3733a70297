"""Real histories; every figure below was read by eye from the JSON."""

from collections import Counter
from pathlib import Path

import pytest

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.foreign_runs import ForeignAttempt, ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.temporal import read_runs
from sagacity_engine import Status

NO_HISTORY = {"large-number-of-child-workflows.json"}  # It describes a run and holds no events.


@pytest.fixture
def folder(shared_data: Path) -> Path:
    if not (shared_data / "temporal").is_dir():
        pytest.skip("the real Temporal histories are not on this machine")
    return shared_data / "temporal"


def read(path: Path, tally: Tally | None = None) -> ForeignRun:
    (run,) = read_runs(path, Hints(), tally or Tally())
    return run


def lasted(tried: ForeignAttempt) -> float:
    assert tried.started_at is not None
    assert tried.ended_at is not None
    return tried.ended_at - tried.started_at


def test_every_history_is_read(folder: Path) -> None:
    """One run each, no type unknown but the planted one; only what is no history is refused."""
    refused, skipped = set(), Counter[str]()
    files = sorted(folder.rglob("*.json"))
    assert len(files) >= 92
    for path in files:
        tally = Tally()
        try:
            read(path, tally)
        except ImportRefused:
            refused.add(path.name)
        skipped += tally.skipped
    assert refused == NO_HISTORY
    assert skipped == {"UnknownEvent": 2}


def test_either_order_and_either_spelling_of_attributes_tell_the_same(folder: Path) -> None:
    """The interface's ascending, descending and decorated fixtures of a run agree but for payloads' sizes."""
    ui = folder / "ui-fixtures"
    for name in ("completed", "canceled", "running", "terminated"):
        runs = [read(ui / f"raw-events.{order}.{name}.json") for order in ("ascending", "descending")]
        assert runs[0] == runs[1]
        decorated = read(ui / f"events.{name}.json")
        assert (decorated.run_id, decorated.status) == (runs[0].run_id, runs[0].status)
        times = [(tried.step, tried.outcome, tried.started_at) for tried in decorated.attempts]
        assert times == [(tried.step, tried.outcome, tried.started_at) for tried in runs[0].attempts]


def test_hello_world(folder: Path) -> None:
    """One activity of which every event has the same instant."""
    run = read(folder / "samples-go/helloworld.json")
    (tried,) = run.attempts
    assert (run.saga, run.status) == ("Workflow", Status.COMPLETED)
    assert (tried.step, tried.attempt, tried.outcome.value, tried.timeout_s) == (
        "Activity",
        1,
        "succeeded",
        60,
    )
    assert lasted(tried) == 0


def test_a_long_activity_that_timed_out(folder: Path) -> None:
    """Started at 16:16:16, given up at 17:16:16 by its start-to-close timeout of an hour."""
    run = read(folder / "samples-go/rainbowstatusesworkflow.json")
    (tried,) = run.attempts
    assert (tried.step, tried.attempt, tried.outcome.value) == ("LongActivity", 1, "timed_out")
    assert (tried.timeout_s, tried.maximum_attempts, lasted(tried)) == (3600, 1, 3600)
    assert (run.status, run.reason) == (Status.NEEDS_ATTENTION, "failed: activity timeout")


def test_three_calls_of_one_activity(folder: Path) -> None:
    """`Workflow1` calls helloworldActivity three times, one after the other."""
    run = read(folder / "sdk-go/workflow1.json")
    assert [tried.step for tried in run.attempts] == [
        "helloworldActivity",
        "helloworldActivity#2",
        "helloworldActivity#3",
    ]
    assert [tried.attempt for tried in run.attempts] == [1, 1, 1]
    assert [lasted(tried) for tried in run.attempts] == pytest.approx(
        [0.004324, 0.004308, 0.004279], abs=2e-6
    )


def test_activities_retried_by_the_server(folder: Path) -> None:
    """13 executions; every other one of DescribeWorkflowExecution succeeded at its third attempt."""
    run = read(folder / "sdk-go/gogoproto-payload-workflow.json")
    assert len({tried.step for tried in run.attempts}) == 13
    assert Counter(tried.outcome.value for tried in run.attempts) == {"succeeded": 13, "failed": 12}
    assert Counter(tried.attempt for tried in run.attempts) == {1: 13, 2: 6, 3: 6}
    second = [tried for tried in run.attempts if tried.step == "DescribeWorkflowExecution#2"]
    assert [tried.outcome.value for tried in second] == ["failed", "failed", "succeeded"]
    assert [tried.error_type for tried in second] == ["", "ActivityNotRegisteredError", ""]
    assert [tried.started_at for tried in second[:2]] == [None, None]
    assert lasted(second[2]) == pytest.approx(0.014522, abs=2e-6)
    assert lasted(run.attempts[0]) == pytest.approx(0.010772, abs=2e-6)


def test_an_activity_that_nobody_took_up_again(folder: Path) -> None:
    """It failed once, then waited four minutes for a worker; the run timed out after 20 minutes."""
    run = read(folder / "ui-fixtures/raw-events.descending.timed-out.json")
    assert [(tried.attempt, tried.outcome.value, tried.error_type) for tried in run.attempts] == [
        (1, "failed", "ApplicationFailure"),
        (2, "failed", "ScheduleToStartTimeout"),
    ]
    assert [tried.started_at for tried in run.attempts] == [None, None]
    assert (run.status, run.reason) == (Status.COMPENSATED, "timed out")
    assert run.launch_at is not None
    assert run.ended_at is not None
    assert run.ended_at - run.launch_at == pytest.approx(1200.001292, abs=2e-6)


def test_a_terminated_run_leaves_activities_open(folder: Path) -> None:
    """Three parallel executions, of which one ended within 1.006344 s before the run was terminated."""
    run = read(folder / "ui-fixtures/events.terminated.json")
    outcomes = {tried.step: tried.outcome.value for tried in run.attempts}
    assert outcomes == {
        "activity.reset.base": "succeeded",
        "activity.reset.base#2": "open",
        "activity.reset.base#3": "open",
    }
    (ended,) = [tried for tried in run.attempts if tried.ended_at is not None]
    assert lasted(ended) == pytest.approx(1.006344, abs=2e-6)
    assert (run.status, run.reason) == (Status.ABANDONED, "terminated: reset canary")


def test_child_workflows(folder: Path) -> None:
    """15 children of 15 types: 14 completed, one was cancelled, and so was the run."""
    run = read(folder / "ui-fixtures/events.children.json")
    assert Counter(tried.outcome.value for tried in run.attempts) == {"succeeded": 14, "cancelled": 1}
    took = {tried.step: lasted(tried) for tried in run.attempts}
    assert len(took) == 15
    assert took["workflow.echo"] == pytest.approx(0.070365, abs=2e-6)
    assert took["workflow.advanced-visibility.scan"] == pytest.approx(38.045663, abs=2e-6)
    assert (run.status, run.reason) == (Status.NEEDS_ATTENTION, "cancelled")


def test_activities_on_a_queue_without_workers(folder: Path) -> None:
    """Two calls to `bad_tq` were never taken up; the other activity took 1.013839 s."""
    run = read(folder / "sdk-go/activity.cancel.sm.repro.json")
    told = {tried.step: (tried.outcome.value, tried.service) for tried in run.attempts}
    assert told == {
        "Prefix_ToUpperWithDelay": ("succeeded", ""),
        "Prefix_ToUpper": ("open", "bad_tq"),
        "Prefix_ToUpper#2": ("open", "bad_tq"),
    }
    assert lasted(run.attempts[-1]) == pytest.approx(1.013839, abs=2e-6)
    assert run.status is Status.COMPLETED


def test_local_activities(folder: Path) -> None:
    """Ten parallel ones: the marker of the call with id 9 comes first, and it is the ninth step."""
    run = read(folder / "sdk-go/parallel-local-activities.json")
    assert len({tried.step for tried in run.attempts}) == 10
    assert run.attempts[0].step == "Echo#9"
    assert {tried.outcome.value for tried in run.attempts} == {"succeeded"}
    assert {tried.started_at for tried in run.attempts} == {None}


def test_a_reset_after_its_child_had_completed(folder: Path) -> None:
    """The child of the base run was kept; the run goes by the id that the reset made."""
    run = read(folder / "sdk-go/reset-workflow-after-child-complete.json")
    assert run.run_id == "parent-workflow-id/b64f8938-b361-4a06-8821-a5d5ad8c8992"
    (tried,) = run.attempts
    assert (tried.step, tried.outcome.value) == ("TestChildWorkflow", "succeeded")
    assert lasted(tried) == pytest.approx(2.072149, abs=2e-6)


def test_a_run_that_continued_as_new(folder: Path) -> None:
    """It did nothing but go on in another run, and names its parent."""
    run = read(folder / "ui-fixtures/events.continued-as-new.json")
    assert (run.status, run.attempts) == (Status.COMPLETED, ())
    assert run.reason == "continued as new: 85b7da2b-5144-43cd-9dce-729a3be71543"
    assert run.parent == "24240710-e6a1-4541-91b9-9f117bc407f4"
