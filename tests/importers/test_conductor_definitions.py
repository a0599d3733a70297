"""Conductor's workflows as sagas: steps, order, numbers, undos, and how such a saga runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.converters import Converted, ConvertRefused
from sagacity_data.converters.conductor import convert_conductor
from sagacity_engine import Direction, Kind, OnTimeout, RetryPolicy, Saga, Status, author_plan, read_saga
from sagacity_engine.advisor import Advice, Launch
from sagacity_engine.events import AttemptStarted, Event
from sagacity_engine.testing import Script, ScriptedServices
from sagacity_engine.virtual.host import Reply, VirtualHost

Task = dict[str, Any]
NO = Reply(duration_s=1.0, error_type="No", terminal=True)


def task(ref: str, kind: str = "SIMPLE", **told: Any) -> Task:
    return {"name": ref, "taskReferenceName": ref, "type": kind, **told}


def numbered(ref: str, **numbers: Any) -> Task:
    """A worker's task with its definition."""
    return task(ref, taskDefinition={"name": ref, "retryCount": 0, "responseTimeoutSeconds": 5, **numbers})


def fork(ref: str, *branches: list[Task]) -> Task:
    return task(ref, "FORK_JOIN", forkTasks=list(branches))


def switch(ref: str, default: list[Task] | None = None, **cases: list[Task]) -> Task:
    return task(ref, "SWITCH", decisionCases=cases, defaultCase=default or [])


def workflow(*tasks: Task, **told: Any) -> dict[str, Any]:
    return {"name": "order", "version": 2, "tasks": list(tasks), **told}


def order(*tasks: Task) -> list[dict[str, Any]]:
    """A workflow of three steps, and the failure workflow of these tasks."""
    steps = (numbered("reserve_stock"), numbered("charge_card"), numbered("ship_parcel"))
    return [workflow(*steps, failureWorkflow="undo"), {"name": "undo", "tasks": list(tasks)}]


UNDOS = (numbered("refund_card", retryCount=4), switch("was_it", yes=[numbered("release_stock")]))


def arcs(saga: Saga) -> dict[str, tuple[str, ...]]:
    return {step.name: step.after for step in saga.steps}


def played(saga: Saga, script: Script) -> tuple[str, list[str]]:
    """How a run in virtual time ends, and which calls it made in order."""
    journals: dict[str, list[Event]] = {}
    host = VirtualHost(ScriptedServices(script), lambda *_: 0.5, journals=journals)
    host.launch(saga, Launch(run_id="r", context={}, at=0.0), lambda saga, _: Advice(plan=author_plan(saga)))
    state = host.run()["r"]
    calls = [event for event in journals["r"] if isinstance(event, AttemptStarted)]
    return state.status.value, [f"{call.direction} {call.step}" for call in calls]


def noted(converted: Converted, words: str) -> bool:
    return any(words in note for note in converted.notes)


def test_tasks_are_steps_in_their_order() -> None:
    """Each by its reference name, after the one before it; name, version and deadline are the workflow's."""
    told = {"timeoutSeconds": 600, "timeoutPolicy": "TIME_OUT_WF"}
    saga = convert_conductor(workflow(numbered("a"), numbered("b"), numbered("c"), **told)).saga
    assert (saga.name, saga.version, saga.deadline_s) == ("order", "2", 600.0)
    assert arcs(saga) == {"a": (), "b": ("a",), "c": ("b",)}
    assert convert_conductor(workflow(numbered("a")), "mine").saga.name == "mine"


def test_the_document_loads_as_the_same_saga() -> None:
    """What is written down is what was built."""
    converted = convert_conductor(order(*UNDOS))
    assert read_saga(json.loads(json.dumps(converted.document))) == converted.saga


