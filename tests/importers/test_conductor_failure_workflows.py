"""A failed execution of Conductor and the failure workflow that takes it back are one run."""

import json
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.importers.conductor import read_runs
from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_engine import Status

T0 = 1_700_000_000_000  # ms; the order of these tests starts here.
NO_HINTS = Hints()


def task(ref: str, at_s: float, status: str = "COMPLETED", kind: str = "SIMPLE") -> dict[str, Any]:
    at = T0 + int(at_s * 1000)
    return {
        "taskType": kind,
        "taskDefName": ref,
        "referenceTaskName": ref,
        "status": status,
        "taskId": f"{ref}-{at_s}",
        "scheduledTime": at,
        "startTime": at,
        "endTime": at + 1000,
    }


def failed(**told: Any) -> dict[str, Any]:
    """An order that reserved and charged, and could not be shipped; it failed after 10 s."""
    usual = {
        "workflowId": "order-1",
        "workflowName": "order",
        "workflowDefinition": {"name": "order", "failureWorkflow": "order_compensation"},
        "status": "FAILED",
        "reasonForIncompletion": "no courier",
        "startTime": T0,
        "endTime": T0 + 10_000,
        "output": {"conductor.failure_workflow": "undo-1"},
        "tasks": [
            task("reserve_inventory", 1),
            task("charge_payment", 3),
            task("book_shipment", 6, "FAILED"),
        ],
    }
    return {**usual, **told}


def compensation(**told: Any) -> dict[str, Any]:
    """What was started for it: both undone in reverse, and an e-mail sent; done after 20 s."""
    usual = {
        "workflowId": "undo-1",
        "workflowName": "order_compensation",
        "status": "COMPLETED",
        "startTime": T0 + 11_000,
        "endTime": T0 + 20_000,
        "input": {"reason": "no courier", "workflowId": "order-1", "failureStatus": "FAILED"},
        "tasks": [
            task("determine_what_completed", 11, kind="SWITCH"),
            task("refund_payment", 12),
            task("release_inventory", 14),
        ],
    }
    return {**usual, **told}


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def runs_of(document: Any, hints: Hints = NO_HINTS, tally: Tally | None = None) -> list[ForeignRun]:
        path = tmp_path / "executions.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return list(read_runs(path, hints, tally or Tally()))

    return runs_of


def story(run: ForeignRun) -> list[str]:
    return [f"{tried.direction} {tried.step} {tried.outcome}" for tried in run.attempts]


FORWARD = [
    "forward reserve_inventory succeeded",
    "forward charge_payment succeeded",
    "forward book_shipment failed",
]
UNDONE = ["undo charge_payment succeeded", "undo reserve_inventory succeeded"]


@pytest.mark.parametrize("turned", [False, True])
def test_both_in_one_file_are_one_run(read: Any, turned: bool) -> None:
    """Its undos are undos of the steps they name, the run ends when they have, and nothing stands."""
    both = [failed(), compensation()]
    (run,) = read(both[::-1] if turned else both)
    assert story(run) == FORWARD + UNDONE
    assert (run.run_id, run.saga, run.status) == ("order-1", "order", Status.COMPENSATED)
    assert (run.launch_at, run.ended_at, run.reason) == (T0 / 1000, T0 / 1000 + 20, "failed: no courier")


def test_the_failed_execution_may_be_in_the_input_of_its_failure_workflow(read: Any) -> None:
    """Newer versions of Conductor hand it over whole: then one execution tells the run."""
    carried = {"reason": "no courier", "workflowId": "order-1", "failedWorkflow": failed(output={})}
    (run,) = read(compensation(input=carried))
    assert (run.run_id, story(run), run.status) == ("order-1", FORWARD + UNDONE, Status.COMPENSATED)


