"""Items of a Map are runs of their own, and the Map is one step: no item is the retry of another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sagacity_data import FailureKind, label
from sagacity_data.importers import ForeignRun, Hints, Tally, rows_of
from sagacity_data.importers.step_functions import read_runs
from sagacity_data.taxonomy import default_taxonomy
from sagacity_engine import Status

START = 1_700_000_000
ARN = "arn:aws:states:eu-west-1:123456789012:execution:trip:one"
CALL = {"resourceType": "lambda", "resource": "invoke"}


class History:
    """A history being written down: every event a second after the last, by default in one chain with it."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.event("ExecutionStarted", "executionStarted", input="{}")

    def event(self, kind: str, details: str = "", after: int | None = None, **values: Any) -> int:
        number = len(self.events) + 1
        event = {"id": number, "type": kind, "timestamp": START + number}
        event["previousEventId"] = number - 1 if after is None else after
        self.events.append({**event, **({f"{details}EventDetails": values} if details else {})})
        return number

    def map(self, name: str = "All", after: int | None = None) -> int:
        entered = self.event("MapStateEntered", "stateEntered", after, name=name)
        return self.event("MapStateStarted", "mapStateStarted", entered, length=2)

    def item(self, index: int, after: int, name: str = "All") -> int:
        return self.event("MapIterationStarted", "mapIterationStarted", after, name=name, index=index)

    def end_item(self, index: int, after: int, word: str = "Succeeded", name: str = "All") -> int:
        return self.event(f"MapIteration{word}", f"mapIteration{word}", after, name=name, index=index)

    def end_map(self, after: int, word: str = "Succeeded", name: str = "All") -> int:
        number = self.event(f"MapState{word}", "", after)
        if word == "Succeeded":
            number = self.event("MapStateExited", "stateExited", number, name=name)
        return number

    def step(self, name: str, after: int | None = None, outcomes: str = "s") -> int:
        """A Task state that calls once for each letter, `s` for success; it is left after a success."""
        number = self.event("TaskStateEntered", "stateEntered", after, name=name)
        for letter in outcomes:
            number = self.event("TaskScheduled", "taskScheduled", number, **CALL)
            number = self.event("TaskStarted", "taskStarted", number, **CALL)
            if letter == "s":
                number = self.event("TaskSucceeded", "taskSucceeded", number, **CALL)
                number = self.event("TaskStateExited", "stateExited", number, name=name)
            elif letter == "f":
                number = self.event("TaskFailed", "taskFailed", number, error="Odd", cause="no", **CALL)
        return number

    def end(self, word: str = "Succeeded", after: int | None = None) -> None:
        self.event(f"Execution{word}", f"execution{word}", after)

    def read(self, folder: Path, **said: Any) -> list[ForeignRun]:
        path = folder / "history.json"
        path.write_text(json.dumps({"executionArn": ARN, "events": self.events}), "utf-8")
        tally = Tally()
        runs = list(read_runs(path, Hints(**said), tally))
        assert not tally.skipped
        return runs


def told(run: ForeignRun) -> list[str]:
    return [f"{tried.direction} {tried.step} {tried.attempt} {tried.outcome}" for tried in run.attempts]


def names(runs: list[ForeignRun]) -> list[str]:
    return [run.run_id.removeprefix(ARN) for run in runs]


@pytest.fixture
def history() -> History:
    return History()


def test_each_item_has_attempts_of_its_own(tmp_path: Path, history: History) -> None:
    """Item 0 fails and is caught, item 1 succeeds at its second try; their events alternate."""
    started = history.map()
    one, two = history.item(0, started), history.item(1, started)
    failed = history.step("Book", one, "f")
    done = history.step("Book", two, "fs")
    history.end_item(0, failed)
    history.end_map(history.end_item(1, done))
    history.step("Pay")
    history.end()
    run, first, second = history.read(tmp_path)
    assert told(run) == ["forward All 1 succeeded", "forward Pay 1 succeeded"]
    assert told(first) == ["forward Book 1 failed"]
    assert told(second) == ["forward Book 1 failed", "forward Book 2 succeeded"]
    assert names([run, first, second]) == ["", "/All[0]", "/All[1]"]
    assert (first.parent, first.saga, run.saga) == (ARN, "trip.All", "trip")
    assert [each.status for each in (run, first, second)] == [Status.COMPLETED] * 3
    assert (first.launch_at, first.ended_at) == (START + one, START + done + 1)
    (the_map, _) = run.attempts
    assert (the_map.scheduled_at, the_map.started_at) == (START + started - 1, START + started)
    assert the_map.ended_at == START + done + 3


