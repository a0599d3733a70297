"""State machines of our own as sagas: steps, dependencies, numbers, ways round, and what is refused."""

import json
from typing import Any

import pytest

from sagacity_data.converters import Converted, ConvertRefused, convert_asl
from sagacity_engine import Kind, RetryPolicy, author_plan, read_saga

ALL = ["States.ALL"]
State = dict[str, Any]


def task(then: str | None = None, function: str = "work", **more: Any) -> State:
    """A Task that calls a function; `then` is the next state, or the end."""
    told = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", **more}
    told["Parameters"] = {"FunctionName": function}
    return {**told, **({"End": True} if then is None else {"Next": then})}


def catch(target: str) -> list[State]:
    return [{"ErrorEquals": ALL, "Next": target}]


def convert(start: str, name: str = "trip", /, **states: State) -> Converted:
    return convert_asl({"StartAt": start, "States": states}, name)


def test_a_chain_of_tasks_becomes_steps_one_after_the_other() -> None:
    """Pass and Succeed are no steps; each step needs the one before; the document reads back equal."""
    made = convert(
        "Begin",
        Begin={"Type": "Pass", "Next": "Book"},
        Book=task("Pay", "arn:aws:lambda:eu-west-1:1:function:booking:live"),
        Pay=task("Done", "${payFunction}"),
        Done={"Type": "Succeed"},
    )
    assert [(step.name, step.after, step.service) for step in made.saga.steps] == [
        ("Book", (), "booking"),
        ("Pay", ("Book",), "payFunction"),
    ]
    assert made.saga.name == "trip"
    assert made.saga.stages == ()
    assert read_saga(json.loads(json.dumps(made.document))) == made.saga
    assert all(step.action is None for step in made.saga.steps)


def test_a_description_and_text_are_definitions_too() -> None:
    """What describe-state-machine says, whose definition is text in JSON."""
    definition = json.dumps({"StartAt": "Book", "States": {"Book": task()}})
    assert convert_asl({"name": "m", "definition": definition}, "trip").saga.names == ("Book",)
    assert convert_asl(definition, "trip").saga.names == ("Book",)


def test_branches_need_what_came_before_and_start_together() -> None:
    """A Parallel's branches do not wait for one another; what follows waits for the end of each."""
    made = convert(
        "Quote",
        Quote=task("Both"),
        Both={
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "Hotel", "States": {"Hotel": task("Breakfast"), "Breakfast": task()}},
                {"StartAt": "Flight", "States": {"Flight": task()}},
            ],
            "Next": "Pay",
        },
        Pay=task(),
    )
    assert {step.name: step.after for step in made.saga.steps} == {
        "Quote": (),
        "Hotel": ("Quote",),
        "Breakfast": ("Hotel",),
        "Flight": ("Quote",),
        "Pay": ("Breakfast", "Flight"),
    }
    stages = (("Quote",), ("Hotel", "Flight"), ("Breakfast",), ("Pay",))
    assert made.saga.stages == stages
    assert author_plan(made.saga).stages() == stages


def test_retries_and_timeouts_in_our_numbers() -> None:
    """MaxAttempts counts retries; hopeless errors are those with none; waits end at MaxDelaySeconds."""
    retry = [
        {"ErrorEquals": ["SoldOut", "Closed"], "MaxAttempts": 0},
        {"ErrorEquals": ALL, "IntervalSeconds": 5, "BackoffRate": 3, "MaxAttempts": 4, "MaxDelaySeconds": 60},
    ]
    made = convert("Book", Book=task(Retry=retry, TimeoutSeconds=30, HeartbeatSeconds=10))
    (book,) = made.saga.steps
    assert book.retry == RetryPolicy(
        initial_interval_s=5,
        backoff_coefficient=3,
        maximum_interval_s=60,
        maximum_attempts=5,
        non_retryable_error_types=("SoldOut", "Closed"),
    )
    assert (book.start_to_close_timeout_s, book.heartbeat_timeout_s) == (30, 10)


def test_numbers_that_are_left_out_are_those_of_the_language() -> None:
    """No Retry is one attempt; a bare retrier waits 1, 2 and 4 s; only a function ends by itself."""
    bare = [{"ErrorEquals": ["States.TaskFailed"]}]
    queue = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "End": True}
    made = convert("Book", Book=task("Tell", Retry=bare), Tell=queue)
    book, tell = made.saga.steps
    assert book.retry == RetryPolicy(maximum_attempts=4, maximum_interval_s=4)
    assert book.start_to_close_timeout_s == 900
    assert (tell.retry.maximum_attempts, tell.start_to_close_timeout_s) == (1, 99_999_999)
    assert tell.service == "sqs"
    assert any("'Tell': it has no TimeoutSeconds" in note for note in made.notes)


