"""Steps over HTTP against a real server on loopback: what is sent, and what each answer means."""

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from sagacity_api.client import http_bound
from sagacity_api.client.http_answers import REPLY_BYTES_MAX
from sagacity_engine import Direction, Engine, MemoryJournal, SagaRefused, Status, read_saga
from sagacity_engine.events import AttemptFailed, AttemptSucceeded, AttemptUnknown, Event
from sagacity_engine.handlers import idempotency_key
from sagacity_engine.testing import violations


@dataclass
class Request:
    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """Answers every request with the next raw answer; None resets the connection, "hang" never answers."""

    answers: list[bytes | str | None]
    requests: list[Request] = field(default_factory=list)
    handlers: list[asyncio.Task[None]] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.handlers.append(asyncio.get_running_loop().create_task(self.answer(reader, writer)))

    async def close(self) -> None:
        self.over.set()
        await asyncio.gather(*self.handlers)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.converse(reader, writer)
        finally:
            writer.close()
            await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode().strip()
        if not line:
            return  # Connected, and then sent nothing.
        headers: dict[str, str] = {}
        while (header := (await reader.readline()).decode().strip()) != "":
            name, _, value = header.partition(": ")
            headers[name.lower()] = value
        self.requests.append(
            Request(line, headers, await reader.readexactly(int(headers.get("content-length", 0))))
        )
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, bytes):
            writer.write(answer)
        elif answer == "hang":
            await self.over.wait()


def answer(status: int, body: object = None, *, raw: bytes | None = None) -> bytes:
    content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    return (
        f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
        + content
    )


def one_step(port: int, **http: Any) -> dict[str, Any]:
    request = {"url": f"http://127.0.0.1:{port}/go", **http}
    return {
        "saga": "s",
        "steps": [
            {
                "name": "a",
                "action": {"http": request},
                "start_to_close_timeout_s": 0.3,
                "retry": {"maximum_attempts": 1},
                "compensation": {"action": {"http": {"method": "POST", "url": request["url"]}}},
            },
            {"name": "pay", "kind": "pivot", "action": {"http": request}},
        ],
    }


def play(
    answers: list[bytes | str | None],
    document: Callable[[int], dict[str, Any]],
    run_input: dict[str, Any] | None = None,
) -> tuple[list[Request], list[Event]]:
    """Runs the document's saga once against a server; what the server saw, and what was journaled."""

    async def go() -> tuple[list[Request], list[Event]]:
        server = Server(answers)
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        port: int = listening.sockets[0].getsockname()[1]
        saga = read_saga(document(port))
        journal = MemoryJournal()
        async with listening, httpx2.AsyncClient(trust_env=False) as client:
            async with Engine(journal, [http_bound(saga, client)], draw=lambda: 0.0) as engine:
                await engine.run(saga.name, run_input, run_id="r")
            await server.close()
        events = list(journal.read("r"))
        assert violations(saga, events) == ()
        return server.requests, events

    return asyncio.run(go())


def outcome(events: list[Event]) -> Event:
    """How the first attempt ended."""
    return events[2]