def test_hindsight_takes_no_item_for_a_retry_of_another(tmp_path: Path, history: History) -> None:
    """A failed item whose sibling succeeds later was not transient; a retried one was."""
    started = history.map()
    for index, outcomes in enumerate(("f", "s", "fs")):
        history.end_item(index, history.step("Book", history.item(index, started), outcomes))
    history.end_map(len(history.events))
    history.end()
    rows = [
        row for run in history.read(tmp_path) for row in rows_of(run, "stepfunctions", default_taxonomy())
    ]
    kinds = {each.run_id.removeprefix(ARN): each.kind for each in label(rows)}
    assert kinds == {"/All[0]": FailureKind.UNKNOWN, "/All[2]": FailureKind.TRANSIENT}


def test_an_item_that_fails_fails_the_map(tmp_path: Path, history: History) -> None:
    """The other item is aborted; what it had done stands, and what went wrong is told of all three."""
    started = history.map()
    one, two = history.item(0, started), history.item(1, started)
    history.step("Book", two)
    failed = history.step("Book", one, "f")
    history.end_item(0, failed, "Failed")
    history.end_map(len(history.events), "Failed")
    history.end("Failed")
    run, first, second = history.read(tmp_path)
    assert [told(each) for each in (run, first, second)] == [
        ["forward All 1 failed"],
        ["forward Book 1 failed"],
        ["forward Book 1 succeeded"],
    ]
    (the_map,) = run.attempts
    assert (the_map.error_type, the_map.message) == ("Odd", "no")
    attention, undone = Status.NEEDS_ATTENTION, Status.COMPENSATED
    assert [each.status for each in (run, first, second)] == [attention, undone, attention]
    assert [first.reason, second.reason] == ["failed: Odd: no", "aborted"]


def test_a_map_that_is_retried_is_a_step_with_two_attempts(tmp_path: Path, history: History) -> None:
    """Its items begin anew: each beginning is a run."""
    entered = history.map() - 1
    failed = history.step("Book", history.item(0, entered + 1), "f")
    failed = history.end_map(history.end_item(0, failed, "Failed"), "Failed")
    again = history.event("MapStateStarted", "mapStateStarted", failed, length=1)
    history.end_map(history.end_item(0, history.step("Book", history.item(0, again))))
    history.end()
    run, first, second = history.read(tmp_path)
    assert told(run) == ["forward All 1 failed", "forward All 2 succeeded"]
    assert (told(first), told(second)) == (["forward Book 1 failed"], ["forward Book 1 succeeded"])
    assert names([first, second]) == ["/All[0]", "/All[0]#2"]


def test_maps_in_maps(tmp_path: Path, history: History) -> None:
    """An item of an inner Map is a run inside the outer item's, and named by both."""
    outer = history.item(0, history.map("Trips"), "Trips")
    inner = history.item(3, history.map("Bags", outer), "Bags")
    left = history.end_map(history.end_item(3, history.step("Pack", inner), name="Bags"), name="Bags")
    history.end_map(history.end_item(0, history.step("Close", left), name="Trips"), name="Trips")
    history.step("Pay")
    history.end()
    run, trip, bag = history.read(tmp_path)
    assert told(run) == ["forward Trips 1 succeeded", "forward Pay 1 succeeded"]
    assert told(trip) == ["forward Bags 1 succeeded", "forward Close 1 succeeded"]
    assert told(bag) == ["forward Pack 1 succeeded"]
    assert names([trip, bag]) == ["/Trips[0]", "/Trips[0]/Bags[3]"]
    assert (bag.parent, bag.saga) == (trip.run_id, "trip.Trips.Bags")


