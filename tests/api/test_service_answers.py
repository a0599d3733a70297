"""What the service answers, and that its published description is true."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sagacity_api.counsel import Counsel
from sagacity_api.service import CounselSlot, examples
from sagacity_engine import Launch, check, plan_document, read_plan, read_saga
from sagacity_engine.plan import author_plan

AT = 1_790_000_000.0
Json = dict[str, Any]


KNOWN = {
    *(
        "$ref",
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "prefixItems",
        "anyOf",
        "enum",
    ),
    *(
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "maxProperties",
        "minItems",
        "maxItems",
        "propertyNames",
    ),
    *("title", "description", "default"),
}
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


def breaches(schema: Json, value: Any, root: Json, where: str = "$") -> Iterator[str]:
    """Where `value` breaks `schema`: the part of JSON Schema 2020-12 that our description uses."""
    assert set(schema) <= KNOWN, f"{where}: the check does not know {set(schema) - KNOWN}"
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        yield from breaches(target, value, root, where)
    if "anyOf" in schema and all(any(breaches(each, value, root, where)) for each in schema["anyOf"]):
        yield f"{where} fits no alternative"
    kind = schema.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        yield f"{where} is no {kind}"
    elif isinstance(value, dict):
        yield from object_breaches(schema, value, root, where)
    elif isinstance(value, list):
        prefix = schema.get("prefixItems", [])
        for place, item in enumerate(value):
            inner = prefix[place] if place < len(prefix) else schema.get("items", {})
            yield from breaches(inner, item, root, f"{where}[{place}]")
    else:
        yield from scalar_breaches(schema, value, where)


def object_breaches(schema: Json, value: Json, root: Json, where: str) -> Iterator[str]:
    yield from (f"{where} lacks {name}" for name in schema.get("required", ()) if name not in value)
    for name, item in value.items():
        inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", True))
        if inner is False:
            yield f"{where} has the extra {name}"
        elif isinstance(inner, dict):
            yield from breaches(inner, item, root, f"{where}.{name}")


def scalar_breaches(schema: Json, value: Any, where: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is not one of {schema['enum']}"
    size = len(value) if isinstance(value, str) else value
    lowest, highest = ("minLength", "maxLength") if isinstance(value, str) else ("minimum", "maximum")
    if size is not None and not schema.get(lowest, size) <= size <= schema.get(highest, size):
        yield f"{where} is out of range"


@pytest.fixture
def described(service: Any) -> Json:
    document: Json = service().get("/openapi.json").json()
    return document


def operations(described: Json) -> list[tuple[str, str, Json]]:
    return [(path, method, op) for path, item in described["paths"].items() for method, op in item.items()]


def test_predict_judges_the_authors_plan(service: Any, trip: Json) -> None:
    """Without a plan the author's is judged; each step has its probabilities and durations."""
    reply = service().post("/v1/predict", json={"saga": trip, "context": {}, "at": AT}).json()
    assert [step["name"] for step in reply["steps"]] == [step["name"] for step in trip["steps"]]
    assert 0 < reply["expected"]["success_probability"] < 1
    assert reply["expires_at"] == AT + 60
    first = reply["steps"][0]
    assert first["first_refusal_probability"] == pytest.approx(0.1)
    assert first["classes"] == {"transient": 1.0}
    assert first["duration_s_p50"] == pytest.approx(1.0)
    assert first["duration_s_p90"] == pytest.approx(1.898, abs=1e-3)
    assert (reply["fallback"], reply["model"]) == (False, {"version": "constant", "kind": "base_rates"})
    assert reply["risk_factors"][0]["step"] in {step["name"] for step in trip["steps"]}


def test_predict_judges_a_given_plan(service: Any, trip: Json) -> None:
    """The plan that optimize advised is expected to come to what optimize said of it."""
    client = service()
    advice = client.post("/v1/optimize", json={"saga": trip, "context": {}, "at": AT}).json()
    question = {"saga": trip, "context": {}, "at": AT, "plan": advice["plan"]}
    assert client.post("/v1/predict", json=question).json()["expected"] == advice["advised"]


def test_optimize_stays_inside_the_freedoms(service: Any, trip: Json) -> None:
    """The advised plan is legal, costs no more than the author's, and says why."""
    reply = service().post("/v1/optimize", json={"saga": trip, "context": {}, "run_id": "r-1"}).json()
    assert check(read_plan(reply["plan"]), read_saga(trip)) == ()
    assert reply["advised"]["cost"] < reply["author"]["cost"]
    assert reply["reasons"]
    assert reply["freedoms"] == []


def test_a_document_without_freedom_keeps_its_plan(service: Any, trip: Json) -> None:
    """Where nothing may change, the author's plan comes back with what each freedom would earn."""
    del trip["freedom"]
    reply = service().post("/v1/optimize", json={"saga": trip, "context": {}}).json()
    assert read_plan(reply["plan"]) == author_plan(read_saga(trip))
    assert reply["advised"] == reply["author"]
    assert reply["freedoms"]
    savings = [earned["saved"] for earned in reply["freedoms"]]
    assert savings == sorted(savings, reverse=True)


def test_the_same_question_gets_the_same_answer(service: Any, trip: Json) -> None:
    """Same request, same answer: id, plan and numbers; only the request id differs."""
    question = {"saga": trip, "context": {"season": "dry"}, "at": AT, "run_id": "r-1"}
    client = service()
    first, second = (client.post("/v1/optimize", json=question).json() for _ in range(2))
    assert first.pop("request_id") != second.pop("request_id")
    assert first == second


