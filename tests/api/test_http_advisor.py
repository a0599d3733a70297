"""The HTTP advisor against everything a network and a service can do; the run always gets a legal plan."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from sagacity_api.answers import answer_document
from sagacity_api.client import (
    AdviceRefused,
    BreakerOpen,
    Circuit,
    ClientError,
    HttpAdvisor,
    ReplyRefused,
    ServiceFailed,
    ServiceRefused,
    ServiceTooSlow,
    ServiceUnreachable,
)
from sagacity_api.counsel import Counsel
from sagacity_api.service import CounselSlot, create_app
from sagacity_engine import Launch, Saga, author_plan, read_saga
from sagacity_engine.advisor import ask

AT = 1_790_000_000.0
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def saga(trip: dict[str, Any]) -> Saga:
    return read_saga(trip)


@pytest.fixture
def launch() -> Launch:
    return Launch(run_id="run-1", context={"season": "dry", "party": 2}, at=AT)


@pytest.fixture
def reply(counsel: Counsel, saga: Saga, launch: Launch) -> dict[str, Any]:
    """A good reply, for spoiling."""
    return answer_document(counsel.optimize(saga, launch, exact=False, request_id="r"))


def answering(body: bytes, status: str = "200 OK", headers: str = "") -> Script:
    """A script that answers with these bytes and closes."""
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{headers}\r\n"

    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode() + body)
        await writer.drain()

    return script


async def hanging(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def closing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    pass


async def dripping(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Always another byte, never an end: no read ever times out by itself."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def flooding(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ten megabytes that were not announced."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(160):
        writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        await writer.drain()
    writer.write(b"0\r\n\r\n")


async def babbling(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x16\x03\x01 this is no HTTP at all\r\n\r\n")


PROBLEM = json.dumps({"type": "/problems/saga-refused", "title": "t", "detail": "step 'x' is wrong"}).encode()

FAILURES: dict[str, tuple[Script, type[ClientError]]] = {
    "hang": (hanging, ServiceTooSlow),
    "slow drip": (dripping, ServiceTooSlow),
    "closed at once": (closing, ServiceUnreachable),
    "no HTTP": (babbling, ServiceUnreachable),
    "500": (answering(b"Internal Server Error", "500 Internal Server Error"), ServiceFailed),
    "503": (answering(b"{}", "503 Busy", "retry-after: 7\r\n"), ServiceFailed),
    "429": (answering(b"", "429 Too Many Requests"), ServiceFailed),
    "422": (answering(PROBLEM, "422 Unprocessable"), ServiceRefused),
    "garbage": (answering(b"\xff\xfe garbage"), ReplyRefused),
    "empty": (answering(b""), ReplyRefused),
    "NaN": (answering(b'{"gap": NaN}'), ReplyRefused),
    "duplicate keys": (answering(b'{"plan": 1, "plan": 2}'), ReplyRefused),
    "deep": (answering(b"[" * 100_000), ReplyRefused),
    "a list": (answering(b"[]"), ReplyRefused),
    "another shape": (answering(b'{"plan": {"saga": "x"}}'), ReplyRefused),
    "no content": (answering(b"", "204 No Content"), ServiceFailed),
    "redirect": (
        answering(b"", "307 Temporary Redirect", "location: http://127.0.0.1:9/\r\n"),
        ReplyRefused,
    ),
    "10 MB announced": (answering(b" " * 10_000_000), ReplyRefused),
    "10 MB chunked": (flooding, ReplyRefused),
    "compressed": (answering(b"\x1f\x8b", headers="content-encoding: gzip\r\n"), ReplyRefused),
}


@pytest.mark.parametrize("name", FAILURES)
def test_every_failure_is_a_typed_error_and_the_authors_plan(
    name: str, saga: Saga, launch: Launch, scripted_server: Any
) -> None:
    """Whatever the service does, `advise` raises its typed error, and `ask` gives the author's plan."""
    script, expected = FAILURES[name]

    async def scenario() -> None:
        async with scripted_server(script) as server, HttpAdvisor(server.url, deadline_s=0.3) as advisor:
            with pytest.raises(expected):
                await advisor.advise(saga, launch)
            advice = await ask(advisor, saga, launch, budget_s=5)
        assert advice.fallback
        assert advice.plan == author_plan(saga)
        assert expected.__name__ in advice.reasons[0]
        assert server.connections == 2

    asyncio.run(scenario())


def test_nobody_listening(saga: Saga, launch: Launch, scripted_server: Any) -> None:
    """A refused connection is `ServiceUnreachable`, and the author's plan is run."""

    async def scenario() -> None:
        async with scripted_server(closing) as server:
            pass
        async with HttpAdvisor(server.url) as advisor:
            with pytest.raises(ServiceUnreachable):
                await advisor.advise(saga, launch)
            assert (await ask(advisor, saga, launch, budget_s=5)).plan == author_plan(saga)

    asyncio.run(scenario())


def spoiled(reply: dict[str, Any], spoil: str) -> dict[str, Any]:
    match spoil:
        case "a step missing":
            reply["plan"]["steps"].pop()
        case "a step twice":
            reply["plan"]["steps"].append(reply["plan"]["steps"][0])
        case "too long a timeout":
            reply["plan"]["steps"][0]["start_to_close_timeout_s"] = 1e6
        case "too many attempts":
            reply["plan"]["steps"][0]["retry"]["maximum_attempts"] = 999
        case "no longer after the pivot":
            reply["plan"]["steps"][-1]["after"] = []
        case "another definition":
            reply["plan"]["definition_hash"] = "0" * 64
        case _:
            reply["expires_at"] = AT - 1
    return reply


