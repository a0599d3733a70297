"""Posting events to a service that does what it likes: everything is counted, nothing is raised, all ends."""

import asyncio
import json
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from sagacity_api.client import ClientError
from sagacity_api.telemetry import EventPoster, Fate, PostCounts, PostPolicy
from sagacity_api.telemetry.event_queue import EventQueue
from sagacity_api.telemetry.redaction import redacted
from sagacity_engine import Event, RunState, SagaRefused
from sagacity_engine.codec import decode
from sagacity_engine.events import AttemptSucceeded

QUICK = PostPolicy(
    linger_s=0.01, deadline_s=60, tries_max=3, backoff_s=0.001, failures_max=1_000, cool_down_s=0.01
)
ENDLESS = ("hang", "slow drip of the body", "slow drip of a header")
Script = Callable[["Stub", socket.socket], None]


@dataclass
class Request:
    """What arrived."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = json.loads(self.body)["events"]
        return events


@dataclass
class Stub:
    """A service that answers each connection's request by its script, the last of them again and again."""

    scripts: list[Script]
    requests: list[Request] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def handle(self, connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        try:
            line = reader.readline().decode().strip()
            headers = {}
            while header := reader.readline().decode().strip():
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            body = reader.read(int(headers.get("content-length", "0")))
            script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
            self.requests.append(Request(line, headers, body))
            script(self, connection)
        except OSError:
            pass  # The other side has gone.
        finally:
            reader.close()


Serve = Callable[..., Stub]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a stub with these scripts; it lives until the test ends."""
    running: list[tuple[Stub, socketserver.ThreadingTCPServer, threading.Thread]] = []

    def start(*scripts: Script) -> Stub:
        stub = Stub(list(scripts))

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                stub.handle(self.request)

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        stub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((stub, server, thread))
        return stub

    yield start
    for stub, server, thread in running:
        stub.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [each for each in threading.enumerate() if each.name == "sagacity-poster"] == []


def answer(status: str = "202 Accepted", body: bytes = b"", headers: str = "") -> Script:
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{headers}\r\n"
    return lambda _, connection: connection.sendall(head.encode() + body)


def hang(stub: Stub, _connection: socket.socket) -> None:
    stub.ended.wait(60)


def close(_stub: Stub, _connection: socket.socket) -> None:
    pass


def drip(start: bytes) -> Script:
    """Always another byte, never an end: no single read ever times out."""

    def script(stub: Stub, connection: socket.socket) -> None:
        connection.sendall(start)
        while not stub.ended.wait(0.01):
            connection.sendall(b"x")

    return script


def told_in(stub: Stub) -> list[dict[str, Any]]:
    return [event for request in stub.requests for event in request.events]


def balanced(counts: PostCounts, events: int) -> bool:
    return counts.offered == events and sum(counts.of(fate) for fate in Fate) + counts.pending == events


@pytest.fixture
def told(stories: Any, play: Any) -> list[tuple[RunState, Event]]:
    told: list[tuple[RunState, Event]] = play(stories["compensated"], listener=lambda *_: None)
    return told


def test_every_story_arrives(story: Any, play: Any, serve: Serve) -> None:
    """Every event arrives once and in order, in the engine's own form, without what is private."""
    stub = serve(answer())
    with EventPoster(stub.url, policy=QUICK) as poster:
        told = play(story, listener=poster)
        assert poster.close(60)
    arrived = [(each["run_id"], decode(each["kind"], json.dumps(each["body"]))) for each in told_in(stub)]
    assert arrived == [(state.started.run_id, redacted(event)) for state, event in told]
    assert poster.counts().of(Fate.POSTED) == len(told)
    assert balanced(poster.counts(), len(told))


def test_payloads_travel_when_asked_for(story: Any, play: Any, serve: Serve) -> None:
    """With `payloads` the events arrive whole, and decode to what was told."""
    stub = serve(answer())
    with EventPoster(stub.url, policy=QUICK, payloads=True) as poster:
        told = play(story, listener=poster)
        assert poster.close(60)
    arrived = [decode(each["kind"], json.dumps(each["body"])) for each in told_in(stub)]
    assert arrived == [event for _, event in told]


def test_what_a_request_says(told: Any, serve: Serve) -> None:
    """A POST of JSON to /v1/events, with an idempotency key and, if given, the API key."""
    stub = serve(answer(body=b'{"accepted": 1}', status="200 OK"))
    with EventPoster(stub.url + "/", api_key="k-123", policy=QUICK) as poster:
        poster(*told[0])
        assert poster.close(60)
    (request,) = stub.requests
    assert request.line == "POST /v1/events HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-api-key"] == "k-123"
    assert len(request.headers["idempotency-key"]) == 32
    assert sorted(request.events[0]) == ["body", "kind", "run_id"]


