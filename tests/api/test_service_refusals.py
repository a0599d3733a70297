"""Every way in which the service says no: right status, right type, nothing leaked, nothing hung."""

import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sagacity_api.counsel import Counsel
from sagacity_api.service import CounselSlot, Limits
from sagacity_api.service.problems import ProblemKind

Json = dict[str, Any]
SENT_AS_JSON = {"content-type": "application/json"}
SECRET = "canary-4711"


def post(client: Any, body: bytes | str, path: str = "/v1/predict", **headers: str) -> Any:
    return client.post(path, content=body, headers=SENT_AS_JSON | headers)


def assert_problem(reply: Any, kind: ProblemKind) -> Json:
    """The reply is this problem, whole and consistent."""
    body: Json = reply.json()
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert body["request_id"] == reply.headers["x-request-id"]
    assert (reply.status_code, body["status"]) == (kind.value.status, kind.value.status)
    assert (body["type"], body["title"]) == (kind.value.uri, kind.value.title)
    assert body["detail"]
    return body


MALFORMED = {
    "cut off": b'{"saga": ',
    "NaN": b'{"saga": {}, "at": NaN}',
    "infinity": b'{"saga": {}, "at": -Infinity}',
    "beyond a double": b'{"saga": {}, "at": 1e999}',
    "duplicate key": b'{"saga": {}, "saga": {}}',
    "duplicate key inside": b'{"saga": {"steps": [], "steps": []}}',
    "deep lists": b'{"saga": ' + b"[" * 40 + b"]" * 40 + b"}",
    "deep objects": b'{"a":' * 40 + b"1" + b"}" * 40,
    "very deep": b"[" * 500_000,
    "not UTF-8": b'{"saga": "\xff"}',
    "half a surrogate": b'{"saga": "\\ud800"}',
    "a long number": b'{"at": ' + b"9" * 100_000 + b"}",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_json_is_400(name: str, service: Any) -> None:
    """JSON that is broken, too deep or ambiguous is refused before anything looks at it."""
    assert_problem(post(service(), MALFORMED[name]), ProblemKind.MALFORMED_JSON)


def test_nesting_up_to_the_limit_is_read(service: Any, trip: Json) -> None:
    """Thirty-two levels are read: the document below is refused for its rule, not for its depth."""
    value: Any = 1
    for _ in range(27):
        value = [value]
    trip["steps"][0]["action"] = {"x": value}
    reply = post(service(), json.dumps({"saga": trip}))
    assert reply.status_code == 200
    trip["steps"][0]["action"] = {"x": [value]}
    assert_problem(post(service(), json.dumps({"saga": trip})), ProblemKind.MALFORMED_JSON)


def test_a_large_body_is_413(service: Any) -> None:
    """One byte too many is refused, whether the length was announced or not."""
    client = service()
    body = b'"' + b"x" * 1024 * 1024 + b'"'
    assert_problem(post(client, body), ProblemKind.BODY_TOO_LARGE)

    def chunks() -> Iterator[bytes]:
        for _ in range(1100):
            yield b" " * 1024

    reply = client.post("/v1/predict", content=chunks(), headers=SENT_AS_JSON)
    assert_problem(reply, ProblemKind.BODY_TOO_LARGE)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/jsonp"},
        {"content-type": ""},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_other_media_types_are_415(headers: dict[str, str], service: Any) -> None:
    """A body that is not sent as plain JSON is not read."""
    reply = service().post("/v1/predict", content=b"{}", headers=headers)
    assert_problem(reply, ProblemKind.UNSUPPORTED_MEDIA_TYPE)


def test_unknown_paths_and_methods_are_problems(service: Any) -> None:
    """404 and 405 are problems too, and 405 says what is allowed."""
    client = service()
    for path in ("/", "/v1/predict/x", "/docs", "/problems/none-such", "/%00"):
        assert_problem(client.get(path), ProblemKind.NOT_FOUND)
    reply = client.get("/v1/predict")
    assert_problem(reply, ProblemKind.METHOD_NOT_ALLOWED)
    assert reply.headers["allow"] == "POST"
    assert_problem(client.request("BREW", "/livez"), ProblemKind.METHOD_NOT_ALLOWED)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "testserver.evil"])
