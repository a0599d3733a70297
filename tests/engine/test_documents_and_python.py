"""One definition, three ways to say it: a document, Python, and the published schema. All agree."""

import asyncio
import dataclasses
import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sagacity_engine import (
    Call,
    Compensation,
    CostPolicy,
    Direction,
    Handler,
    Kind,
    PlanRefused,
    RetryPolicy,
    Saga,
    SagaFreedom,
    SagaRefused,
    Step,
    StepFreedom,
    author_plan,
    bind,
    define,
    plan_document,
    read_plan,
    read_saga,
    saga_document,
    saga_schema,
)
from sagacity_engine.parts import Approval, Breaker, LaunchFreedom, Lock, OnExpiry, Probe, WhenHeld
from sagacity_engine.saga import SubSaga
from sagacity_engine.strategy import OnFailure, OnTimeout, Strategy

ROOT = Path(__file__).parents[2]
GOA = ROOT / "examples" / "goa_trip.yaml"


def goa_document() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(GOA.read_text("utf-8"))
    return document


TWIN = """
saga: goa-trip
version: "3"
deadline_s: 900
steps:
  - name: book_flight
    service: indigo
    region: ap-south-1
    start_to_close_timeout_s: 8
    retry: {initial_interval_s: 1, maximum_attempts: 4, non_retryable_error_types: [SoldOut]}
    idempotent: true
    cost: 1.0
    compensation: {cost: 6, retry: {maximum_attempts: 12}}
    freedom: {start_to_close_timeout_s: [1, 30], maximum_attempts: [1, 5]}
  - {name: book_hotel, service: beach_resort, start_to_close_timeout_s: 7, cost: 0.8, compensation: {cost: 5}}
  - {name: look_at_weather, kind: read_only, optional: true}
  - {name: book_cab, service: city_cabs, after: [book_flight], cost: 0.3, compensation: {cost: 1.0}}
  - name: take_payment
    service: razorpay
    kind: pivot
    action: {http: {method: POST, url: "http://pay/", body: {hotel: "${steps.book_hotel.output.id}"}}}
    idempotent: true
  - {name: send_confirmation, service: msg91, kind: retriable, after: [take_payment]}
stages: [[book_flight, book_hotel, look_at_weather], [book_cab], [take_payment], [send_confirmation]]
freedom: {reorder: true, timeouts: true}
policy: {latency_cost_per_s: 0.02, failure_penalty: 20}
"""


def nothing(call: Call) -> None:
    """A participant that does nothing."""


def goa_in_python() -> Any:
    """The trip of `TWIN` as a Python author writes it."""
    trip = define(
        "goa-trip",
        version="3",
        deadline_s=900,
        stages=[
            ["book_flight", "book_hotel", "look_at_weather"],
            ["book_cab"],
            ["take_payment"],
            ["send_confirmation"],
        ],
        freedom=SagaFreedom(reorder=True, timeouts=True),
        policy=CostPolicy(latency_cost_per_s=0.02, failure_penalty=20),
    )

    @trip.step(
        service="indigo",
        region="ap-south-1",
        start_to_close_timeout_s=8,
        retry=RetryPolicy(initial_interval_s=1, maximum_attempts=4, non_retryable_error_types=("SoldOut",)),
        idempotent=True,
        cost=1,
        freedom=StepFreedom(start_to_close_timeout_s=(1, 30), maximum_attempts=(1, 5)),
    )
    def book_flight(call: Call) -> dict[str, str]:
        return {"id": f"flight of {call.input['who']}"}

    book_flight.compensation(cost=6, retry=RetryPolicy(maximum_attempts=12))(nothing)

    @trip.step(service="beach_resort", start_to_close_timeout_s=7, cost=0.8)
    async def book_hotel(call: Call) -> dict[str, str]:
        return {"id": "hotel"}

    @book_hotel.compensation(cost=5.0)
    async def cancel_hotel(call: Call) -> None:
        """Gives the room back."""

    trip.step(name="look_at_weather", kind=Kind.READ_ONLY, optional=True)(nothing)
    trip.step(
        name="book_cab",
        service="city_cabs",
        after=[book_flight],
        cost=0.3,
        compensate=nothing,
        compensation=Compensation(cost=1.0),
    )(nothing)
    body = {"hotel": "${steps.book_hotel.output.id}"}
    pay = trip.step(
        name="take_payment",
        service="razorpay",
        kind="pivot",
        action={"http": {"method": "POST", "url": "http://pay/", "body": body}},
        idempotent=True,
    )(nothing)
    trip.step(name="send_confirmation", service="msg91", kind="retriable", after=[pay])(nothing)
    return trip, book_flight, book_hotel