def test_the_widest_of_several_retriers_counts_and_narrow_ones_are_noted() -> None:
    """The numbers for States.ALL win over those for one error; a retrier of one error says so."""
    two = [{"ErrorEquals": ["Busy"], "MaxAttempts": 9}, {"ErrorEquals": ALL, "MaxAttempts": 1}]
    made = convert("A", A=task("B", Retry=two), B=task(Retry=two[:1]))
    assert [step.retry.maximum_attempts for step in made.saga.steps] == [2, 10]
    assert "'A': it has 2 retriers: the numbers are those for States.ALL" in made.notes
    assert any(note.startswith("'B': Step Functions retries it for Busy alone") for note in made.notes)


def test_the_machines_timeout_is_the_deadline() -> None:
    """TimeoutSeconds of the whole machine."""
    definition = {"StartAt": "Book", "TimeoutSeconds": 600, "States": {"Book": task()}}
    assert convert_asl(definition, "trip").saga.deadline_s == 600


def test_computed_numbers_are_noted() -> None:
    """A path or an expression is known to each execution only."""
    made = convert("Book", Book=task(TimeoutSecondsPath="$.t", HeartbeatSeconds="{% $h %}"))
    assert made.saga.steps[0].heartbeat_timeout_s is None
    assert sum("is computed by each execution" in note for note in made.notes) == 2


def test_a_service_that_only_reads_leaves_no_effect() -> None:
    """getItem is read_only; putItem is not, nor is a function whose name begins with get."""
    get = {"Type": "Task", "Resource": "arn:aws:states:::dynamodb:getItem", "Next": "Put"}
    put = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:dynamodb:putItem", "Next": "getRoom"}
    made = convert("Get", Get=get, Put=put, getRoom=task())
    assert [step.kind for step in made.saga.steps] == [
        Kind.READ_ONLY,
        Kind.COMPENSATABLE,
        Kind.COMPENSATABLE,
    ]
    assert "nothing undoes 'Put', 'getRoom': in a run that turns back the undo is empty" in made.notes


def test_names_become_usable_and_stay_apart() -> None:
    """Spaces and marks go; two names that become one get numbers."""
    made = convert(
        "Book it!", "My Trip", **{"Book it!": task("Book it?"), "Book it?": task("Ü"), "Ü": task()}
    )
    assert made.saga.names == ("Book_it", "Book_it_2", "step")
    assert made.saga.name == "My_Trip"
    assert "'Book it?' is the step 'Book_it_2'" in made.notes


def test_a_choice_is_taken_where_it_leads_on() -> None:
    """A branch that ends in Fail is a way back; of two that lead on the one with more work is taken."""
    made = convert(
        "Check",
        Check=task("Ok?"),
        **{"Ok?": {"Type": "Choice", "Choices": [{"Next": "No"}, {"Next": "Long"}], "Default": "Short"}},
        No={"Type": "Fail"},
        Short=task(),
        Long=task("More"),
        More=task(),
    )
    assert made.saga.names == ("Check", "Long", "More")
    assert "the Choice 'Ok?' is taken to 'Long'; not in the saga: the way over 'Short'" in made.notes


def test_a_choice_that_checks_a_result_leads_back_to_the_undo() -> None:
    """Declined is an answer here, not an error: the branch that cancels is a way back all the same."""
    made = convert(
        "BookRoom",
        BookRoom=task("Pay"),
        Pay=task("Paid?"),
        **{"Paid?": {"Type": "Choice", "Choices": [{"Next": "CancelRoom"}], "Default": "Done"}},
        CancelRoom=task("Sorry"),
        Sorry={"Type": "Succeed"},
        Done={"Type": "Succeed"},
    )
    assert made.saga.names == ("BookRoom", "Pay")
    assert [step.kind for step in made.saga.steps] == [Kind.COMPENSATABLE, Kind.PIVOT]
    note = "the Choice 'Paid?' turns back over 'CancelRoom' on what 'Pay' answers: have its action refuse"
    assert f"{note} instead" in made.notes


