"""The trip's services keep honest books: asked over HTTP, through a real server on loopback."""

import threading
from collections.abc import Callable, Iterator

import httpx2
import pytest

from sagacity_api.demo.live_services import FAULTS, Service

Call = Callable[..., httpx2.Response]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    for fault in FAULTS:
        monkeypatch.setitem(FAULTS, fault, 0.0)
    server = Service(seed=1, sold_out=0.0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def call(service: Service) -> Iterator[Call]:
    with httpx2.Client(base_url=f"http://127.0.0.1:{service.server_port}") as client:

        def ask(path: str, key: str, saga: str = "trip-1", attempt: int = 1) -> httpx2.Response:
            headers = {
                "Idempotency-Key": key,
                "Saga-Id": saga,
                "Step-Name": "book",
                "Attempt": str(attempt),
            }
            return client.post(path, json={"trip": saga}, headers=headers)

        yield ask


def test_a_key_books_once(call: Call, service: Service) -> None:
    """The same key asked twice succeeds twice, with the same answer, and took effect once."""
    first, second = call("/do", "k1"), call("/do", "k1", attempt=2)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    told = httpx2.get(f"http://127.0.0.1:{service.server_port}/ledger").json()
    assert told == {"k1": 1}


def test_a_booking_after_its_cancellation_is_refused(call: Call, service: Service) -> None:
    """A cancellation stands even with nothing to cancel, and a booking that comes late is refused."""
    assert call("/undo", "u1").status_code == 200
    late = call("/do", "k1")
    assert late.status_code == 409
    assert late.json() == {"error_type": "CancelledBefore", "failure_class": "permanent"}
    assert service.ledger.effects() == {"u1": 1}
    assert call("/do", "k2", saga="trip-2").status_code == 200


def test_a_lost_reply_has_taken_effect(call: Call, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a reply is lost, the caller sees a broken connection and the ledger holds the booking."""
    monkeypatch.setitem(FAULTS, "lost", 1.0)
    with pytest.raises(httpx2.TransportError):
        call("/do", "k1")
    assert service.ledger.effects() == {"k1": 1}


def test_a_reset_took_no_effect(call: Call, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal says its class, and nothing is booked."""
    monkeypatch.setitem(FAULTS, "reset", 1.0)
    refused = call("/do", "k1")
    assert (refused.status_code, refused.json()["failure_class"]) == (503, "transient")
    assert service.ledger.effects() == {}


def test_other_pages_do_not_exist(service: Service) -> None:
    """Anything but the ledger is 404."""
    assert httpx2.get(f"http://127.0.0.1:{service.server_port}/other").status_code == 404