def test_document_and_python_build_the_same_value() -> None:
    """The Mumbai-Goa trip, written both ways, is one definition, with one hash and one plan."""
    trip, _, _ = goa_in_python()
    saga, twin = trip.bind().saga, read_saga(yaml.safe_load(TWIN))
    assert saga == twin
    assert saga.definition_hash == twin.definition_hash
    assert author_plan(saga) == author_plan(twin)
    assert saga.by_name["take_payment"].after == ("book_hotel",)


def test_a_decorated_function_is_still_a_function() -> None:
    """Tests of an author call it as they wrote it."""
    _, book_flight, book_hotel = goa_in_python()
    call = Call(
        run_id="r",
        saga="goa-trip",
        step="book_flight",
        direction=Direction.FORWARD,
        attempt=1,
        input={"who": "Asha"},
    )
    assert book_flight(call) == {"id": "flight of Asha"}
    assert asyncio.run(book_hotel(call)) == {"id": "hotel"}
    assert inspect.signature(book_flight) == inspect.signature(nothing).replace(
        return_annotation=dict[str, str]
    )


def test_what_is_not_bound_is_refused_by_name() -> None:
    """A missing function, a missing undo, an undo too many and a step that is not there are named."""
    saga = read_saga({"saga": "s", "steps": [{"name": "a"}, {"name": "pay", "kind": "pivot"}]})
    both = Handler(nothing, nothing)
    for handlers, words in (
        ({"a": both}, "step 'pay' of saga 's' has no function; bind one"),
        ({"a": Handler(nothing), "pay": Handler(nothing)}, "step 'a' .* no function for its compensation"),
        ({"a": both, "pay": both}, "step 'pay' .* that its definition does not declare"),
        ({"a": both, "pay": Handler(nothing), "b": both}, "'b' is no step of saga 's'; the steps are a, pay"),
    ):
        with pytest.raises(SagaRefused, match=words):
            bind(saga, handlers)
    assert bind(saga, {"a": both, "pay": Handler(nothing)}).saga is saga


def test_python_refuses_what_the_document_refuses() -> None:
    """An unknown kind, a second undo and a broken rule raise as soon as they are seen."""
    trip = define("t")
    with pytest.raises(SagaRefused, match="kind is 'sometimes'; it must be one of compensatable"):
        trip.step(kind="sometimes")
    book = trip.step(name="book", compensate=nothing)(nothing)
    with pytest.raises(SagaRefused, match="step 'book' has two compensations"):
        book.compensation()(nothing)
    trip.step(name="book")(nothing)
    with pytest.raises(SagaRefused, match="two steps are named 'book'"):
        trip.build()


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, width=32)


RETRIES = st.builds(
    RetryPolicy,
    initial_interval_s=numbers(0, 100),
    backoff_coefficient=numbers(1, 10),
    maximum_interval_s=numbers(0, 100),
    maximum_attempts=st.integers(1, 20),
    non_retryable_error_types=st.lists(st.text(max_size=5), max_size=2).map(tuple),
)


PROBES = st.builds(
    Probe,
    action=st.sampled_from([None, {"http": {"url": "http://x/${input.id}"}}]),
    start_to_close_timeout_s=numbers(1, 9),
    retry=RETRIES,
)
BREAKERS = st.builds(Breaker, failure_threshold=st.integers(1, 9), open_s=numbers(1, 9))
APPROVALS = st.builds(
    Approval, expires_after_s=st.none() | numbers(1, 1e6), on_expiry=st.sampled_from(list(OnExpiry))
)
STANDARD = (Strategy.STANDARD_COMPENSATION, Strategy.IMMEDIATE_FULL_COMPENSATION)


