"""The canary: what is secret in inputs, outputs, messages, keys and people's words is told to nobody."""

import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from sagacity_api.telemetry import EventPoster, PostPolicy, RunMetrics, RunTracer
from sagacity_engine.codec import encode


@pytest.fixture
def posted_to() -> Iterator[tuple[str, list[bytes]]]:
    """A service that keeps every byte it is sent."""
    kept: list[bytes] = []

    class Keeping(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            kept.append(str(self.headers).encode() + self.rfile.read(length))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keeping)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", kept
    server.shutdown()
    server.server_close()
    thread.join()


def test_no_secret_is_told(
    story: Any,
    play: Callable[..., Any],
    secret: str,
    posted_to: tuple[str, list[bytes]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A secret that the journal of every story holds is in no span, no metric, no post and no log."""
    exporter, registry = InMemorySpanExporter(), CollectorRegistry()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    url, kept = posted_to
    metrics = RunMetrics(registry)
    with EventPoster(url, policy=PostPolicy(linger_s=0.01)) as poster, caplog.at_level("DEBUG"):
        tracer = RunTracer(provider)

        def listener(state: Any, event: Any) -> None:
            for each in (tracer, metrics, poster):
                each(state, event)

        told = play(story, listener=listener)
        assert poster.close(60)
    provider.shutdown()
    spans = " ".join(span.to_json() for span in exporter.get_finished_spans())
    assert any(secret in encode(event)[1] for _, event in told)
    assert "saga trip" in spans
    assert secret not in spans
    assert secret not in generate_latest(registry).decode()
    assert kept
    assert secret not in b" ".join(kept).decode()
    assert secret not in caplog.text


def test_the_canary_sings(play: Callable[..., Any], stories: Any, secret: str, posted_to: Any) -> None:
    """The same search finds the secret in a post that was told to carry payloads."""
    url, kept = posted_to
    with EventPoster(url, payloads=True, policy=PostPolicy(linger_s=0.01)) as poster:
        play(stories["completed"], listener=poster)
        assert poster.close(60)
    assert secret in b" ".join(kept).decode()
