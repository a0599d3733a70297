"""What undoes what, recovered from Catch chains by names and by where the chains are entered."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.converters import convert_asl
from sagacity_data.converters.asl_undos import undo_links
from sagacity_engine import Compensation, Direction, Kind, Saga, Status
from sagacity_engine.testing import REFUSED, play

TASK: dict[str, Any] = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 9}


def machine(forward: tuple[str, ...], chains: Mapping[str, str], back: tuple[str, ...]) -> dict[str, Any]:
    """Steps one after the other; `chains` says where the Catch of each leads; `back` is the way to Fail."""
    states: dict[str, Any] = {"Bad": {"Type": "Fail"}}
    for name, then in zip(forward, (*forward[1:], None), strict=True):
        states[name] = {**TASK, **({"Next": then} if then else {"End": True})}
        if name in chains:
            states[name]["Catch"] = [{"ErrorEquals": ["States.ALL"], "Next": chains[name]}]
    for name, then in zip(back, (*back[1:], "Bad"), strict=True):
        states[name] = {**TASK, "Next": then}
    return {"StartAt": forward[0], "States": states}


def undo_of(saga: Saga, place: int) -> Compensation:
    undo = saga.steps[place].compensation
    assert undo is not None
    return undo


def undone(saga: Saga, failing: str) -> list[str]:
    """The undos, in order, of a run in which one step is refused."""
    trial = play(saga, {(failing, Direction.FORWARD): (REFUSED,)}).sound()
    assert trial.state.status is Status.COMPENSATED
    return trial.started(Direction.UNDO)


def test_names_tell_what_undoes_what() -> None:
    """Each cancel belongs to the booking that it names, whatever the place of its Catch."""
    told = machine(
        ("BookRoom", "BookFlight", "ChargeCard"),
        {"BookFlight": "CancelRoom", "ChargeCard": "CancelFlight"},
        ("CancelFlight", "CancelRoom"),
    )
    assert undo_links(told) == {"CancelFlight": "BookFlight", "CancelRoom": "BookRoom"}
    saga = convert_asl(told, "trip").saga
    assert [step.kind for step in saga.steps] == [Kind.COMPENSATABLE, Kind.COMPENSATABLE, Kind.PIVOT]
    assert not any(undo_of(saga, place).after_failure for place in (0, 1))
    assert undone(saga, "ChargeCard") == ["BookFlight", "BookRoom"]
    assert undone(saga, "BookFlight") == ["BookRoom"]


def test_entries_tell_where_a_failed_step_cleans_up_itself() -> None:
    """The first Catch already undoes, so each one leads first to the undo of its own step."""
    told = machine(("One", "Two", "Three"), {"One": "Z1", "Two": "Z2", "Three": "Z3"}, ("Z3", "Z2", "Z1"))
    assert undo_links(told) == {"Z1": "One", "Z2": "Two", "Z3": "Three"}
    saga = convert_asl(told, "trip").saga
    assert all(undo_of(saga, place).after_failure for place in (0, 1, 2))
    assert undone(saga, "Two") == ["Two", "One"]


def test_entries_tell_where_only_what_succeeded_is_undone() -> None:
    """The first Catch leads to Fail, so each later one leads first to the undo of the step before."""
    told = machine(("One", "Two", "Three"), {"One": "Bad", "Two": "Z1", "Three": "Z2"}, ("Z2", "Z1"))
    assert undo_links(told) == {"Z1": "One", "Z2": "Two"}
    saga = convert_asl(told, "trip").saga
    assert [step.kind for step in saga.steps][-1] is Kind.PIVOT
    assert undone(saga, "Three") == ["Two", "One"]
    assert undone(saga, "Two") == ["One"]


def test_one_chain_for_all_takes_the_steps_back_in_reverse() -> None:
    """As many states as there are steps before the last Catch: the chain runs against their order."""
    told = machine(("One", "Two", "Three"), {"Two": "Zb", "Three": "Zb"}, ("Zb", "Za"))
    assert undo_links(told) == {"Zb": "Two", "Za": "One"}


def test_one_name_tells_the_silent_ones_which_step_is_meant() -> None:
    """A named undo of its own step shows that every Catch begins with its own."""
    told = machine(
        ("BookRoom", "Two", "Three"),
        {"BookRoom": "CancelRoom", "Two": "Z2", "Three": "Z3"},
        ("Z3", "Z2", "CancelRoom"),
    )
    assert undo_links(told) == {"CancelRoom": "BookRoom", "Z2": "Two", "Z3": "Three"}


def test_what_stays_in_doubt_is_left_out_and_noted() -> None:
    """One state that cleans up after three steps alike is the undo of none."""
    told = machine(("One", "Two", "Three"), dict.fromkeys(("One", "Two", "Three"), "Tidy"), ("Tidy",))
    made = convert_asl(told, "trip")
    assert undo_links(told) == {}
    assert any(
        note.startswith("neither names nor Catch chains tell what 'Tidy' undoes") for note in made.notes
    )


def test_a_message_undoes_nothing() -> None:
    """Telling a customer is not taking back, whether its service or its name says so."""
    told = machine(("BookRoom", "Pay"), {"Pay": "CancelRoom"}, ("CancelRoom", "Tell", "NotifyGuest"))
    told["States"]["Tell"]["Resource"] = "arn:aws:states:::sns:publish"
    made = convert_asl(told, "trip")
    assert undo_links(told) == {"CancelRoom": "BookRoom"}
    assert sum("undoes nothing and is left out" in note for note in made.notes) == 2


def test_the_catch_of_a_parallel_undoes_what_its_branches_did() -> None:
    """Every branch's failure leads to the Parallel's Catch; undos run against the dependencies."""
    branches = [
        {"StartAt": name, "States": {name: {**TASK, "End": True}}} for name in ("BookRoom", "BookFlight")
    ]
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "CancelFlight"}]
    states = {
        "Both": {"Type": "Parallel", "Branches": branches, "Catch": catch, "Next": "Pay"},
        "Pay": {**TASK, "Catch": catch, "End": True},
        "CancelFlight": {**TASK, "Next": "CancelRoom"},
        "CancelRoom": {**TASK, "Next": "Bad"},
        "Bad": {"Type": "Fail"},
    }
    told = {"StartAt": "Both", "States": states}
    assert undo_links(told) == {"CancelFlight": "BookFlight", "CancelRoom": "BookRoom"}
    saga = convert_asl(told, "trip").saga
    assert saga.stages == (("BookRoom", "BookFlight"), ("Pay",))
    assert set(undone(saga, "Pay")) == {"BookRoom", "BookFlight"}


def test_steps_after_the_last_catch_are_retriable() -> None:
    """A failure after the last Catch undoes nothing there, and nothing here."""
    told = machine(("BookRoom", "Pay", "SendTicket"), {"Pay": "CancelRoom"}, ("CancelRoom",))
    saga = convert_asl(told, "trip").saga
    assert [step.kind for step in saga.steps] == [Kind.COMPENSATABLE, Kind.PIVOT, Kind.RETRIABLE]
    trial = play(saga, {("SendTicket", Direction.FORWARD): (REFUSED,)}).sound()
    assert (trial.state.status, trial.started(Direction.UNDO)) == (Status.NEEDS_ATTENTION, [])


def test_a_chain_in_another_order_is_noted() -> None:
    """Cancelling the first booking first is said, for here undos go in reverse."""
    told = machine(("BookRoom", "BookFlight", "Pay"), {"Pay": "CancelRoom"}, ("CancelRoom", "CancelFlight"))
    made = convert_asl(told, "trip")
    assert "some Catch undoes in another order: here undos go in reverse start order" in made.notes


def test_the_undo_has_the_numbers_of_its_state() -> None:
    """Its retries and timeout are those of the cancelling state."""
    told = machine(("BookRoom", "Pay"), {"Pay": "CancelRoom"}, ("CancelRoom",))
    told["States"]["CancelRoom"]["Retry"] = [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 7}]
    undo = undo_of(convert_asl(told, "trip").saga, 0)
    assert (undo.retry.maximum_attempts, undo.start_to_close_timeout_s) == (8, 9)


SAGAS = (
    "saga-pattern-cdk/resources/statemachine.asl.json",
    "saga-pattern-sam/statemachine/statemachine.asl.json",
    "saga-pattern-tf/statemachine/statemachine.asl.json",
)


@pytest.mark.parametrize("path", SAGAS)
def test_the_sagas_of_aws_convert_and_run(shared_data: Path, path: str) -> None:
    """Flight, car and payment run through, and turn back over refund, car and flight, as their chains say."""
    text = Path(shared_data, "stepfunctions", "definitions", path).read_text()
    saga = convert_asl(text, "trip").saga
    forward = ["ReserveFlight", "ReserveCarRental", "ProcessPayment"]
    confirm = ["ConfirmFlight", "ConfirmCarRental", "SendingSMSSuccess"]
    assert list(saga.names) == forward + confirm
    assert saga.steps[0].service == "reserveFlightFunction"
    assert saga.steps[0].retry.maximum_attempts == 7  # MaxAttempts 6
    assert undo_of(saga, 0).retry.maximum_attempts == 4  # States.ALL, MaxAttempts 3
    assert [step.compensation is not None and step.compensation.after_failure for step in saga.steps] == [
        *[True] * 3,
        *[False] * 3,
    ]
    well = play(saga).sound()
    assert (well.state.status, well.started()) == (Status.COMPLETED, forward + confirm)
    assert undone(saga, "ReserveFlight") == ["ReserveFlight"]
    assert undone(saga, "ReserveCarRental") == ["ReserveCarRental", "ReserveFlight"]
    assert undone(saga, "ProcessPayment") == ["ProcessPayment", "ReserveCarRental", "ReserveFlight"]
    late = undone(saga, "ConfirmCarRental")
    assert [step for step in late if step != "ConfirmFlight"] == [
        "ProcessPayment",
        "ReserveCarRental",
        "ReserveFlight",
    ]
