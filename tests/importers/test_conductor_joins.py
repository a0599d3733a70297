"""A failed execution and its failure workflow in two files are one run, where one import reads both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.importers import FORMATS, HistoriesReport, conductor, import_histories
from sagacity_data.rows import AttemptRow, RunRow
from sagacity_data.store import DatasetStore
from sagacity_data.taxonomy import default_taxonomy
from sagacity_engine import Direction, Status

T0 = 1_700_000_000_000


def task(ref: str, at_s: int, status: str = "COMPLETED") -> dict[str, Any]:
    at = T0 + at_s * 1000
    times = {"scheduledTime": at, "startTime": at, "endTime": at + 1000}
    return {"taskType": "SIMPLE", "taskDefName": ref, "referenceTaskName": ref, "status": status, **times}


def failed(number: int, **told: Any) -> dict[str, Any]:
    """It charged and could not ship."""
    return {
        "workflowId": f"order-{number}",
        "workflowName": "order",
        "workflowDefinition": {"name": "order", "failureWorkflow": "undo"},
        "status": "FAILED",
        "startTime": T0,
        "endTime": T0 + 10_000,
        "output": {"conductor.failure_workflow": f"undo-{number}"},
        "tasks": [task("charge_card", 1), task("ship", 3, "FAILED")],
        **told,
    }


def undoing(number: int, **told: Any) -> dict[str, Any]:
    """It refunded, as it was asked to by the failed one."""
    return {
        "workflowId": f"undo-{number}",
        "workflowName": "undo",
        "status": "COMPLETED",
        "startTime": T0 + 11_000,
        "endTime": T0 + 20_000,
        "input": {"workflowId": f"order-{number}", "reason": "no courier", "failureStatus": "FAILED"},
        "tasks": [task("refund_card", 12)],
        **told,
    }


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path / "set")


def imported(store: DatasetStore, *documents: Any) -> HistoriesReport:
    """One import of a file for each document."""
    paths = [store.folder.parent / f"{number}.json" for number in range(len(documents))]
    for path, document in zip(paths, documents, strict=True):
        path.write_text(json.dumps(document), "utf-8")
    reader = FORMATS["conductor"].reader()
    return import_histories("conductor", reader, paths, store, taxonomy=default_taxonomy())


def story(store: DatasetStore) -> list[str]:
    """Each run's id with its status and how many undos it has."""
    undos = [row.run_id for row in store.scan_rows(AttemptRow) if row.direction is Direction.UNDO]
    return sorted(f"{row.run_id} {row.status} {undos.count(row.run_id)}" for row in store.scan_rows(RunRow))


ONE = ["order-1 COMPENSATED 1"]
APART = ["order-1 NEEDS_ATTENTION 0", "undo-1 COMPLETED 0"]


@pytest.mark.parametrize(
    ("of_failed", "of_undoing"),
    [
        ({}, {}),
        ({"output": {}}, {}),  # Only the input of the failure workflow tells.
        ({"workflowDefinition": None, "output": {}}, {}),  # And nothing says that there may be one.
        ({"status": "TERMINATED"}, {}),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_two_files_are_one_run(
    store: DatasetStore, of_failed: dict[str, Any], of_undoing: dict[str, Any], turned: bool
) -> None:
    """Whichever file comes first, and whatever lies between them."""
    files = [failed(1, **of_failed), failed(2, status="COMPLETED", output={}), undoing(1, **of_undoing)]
    report = imported(store, *(files[::-1] if turned else files))
    (order, other) = story(store)
    assert order.split()[0::2] == ["order-1", "1"]
    assert other == "order-2 COMPLETED 0"
    assert (report.files, report.read, report.runs, report.attempts) == (3, 3, 2, 5)
    assert report.notes == {}


def test_the_run_ends_with_its_undos_and_none_stands(store: DatasetStore) -> None:
    """The run is that of the failed execution, from its launch to the end of its failure workflow."""
    imported(store, failed(1), undoing(1))
    (run,) = store.read_runs()
    assert (run.run_id, run.status, run.saga) == ("order-1", Status.COMPENSATED, "order")
    assert (run.launch_at, run.ended_at) == (T0 / 1000, T0 / 1000 + 20)


def test_halves_of_two_imports_stay_apart(store: DatasetStore) -> None:
    """What an earlier import has written is left as it is."""
    assert imported(store, failed(1)).runs == 1
    assert imported(store, undoing(1)).runs == 1
    assert story(store) == APART


def test_a_half_alone_is_a_run_and_is_noted(store: DatasetStore) -> None:
    """A file that only holds halves is no file without runs; in the end each is a run of its own."""
    report = imported(store, failed(1), undoing(2))
    assert (report.read, report.runs, report.refused) == (2, 2, [])
    assert story(store) == ["order-1 NEEDS_ATTENTION 0", "undo-2 COMPLETED 0"]
    assert sorted(report.notes.values()) == [1, 1]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_half_told_again_changes_nothing(store: DatasetStore, place: int) -> None:
    """Wherever the failed one, or its failure workflow that carries it, stands a second time."""
    carrying = undoing(
        1, input={"workflowId": "order-1", "reason": "", "failedWorkflow": failed(1, output={})}
    )
    for again in (failed(1), carrying):
        files = [failed(1), undoing(1)]
        files.insert(place, again)
        other = DatasetStore(store.folder.parent / again["workflowId"])
        imported(other, *files)
        assert story(other) == ONE


def test_a_failure_workflow_that_was_open_counts_as_ended_later(store: DatasetStore) -> None:
    """Of two tellings of it that wait, the ended one is joined."""
    imported(store, undoing(1, status="RUNNING", endTime=0), undoing(1), failed(1))
    assert story(store) == ONE


def test_few_wait_at_a_time(store: DatasetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where three have no room, the oldest goes without; later ones are still joined."""
    monkeypatch.setattr(conductor, "HELD_MAX", 8)  # A failed one weighs three, what undoes it two.
    report = imported(store, failed(1), failed(2), failed(3), undoing(1), undoing(2), undoing(3))
    joined = ["order-2 COMPENSATED 1", "order-3 COMPENSATED 1", "undo-1 COMPLETED 0"]
    assert story(store) == ["order-1 NEEDS_ATTENTION 0", *joined]
    assert report.runs == 4


def test_a_refused_file_keeps_what_waits(store: DatasetStore) -> None:
    """A file that cannot be read between the two does not cost the run."""
    report = imported(store, failed(1), ["no execution"], undoing(1))
    assert len(report.refused) == 1
    assert story(store) == ONE


def test_one_correlation_links_no_files(store: DatasetStore) -> None:
    """A correlation id is the user's own: without an id of the other they stay apart."""
    imported(store, failed(1, output={}, correlationId="c"), undoing(1, input={}, correlationId="c"))
    assert story(store) == APART
