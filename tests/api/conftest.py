"""What the tests of the api share: a small saga, a constant forecaster, and the service around it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sagacity_api.answers import Model
from sagacity_api.counsel import Counsel
from sagacity_api.service import CounselSlot, create_app
from sagacity_api.service.examples import TRIP
from sagacity_engine import FailureClass, Saga
from sagacity_models.base_rates import BaseRates
from sagacity_models.bundle import Bundle, save_bundle
from sagacity_models.encoding import FeatureEncoding
from sagacity_models.forecast import Latency, Regime, SagaForecast, StepForecast, UndoForecast

NOW = 1_790_000_000.0


class ConstantForecaster:
    """Every step fails its first attempt with probability `refusal`; one regime, transient, no memory."""

    def __init__(self, refusal: float = 0.1) -> None:
        latency = Latency(1.0, 0.5)
        regime = Regime(1.0, {FailureClass.TRANSIENT: refusal}, latency, latency)
        self._step = StepForecast(regimes=(regime,), undo=UndoForecast(0.01, latency))

    def forecast(self, saga: Saga, context: Mapping[str, object], at: float) -> SagaForecast:
        return SagaForecast(steps=dict.fromkeys(saga.names, self._step), model_version="constant")


class BrokenForecaster:
    """Raises what it is given."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def forecast(self, saga: Saga, context: Mapping[str, object], at: float) -> SagaForecast:
        raise self._error


def counsel_of(forecaster: Any, **options: Any) -> Counsel:
    return Counsel(forecaster, Model("constant", "base_rates"), **options)


@pytest.fixture
def counsel() -> Counsel:
    return counsel_of(ConstantForecaster())


@pytest.fixture
def make_counsel() -> Callable[..., Counsel]:
    """A counsel around any forecaster; `refusal=` makes a constant one."""

    def make(forecaster: Any = None, **options: Any) -> Counsel:
        return counsel_of(forecaster or ConstantForecaster(), **options)

    return make


@pytest.fixture
def broken() -> type[BrokenForecaster]:
    return BrokenForecaster


@pytest.fixture
def trip() -> dict[str, Any]:
    """A document that grants freedoms; the caller may change it."""
    return deepcopy(TRIP)


ServiceMaker = Callable[..., TestClient]


@pytest.fixture
def service(counsel: Counsel) -> Iterator[ServiceMaker]:
    """Makes clients of services that live until the test ends."""
    opened: list[TestClient] = []

    def make(slot: CounselSlot | None = None, **options: Any) -> TestClient:
        app = create_app(
            slot or CounselSlot(counsel), hosts=frozenset({"testserver"}), now=lambda: NOW, **options
        )
        client = TestClient(app)
        client.__enter__()
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@dataclass
class Scripted:
    """A server that does to each connection what its script says; counts them."""

    script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    connections: int = 0
    port: int = 0
    url: str = ""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await self.script(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()  # what the peer does not read any more is not waited for
            await asyncio.sleep(0)


@asynccontextmanager
async def scripted(
    script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Scripted]:
    made = Scripted(script)
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    made.url = f"http://127.0.0.1:{made.port}"
    try:
        yield made
    finally:
        server.close()
        await asyncio.sleep(0.01)  # connections that were just accepted still get their handler
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)
        await server.wait_closed()


@pytest.fixture
def scripted_server() -> Any:
    """The context manager `scripted(script)`."""
    return scripted


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real bundle of base rates, without any learned model."""
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    encoding = FeatureEncoding.from_json({"numbers": [["weekday", 3.0, 2.0]], "categories": []})
    made = Bundle(base=BaseRates.estimate({}), encoding=encoding)
    save_bundle(made, folder, created_at="2026-01-01T00:00:00+00:00")
    return folder


@pytest.fixture
def trip_file(tmp_path: Path) -> Path:
    """A sound saga document in YAML."""
    path = tmp_path / "trip.yaml"
    path.write_text(
        """\
saga: weekend
version: "2"
steps:
  - {name: book, cost: 2, compensation: {cost: 5}, freedom: {maximum_attempts: [1, 5]}}
  - {name: hold, compensation: {cost: 1}}
  - {name: pay, kind: pivot, idempotent: true}
  - {name: mail, kind: retriable, idempotent: true, after: [pay]}
freedom: {reorder: true, retries: true}
policy: {latency_cost_per_s: 0.05, failure_penalty: 20}
""",
        encoding="utf-8",
    )
    return path
