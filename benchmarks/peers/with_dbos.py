"""DBOS on SQLite: one workflow of five trivial asynchronous steps; turning back is written by hand.

Used as its documentation says for asynchronous code, and as it was found to be fastest: with
`start_workflow_async` and awaiting the handle (a little faster than awaiting the workflow itself; a queue
costs one more transaction and is slower), in the caller's own event loop, with one connection (1, 2, 5 and
20 were tried; with more, writers wait for each other inside SQLite). No conductor, no telemetry, no
logging. Steps are not retried, which is DBOS's default.

DBOS leaves the journal mode to whoever makes the connection: each of its connections is put into WAL with
`synchronous=FULL` when SQLAlchemy opens it, and read back then and again just before it is closed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers.contender import BACK, FORWARD, SHAPES, RunOne, serve

CONNECTIONS = 1

DURABLE = (
    "a row when the workflow starts, one after each step with its result, and the workflow's outcome; "
    "a step's intent is not kept; after a crash the workflow goes on from its last kept step"
)


class Refused(Exception):
    """The fifth step's refusal."""


class Dbos:
    """DBOS with a system database in SQLite."""

    def __init__(self) -> None:
        self._dbos: Any = importlib.import_module("dbos").DBOS
        self._version = importlib.metadata.version("dbos")
        self._alchemy: Any = importlib.import_module("sqlalchemy")
        self._read: Counter[tuple[str, str, int]] = Counter()
        self._workflows = {FORWARD: self._forward(), BACK: self._back()}
        self._alchemy.event.listen(self._alchemy.engine.Engine, "connect", self._connected)
        self._alchemy.event.listen(self._alchemy.pool.Pool, "close", self._closing)

    def _steps(self, *names: str) -> list[Callable[[], Any]]:
        async def act() -> None:
            return None

        return [self._dbos.step(name=name)(act) for name in names]

    def _forward(self) -> Any:
        steps = self._steps(*(f"step_{number}" for number in range(1, 6)))

        async def five(number: int) -> int:
            for step in steps:
                await step()
            return number

        return self._dbos.workflow(name="five")(five)

    def _back(self) -> Any:
        async def refuse() -> None:
            raise Refused("refused")

        steps = self._steps(*(f"step_{number}" for number in range(1, 5)))
        undos = self._steps(*(f"undo_{number}" for number in range(1, 5)))
        fifth = self._dbos.step(name="step_5")(refuse)

        async def back(number: int) -> int:
            done = []
            try:
                for step, undo in zip(steps, undos, strict=True):
                    await step()
                    done.append(undo)
                await fifth()
            except Refused:
                for undo in reversed(done):
                    await undo()
            return number

        return self._dbos.workflow(name="back")(back)

    @asynccontextmanager
    async def opened(self, shape: str, file: Path) -> AsyncIterator[RunOne]:
        """DBOS launched on a new database."""
        self._dbos(
            config={
                "name": "engine-benchmark",
                "system_database_url": f"sqlite:///{file}",
                "sys_db_pool_size": CONNECTIONS,
                "log_level": "CRITICAL",
                "enable_otlp": False,
            }
        )
        self._dbos.launch()
        ran, workflow = 0, self._workflows[shape]

        async def run(number: int) -> None:
            nonlocal ran
            handle = await self._dbos.start_workflow_async(workflow, number)
            assert await handle.get_result() == number
            ran += 1

        try:
            yield run
        finally:
            self._dbos.destroy(destroy_registry=False)
        _require_kept(file, ran, steps=5 if shape == FORWARD else 9)

    def besides(self) -> dict[str, float]:
        """Nothing more."""
        return {}

    async def describe(self, file: Path) -> list[str]:
        """Its durability, read from its own connections through SQLAlchemy's events."""
        said = []
        for shape in SHAPES:
            async with self.opened(shape, file.with_name(shape)) as run:
                await run(0)
                transactions = _Transactions(self._alchemy)
                for number in range(8):
                    await run(number)
                transactions.stop()
            said.append(
                f"one saga {shape} by itself: {transactions.writing / 8:g} writing transactions "
                f"and {(transactions.all - transactions.writing) / 8:g} reading ones"
            )
        read = ", ".join(
            f"{count} x {mode}, synchronous={level} {when}"
            for (when, mode, level), count in sorted(self._read.items())
        )
        return [
            f"DBOS {self._version}: {DURABLE}",
            *said,
            f"read from its own connections: {read}",
        ]

    def _connected(self, connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        self._read[("when opened", *_durability(connection))] += 1

    def _closing(self, connection: sqlite3.Connection, _record: object) -> None:
        self._read[("when closed", *_durability(connection))] += 1


class _Transactions:
    """Counts the transactions that SQLAlchemy commits, and those among them that wrote."""

    def __init__(self, alchemy: Any) -> None:
        self.all = self.writing = 0
        self._event, self._engine = alchemy.event, alchemy.engine.Engine
        self._hooks = (("before_cursor_execute", self._statement), ("commit", self._commit))
        for name, hook in self._hooks:
            self._event.listen(self._engine, name, hook)

    def stop(self) -> None:
        """Counts no more."""
        for name, hook in self._hooks:
            self._event.remove(self._engine, name, hook)

    def _statement(self, connection: Any, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.split(maxsplit=1)[0].upper() in ("INSERT", "UPDATE", "DELETE"):
            connection.info["wrote"] = True

    def _commit(self, connection: Any) -> None:
        self.all += 1
        self.writing += connection.info.pop("wrote", False)


def _durability(connection: sqlite3.Connection) -> tuple[str, int]:
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    (level,) = connection.execute("PRAGMA synchronous").fetchone()
    return mode, level


def _require_kept(file: Path, ran: int, steps: int) -> None:
    connection = sqlite3.connect(file)
    try:
        (workflows,) = connection.execute(
            "SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS'"
        ).fetchone()
        (outputs,) = connection.execute("SELECT count(*) FROM operation_outputs").fetchone()
    finally:
        connection.close()
    assert (workflows, outputs) == (ran, ran * steps), f"{workflows} workflows, {outputs} steps of {ran} runs"


if __name__ == "__main__":
    serve(Dbos)