@pytest.mark.parametrize(
    "spoil",
    [
        "a step missing",
        "a step twice",
        "too long a timeout",
        "too many attempts",
        "no longer after the pivot",
        "another definition",
        "expired",
    ],
)
def test_illegal_or_expired_advice_is_refused(
    spoil: str, reply: dict[str, Any], saga: Saga, launch: Launch, scripted_server: Any
) -> None:
    """Well-formed advice that `check` refuses, or that has expired, is never handed on."""

    async def scenario() -> None:
        script = answering(json.dumps(spoiled(reply, spoil)).encode())
        async with scripted_server(script) as server, HttpAdvisor(server.url, deadline_s=5) as advisor:
            with pytest.raises(AdviceRefused):
                await advisor.advise(saga, launch)
            assert (await ask(advisor, saga, launch, budget_s=9)).plan == author_plan(saga)

    asyncio.run(scenario())


def test_good_advice_arrives_as_it_was_sent(
    reply: dict[str, Any], saga: Saga, launch: Launch, counsel: Counsel
) -> None:
    """Through the real service the advisor gives the same plan, id and numbers as the counsel itself."""

    async def scenario() -> None:
        transport = httpx2.ASGITransport(create_app(CounselSlot(counsel)))
        async with httpx2.AsyncClient(transport=transport) as client:
            advice = await ask(HttpAdvisor("http://127.0.0.1", 30, client), saga, launch, budget_s=60)
        assert not advice.fallback
        assert advice.plan != author_plan(saga)
        assert advice.advice_id == reply["advice_id"]
        assert advice.expected == {"author": reply["author"], "advised": reply["advised"]}
        assert advice.reasons == tuple(reason["text"] for reason in reply["reasons"])

    asyncio.run(scenario())


def test_the_breaker_leaves_a_failing_service_alone(saga: Saga, launch: Launch, scripted_server: Any) -> None:
    """After five failures nobody is asked until the cool-down is over; then one probe is."""

    async def scenario() -> None:
        now = 0.0
        async with (
            scripted_server(answering(b"", "500 Oops")) as server,
            HttpAdvisor(server.url, 5, cool_down_s=30, clock=lambda: now) as advisor,
        ):
            for _ in range(8):
                with pytest.raises(ServiceFailed if server.connections < 5 else BreakerOpen):
                    await advisor.advise(saga, launch)
            assert (server.connections, advisor.circuit) == (5, Circuit.OPEN)
            now = 30.0
            with pytest.raises(ServiceFailed):
                await advisor.advise(saga, launch)
            with pytest.raises(BreakerOpen):
                await advisor.advise(saga, launch)
            assert server.connections == 6

    asyncio.run(scenario())


def test_a_refusal_of_ours_does_not_open_the_breaker(
    saga: Saga, launch: Launch, scripted_server: Any
) -> None:
    """A service that refuses a document is well: others' documents may still be answered."""

    async def scenario() -> None:
        script = answering(PROBLEM, "422 Unprocessable")
        async with scripted_server(script) as server, HttpAdvisor(server.url, deadline_s=5) as advisor:
            for _ in range(7):
                with pytest.raises(ServiceRefused, match="step 'x' is wrong") as refused:
                    await advisor.advise(saga, launch)
                assert (refused.value.status, refused.value.problem) == (422, "saga-refused")
            assert advisor.circuit is Circuit.CLOSED

    asyncio.run(scenario())


def test_an_impatient_caller_counts_against_the_service(
    saga: Saga, launch: Launch, scripted_server: Any
) -> None:
    """An engine whose budget is shorter than the deadline still opens the breaker."""

    async def scenario() -> None:
        async with scripted_server(hanging) as server, HttpAdvisor(server.url, deadline_s=60) as advisor:
            for _ in range(5):
                advice = await ask(advisor, saga, launch, budget_s=0.02)
                assert advice.plan == author_plan(saga)
            while advisor.circuit is not Circuit.OPEN:  # noqa: ASYNC110  a question given up ends in its time
                await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_one_advisor_serves_several_event_loops(
    reply: dict[str, Any], saga: Saga, launch: Launch, scripted_server: Any
) -> None:
    """Connections belong to a loop; an advisor that outlives one makes new ones."""
    advisor = HttpAdvisor("http://127.0.0.1:1", deadline_s=5)

    async def scenario() -> None:
        async with scripted_server(answering(json.dumps(reply).encode())) as server:
            advisor._url = server.url + "/v1/optimize"
            assert not (await ask(advisor, saga, launch, budget_s=9)).fallback
            await advisor.aclose()

    asyncio.run(scenario())
    asyncio.run(scenario())


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8080", "ftp://host/", "http://", "http://u:p@host", "http://host?x=1", "http://h:x"],
)
def test_unusable_addresses_are_refused(url: str) -> None:
    """An address is http(s) with a host, and carries no password."""
    with pytest.raises(ClientError, match="no usable service address"):
        HttpAdvisor(url)
