"""sagaz with its SQLite storage: five trivial asynchronous steps, each depending on the one before.

Steps are added to each saga by `add_step` (a little faster than the decorators), with its metrics and logging
off. Its storage sets no PRAGMA, which means a rollback journal with SQLite's own `synchronous=FULL`; it is
measured that way, and with its file put into WAL, which is how the others run and much faster. sagaz swallows
what its storage raises, so the rows are counted afterwards.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers.contender import BACK, FORWARD, SHAPES, RunOne, serve

DURABLE = (
    "one row a saga, written when it starts and again when it has ended or is rolled back; no step and no "
    "undo is kept (its list of steps stays empty); nothing carries it on after a crash"
)

ENDS = {FORWARD: "completed", BACK: "rolled_back"}


class Refused(Exception):
    """The fifth step's refusal."""


async def act(context: dict[str, Any]) -> None:
    """Does nothing."""
    del context


async def refuse(context: dict[str, Any]) -> None:
    """Refuses."""
    raise Refused(f"saga {context['number']} is refused")


class Sagaz:
    """sagaz with one storage for all sagas, as its configuration has it."""

    def __init__(self, *, wal: bool) -> None:
        importlib.import_module("aiosqlite")  # Its SQLite storage needs it, and does not require it.
        self._version = importlib.metadata.version("sagaz")
        self._sagaz: Any = importlib.import_module("sagaz")
        self._sqlite: Any = importlib.import_module("sagaz.core.storage.backends.sqlite.saga")
        self._wal = wal

    @asynccontextmanager
    async def opened(self, shape: str, file: Path) -> AsyncIterator[RunOne]:
        """A storage of its own."""
        async with self._stored(shape, file) as (_, run):
            yield run

    def besides(self) -> dict[str, float]:
        """Nothing more."""
        return {}

    async def describe(self, file: Path) -> list[str]:
        """Its durability, read from its own connection."""
        said, mode, level = [], "", 0
        for shape in SHAPES:
            async with self._stored(shape, file.with_name(shape)) as (connection, run):
                await run(0)
                before = connection.total_changes
                for number in range(8):
                    await run(number)
                writes = (connection.total_changes - before) / 8
                mode, level = await _durability(connection)
            said.append(f"one saga {shape} by itself: {writes:g} writes of its row, each committed")
        return [
            f"sagaz {self._version}: {DURABLE}",
            *said,
            f"read from its own connection: journal_mode={mode}, synchronous={level}",
        ]

    @asynccontextmanager
    async def _stored(self, shape: str, file: Path) -> AsyncIterator[tuple[Any, RunOne]]:
        storage = self._sqlite.SQLiteSagaStorage(str(file))
        await storage.initialize()
        connection = storage._conn  # noqa: SLF001  there is no other way to set or read its PRAGMAs
        if self._wal:
            await connection.execute("PRAGMA journal_mode = WAL")
            await connection.execute("PRAGMA synchronous = FULL")
        config = self._sagaz.SagaConfig(storage=storage, metrics=False, logging=False)
        ran = 0

        async def run(number: int) -> None:
            nonlocal ran
            try:
                await self._saga(shape, config).run({"number": number})
            except Refused:
                assert shape == BACK
            ran += 1

        try:
            yield connection, run
            kept = await storage.count()
            ended = (await storage.get_saga_statistics())["by_status"]
        finally:
            await storage.close()
        assert kept == ended[ENDS[shape]] == ran, f"{ended} of {ran} sagas"

    def _saga(self, shape: str, config: Any) -> Any:
        saga = self._sagaz.Saga(name="five", config=config)
        for number in range(1, 6):
            action = refuse if shape == BACK and number == 5 else act
            before = [f"step_{number - 1}"] if number > 1 else []
            saga.add_step(f"step_{number}", action, act, depends_on=before, max_retries=0)
        return saga


async def _durability(connection: Any) -> tuple[str, int]:
    values = []
    for name in ("journal_mode", "synchronous"):
        async with connection.execute(f"PRAGMA {name}") as cursor:
            values.append((await cursor.fetchone())[0])
    return values[0], values[1]


if __name__ == "__main__":
    serve(lambda: Sagaz(wal="as-it-comes" not in sys.argv))