@st.composite
def compensations(draw: st.DrawFn) -> Compensation:
    return Compensation(
        action=draw(st.sampled_from([None, {"http": {"url": "http://x/${input.id}"}}])),
        cost=draw(numbers(0, 10)),
        start_to_close_timeout_s=draw(numbers(1, 9)),
        retry=draw(RETRIES),
        after_failure=draw(st.booleans()),
    )


@st.composite
def calls(draw: st.DrawFn, name: str, known: list[str], ways: list[Strategy]) -> Step:
    """A step that calls a service, with every field that such a step can have."""
    kind = draw(st.sampled_from([Kind.COMPENSATABLE, Kind.READ_ONLY, Kind.RETRIABLE]))
    idempotent = draw(st.booleans())
    timeout_s = draw(numbers(1, 100))
    bounds = (timeout_s / 2, timeout_s * 2)
    timeouts = [None, OnTimeout.COMPENSATE, *([OnTimeout.RETRY] if idempotent else [])]
    return Step(
        name=name,
        service=draw(st.text(max_size=4)),
        region=draw(st.text(max_size=4)),
        kind=kind,
        after=tuple(draw(st.lists(st.sampled_from(known), unique=True))) if known else (),
        action=draw(st.sampled_from([None, {"http": {"body": {"a": ["${input.x}", 1, None]}}}])),
        start_to_close_timeout_s=timeout_s,
        schedule_to_start_timeout_s=draw(st.none() | numbers(1, 9)),
        schedule_to_close_timeout_s=draw(st.none() | numbers(1, 9)),
        heartbeat_timeout_s=draw(st.sampled_from([None, timeout_s / 2])),
        retry=draw(RETRIES),
        idempotent=idempotent,
        cost=draw(numbers(0, 10)),
        compensation=draw(compensations()) if kind is not Kind.READ_ONLY and draw(st.booleans()) else None,
        on_timeout=draw(st.sampled_from(timeouts)),
        on_failure=draw(st.none() | st.builds(OnFailure, permanent=st.sampled_from(ways))),
        probe=draw(st.none() | PROBES) if kind is not Kind.READ_ONLY else None,
        breaker=draw(st.none() | BREAKERS),
        freedom=StepFreedom(
            start_to_close_timeout_s=draw(st.sampled_from([None, bounds])),
            hedge_delay_s=draw(st.sampled_from([None, (0.5, 2.0)])) if idempotent else None,
        ),
    )


@st.composite
def sagas(draw: st.DrawFn, depth: int = 2) -> Saga:
    """Definitions that use every field."""
    steps: list[Step] = []
    for number in range(draw(st.integers(1, 4))):
        known = [step.name for step in steps if not step.alternative_to]
        ways = [*STANDARD, *([Strategy.ROLLBACK_TO_SAVEPOINT] if number and steps[0].savepoint else [])]
        step = draw(calls(f"s{number}", known, ways))
        what = draw(st.sampled_from(["call", "optional", "savepoint", "approval", "alternative", "saga"]))
        replaced = {step.alternative_to for step in steps}
        replaced |= {before for step in steps for before in step.after}  # An alternative comes before those.
        required = [step.name for step in steps if not step.optional and step.name in {*known} - replaced]
        if what == "optional" and Strategy.ROLLBACK_TO_SAVEPOINT not in ways:
            step = replace(step, optional=True, skip_loss=draw(numbers(0, 9)), on_timeout=OnTimeout.SKIP)
        elif what == "savepoint":
            step = replace(step, savepoint=True, on_failure=None)
        elif what == "approval":
            step = Step(name=step.name, kind=Kind.READ_ONLY, after=step.after, approval=draw(APPROVALS))
        elif what == "alternative" and required and not step.after:
            step = replace(step, alternative_to=draw(st.sampled_from(required)))
        elif what == "saga" and depth:
            inner = draw(sagas(depth=depth - 1))
            inner = replace(
                inner, locks=tuple(replace(each, when_held=WhenHeld.REJECT) for each in inner.locks)
            )
            step = Step(name=step.name, sub_saga=SubSaga(saga=inner, input={"id": "${input.id}"}))
        steps.append(step)
    return Saga(
        name="s",
        version=draw(st.text(max_size=4)),
        steps=tuple(steps),
        deadline_s=draw(st.none() | numbers(1, 1000)),
        stages=draw(st.sampled_from([(), tuple((step.name,) for step in steps)])),
        freedom=draw(
            st.builds(
                SagaFreedom,
                reorder=st.booleans(),
                breakers=st.booleans(),
                launch=st.builds(LaunchFreedom, wait_s_max=numbers(0, 9)),
            )
        ),
        policy=draw(st.builds(CostPolicy, failure_penalty=numbers(0, 9))),
        locks=draw(
            st.sampled_from([(), (Lock(key="room"), Lock(key="${input.id}", when_held=WhenHeld.WAIT))])
        ),
        retry_budget=draw(st.none() | st.integers(0, 9)),
        rollbacks_max=draw(st.integers(0, 3)),
    )