def test_the_caller_may_name_the_request(service: Any) -> None:
    """A usable X-Request-Id is kept; an unusable one is replaced."""
    client = service(new_id=lambda: "fresh")
    assert client.get("/livez", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert client.get("/livez", headers={"x-request-id": "a b\tc"}).headers["x-request-id"] == "fresh"


def test_ready_only_with_a_counsel(service: Any, counsel: Counsel, trip: Json) -> None:
    """Until the counsel is loaded `/readyz` and questions are 503 with the reason; `/livez` is 200."""
    slot = CounselSlot()
    client = service(slot)
    slot.explain("the bundle is still being read")
    for reply in (client.get("/readyz"), client.post("/v1/predict", json={"saga": trip})):
        assert (reply.status_code, reply.json()["type"]) == (503, "/problems/not-ready")
        assert "still being read" in reply.json()["detail"]
        assert reply.headers["retry-after"] == "1"
    assert client.get("/livez").status_code == 200
    slot.fill(counsel)
    assert client.get("/readyz").json()["model"]["version"] == "constant"
    assert client.post("/v1/predict", json={"saga": trip}).status_code == 200


def test_a_failing_model_is_stood_in_for(
    service: Any, trip: Json, make_counsel: Callable[..., Counsel], broken: Any, counsel: Counsel
) -> None:
    """When the model raises, the standby's forecast answers, and the answer says so."""
    standby = counsel._forecaster
    client = service(CounselSlot(make_counsel(broken(RuntimeError("secret")), standby=standby)))
    reply = client.post("/v1/optimize", json={"saga": trip})
    assert (reply.status_code, reply.json()["fallback"]) == (200, True)


@pytest.mark.parametrize("kind", ["PREDICT", "OPTIMIZE"])
def test_example_requests_are_valid(kind: str, service: Any, described: Json) -> None:
    """Every published example is accepted, and its reply has the published shape."""
    path = f"/v1/{kind.lower()}"
    content = described["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    assert content["examples"].keys() == getattr(examples, f"{kind}_REQUESTS").keys()
    schema = described["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    for example in content["examples"].values():
        assert list(breaches(content["schema"], example["value"], described)) == []
        reply = service().post(path, json=example["value"])
        assert reply.status_code == 200
        assert list(breaches(schema, reply.json(), described)) == []


def test_example_replies_have_the_published_shape(described: Json) -> None:
    """Every operation publishes an example of its reply, and each fits its schema."""
    for path, method, operation in operations(described):
        told = operation["responses"]["200"]["content"]["application/json"]
        assert list(breaches(told["schema"], told["example"], described)) == [], (path, method)


def test_get_replies_have_the_published_shape(described: Json, service: Any) -> None:
    """Every GET answers as it is described."""
    for path, method, operation in operations(described):
        if method == "get":
            reply = service().get(path.replace("{name}", "internal"))
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            assert (reply.status_code, list(breaches(schema, reply.json(), described))) == (200, [])


def test_the_shape_check_can_fail(described: Json) -> None:
    """The check of this file finds a missing, an extra, a wrong and an out-of-range value."""
    schema = {"$ref": "#/components/schemas/PredictReply"}
    spoiled = {**examples.PREDICT_REPLY, "extra": 1, "fallback": "no"}
    spoiled["expected"] = {**spoiled["expected"], "success_probability": 1.5}
    del spoiled["model"]
    assert set(breaches(schema, spoiled, described)) == {
        "$ lacks model",
        "$ has the extra extra",
        "$.fallback is no boolean",
        "$.expected.success_probability is out of range",
    }


def test_the_description_is_stable(described: Json) -> None:
    """OpenAPI 3.1, and the operation ids that generated clients depend on."""
    assert described["openapi"].startswith("3.1")
    assert {(path, method): op["operationId"] for path, method, op in operations(described)} == {
        ("/v1/predict", "post"): "predict",
        ("/v1/optimize", "post"): "optimize",
        ("/livez", "get"): "live",
        ("/readyz", "get"): "ready",
        ("/problems", "get"): "listProblems",
        ("/problems/{name}", "get"): "showProblem",
    }


def test_every_described_error_is_a_problem(described: Json) -> None:
    """No operation describes an error of any other media type than application/problem+json."""
    for path, method, operation in operations(described):
        for status, told in operation["responses"].items():
            expected = "application/json" if status == "200" else "application/problem+json"
            assert list(told["content"]) == [expected], (path, method, status)


def test_the_saga_schema_is_the_engines(described: Json, trip: Json) -> None:
    """The description holds the engine's own schemas of sagas and plans, and they accept what it does."""
    asked = described["components"]["schemas"]["PredictRequest"]["properties"]
    assert asked["saga"]["properties"].keys() >= {"saga", "steps", "freedom"}
    assert list(breaches(asked["saga"], trip, described)) == []
    plan = plan_document(author_plan(read_saga(trip)))
    assert list(breaches(asked["plan"], plan, described)) == []


def test_a_launch_before_now_is_answered_as_of_then(counsel: Counsel, trip: Json) -> None:
    """Advice expires relative to the launch it is for, as the engine compares it."""
    launch = Launch(run_id="r", context={}, at=5.0)
    assert counsel.optimize(read_saga(trip), launch, exact=False, request_id="q").expires_at == 65.0
