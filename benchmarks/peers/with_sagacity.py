"""Sagacity's embedded engine: five trivial asynchronous steps; no listener, no advisor, no retries."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.peers.contender import BACK, FORWARD, SHAPES, RunOne, serve

from sagacity_engine import (
    BoundSaga,
    Call,
    Engine,
    Event,
    FailureClass,
    RetryPolicy,
    SqliteJournal,
    Status,
    StepError,
    define,
)

DURABLE = (
    "every event; a call is made only when its intent is durable, and a caller is told the end only when it "
    "is; after a crash every run goes on from its last event"
)

ENDS = {FORWARD: Status.COMPLETED, BACK: Status.COMPENSATED}


def bound(shape: str) -> BoundSaga:
    """The saga of that shape; its steps do nothing, one after the other."""
    saga = define("five")

    async def act(call: Call) -> None:
        del call

    async def refuse(call: Call) -> None:
        raise StepError("Refused", f"saga {call.input['number']} is refused", FailureClass.PERMANENT)

    once = RetryPolicy(maximum_attempts=1)
    for number in range(1, 6):
        action = refuse if shape == BACK and number == 5 else act
        saga.step(name=f"step_{number}", retry=once, compensate=act)(action)
    return saga.bind()


class Sagacity:
    """The engine on a SQLite journal."""

    def __init__(self) -> None:
        self._bound = {shape: bound(shape) for shape in SHAPES}
        self._besides: dict[str, float] = {}

    @asynccontextmanager
    async def opened(self, shape: str, file: Path) -> AsyncIterator[RunOne]:
        """An engine of its own."""
        journal = SqliteJournal(file)
        async with Engine(journal, [self._bound[shape]]) as engine:
            sample = await engine.run("five", {"number": 0})
            ran, wanted = 1, ENDS[shape]

            async def run(number: int) -> None:
                nonlocal ran
                result = await engine.run("five", {"number": number})
                assert result.status is wanted, result
                ran += 1

            yield run
            kept, events = dict(journal.counts()), len(journal.read(sample.run_id))
        assert kept == {wanted: ran}, f"{kept} of {ran} runs"
        self._besides = {
            "events_per_saga": events,
            "events_per_commit": ran * events / journal.commits,
            "bytes_per_saga": _size(file) / ran,  # Closing the journal has checkpointed it.
        }

    def besides(self) -> dict[str, float]:
        """Events, commits and bytes of the last opening."""
        return self._besides

    async def describe(self, file: Path) -> list[str]:
        """Its durability, read from its own connections."""
        said = [
            f"one saga {shape} by itself: {await self._commits(shape, file.with_name(shape)):g} transactions"
            for shape in SHAPES
        ]
        connections: list[sqlite3.Connection] = []
        journal = SqliteJournal(file, connect=_remembering(connections))
        async with Engine(journal, [self._bound[FORWARD]]) as engine:
            await engine.run("five", {"number": 0})
            read = {(_pragma(each, "journal_mode"), _pragma(each, "synchronous")) for each in connections}
        return [
            DURABLE,
            *said,
            f"read from its own {len(connections)} connections: (journal_mode, synchronous) = {sorted(read)}",
        ]

    async def _commits(self, shape: str, file: Path) -> float:
        journal = SqliteJournal(file)
        async with Engine(journal, [self._bound[shape]]) as engine:
            before = journal.commits
            for number in range(8):
                await engine.run("five", {"number": number})
            return (journal.commits - before) / 8


async def sample_events(shape: str, file: Path) -> tuple[Event, ...]:
    """The events of one run of that shape."""
    journal = SqliteJournal(file)
    async with Engine(journal, [bound(shape)]) as engine:
        result = await engine.run("five", {"number": 0})
        return journal.read(result.run_id)


def _remembering(connections: list[sqlite3.Connection]) -> Callable[[str], sqlite3.Connection]:
    def connect(path: str) -> sqlite3.Connection:
        connections.append(sqlite3.connect(path, isolation_level=None, check_same_thread=False))
        return connections[-1]

    return connect


def _size(file: Path) -> int:
    return file.stat().st_size


def _pragma(connection: sqlite3.Connection, name: str) -> str | int:
    value: str | int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


if __name__ == "__main__":
    serve(Sagacity)