@given(sagas())
def test_documents_and_plans_round_trip(saga: Saga) -> None:
    """Writing and reading a definition or a plan, through JSON, gives the same value and the same text."""
    document = json.loads(json.dumps(saga_document(saga)))
    assert read_saga(document) == saga
    assert read_saga(document).definition_hash == saga.definition_hash
    assert saga_document(read_saga(document)) == document
    assert breaches(saga_schema(), document) == []
    plan = author_plan(saga)
    assert read_plan(json.loads(json.dumps(plan_document(plan)))) == plan


def test_the_written_document_is_a_fixed_point() -> None:
    """What is written from the example reads back to the example, and is written the same again."""
    written = saga_document(read_saga(goa_document()))
    assert saga_document(read_saga(written)) == written
    assert read_saga(written) == read_saga(goa_document())


def test_the_hash_of_an_older_definition_stays() -> None:
    """Runs are pinned by it, so a definition without newer fields keeps the hash it had without them."""
    assert read_saga(goa_document()).definition_hash == (
        "7b97befa9c6d2f217728af37338800540585f90a285ebb107e283ea4110f2161"
    )
    assert read_saga(yaml.safe_load(TWIN)).definition_hash == (
        "41c064293a1493e1e75ea906af6ae762b53ce5afa3a07a96986f6f85029071c3"
    )


def test_the_hash_sees_every_change() -> None:
    """Any other number, name or order is another definition."""
    document = goa_document()
    hashes = {read_saga(document).definition_hash}
    for change in (
        {"version": "2"},
        {"deadline_s": 901},
        {"steps": [{**document["steps"][0], "cost": 1.5}, *document["steps"][1:]]},
        {"steps": [document["steps"][1], document["steps"][0], *document["steps"][2:]]},
        {"policy": {"failure_penalty": 21}},
        {"locks": [{"key": "goa"}]},
        {"retry_budget": 5},
        {"rollbacks_max": 2},
        {"steps": [{**document["steps"][0], "savepoint": True}, *document["steps"][1:]]},
        {"freedom": {**document["freedom"], "launch": {"wait_s_max": 5}}},
    ):
        hashes.add(read_saga({**document, **change}).definition_hash)
    assert len(hashes) == 11


# The schema.


def breaches(schema: dict[str, Any], value: Any, where: str = "") -> list[str]:
    """What is wrong with `value`, by the keywords of JSON Schema that the published schema uses."""
    known = {
        "$schema", "title", "default", "type", "properties", "additionalProperties", "required", "items",
        "prefixItems", "minItems", "maxItems", "enum", "anyOf", "$ref",
    }  # fmt: skip
    assert set(schema) <= known, set(schema) - known
    if "$ref" in schema:
        assert schema == {"$ref": "#"}, "the only reference is the one to the whole schema"
        return breaches(saga_schema(), value, where)
    if "anyOf" in schema:
        options = [breaches(option, value, where) for option in schema["anyOf"]]
        return [] if [] in options else options[0]
    types: dict[str, type | tuple[type, ...]] = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "number": (int, float),
        "integer": int,
        "null": type(None),
    }
    wanted = schema.get("type")
    if wanted and (not isinstance(value, types[wanted]) or (wanted != "boolean" and isinstance(value, bool))):
        return [f"{where} is no {wanted}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where} is not in {schema['enum']}"]
    found: list[str] = []
    if isinstance(value, dict) and "properties" in schema:
        found += [f"{where} lacks {key}" for key in schema.get("required", []) if key not in value]
        for key, item in value.items():
            if key in schema["properties"]:
                found += breaches(schema["properties"][key], item, f"{where}.{key}")
            elif schema.get("additionalProperties") is False:
                found.append(f"{where} has an unknown {key}")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{where} has {len(value)} items")
        parts = schema.get("prefixItems") or [schema.get("items", {})] * len(value)
        for place, (part, item) in enumerate(zip(parts, value, strict=False)):
            found += breaches(part, item, f"{where}[{place}]")
    return found


