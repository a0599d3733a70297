"""Probes, undos and delays over HTTP: what a call tells the participant, and what its answers mean."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from sagacity_api.client import http_bound
from sagacity_engine import (
    BoundSaga,
    Call,
    Direction,
    Engine,
    MemoryJournal,
    OutcomeUnknown,
    RunResult,
    Saga,
    SagaRefused,
    Status,
    StepError,
    read_saga,
)
from sagacity_engine.errors import TerminalError
from sagacity_engine.events import Answer, AttemptFailed, Event, ProbeAnswered
from sagacity_engine.handlers import Effect, Found, idempotency_key

URL = "http://hotel.example/"
NOW = 1_000_000_000.0
Answers = Callable[[httpx2.Request], httpx2.Response]


def http(path: str = "", **fields: Any) -> dict[str, Any]:
    return {"http": {"url": URL + path, **fields}}


def one_step(**fields: Any) -> Saga:
    step = {"name": "a", "action": http("do"), "compensation": {"action": http("undo")}, **fields}
    return read_saga({"saga": "s", "steps": [step]})


def bound_to(saga: Saga, answers: Answers) -> tuple[BoundSaga, httpx2.AsyncClient]:
    def unread(request: httpx2.Request) -> httpx2.Response:
        made = answers(request)
        return httpx2.Response(made.status_code, headers=made.headers, stream=httpx2.ByteStream(made.content))

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(unread), trust_env=False)
    return http_bound(saga, client, clock=lambda: NOW), client


def called(
    saga: Saga, direction: Direction, answer: httpx2.Response, **fields: Any
) -> tuple[httpx2.Request, Any]:
    """One call of step `a`: what was sent, and what the function returned."""
    seen: list[httpx2.Request] = []

    def answers(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return answer

    async def go() -> Any:
        bound, client = bound_to(saga, answers)
        handler = bound.handlers["a"]
        functions = {
            Direction.FORWARD: handler.action,
            Direction.UNDO: handler.compensation,
            Direction.PROBE: handler.probe,
        }
        function = functions[direction]
        assert function is not None
        async with client:
            call = Call(run_id="r", saga="s", step="a", direction=direction, attempt=1, **fields)
            return await function(call)

    output = asyncio.run(go())
    return seen[0], output


PROBED = one_step(probe={"action": http("asked/${input.id}", headers={"X-Tenant": "t"})})
ACTION_KEY = idempotency_key("r", "a", Direction.FORWARD)


def test_a_probe_asks_by_the_key_of_the_action() -> None:
    """It is a GET unless the document says otherwise, and names the action's key and its own."""
    request, _ = called(
        PROBED, Direction.PROBE, httpx2.Response(200, json={"happened": True}), input={"id": "x/y"}
    )
    assert (request.method, str(request.url), request.content) == ("GET", URL + "asked/x%2Fy", b"")
    assert request.headers["undoes-idempotency-key"] == ACTION_KEY
    assert request.headers["idempotency-key"] == idempotency_key("r", "a", Direction.PROBE)
    assert request.headers["x-tenant"] == "t"
    assert "saga-effect" not in request.headers


@pytest.mark.parametrize(
    ("answer", "meant"),
    [
        (
            httpx2.Response(200, json={"happened": True, "output": {"id": 7}}),
            Found(Answer.HAPPENED, {"id": 7}),
        ),
        (httpx2.Response(200, json={"happened": True}), Found(Answer.HAPPENED)),
        (httpx2.Response(200, json={"happened": False, "output": 5}), Found(Answer.DID_NOT_HAPPEN)),
        (httpx2.Response(200, json={"happened": None}), Found(Answer.CANNOT_TELL)),
        (httpx2.Response(404, json={"happened": False}), Found(Answer.DID_NOT_HAPPEN)),
    ],
)
def test_a_probe_is_answered_in_words(answer: httpx2.Response, meant: Found) -> None:
    """True, false and null are the three answers; a 404 counts where its body says so."""
    assert called(PROBED, Direction.PROBE, answer, input={"id": 1})[1] == meant


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (httpx2.Response(404), StepError),
        (httpx2.Response(404, json={"error": "no such page"}), StepError),
        (httpx2.Response(200), OutcomeUnknown),
        (httpx2.Response(200, json=False), OutcomeUnknown),
        (httpx2.Response(200, json={"happened": "yes"}), OutcomeUnknown),
        (httpx2.Response(200, json={"happened": 1}), OutcomeUnknown),
        (httpx2.Response(500, json={"happened": False}), OutcomeUnknown),
        (httpx2.Response(301, json={"happened": True}), OutcomeUnknown),
        (httpx2.Response(503, json={"happened": False}), StepError),
        (httpx2.Response(200, content=b"[" * 100_000), OutcomeUnknown),
    ],
)
def test_what_does_not_say_so_is_no_answer(answer: httpx2.Response, problem: type[Exception]) -> None:
    """A wrong path, a proxy or a half answer never counts as "it did not happen"."""
    with pytest.raises(problem):
        called(PROBED, Direction.PROBE, answer, input={"id": 1})