def test_another_host_is_421(host: str, service: Any) -> None:
    """A page elsewhere cannot reach the service under a name of its own."""
    assert_problem(service().get("/livez", headers={"host": host}), ProblemKind.MISDIRECTED)


INVALID: dict[str, tuple[Json, str]] = {
    "no saga": ({}, "/saga"),
    "a list": ({"saga": []}, "/saga"),
    "unknown field": ({"saga": {}, "sage": 1}, "/sage"),
    "nested context": ({"saga": {}, "context": {"a": {}}}, "/context/a"),
    "null in context": ({"saga": {}, "context": {"a/b~c": None}}, "/context/a~1b~0c"),
    "long context text": ({"saga": {}, "context": {"a": "x" * 257}}, "/context/a"),
    "long context key": ({"saga": {}, "context": {"x" * 257: 1}}, "/context/"),
    "large context": ({"saga": {}, "context": {str(n): n for n in range(65)}}, "/context"),
    "negative time": ({"saga": {}, "at": -1}, "/at"),
    "text for a time": ({"saga": {}, "at": "5"}, "/at"),
    "a plan that is a text": ({"saga": {}, "plan": "best"}, "/plan"),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_fields_are_422_with_pointers(name: str, service: Any) -> None:
    """Each field that does not fit is pointed to, and no value is quoted back."""
    body, pointer = INVALID[name]
    problem = assert_problem(post(service(), json.dumps(body)), ProblemKind.INVALID_REQUEST)
    assert problem["errors"][0]["pointer"].startswith(pointer)
    assert "x" * 65 not in json.dumps(problem)


def test_exact_must_be_a_truth_value(service: Any, trip: Json) -> None:
    """Nothing is converted: "yes" is no truth value."""
    reply = post(service(), json.dumps({"saga": trip, "exact": "yes"}), "/v1/optimize")
    assert_problem(reply, ProblemKind.INVALID_REQUEST)


def chain(length: int) -> Json:
    return {"saga": "long", "steps": [{"name": f"s{n}"} for n in range(length)]}


REFUSED: dict[str, Json] = {
    "no steps": {"saga": "x", "steps": []},
    "501 steps": chain(501),
    "60,000 steps": {"saga": "x", "steps": [{"name": "a"}] * 60_000},
    "60,000 stages": {"saga": "x", "steps": [{"name": "a"}], "stages": [["a"]] * 60_000},
    "one stage of 60,000": {"saga": "x", "steps": [{"name": "a"}], "stages": [["a"] * 60_000]},
    "60,000 dependencies": {"saga": "x", "steps": [{"name": "a", "after": ["a"] * 60_000}]},
    "a circle": {"saga": "x", "steps": [{"name": "a", "after": ["b"]}, {"name": "b", "after": ["a"]}]},
    "unknown field": {"saga": "x", "steps": [{"name": "a", "kynd": "pivot"}]},
    "a huge number": {"saga": "x", "deadline_s": 1e300, "steps": [{"name": "a"}]},
    "a huge whole number": {"saga": "x", "deadline_s": 10**290, "steps": [{"name": "a"}]},
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_documents_are_422_with_the_way_out(name: str, service: Any) -> None:
    """What the engine refuses comes back as saga-refused with the engine's own sentence."""
    problem = assert_problem(post(service(), json.dumps({"saga": REFUSED[name]})), ProblemKind.SAGA_REFUSED)
    assert len(problem["detail"]) < 5_000


def test_illegal_plans_are_422(service: Any, trip: Json) -> None:
    """A plan of the wrong shape and a plan that `check` refuses are both plan-refused."""
    client = service()
    advice = client.post("/v1/optimize", json={"saga": trip}).json()
    spoils: list[Json] = [
        {"steps": []},
        {"definition_hash": "0"},
        {"steps": [{"name": 1}]},
        {"steps": [{}] * 9_999},
    ]
    for spoil in spoils:
        question = {"saga": trip, "plan": advice["plan"] | spoil}
        assert_problem(post(client, json.dumps(question)), ProblemKind.PLAN_REFUSED)


def test_unexpected_errors_leak_nothing(
    service: Any, trip: Json, make_counsel: Callable[..., Counsel], broken: Any, caplog: Any
) -> None:
    """An error of ours is a 500 without its message; the log names its type and place, not its text."""
    client = service(CounselSlot(make_counsel(broken(RuntimeError(SECRET)))))
    with caplog.at_level(logging.INFO):
        reply = post(client, json.dumps({"saga": trip}))
    assert_problem(reply, ProblemKind.INTERNAL)
    assert SECRET not in reply.text
    assert "Traceback" not in reply.text
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert SECRET not in told
    assert "RuntimeError at " in told


def test_no_payload_value_is_logged(service: Any, trip: Json, caplog: Any) -> None:
    """Neither context, document, ids in the path, nor refused values reach the log."""
    client = service()
    trip["steps"][0]["service"] = SECRET
    with caplog.at_level(logging.DEBUG, logger="sagacity_api"):
        post(client, json.dumps({"saga": trip, "context": {"season": SECRET}}))
        post(client, json.dumps({"saga": {"saga": SECRET}}))
        post(client, json.dumps({"saga": trip, SECRET: 1}))
        client.get(f"/problems/{SECRET}")
        client.get(f"/{SECRET}?{SECRET}")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("sagacity_api")]
    assert len(lines) == 5
    assert SECRET not in "\n".join(lines)
    assert json.loads(lines[0]).keys() == {"request_id", "method", "route", "status", "duration_ms"}
    assert [json.loads(line)["route"] for line in lines[2:]] == ["/v1/predict", "/problems/{name}", "(none)"]


class Gate:
    """A forecaster that waits until it is let through."""

    def __init__(self, forecaster: Any) -> None:
        self.forecaster = forecaster
        self.open = threading.Event()

    def forecast(self, *asked: Any) -> Any:
        assert self.open.wait(30)
        return self.forecaster.forecast(*asked)


@pytest.fixture
def gate(counsel: Counsel) -> Iterator[Gate]:
    made = Gate(counsel._forecaster)
    yield made
    made.open.set()


def test_a_full_service_says_so_at_once(
    service: Any, trip: Json, make_counsel: Callable[..., Counsel], gate: Gate
) -> None:
    """With every worker busy and the line full the next question is 503 with Retry-After; later ones pass."""
    client = service(CounselSlot(make_counsel(gate)), limits=Limits(workers=1, waiting_max=1))
    body = json.dumps({"saga": trip})
    replies: queue.Queue[Any] = queue.Queue()
    askers = [threading.Thread(target=lambda: replies.put(post(client, body))) for _ in range(3)]
    for asker in askers:
        asker.start()
    first = replies.get(timeout=30)  # the gate is closed: nobody else can have an answer
    assert_problem(first, ProblemKind.OVERLOADED)
    assert first.headers["retry-after"] == "1"
    gate.open.set()
    for asker in askers:
        asker.join()
    assert [replies.get_nowait().status_code for _ in range(2)] == [200, 200]
    assert post(client, body).status_code == 200


def test_a_slow_answer_is_given_up(
    service: Any, trip: Json, make_counsel: Callable[..., Counsel], gate: Gate
) -> None:
    """A question that exceeds the time budget is 503 out-of-time."""
    limits = Limits(workers=1, answer_timeout_s=0.05)
    client = service(CounselSlot(make_counsel(gate)), limits=limits)
    reply = post(client, json.dumps({"saga": trip}))
    assert_problem(reply, ProblemKind.OUT_OF_TIME)
    assert "retry-after" in reply.headers


def test_every_problem_type_is_explained(service: Any) -> None:
    """Every type's path is a page of the service with its way out."""
    client = service()
    listed = {row["type"]: row for row in client.get("/problems").json()}
    assert listed.keys() == {kind.value.uri for kind in ProblemKind}
    for uri, row in listed.items():
        assert client.get(uri).json() == row