@pytest.mark.parametrize(
    ("of_failed", "of_compensation"),
    [
        ({"output": {}}, {}),  # the input tells
        ({}, {"input": {}}),  # the failed one's output tells
        ({"output": {}, "correlationId": "c7"}, {"input": {}, "correlationId": "c7"}),  # name and correlation
    ],
)
def test_any_of_the_links_is_enough(
    read: Any, of_failed: dict[str, Any], of_compensation: dict[str, Any]
) -> None:
    """The input, the output, or the failure workflow's name under the same correlation id."""
    (run,) = read([failed(**of_failed), compensation(**of_compensation)])
    assert story(run) == FORWARD + UNDONE


def test_two_that_failed_alike_are_not_told_apart_by_their_correlation(read: Any) -> None:
    """Without another link, the failure workflow of one of two is a run of its own."""
    told = {"output": {}, "correlationId": "c7"}
    two = [failed(**told), failed(**told, workflowId="order-2")]
    runs = read([*two, compensation(input={}, correlationId="c7")])
    assert sorted(run.run_id for run in runs) == ["order-1", "order-2", "undo-1"]


def test_what_undoes_nothing_stays_a_run_of_its_own(read: Any) -> None:
    """An e-mail about the failure is no undo; its run is a child of the failed one."""
    tasks = [task("refund_payment", 12), task("release_inventory", 14), task("send_email", 16)]
    order, rest = read([failed(), compensation(tasks=tasks)])
    assert (story(order), order.status) == (FORWARD + UNDONE, Status.COMPENSATED)
    assert (rest.run_id, rest.parent, story(rest)) == ("undo-1", "order-1", ["forward send_email succeeded"])


def test_an_effect_that_was_not_undone_stands(read: Any) -> None:
    """The run needs attention when an undo failed, and its reason says so."""
    tasks = [task("refund_payment", 12, "FAILED"), task("release_inventory", 14)]
    told = {"tasks": tasks, "status": "FAILED", "reasonForIncompletion": "bank closed"}
    (run,) = read([failed(), compensation(**told)])
    assert run.status is Status.NEEDS_ATTENTION
    assert run.reason == "failed: no courier; its failure workflow failed: bank closed"


def test_a_failure_workflow_under_way_leaves_the_run_open(read: Any) -> None:
    """A run ends when its compensation has."""
    (run,) = read([failed(), compensation(status="RUNNING", endTime=0)])
    assert (run.status, run.ended_at) == (Status.RUNNING, None)


def test_the_user_may_say_what_undoes_what(read: Any) -> None:
    """For names that do not tell."""
    hints = Hints(undoes={"tidy_a": "charge_payment", "tidy_b": "reserve_inventory"})
    (run,) = read([failed(), compensation(tasks=[task("tidy_a", 12), task("tidy_b", 14)])], hints)
    assert (story(run), run.status) == (FORWARD + UNDONE, Status.COMPENSATED)


def test_a_failure_workflow_alone_is_a_run_of_its_own(read: Any) -> None:
    """Nobody knows which steps were attempted; the parent says whose it is, and the user is told."""
    tally = Tally()
    (run,) = read(compensation(), tally=tally)
    assert (run.run_id, run.parent, run.status) == ("undo-1", "order-1", Status.COMPLETED)
    assert story(run) == ["forward refund_payment succeeded", "forward release_inventory succeeded"]
    assert list(tally.notes) == ["failure workflows without the run they undo: give both to one import"]


def test_a_failed_run_alone_says_that_its_undos_are_not_seen(read: Any) -> None:
    """Its effects stand as far as the file tells."""
    tally = Tally()
    (run,) = read(failed(), tally=tally)
    assert (story(run), run.status) == (FORWARD, Status.NEEDS_ATTENTION)
    assert sum(tally.notes.values()) == 1


def test_circles_of_links_are_cut(read: Any) -> None:
    """Two executions that each claim to be the failure workflow of the other stay two runs."""
    one = compensation(workflowId="a", input={"reason": "", "workflowId": "b"})
    two = compensation(workflowId="b", input={"reason": "", "workflowId": "a"})
    itself = compensation(workflowId="c", input={"reason": "", "workflowId": "c"})
    assert sorted(run.run_id for run in read([one, two, itself])) == ["a", "b", "c"]