@pytest.mark.parametrize("effect", list(Effect))
def test_an_undo_hears_what_became_of_the_action(effect: Effect) -> None:
    """`Saga-Effect` says it, and what refers to an output that never came is null, or is left out."""
    request = http("undo", body={"id": "${steps.a.output.id}", "who": "${input.who}"})
    request["http"]["headers"] = {"X-Booking": "${steps.a.output.id}", "X-Who": "${input.who}"}
    saga = one_step(compensation={"action": request, "after_failure": True})
    outputs = {"a": {"id": 7}} if effect is Effect.SUCCEEDED else {}
    sent, _ = called(
        saga, Direction.UNDO, httpx2.Response(204), effect=effect, outputs=outputs, input={"who": "Asha"}
    )
    known = effect is Effect.SUCCEEDED
    assert sent.headers["saga-effect"] == effect.value
    assert sent.headers["undoes-idempotency-key"] == ACTION_KEY
    assert json.loads(sent.content) == {"id": 7 if known else None, "who": "Asha"}
    assert (sent.headers.get("x-booking"), sent.headers["x-who"]) == ("7" if known else None, "Asha")


def test_a_url_never_has_a_hole() -> None:
    """An undo whose path needs the output that never came is not sent: its path would mean something else."""
    saga = one_step(compensation={"action": http("stays/${steps.a.output.id}", method="DELETE")})
    with pytest.raises(StepError, match="which is not there"):
        called(saga, Direction.UNDO, httpx2.Response(204), effect=Effect.UNKNOWN)