def test_batches_are_bounded(told: Any, serve: Serve) -> None:
    """No batch has more events or bytes than its limits; every event is in one."""
    stub = serve(answer())
    policy = replace(QUICK, batch_events_max=3, batch_bytes_max=1_500, linger_s=5)
    with EventPoster(stub.url, policy=policy) as poster:
        for state, event in told * 4:
            poster(state, event)
        assert poster.close(60)
    assert max(len(request.events) for request in stub.requests) == 3
    assert max(len(request.body) for request in stub.requests) <= 1_500
    assert len(told_in(stub)) == poster.counts().of(Fate.POSTED)
    assert balanced(poster.counts(), 4 * len(told))


def test_a_full_batch_does_not_linger(told: Any, serve: Serve) -> None:
    """A batch that is full goes out at once, however long it might have lingered."""
    stub = serve(answer())
    policy = replace(QUICK, batch_events_max=2, linger_s=86_400)
    with EventPoster(stub.url, policy=policy) as poster:
        poster(*told[0])
        poster(*told[1])
        poster._queue.drain(60)
        assert poster.counts().of(Fate.POSTED) == 2


def test_a_repeated_batch_keeps_its_key(told: Any, serve: Serve) -> None:
    """A batch that is tried again is the same bytes under the same key; the next has another."""
    stub = serve(answer("500 Broken"), close, answer(), answer())
    policy = replace(QUICK, batch_events_max=1)
    with EventPoster(stub.url, policy=policy) as poster:
        for each in told[:2]:
            poster(*each)
        assert poster.close(60)
    first, second, third, other = stub.requests
    assert first.body == second.body == third.body != other.body
    keys = [request.headers["idempotency-key"] for request in stub.requests]
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]
    assert poster.counts() == PostCounts({Fate.POSTED: 2}, 0, 2)
    with EventPoster(stub.url, policy=policy) as other_poster:
        other_poster(*told[0])
        assert other_poster.close(60)
    assert stub.requests[-1].headers["idempotency-key"] == keys[0]


FAILURES: dict[str, Script] = {
    "hang": hang,
    "slow drip of the body": drip(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"),
    "slow drip of a header": drip(b"HTTP/1.1 200 OK\r\nx-slow: "),
    "closed at once": close,
    "no HTTP": lambda _, connection: connection.sendall(b"\x16\x03\x01 this is no HTTP at all\r\n\r\n"),
    "500": answer("500 Internal Server Error", b"Internal Server Error"),
    "503": answer("503 Busy", b"{}", "retry-after: 0\r\n"),
    "429": answer("429 Too Many Requests"),
    "redirect": answer("307 Temporary Redirect", headers="location: http://127.0.0.1:9/\r\n"),
    "garbage": answer("200 OK", b"\xff\xfe garbage"),
    "somebody else's page": answer("200 OK", b"<html>please log in</html>"),
    "a list": answer("200 OK", b"[]"),
    "compressed": answer("200 OK", b"\x1f\x8b", "content-encoding: gzip\r\n"),
    "10 MB": answer("200 OK", b" " * 10_000_000),
}


@pytest.mark.parametrize("name", FAILURES)
def test_every_failure_is_counted(name: str, told: Any, serve: Serve) -> None:
    """Whatever the service does, a batch is tried a bounded number of times and then counted as lost."""
    stub = serve(FAILURES[name])
    endless = name in ENDLESS
    with EventPoster(stub.url, policy=replace(QUICK, deadline_s=0.2) if endless else QUICK) as poster:
        poster(*told[0])
        assert poster._queue.drain(60)
    assert poster.counts() == PostCounts({Fate.LOST: 1}, 0, 3)
    assert len(stub.requests) == 3 or endless


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "404 Not Found", "413 Too Large"])
def test_a_refusal_is_final(status: str, told: Any, serve: Serve) -> None:
    """A 4xx says that we ask wrongly: the batch is not tried again, and the breaker stays closed."""
    stub = serve(answer(status))
    policy = replace(QUICK, batch_events_max=1, failures_max=1, cool_down_s=86_400)
    with EventPoster(stub.url, policy=policy) as poster:
        for each in told[:3]:
            poster(*each)
        assert poster._queue.drain(60)
    assert poster.counts() == PostCounts({Fate.REFUSED: 3}, 0, 3)
    assert len(stub.requests) == 3