def test_the_schema_accepts_the_example() -> None:
    """The shipped document is valid by the published schema, and so is what we write from it."""
    assert breaches(saga_schema(), goa_document()) == []
    assert breaches(saga_schema(), saga_document(read_saga(goa_document()))) == []


@pytest.mark.parametrize(
    "change",
    [
        {"saga": 5},
        {"steps": {}},
        {"steps": [{"name": "a", "kind": "sometimes"}]},
        {"steps": [{"name": "a", "timeout": 5}]},
        {"steps": [{"service": "a"}]},
        {"steps": [{"name": "a", "idempotent": 1}]},
        {"steps": [{"name": "a", "freedom": {"maximum_attempts": [1]}}]},
        {"steps": [{"name": "a", "sub_saga": {"saga": {"saga": "t", "steps": [{"nam": "b"}]}}}]},
        {"steps": [{"name": "a", "sub_saga": {"input": {}}}]},
        {"steps": [{"name": "a", "on_failure": {"permanent": "HOPE"}}]},
        {"steps": [{"name": "a", "approval": {"expires_after_s": "soon"}}]},
        {"locks": [{"when_held": "wait"}]},
        {"retry_budget": "none"},
        {"deadline_s": "soon"},
        {"colour": "red"},
    ],
    ids=repr,
)
def test_schema_and_reader_refuse_alike(change: dict[str, Any]) -> None:
    """A document of the wrong shape is refused by the schema and by the reader."""
    document = {**goa_document(), **change}
    assert breaches(saga_schema(), document)
    with pytest.raises(SagaRefused):
        read_saga(document)


def test_the_schema_lists_every_field() -> None:
    """Each field of each part of a definition is in the schema, and nothing else."""

    def keys(cls: Any) -> set[str]:
        return {field.metadata.get("key", field.name) for field in dataclasses.fields(cls)}

    schema = saga_schema()
    step = schema["properties"]["steps"]["items"]

    def part_of(step: Any, name: str) -> Any:
        [part] = [option for option in step["properties"][name]["anyOf"] if "properties" in option]
        return part

    undo = part_of(step, "compensation")
    for part, cls in (
        (schema, Saga),
        (schema["properties"]["freedom"], SagaFreedom),
        (schema["properties"]["policy"], CostPolicy),
        (step, Step),
        (step["properties"]["retry"], RetryPolicy),
        (step["properties"]["freedom"], StepFreedom),
        (undo, Compensation),
        (undo["properties"]["retry"], RetryPolicy),
        (part_of(step, "probe"), Probe),
        (part_of(step, "breaker"), Breaker),
        (part_of(step, "approval"), Approval),
        (part_of(step, "sub_saga"), SubSaga),
        (part_of(step, "on_failure"), OnFailure),
        (schema["properties"]["locks"]["items"], Lock),
        (schema["properties"]["freedom"]["properties"]["launch"], LaunchFreedom),
    ):
        assert set(part["properties"]) == keys(cls)
        assert part["additionalProperties"] is False
    assert undo["properties"]["retry"]["properties"]["maximum_attempts"]["default"] == 10


def test_the_published_schema_is_the_current_one() -> None:
    """docs/saga.schema.json is what `saga_schema` says."""
    published = (ROOT / "docs" / "saga.schema.json").read_text("utf-8")
    assert published == json.dumps(saga_schema(), indent=2) + "\n"


@pytest.mark.parametrize(
    "document", [None, [], {"saga": "s"}, {"steps": [{"name": "a"}], "definition_hash": 5, "saga": "s"}]
)
def test_a_plan_of_the_wrong_shape_is_refused(document: object) -> None:
    """What is no plan raises `PlanRefused` naming the place."""
    with pytest.raises(PlanRefused, match="plan"):
        read_plan(document)