def test_what_a_call_sends() -> None:
    """Method, path, resolved body and headers, and the four headers that name the attempt."""

    def document(port: int) -> dict[str, Any]:
        return {
            "saga": "goa-trip",
            "steps": [
                {
                    "name": "book",
                    "kind": "compensatable",
                    "action": {
                        "http": {
                            "method": "PUT",
                            "url": f"http://127.0.0.1:{port}/trips/${{input.trip}}?x=1",
                            "body": {"who": "${input.who}", "note": "for ${input.who.name}", "n": [1, None]},
                            "headers": {"X-Tenant": "${input.tenant}", "Idempotency-Key": "mine"},
                        }
                    },
                    "compensation": {
                        "action": {
                            "http": {
                                "method": "DELETE",
                                "url": f"http://127.0.0.1:{port}/trips/${{steps.book.output.id}}",
                            }
                        }
                    },
                },
                {
                    "name": "pay",
                    "kind": "pivot",
                    "retry": {"maximum_attempts": 1},
                    "action": {
                        "http": {
                            "url": f"http://127.0.0.1:{port}/pay",
                            "body": {"id": "${steps.book.output.id}"},
                        }
                    },
                },
            ],
        }

    given = {"trip": "a/../b?c", "who": {"name": "Asha"}, "tenant": "t1"}
    requests, _ = play([answer(200, {"id": 7}), answer(402), answer(204)], document, given)
    book, pay, undo = requests
    assert book.line == "PUT /trips/a%2F..%2Fb%3Fc?x=1 HTTP/1.1"
    assert book.json == {"who": {"name": "Asha"}, "note": "for Asha", "n": [1, None]}
    assert (book.headers["x-tenant"], book.headers["accept-encoding"]) == ("t1", "identity")
    key = idempotency_key("r", "book", Direction.FORWARD)
    assert [book.headers[name] for name in ("saga-id", "step-name", "attempt", "idempotency-key")] == [
        "r",
        "book",
        "1",
        key,
    ]
    assert (pay.line, pay.json) == ("POST /pay HTTP/1.1", {"id": 7})
    assert undo.line == "DELETE /trips/7 HTTP/1.1"
    assert undo.headers["undoes-idempotency-key"] == key
    assert undo.headers["idempotency-key"] == idempotency_key("r", "book", Direction.UNDO)
    assert undo.body == b""


@pytest.mark.parametrize(
    ("reply", "output"),
    [
        (answer(200, {"id": 1}), {"id": 1}),
        (answer(201, [1, 2]), [1, 2]),
        (answer(204), None),
        (answer(200, raw=b"plain text"), "plain text"),
    ],
)
def test_success_gives_the_output(reply: bytes, output: object) -> None:
    """A 2xx is success; its JSON is the output, other text is kept as text."""
    _, events = play([reply], one_step)
    succeeded = outcome(events)
    assert isinstance(succeeded, AttemptSucceeded)
    assert succeeded.output == output


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (answer(400), ("Http400", "permanent", "HTTP 400")),
        (answer(404), ("Http404", "permanent", "HTTP 404")),
        (answer(409, {"error_type": "SoldOut", "message": "no seat"}), ("SoldOut", "permanent", "no seat")),
        (
            answer(409, {"error_type": "Busy", "failure_class": "transient"}),
            ("Busy", "transient", "HTTP 409"),
        ),
        (answer(422, {"error_type": "Odd", "failure_class": "whatever"}), ("Odd", "permanent", "HTTP 422")),
        (answer(422, {"error_type": 5, "message": "ours?"}), ("Http422", "permanent", "HTTP 422")),
        (answer(400, raw=b"[" * 100_000), ("Http400", "permanent", "HTTP 400")),
        (answer(408), ("Http408", "transient", "HTTP 408")),
        (answer(425), ("Http425", "transient", "HTTP 425")),
        (answer(429), ("Http429", "cascading", "HTTP 429")),
        (answer(503), ("Http503", "cascading", "HTTP 503")),
        (answer(501), ("Http501", "permanent", "HTTP 501")),
        (answer(500, {"error_type": "Bug", "failure_class": "transient"}), ("Bug", "transient", "HTTP 500")),
    ],
)
def test_refusals_are_definite(reply: bytes, failure: tuple[str, str, str]) -> None:
    """These answers say that nothing happened: type and class follow the status, refined by the body."""
    requests, events = play([reply], one_step)
    refused = outcome(events)
    assert isinstance(refused, AttemptFailed)
    assert (refused.error_type, refused.failure_class.value, refused.message) == failure
    assert len(requests) == 1


