"""One of the trip's services as a real HTTP process on loopback, with faults injected from a seed.

`POST /do` books and `POST /undo` cancels, both honestly idempotent under `Idempotency-Key`; `GET /ledger`
tells how often each key really took effect, so that the demo can check what the engine promises. A fault is a
hash of (seed, key, attempt): a refusal that passes, a service that says it is down, an input that is sold
out, a reply that is lost after the booking was made, and rarely a call that hangs. Standard library only, so
that eight of these start fast.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sagacity_engine.worlds.draws import uniform

FAULTS = {
    "reset": 0.02,  # Refused for a moment: the same call may succeed at once.
    "unavailable": 0.005,  # The service says it is down.
    "lost": 0.006,  # Booked, but the reply never arrives.
    "hangs": 0.001,  # No reply for longer than any timeout in the plan.
}
HANG_S = 8.0
BODY_MAX = 64 * 1024


class Ledger:
    """What really happened, by idempotency key: bookings and cancellations have keys of their own."""

    def __init__(self) -> None:
        self._effects: dict[str, int] = {}
        self._cancelled: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def book(self, key: str, owner: tuple[str, str]) -> bool:
        """Books once per key; refuses a late call whose cancellation has already come (a barrier)."""
        with self._lock:
            if owner in self._cancelled and key not in self._effects:
                return False
            self._effects.setdefault(key, 1)
            return True

    def cancel(self, key: str, owner: tuple[str, str]) -> bool:
        """Cancels once per key, also when there is nothing to cancel."""
        with self._lock:
            self._cancelled.add(owner)
            self._effects.setdefault(key, 1)
            return True

    def effects(self) -> dict[str, int]:
        """How often each key took effect."""
        with self._lock:
            return dict(self._effects)


class Handler(BaseHTTPRequestHandler):
    """One request; the server carries the ledger and the seed."""

    server: Service  # pyright: ignore[reportIncompatibleVariableOverride]  # only a Service makes handlers
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """`/ledger`, for the demo's own check."""
        if self.path == "/ledger":
            self._reply(200, self.server.ledger.effects())
        else:
            self._reply(404, {"error_type": "NoSuchPage", "failure_class": "permanent"})

    def do_POST(self) -> None:
        """Books or cancels, unless a fault is due."""
        self.rfile.read(min(int(self.headers.get("Content-Length", "0")), BODY_MAX))
        key, attempt = self.headers.get("Idempotency-Key", ""), self.headers.get("Attempt", "1")
        time.sleep(0.005 + 0.03 * uniform(self.server.seed, key, attempt, "latency"))
        fault = self._fault(key, attempt)
        if fault == "hangs":
            time.sleep(HANG_S)
        if fault == "reset":
            self._reply(503, {"error_type": "ConnectionReset", "failure_class": "transient"})
        elif fault == "unavailable":
            self._reply(503, {"error_type": "ServiceUnavailable", "failure_class": "cascading"})
        elif self.path == "/do" and uniform(self.server.seed, key, "sold-out") < self.server.sold_out:
            self._reply(409, {"error_type": "SoldOut", "failure_class": "permanent"})
        else:
            self._take_effect(key, lost=fault == "lost")

    def _take_effect(self, key: str, *, lost: bool) -> None:
        owner = (self.headers.get("Saga-Id", ""), self.headers.get("Step-Name", ""))
        ledger = self.server.ledger
        done = ledger.book(key, owner) if self.path == "/do" else ledger.cancel(key, owner)
        if lost:
            self.close_connection = True
            self.connection.close()
        elif done:
            self._reply(200, {"id": f"ref-{key[:8]}"})
        else:
            self._reply(409, {"error_type": "CancelledBefore", "failure_class": "permanent"})

    def _fault(self, key: str, attempt: str) -> str:
        draw = uniform(self.server.seed, key, attempt, "fault")
        for name, share in FAULTS.items():
            if draw < share:
                return name
            draw -= share
        return ""

    def _reply(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
        """Says nothing: the demo's own output is what people read."""


class Service(ThreadingHTTPServer):
    """The server of one of the trip's services."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, seed: int, sold_out: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seed = seed
        self.sold_out = sold_out
        self.ledger = Ledger()

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that was killed mid-request is part of the demo, not an error to print."""


def main() -> None:
    """Serves until stdin closes; prints the port as its first line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--sold-out", type=float, required=True)
    arguments = parser.parse_args()
    service = Service(arguments.seed, arguments.sold_out)
    print(service.server_port, flush=True)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    sys.stdin.read()  # The parent holds the other end: when it goes, so does this process.


if __name__ == "__main__":
    main()