def test_branches_start_together_and_a_join_waits_for_what_it_names() -> None:
    """A fork's steps need what came before it, what follows needs the ends of the branches joined on."""
    tasks = (
        numbered("a"),
        fork("f", [numbered("b"), numbered("c")], [numbered("d")], [numbered("e")]),
        task("j", "JOIN", joinOn=["c", "d"]),
        numbered("z"),
    )
    saga = convert_conductor(workflow(*tasks)).saga
    assert arcs(saga) == {"a": (), "b": ("a",), "c": ("b",), "d": ("a",), "e": ("a",), "z": ("c", "d")}
    assert saga.stages == (("a",), ("b", "d", "e"), ("c",), ("z",))


def test_a_reference_is_a_dependency() -> None:
    """`${ref.output.x}` in a task's input needs that step, also in another branch."""
    reads = numbered("d", x=1) | {"inputParameters": {"n": {"m": "at ${b.output.response.id}"}}}
    tasks = (fork("f", [numbered("b")], [reads]), task("j", "JOIN"), numbered("z"))
    assert arcs(convert_conductor(workflow(*tasks)).saga) == {"b": (), "d": ("b",), "z": ("b", "d")}


@pytest.mark.parametrize(
    ("numbers", "retry"),
    [
        ({"retryCount": 0}, (1.0, 2.0, 30.0, 1)),
        ({"retryCount": 2, "retryDelaySeconds": 7}, (7.0, 1.0, 7.0, 3)),
        ({"retryCount": 2}, (60.0, 1.0, 60.0, 3)),
        ({"retryCount": 4, "retryDelaySeconds": 5, "retryLogic": "EXPONENTIAL_BACKOFF"}, (5.0, 2.0, 40.0, 5)),
        (
            {
                "retryCount": 3,
                "retryDelaySeconds": 5,
                "retryLogic": "LINEAR_BACKOFF",
                "backoffScaleFactor": 2,
            },
            (10.0, 2.0, 30.0, 4),
        ),
        ({"retryCount": 9_999, "retryDelaySeconds": 0}, (0.0, 1.0, 0.0, 1_000)),
    ],
)
def test_retries_are_carried_over(numbers: dict[str, Any], retry: tuple[float, float, float, int]) -> None:
    """Fixed waits stay fixed; exponential ones double up to the longest; linear ones double up to theirs."""
    (step,) = convert_conductor(workflow(numbered("a", **numbers))).saga.steps
    initial, coefficient, longest, attempts = retry
    assert step.retry == RetryPolicy(
        initial_interval_s=initial,
        backoff_coefficient=coefficient,
        maximum_interval_s=longest,
        maximum_attempts=attempts,
    )


def test_the_tasks_own_number_of_retries_wins() -> None:
    """Over that of its definition."""
    (step,) = convert_conductor(workflow(numbered("a", retryCount=5) | {"retryCount": 1})).saga.steps
    assert step.retry.maximum_attempts == 2


def test_timeouts_are_carried_over() -> None:
    """The shortest of those in force is one attempt's; a queue's and a total one have places of their own."""
    numbers = {
        "responseTimeoutSeconds": 30,
        "timeoutSeconds": 90,
        "pollTimeoutSeconds": 8,
        "totalTimeoutSeconds": 99,
    }
    (step,) = convert_conductor(workflow(numbered("a", **numbers))).saga.steps
    assert step.start_to_close_timeout_s == 30.0
    assert (step.schedule_to_start_timeout_s, step.schedule_to_close_timeout_s) == (8.0, 99.0)
    request = {"uri": "http://pay.example/x", "method": "POST", "readTimeOut": 4_000}
    (http,) = convert_conductor(
        workflow(task("h", "HTTP", inputParameters={"http_request": request}))
    ).saga.steps
    assert (http.start_to_close_timeout_s, http.service, http.retry.maximum_attempts) == (
        4.0,
        "pay.example",
        1,
    )