UNCLEAR: dict[str, bytes | str | None] = {
    "reset": None,
    "timeout": "hang",
    "truncated": b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{",
    "garbage": b"what?\r\n\r\n",
    "too long": answer(200, raw=b'"' + b"x" * REPLY_BYTES_MAX + b'"'),
    "a gateway's words": answer(502, {"error_type": "Down", "failure_class": "transient"}),
    **{str(status): answer(status) for status in (303, 500, 502, 504, 505)},
}


@pytest.mark.parametrize("what", UNCLEAR)
def test_what_nobody_can_tell_is_unknown(what: str) -> None:
    """After sending began, a lost or unclear answer is no refusal: the step is undone, by its key."""
    requests, events = play([UNCLEAR[what], answer(204)], one_step)
    assert isinstance(outcome(events), AttemptUnknown)
    assert requests[1].headers["undoes-idempotency-key"] == requests[0].headers["idempotency-key"]


def test_no_connection_is_a_definite_failure() -> None:
    """Where nobody listens nothing was sent, so there is nothing to undo."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        free = unused.getsockname()[1]
        requests, events = play([answer(200)], lambda port: one_step(free))
    refused = outcome(events)
    assert isinstance(refused, AttemptFailed)
    assert (refused.error_type, refused.failure_class.value, requests) == ("NotConnected", "cascading", [])


@pytest.mark.parametrize(
    ("http", "error_type"),
    [
        ({"body": "${input.missing}"}, "UnresolvedReference"),
        ({"headers": {"X": "${input.lines}"}}, "UnusableRequest"),
    ],
)
def test_a_request_that_cannot_be_built_is_a_definite_failure(http: dict[str, Any], error_type: str) -> None:
    """A reference to nothing and a header that would split the request are refused before sending."""
    requests, events = play([answer(200)], lambda port: one_step(port, **http), {"lines": "a\r\nEvil: 1"})
    refused = outcome(events)
    assert isinstance(refused, AttemptFailed)
    assert (refused.error_type, refused.failure_class.value, requests) == (error_type, "permanent", [])


def test_an_undo_of_an_uncertain_step_goes_by_key() -> None:
    """Where the output is unknown, the undo's body has null in its place."""

    def document(port: int) -> dict[str, Any]:
        held = one_step(port)
        url = f"http://127.0.0.1:{port}/undo"
        held["steps"][0]["compensation"] = {
            "action": {"http": {"url": url, "body": {"id": "${steps.a.output.id}", "who": "${input.who}"}}}
        }
        return held

    requests, events = play([None, answer(204)], document, {"who": "Asha"})
    assert requests[1].json == {"id": None, "who": "Asha"}
    assert getattr(events[-1], "status", None) is Status.COMPENSATED


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (None, "action is missing"),
        ({"grpc": {}}, "only {http"),
        ({"http": "http://x"}, "only {http"),
        ({"http": {"url": "http://x/", "verb": "GET"}}, "unknown field 'verb'"),
        ({"http": {"url": "http://x/", "method": "TRACE"}}, "method is 'TRACE'"),
        ({"http": {}}, "url is None"),
        ({"http": {"url": "file:///etc/passwd"}}, "url is 'file:///etc/passwd'"),
        ({"http": {"url": "${input.url}"}}, "a host in plain text"),
        ({"http": {"url": "http://${input.host}/x"}}, "a host in plain text"),
        ({"http": {"url": "http://good.example${input.rest}/x"}}, "a host in plain text"),
        ({"http": {"url": "http://good.example@evil/"}}, "a host in plain text"),
        ({"http": {"url": "http://x/", "headers": {"A": 1}}}, "headers is {'A': 1}"),
    ],
)
def test_actions_that_cannot_be_called_are_refused(action: object, words: str) -> None:
    """A missing or odd action is refused when the saga is bound, by step; input never picks a host."""
    saga = read_saga({"saga": "s", "steps": [{"name": "a", "kind": "pivot", "action": action}]})

    async def go() -> None:
        async with httpx2.AsyncClient(trust_env=False) as client:
            with pytest.raises(SagaRefused, match="step 'a': action") as refusal:
                http_bound(saga, client)
            assert words in str(refusal.value)

    asyncio.run(go())