def test_an_undo_inside_its_item_is_the_items(tmp_path: Path, history: History) -> None:
    """Item 0 takes back its own booking and is compensated; item 1 stands."""
    started = history.map()
    one, two = history.item(0, started), history.item(1, started)
    undone = history.step("CancelRoom", history.step("Pay", history.step("BookRoom", one), "f"))
    paid = history.step("Pay", history.step("BookRoom", two))
    history.end_item(0, undone)
    history.end_map(history.end_item(1, paid))
    history.end()
    run, first, second = history.read(tmp_path)
    assert told(run) == ["forward All 1 succeeded"]
    assert told(first)[2:] == ["undo BookRoom 1 succeeded"]
    assert (first.status, second.status) == (Status.COMPENSATED, Status.COMPLETED)


def test_an_undo_behind_a_map_undoes_the_map(tmp_path: Path, history: History) -> None:
    """In the execution's run the step is the Map, so it is the Map that is taken back."""
    booked = history.step("BookRoom", history.item(0, history.map()))
    history.end_map(history.end_item(0, booked))
    history.step("Pay", outcomes="f")
    history.step("CancelRoom")
    history.end("Failed")
    run, item = history.read(tmp_path)
    assert told(run) == ["forward All 1 succeeded", "forward Pay 1 failed", "undo All 1 succeeded"]
    assert run.status is Status.COMPENSATED
    assert (told(item), item.status) == (["forward BookRoom 1 succeeded"], Status.COMPLETED)


@pytest.mark.parametrize("also", [False, True])
def test_a_map_of_undos_undoes_a_map(tmp_path: Path, history: History, also: bool) -> None:
    """A Map all of whose calls take back what another Map's items did is its undo, not one that does more."""
    booked = history.step("BookRoom", history.item(0, history.map()))
    history.end_map(history.end_item(0, booked))
    history.step("Pay", outcomes="f")
    item = history.item(0, history.map("Back"), "Back")
    last = history.step("CancelRoom", item)
    if also:
        last = history.step("Tell", last)
    history.end_map(history.end_item(0, last, name="Back"), name="Back")
    history.end("Failed")
    run, _, back = history.read(tmp_path)
    assert told(run)[2:] == ["forward Back 1 succeeded" if also else "undo All 1 succeeded"]
    assert run.status is Status.COMPENSATED
    assert told(back)[0] == "forward CancelRoom 1 succeeded"
    assert back.status is Status.COMPLETED


def test_the_users_word_holds_across_levels(tmp_path: Path, history: History) -> None:
    """`--undo Tidy=BookRoom` makes `Tidy` the undo of the Map that books."""
    history.end_map(history.end_item(0, history.step("BookRoom", history.item(0, history.map()))))
    history.step("Tidy")
    history.end()
    run, _ = history.read(tmp_path, undoes={"Tidy": "BookRoom"})
    assert (told(run)[1:], run.status) == (["undo All 1 succeeded"], Status.COMPENSATED)


def test_items_under_way_are_open(tmp_path: Path, history: History) -> None:
    """Without an end the Map, the item and the run are open; an aborted execution ends all of them."""
    history.step("Book", history.item(0, history.map()), "o")
    run, item = history.read(tmp_path)
    assert (told(run), told(item)) == (["forward All 1 open"], ["forward Book 1 open"])
    assert [(each.status, each.ended_at) for each in (run, item)] == [(Status.RUNNING, None)] * 2
    history.end("Aborted")
    run, item = history.read(tmp_path)
    assert (told(run), told(item)) == (["forward All 1 cancelled"], ["forward Book 1 cancelled"])
    assert (run.status, item.status, item.reason) == (Status.ABANDONED, Status.NEEDS_ATTENTION, "aborted")


def test_a_map_that_calls_nothing_is_no_step(tmp_path: Path, history: History) -> None:
    """Items of Pass states leave nothing behind."""
    entered = history.event("PassStateEntered", "stateEntered", history.item(0, history.map()), name="P")
    history.end_map(history.end_item(0, entered))
    history.end()
    (run,) = history.read(tmp_path)
    assert run.attempts == ()


def test_masked_chains_leave_items_together(tmp_path: Path, history: History) -> None:
    """Where nobody knows which item an event belongs to, all are attempts of one step, as they come."""
    started = history.map()
    for index in (0, 1):
        history.end_item(index, history.step("Book", history.item(index, started)))
    history.end()
    for event in history.events:
        event["previousEventId"] = "masked"
    (run,) = history.read(tmp_path)
    assert told(run) == ["forward Book 1 succeeded", "forward Book 2 succeeded"]