@pytest.mark.parametrize(
    ("policy", "on_timeout"), [("TIME_OUT_WF", OnTimeout.COMPENSATE), ("RETRY", None), ("ALERT_ONLY", None)]
)
def test_a_timeout_that_ends_the_workflow_gives_the_step_up(
    policy: str, on_timeout: OnTimeout | None
) -> None:
    """An idempotent step, told by its key, is tried again after a timeout unless Conductor would not."""
    request = {"method": "POST", "headers": {"Idempotency-Key": "${workflow.input.id}"}}
    numbers = {"retryCount": 2, "timeoutSeconds": 9, "timeoutPolicy": policy}
    told = task("a", "HTTP", inputParameters={"http_request": request}, taskDefinition=numbers)
    (step,) = convert_conductor(workflow(told)).saga.steps
    assert (step.idempotent, step.on_timeout, step.start_to_close_timeout_s) == (True, on_timeout, 9.0)


def test_a_task_definition_may_be_given_beside() -> None:
    """Else Conductor's defaults are taken, and that is noted."""
    alone = convert_conductor(workflow(task("a")))
    assert (alone.saga.steps[0].retry.maximum_attempts, alone.saga.steps[0].start_to_close_timeout_s) == (
        4,
        3600.0,
    )
    assert noted(alone, "its task definition is not given")
    definitions = [{"name": "a", "retryCount": 1, "responseTimeoutSeconds": 6}]
    beside = convert_conductor([workflow(task("a")), definitions])
    assert (beside.saga.steps[0].retry.maximum_attempts, beside.saga.steps[0].start_to_close_timeout_s) == (
        2,
        6.0,
    )
    assert not noted(beside, "its task definition is not given")


@pytest.mark.parametrize("turned", [False, True])
def test_undos_come_from_the_failure_workflow(turned: bool) -> None:
    """By name, with their own numbers, whatever stands around them and whichever file comes first."""
    documents = order(*UNDOS)
    saga = convert_conductor(documents[::-1] if turned else documents).saga
    reserve, charge, ship = saga.steps
    assert reserve.compensation is not None
    assert charge.compensation is not None
    assert (reserve.compensation.retry.maximum_attempts, charge.compensation.retry.maximum_attempts) == (1, 5)
    assert reserve.compensation.start_to_close_timeout_s == 5.0
    assert (reserve.kind, charge.kind, ship.kind) == (Kind.COMPENSATABLE, Kind.COMPENSATABLE, Kind.PIVOT)


def test_what_cannot_be_carried_over_is_noted() -> None:
    """A task that undoes nothing by its name, and a failure workflow that is not given."""
    assert noted(convert_conductor(order(*UNDOS, numbered("email_customer"))), "'email_customer': its name")
    assert noted(convert_conductor(order()[0]), "the failure workflow 'undo' is not given")


def test_undos_in_another_order_are_noted() -> None:
    """A saga undoes the latest step first."""
    words = "undoes in another order"
    assert noted(convert_conductor(order(numbered("release_stock"), numbered("refund_card"))), words)
    assert not noted(convert_conductor(order(*UNDOS)), words)


def test_the_kinds_of_tasks() -> None:
    """Computing and reading have no effect; persons are approvals; waits by the clock and variables go."""
    get = {"http_request": {"uri": "http://x/", "method": "GET"}}
    tasks = (
        task("look", "HTTP", inputParameters=get),
        task("sum", "INLINE"),
        task("boss", "HUMAN"),
        task("signal", "WAIT"),
        task("pause", "WAIT", inputParameters={"duration": "5 minutes"}),
        task("set", "SET_VARIABLE"),
        task("tell", "EVENT", sink="sqs:told", optional=True),
        numbered("pay"),
    )
    converted = convert_conductor(workflow(*tasks))
    by_name = converted.saga.by_name
    assert converted.saga.names == ("look", "sum", "boss", "signal", "tell", "pay")
    assert {name for name, step in by_name.items() if step.kind is Kind.READ_ONLY} == {
        "look",
        "sum",
        "boss",
        "signal",
    }
    assert {name for name, step in by_name.items() if step.approval} == {"boss", "signal"}
    assert (by_name["sum"].service, by_name["tell"].service, by_name["tell"].optional) == (
        "conductor",
        "sqs:told",
        True,
    )
    assert noted(converted, "'pause'")