def test_a_loop_is_left_out() -> None:
    """Polling until ready: one step that asks, and a note."""
    made = convert(
        "Ask",
        Ask=task("Ready?"),
        **{"Ready?": {"Type": "Choice", "Choices": [{"Next": "Use"}], "Default": "Later"}},
        Later={"Type": "Wait", "Seconds": 5, "Next": "Ask"},
        Use=task(),
    )
    assert made.saga.names == ("Ask", "Use")


def test_a_catch_that_goes_on_makes_a_step_optional() -> None:
    """Its failure changes nothing about the rest."""
    made = convert("Book", Book=task("Greet"), Greet=task("Pay", Catch=catch("Pay")), Pay=task())
    assert [step.optional for step in made.saga.steps] == [False, True, False]
    assert not any("a Catch of 'Greet'" in note for note in made.notes)


def test_a_catch_of_some_errors_says_so() -> None:
    """An optional step is one for every error, whatever its Catch names."""
    busy = [{"ErrorEquals": ["Busy"], "Next": "Pay"}]
    made = convert("Greet", Greet=task("Pay", Catch=busy), Pay=task())
    assert made.saga.steps[0].optional
    assert "a Catch of 'Greet' is for Busy alone: here it is for every error" in made.notes


def test_a_catch_over_one_task_is_an_alternative() -> None:
    """What stands in for a step, and then goes on as it would have."""
    made = convert(
        "Card",
        Card=task("Ship", Catch=catch("Wallet")),
        Wallet=task("Ship"),
        Ship=task(),
    )
    assert made.saga.names == ("Card", "Wallet", "Ship")
    assert made.saga.by_name["Wallet"].alternative_to == "Card"
    assert made.saga.by_name["Ship"].after == ("Card",)


def test_a_catch_that_skips_ahead_is_noted() -> None:
    """A saga has no way to leave out several steps at once."""
    made = convert("A", A=task("B", Catch=catch("C")), B=task("C"), C=task())
    assert not made.saga.steps[0].optional
    assert any("a Catch of 'A' goes on to 'C' over nothing" in note for note in made.notes)


def test_a_map_and_another_machine_are_steps_and_noted() -> None:
    """All items together are one step; another machine is one, too, by its name."""
    each = {"Type": "Map", "Iterator": {"StartAt": "X", "States": {"X": task()}}, "Next": "Child"}
    child = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {"StateMachineArn": "arn:aws:states:eu-west-1:1:stateMachine:packing"},
        "End": True,
    }
    made = convert("Each", Each=each, Child=child)
    assert [(step.name, step.service) for step in made.saga.steps] == [("Each", "Each"), ("Child", "packing")]
    assert "the Map 'Each' is one step for all its items, tried again as a whole" in made.notes
    assert "'Child' runs another state machine: make that a sub_saga" in made.notes


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "trip: is no object; "),
        ("{", "trip, definition: is no JSON; "),
        ({"StartAt": "A"}, "trip: has no States; "),
        ({"StartAt": "B", "States": {"A": task()}}, "trip: has a StartAt that is none of its States; "),
        ({"StartAt": "A", "States": {"A": {"Type": "Job"}}}, "trip, state 'A': has the Type 'Job'; "),
        (
            {"StartAt": "A", "States": {"A": task("B")}},
            "trip, state 'A': leads to 'B', which is no state there; ",
        ),
        (
            {"StartAt": "A", "States": {"A": {"Type": "Task"}}},
            "trip, state 'A': does not say what comes next; ",
        ),
        ({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}, "trip: has no Task on the way to its end; "),
        (
            {"StartAt": "A", "States": {"A": task("B"), "B": {"Type": "Fail"}}},
            "trip, state 'B': is a Fail to which the way leads without any failure; ",
        ),
        (
            {"StartAt": "A", "States": {"A": task(Retry=[{"ErrorEquals": ALL, "MaxAttempts": "3"}])}},
            "trip, state 'A': has MaxAttempts '3'; ",
        ),
        (
            {"StartAt": "A", "States": {"A": task(TimeoutSeconds=0)}},
            "trip, state 'A': has TimeoutSeconds '0'; ",
        ),
    ],
)
def test_what_no_saga_can_be_made_of_is_refused(document: object, message: str) -> None:
    """The message names the definition, the state, the reason, and ends with the way out."""
    with pytest.raises(ConvertRefused) as refused:
        convert_asl(document, "trip")
    assert str(refused.value) == message + refused.value.way_out
    assert refused.value.way_out