def test_a_call_carries_its_place_in_the_trace() -> None:
    """`traceparent` is the call's own, in the trace of the run's caller; a document cannot replace it."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    saga = one_step(action=http("do", headers={"Traceparent": "mine"}))
    request, _ = called(saga, Direction.FORWARD, httpx2.Response(200), trace=trace)
    version, trace_id, span_id, flags = request.headers["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", "4bf92f3577b34da6a3ce929d0e0e4736", "01")
    assert span_id != "00f067aa0ba902b7"
    assert "undoes-idempotency-key" not in request.headers


@pytest.mark.parametrize(
    ("headers", "asked_s"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "999999999"}, 86_400.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1e9"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "Sun, 09 Sep 2001 01:48:20 GMT"}, 100.0),
        ({"Retry-After": "Sun, 09 Sep 2001 01:48:20 -0000"}, 100.0),
        ({"Retry-After": "Sun, 09 Sep 2001 01:40:00 GMT"}, 0.0),
        ({"Retry-After": "Sun, 09 Sep 2101 01:40:00 GMT"}, 86_400.0),
        (
            {"Retry-After": "Sun, 09 Sep 2001 01:48:20 GMT", "Date": "Sun, 09 Sep 2001 01:48:15 GMT"},
            5.0,
        ),
        ({"Retry-After": "Sun, 09 Sep 2001 01:48:20 GMT", "Date": "today"}, 100.0),
        ({"Retry-After": "Sun, 99 Foo 99999 01:48:20 GMT"}, None),
    ],
    ids=repr,
)
def test_a_participant_may_ask_for_a_delay(headers: dict[str, str], asked_s: float | None) -> None:
    """`Retry-After` in seconds or as a date, at most a day; what is neither is ignored."""
    with pytest.raises(StepError) as refusal:
        called(one_step(), Direction.FORWARD, httpx2.Response(429, headers=headers))
    assert refusal.value.retry_after_s == asked_s


@pytest.mark.parametrize(
    ("status", "body", "terminal"),
    [
        (409, {"error_type": "SoldOut", "terminal": True}, True),
        (409, {"error_type": "SoldOut", "terminal": "yes"}, False),
        (409, {"error_type": "SoldOut"}, False),
        (409, {"terminal": True}, False),
        (409, {"error_type": "Hanging"}, True),
        (503, {"error_type": "Closed", "terminal": True}, True),
        (500, {"error_type": "Closed", "terminal": True}, True),
    ],
)
def test_a_participant_may_end_all_trying(status: int, body: dict[str, Any], terminal: bool) -> None:
    """`"terminal": true` in the contract's body, and the barrier's `Hanging`, are not tried again."""
    with pytest.raises(StepError) as refusal:
        called(one_step(), Direction.FORWARD, httpx2.Response(status, json=body))
    assert isinstance(refusal.value, TerminalError) is terminal
    assert refusal.value.terminal is terminal


def played(
    saga: Saga, answers: Answers, run_input: dict[str, Any] | None = None
) -> tuple[RunResult, list[Event]]:
    """One run of the saga over HTTP, with its events; every approval is given."""

    async def go() -> tuple[RunResult, list[Event]]:
        journal = MemoryJournal()
        bound, client = bound_to(saga, answers)
        async with client, Engine(journal, [bound], draw=lambda: 0.0) as engine:
            await engine.start(saga.name, run_input, run_id="r")
            for step in saga.steps:
                if step.approval is not None:
                    await engine.signal("r", step.approval.signal, who="Asha")
            result = await engine.result("r")
        return result, list(journal.read("r"))

    return asyncio.run(go())


def test_an_engine_asks_before_it_gives_up() -> None:
    """A reply that was lost is asked about; the probe's output is the step's, and nothing is undone."""
    asked: list[str] = []

    def answers(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        if request.url.path == "/do":
            raise httpx2.ReadError("cut off", request=request)
        return httpx2.Response(200, json={"happened": True, "output": {"id": 7}})

    result, events = played(one_step(probe={"action": http("asked")}), answers)
    assert (result.status, result.outputs) == (Status.COMPLETED, {"a": {"id": 7}})
    assert asked == ["/do", "/asked"]
    assert [event.answer for event in events if isinstance(event, ProbeAnswered)] == [Answer.HAPPENED]


def test_hanging_ends_the_step_at_once() -> None:
    """An action that its participant refuses as hanging is not tried again, whatever attempts are left."""
    refused = httpx2.Response(409, json={"error_type": "Hanging", "message": "too late"})
    result, events = played(one_step(retry={"maximum_attempts": 9}), lambda request: refused)
    failures = [event for event in events if isinstance(event, AttemptFailed)]
    assert [(event.error_type, event.terminal) for event in failures] == [("Hanging", True)]
    assert result.status is Status.COMPENSATED


INNER = {"saga": "cab", "steps": [{"name": "b", "kind": "read_only", "action": http("cab/${input.id}")}]}


def test_sagas_within_are_bound_and_approvals_need_no_action() -> None:
    """One client serves a saga, the sagas within it, and leaves people alone."""
    paths: list[str] = []

    def answers(request: httpx2.Request) -> httpx2.Response:
        paths.append(request.url.path)
        return httpx2.Response(200, json={"id": 7})

    saga = read_saga(
        {
            "saga": "s",
            "steps": [
                {"name": "a", "action": http("do"), "compensation": {"action": http("undo")}},
                {"name": "boss", "kind": "read_only", "approval": {}, "after": ["a"]},
                {"name": "cab", "sub_saga": {"saga": INNER, "input": {"id": "${steps.a.output.id}"}}},
            ],
        }
    )
    result, _ = played(saga, answers)
    assert (result.status, paths) == (Status.COMPLETED, ["/do", "/cab/7"])
    assert result.outputs["cab"] == {"b": {"id": 7}}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"probe": {}}, r"step 'a': probe\.action is missing; give it as \{http"),
        ({"probe": {"action": {"grpc": {}}}}, r"step 'a': probe\.action is .* only \{http"),
        ({"probe": {"action": http("x", method="HEAD")}}, r"probe\.action\.http\.method is 'HEAD'"),
        ({"compensation": {}}, r"step 'a': compensation\.action is missing"),
        (
            {"action": None, "compensation": None, "sub_saga": {"saga": {**INNER, "steps": [{"name": "b"}]}}},
            "step 'b': action is missing",
        ),
    ],
)
def test_what_cannot_be_called_is_refused_by_place(fields: dict[str, Any], words: str) -> None:
    """A probe, an undo and a step of a saga within are refused like an action, when the saga is bound."""
    with pytest.raises(SagaRefused, match=words):
        bound_to(one_step(**fields), lambda request: httpx2.Response(200))
