"""The ceiling of our engine: bare appends to its journal, in the batches that the engine writes.

What lies between this and the engine is the price of defining, deciding and calling.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.peers.contender import RunOne, serve
from benchmarks.peers.with_sagacity import bound, sample_events

from sagacity_engine import Event, SqliteJournal
from sagacity_engine.events import AttemptStarted, RunStarted
from sagacity_engine.journal import Batch


class RawJournal:
    """A SQLite journal without an engine."""

    @asynccontextmanager
    async def opened(self, shape: str, file: Path) -> AsyncIterator[RunOne]:
        """A journal of its own."""
        batches = as_batches(await sample_events(shape, file.with_name("sample.db")))
        journal = SqliteJournal(file)
        journal.open()
        journal.define(bound(shape).saga)
        ran = 0

        async def run(number: int) -> None:
            nonlocal ran
            del number
            ran += 1
            run_id, seq = f"run-{ran}", 1
            for batch in (_of_run(run_id, batches[0]), *batches[1:]):
                await journal.append(Batch(run_id, seq, batch))
                seq += len(batch)

        try:
            yield run
            kept = sum(journal.counts().values())
        finally:
            journal.close()
        assert kept == ran, f"{kept} of {ran} runs"

    def besides(self) -> dict[str, float]:
        """Nothing more."""
        return {}

    async def describe(self, file: Path) -> list[str]:
        """What it is."""
        del file
        return ["bare appends to Sagacity's journal, in the batches the engine writes: its ceiling"]


def _of_run(run_id: str, batch: tuple[Event, ...]) -> tuple[Event, ...]:
    """The batch that starts a run, for the run of this id."""
    started, *rest = batch
    assert isinstance(started, RunStarted), "a run's first batch starts it"
    return (replace(started, run_id=run_id), *rest)


def as_batches(events: Sequence[Event]) -> list[tuple[Event, ...]]:
    """The events as the engine wrote them: a batch ends where a call is made, or the run ends."""
    batches: list[list[Event]] = [[]]
    for event in events:
        batches[-1].append(event)
        if isinstance(event, AttemptStarted):
            batches.append([])
    return [tuple(batch) for batch in batches if batch]


if __name__ == "__main__":
    serve(RawJournal)