def test_nobody_listening(told: Any, serve: Serve) -> None:
    """A dead server costs its tries and nothing else."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with EventPoster(url, policy=QUICK) as poster:
        for each in told:
            poster(*each)
        poster._queue.drain(60)
    assert poster.counts().of(Fate.LOST) == len(told)
    assert balanced(poster.counts(), len(told))


def test_a_failing_service_is_left_alone(told: Any, serve: Serve) -> None:
    """Behind an open breaker nobody is asked: the batch in hand is lost at closing, and the rest with it."""
    stub = serve(answer("500 Broken"))
    policy = replace(QUICK, batch_events_max=1, tries_max=100, failures_max=2, cool_down_s=86_400)
    with EventPoster(stub.url, policy=policy) as poster:
        for each in told[:3]:
            poster(*each)
        while len(stub.requests) < 2:
            stub.ended.wait(0.01)
        assert poster.close(60)
    assert len(stub.requests) == 2
    assert poster.counts() == PostCounts({Fate.LOST: 3}, 0, 2)


def test_the_breaker_lets_it_try_again(told: Any, serve: Serve) -> None:
    """After the cool-down one request finds out that the service is well again, and everything goes out."""
    stub = serve(answer("500 Broken"), answer("500 Broken"), answer())
    policy = replace(QUICK, batch_events_max=1, tries_max=100, failures_max=2, cool_down_s=0.02)
    with EventPoster(stub.url, policy=policy) as poster:
        for each in told:
            poster(*each)
        assert poster._queue.drain(60)
    assert poster.counts() == PostCounts({Fate.POSTED: len(told)}, 0, 2)


def test_a_full_queue_drops(told: Any) -> None:
    """What finds no room is dropped, counted, and never waited for; what is in stays."""
    small = EventPoster("http://127.0.0.1:9", policy=replace(QUICK, queue_events_max=5))
    narrow = EventPoster("http://127.0.0.1:9", policy=replace(QUICK, queue_bytes_max=1_200))
    for poster in (small, narrow):
        for state, event in told * 5:
            poster(state, event)
    assert small.counts() == PostCounts({Fate.DROPPED: 5 * len(told) - 5}, 5, 0)
    assert 0 < narrow.counts().pending < 20
    for poster in (small, narrow):
        assert not poster.close(0)
        assert poster.counts() == PostCounts({Fate.DROPPED: 5 * len(told)}, 0, 0)


def test_a_slow_service_holds_up_no_run(stories: Any, play: Any, serve: Serve) -> None:
    """Runs go on to their ends while the service hangs; closing drops what it could not post."""
    stub = serve(hang)
    poster = EventPoster(stub.url, policy=replace(QUICK, queue_events_max=20, deadline_s=600))
    poster.open()
    told = []
    for number in range(50):
        told += play(replace(stories["completed"], run_id=f"r{number}"), listener=poster)
    assert sum(type(event).__name__ == "RunEnded" for _, event in told) == 50
    assert not poster.close(0.05)
    assert poster.counts().of(Fate.POSTED) == 0
    assert balanced(poster.counts(), len(told))
    assert poster.counts().pending == 0


@pytest.mark.parametrize("output", [float("nan"), "half a pair: \ud800", {"a": object()}, "x" * 600_000])
def test_what_cannot_be_written_is_unfit(output: object, told: Any, serve: Serve) -> None:
    """An event that is no JSON, or larger than a batch, is counted as unfit and spoils no batch."""
    stub = serve(answer())
    state, event = next(each for each in told if isinstance(each[1], AttemptSucceeded))
    with EventPoster(stub.url, policy=QUICK, payloads=True) as poster:
        poster(state, event)
        poster(state, replace(event, output=output))
        assert poster.close(60)
    assert poster.counts() == PostCounts({Fate.UNFIT: 1, Fate.POSTED: 1}, 0, 0)


def test_whole_characters_are_fit(told: Any, serve: Serve) -> None:
    """Text beyond the basic plane arrives as it was."""
    stub = serve(answer())
    state, event = next(each for each in told if isinstance(each[1], AttemptSucceeded))
    with EventPoster(stub.url, policy=QUICK, payloads=True) as poster:
        poster(state, replace(event, output="गोवा 🏖"))
        assert poster.close(60)
    assert told_in(stub)[0]["body"]["output"] == "गोवा 🏖"


def test_events_before_opening_wait(told: Any, serve: Serve) -> None:
    """What comes before `open` is posted after it; what comes after `close` is dropped; a close is final."""
    stub = serve(answer())
    poster = EventPoster(stub.url, policy=QUICK)
    poster(*told[0])
    poster.open()
    poster.open()
    assert poster.close(60)
    assert poster.close(60)
    poster(*told[1])
    poster.open()
    assert poster.counts() == PostCounts({Fate.POSTED: 1, Fate.DROPPED: 1}, 0, 0)


def test_one_complaint_is_enough(told: Any, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """The first failure is logged and the others are only counted."""
    stub = serve(answer("500 Broken"))
    with caplog.at_level(logging.WARNING), EventPoster(stub.url, policy=QUICK) as poster:
        poster(*told[0])
        poster._queue.drain(60)
    (record,) = [record for record in caplog.records if record.name == "sagacity_api.telemetry"]
    assert record.getMessage().startswith("events could not be posted: ServiceFailed: the service failed")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "ftp://example.com"}, "no usable service address"),
        ({"url": "http://h", "api_key": "two\nlines"}, "the API key is not usable"),
        ({"url": "http://h", "api_key": ""}, "the API key is not usable"),
    ],
)
def test_unusable_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    """An address or a key that cannot be used is refused at once, and the key is not repeated."""
    with pytest.raises(ClientError, match=words) as refusal:
        EventPoster(**settings)
    assert "two" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("queue_events_max", 0), ("tries_max", 0), ("linger_s", -1), ("deadline_s", 0), ("backoff_max_s", 1e9)],
)
def test_senseless_limits_are_refused(name: str, value: Any) -> None:
    """A limit out of range names itself."""
    with pytest.raises(SagaRefused, match=f"{name} is"):
        replace(QUICK, **{name: value})


def test_the_service_may_ask_for_time(told: Any, serve: Serve) -> None:
    """A Retry-After is kept to, up to the longest backoff."""
    stub = serve(answer("503 Busy", headers="retry-after: 9999999\r\n"), answer())
    with EventPoster(stub.url, policy=replace(QUICK, backoff_max_s=0.01)) as poster:
        assert poster._backoff_s(1, 9_999_999) == 0.01
        poster(*told[0])
        assert poster._queue.drain(60)
    assert poster.counts() == PostCounts({Fate.POSTED: 1}, 0, 1)


def test_the_queue_is_exact_among_threads() -> None:
    """Many that put and one that takes: each event is taken once or dropped, and the account holds."""
    queue = EventQueue(events_max=50, bytes_max=10_000, batch_events_max=7, batch_bytes_max=100)
    taken: list[bytes] = []

    def put(name: int) -> None:
        for number in range(500):
            queue.put(f"{name}:{number}".encode())

    def take() -> None:
        while batch := queue.take(linger_s=0):
            assert len(batch) <= 7
            taken.extend(batch)
            queue.settle(len(batch), Fate.POSTED)

    putting = [threading.Thread(target=put, args=(name,)) for name in range(4)]
    taking = threading.Thread(target=take)
    for thread in (*putting, taking):
        thread.start()
    for thread in putting:
        thread.join()
    queue.close()
    taking.join()
    counts = queue.counts()
    assert balanced(counts, 2_000)
    assert counts.of(Fate.POSTED) == len(taken) == len(set(taken))
    assert counts.pending == 0


def test_other_loops_are_left_alone(told: Any, serve: Serve) -> None:
    """A poster works beside a running event loop, which it neither needs nor blocks."""
    stub = serve(answer())

    async def scenario() -> bool:
        with EventPoster(stub.url, policy=QUICK) as poster:
            for each in told:
                poster(*each)
            return await asyncio.to_thread(poster.close, 60)

    assert asyncio.run(scenario())
    assert len(told_in(stub)) == len(told)


def test_a_thread_out_of_means_loses_batches_only(
    told: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When not even an event loop can be made, the batch is lost, and the next one finds its way."""
    stub, made = serve(answer()), asyncio.new_event_loop
    monkeypatch.setattr(asyncio.events, "new_event_loop", no_more_files)
    with EventPoster(stub.url, policy=QUICK) as poster:
        poster(*told[0])
        assert poster._queue.drain(60)
        monkeypatch.setattr(asyncio.events, "new_event_loop", made)
        poster(*told[1])
        assert poster.close(60)
    assert poster.counts() == PostCounts({Fate.LOST: 1, Fate.POSTED: 1}, 0, 0)


def no_more_files() -> asyncio.AbstractEventLoop:
    raise OSError("too many open files")