def test_a_choice_goes_where_most_of_the_work_is() -> None:
    """What is left out is noted, with the branch's name."""
    tasks = (switch("s", default=[numbered("a")], big=[numbered("b"), numbered("c")], none=[]), numbered("z"))
    converted = convert_conductor(workflow(*tasks))
    assert arcs(converted.saga) == {"b": (), "c": ("b",), "z": ("c",)}
    assert noted(converted, "the choice 's' is taken to case 'big'; not in the saga: its default")


def test_branches_that_turn_back_hold_undos() -> None:
    """One that begins with the undo of a step before it, and one that ends the workflow as failed."""
    failed = task("end", "TERMINATE", inputParameters={"terminationStatus": "FAILED"})
    tasks = (
        numbered("book_room"),
        numbered("book_taxi"),
        switch("ok", no=[numbered("cancel_room")]),
        switch("paid", no=[numbered("cancel_taxi"), failed], yes=[numbered("confirm")]),
    )
    converted = convert_conductor(workflow(*tasks))
    assert converted.saga.names == ("book_room", "book_taxi", "confirm")
    status, calls = played(converted.saga, {("confirm", Direction.FORWARD): (NO,)})
    assert (status, calls[-2:]) == (Status.COMPENSATED, ["undo book_taxi", "undo book_room"])


def test_a_loop_runs_its_steps_once() -> None:
    """Its tasks are steps like others, and that is noted."""
    converted = convert_conductor(workflow(task("l", "DO_WHILE", loopOver=[numbered("a"), numbered("b")])))
    assert arcs(converted.saga) == {"a": (), "b": ("a",)}
    assert noted(converted, "the loop 'l' runs its steps once")


def test_a_workflow_within_a_workflow_is_a_saga_of_its_own() -> None:
    """With its own undos, where its definition is at hand; else it is one step, and that is noted."""
    ship = task("ship", "SUB_WORKFLOW", subWorkflowParam={"name": "shipping"})
    main = workflow(numbered("pack"), ship, numbered("bill"))
    inner = {"name": "shipping", "tasks": [numbered("book_courier")], "failureWorkflow": "unship"}
    unship = {"name": "unship", "tasks": [numbered("cancel_courier")]}
    converted = convert_conductor([main, unship, inner])
    sub = converted.saga.by_name["ship"].sub_saga
    assert sub is not None
    assert (sub.saga.name, sub.saga.names) == ("shipping", ("book_courier",))
    status, _ = played(converted.saga, {("bill", Direction.FORWARD): (NO,)})
    assert status == Status.COMPENSATED
    alone = convert_conductor(main)
    assert alone.saga.by_name["ship"].sub_saga is None
    assert noted(alone, "'ship': the definition of its workflow is not given")


def test_a_workflow_that_runs_itself_is_one_step() -> None:
    """A saga cannot hold itself."""
    again = task("again", "SUB_WORKFLOW", subWorkflowParam={"name": "order"})
    assert noted(convert_conductor(workflow(numbered("a"), again)), "'again': workflows within workflows")


def test_names_become_usable() -> None:
    """Characters that a document does not allow are replaced, and that is noted."""
    converted = convert_conductor(workflow(numbered("pay now!"), numbered("ship")))
    assert arcs(converted.saga) == {"pay_now": (), "ship": ("pay_now",)}
    assert noted(converted, "'pay now!' is the step 'pay_now'")


def test_the_definition_in_an_execution_will_do() -> None:
    """An execution carries the definition that it ran."""
    execution = {"workflowId": "x", "tasks": [], "workflowDefinition": workflow(numbered("a"))}
    assert convert_conductor(execution).saga.names == ("a",)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (7, "no object"),
        ([], "holds no workflow"),
        ({"name": "a"}, "holds no workflow"),
        ({"tasks": []}, "has no name"),
        ({"name": "a", "tasks": []}, "no task that does work"),
        ({"name": "a", "tasks": [7]}, "something else than tasks"),
        ({"name": "a", "tasks": [{"type": "SIMPLE"}]}, "without a name"),
        (
            [{"name": "a", "tasks": [task("x")]}, {"name": "b", "tasks": [task("y")]}],
            "which workflow is meant: 'a', 'b'",
        ),
        ([{"name": "a", "tasks": [task("x")]}, {"name": "a", "tasks": [task("y")]}], "twice"),
        (workflow(task("x"), task("x")), "stands there twice"),
        (workflow(numbered("x", retryCount=-1)), "retryCount that is no number"),
        (workflow(numbered("x", responseTimeoutSeconds="soon")), "responseTimeoutSeconds that is no number"),
        (workflow(*(task(f"t{number}") for number in range(501))), "more than 500"),
    ],
)
def test_what_cannot_become_a_saga_is_refused(document: object, words: str) -> None:
    """With the place and the way out."""
    with pytest.raises(ConvertRefused, match=words):
        convert_conductor(document)


def test_nesting_without_end_is_refused() -> None:
    """However deep, whether of tasks or of values."""
    nested: Task = numbered("a")
    for number in range(30):
        nested = switch(f"s{number}", default=[nested])
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    for document in (workflow(nested), workflow(numbered("a") | {"inputParameters": {"x": deep}})):
        with pytest.raises(ConvertRefused, match="deep"):
            convert_conductor(document)


@pytest.fixture
def real_saga(shared_data: Path) -> Saga:
    folder = shared_data / "conductor" / "definitions"
    names = ("saga-order-fulfillment.json", "saga-order-compensation.json")
    return convert_conductor([json.loads((folder / name).read_text("utf-8")) for name in names]).saga


def test_the_real_saga_converts_as_by_eye(real_saga: Saga) -> None:
    """Three HTTP steps in a row; two undos with five retries from 5 s; the shipment is tried twice."""
    reserve, charge, ship = real_saga.steps
    assert arcs(real_saga) == {
        "reserve_inventory": (),
        "charge_payment": ("reserve_inventory",),
        "book_shipment": ("charge_payment",),
    }
    assert (real_saga.deadline_s, {step.service for step in real_saga.steps}) == (600.0, {"localhost:8088"})
    for step in (reserve, charge):
        assert step.compensation is not None
        undo = step.compensation.retry
        assert (undo.maximum_attempts, undo.initial_interval_s, undo.backoff_coefficient) == (6, 5.0, 2.0)
        assert step.compensation.start_to_close_timeout_s == 30.0
        assert (step.start_to_close_timeout_s, step.retry.maximum_attempts, step.idempotent) == (
            40.0,
            1,
            True,
        )
    assert (ship.kind, ship.retry.maximum_attempts, ship.retry.initial_interval_s) == (Kind.PIVOT, 2, 2.0)
    assert ship.start_to_close_timeout_s == 30.0


def test_the_real_saga_runs_forward_and_back(real_saga: Saga) -> None:
    """When the shipment fails, after its two attempts, the payment is undone, then the reservation."""
    forward = ["forward reserve_inventory", "forward charge_payment", "forward book_shipment"]
    assert played(real_saga, {}) == (Status.COMPLETED, forward)
    fails = {("book_shipment", Direction.FORWARD): (Reply(duration_s=1.0, error_type="NoCourier"),)}
    undone = ["forward book_shipment", "undo charge_payment", "undo reserve_inventory"]
    assert played(real_saga, fails) == (Status.COMPENSATED, forward + undone)
