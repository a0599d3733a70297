"""Sagas per second of the embedded engine, beside the floor: raw group-committed appends of the same events.

    python benchmarks/engine.py [--sagas 2000]

Each figure is five trivial asynchronous steps run as one saga, journaled to SQLite with `synchronous=FULL`,
at 1, 16, 64 and 256 sagas at a time. The floor appends, through the same journal and in the same batches
per run, the very events those sagas wrote, with nothing else around them. The ratio is what defining,
deciding and calling cost; it travels between machines better than the figures do.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sagacity_engine import BoundSaga, Call, Engine, Event, SqliteJournal, define
from sagacity_engine.events import AttemptStarted, RunStarted
from sagacity_engine.journal import Entry

CONCURRENT = (1, 16, 64, 256)


def five_steps() -> BoundSaga:
    """A saga whose steps do nothing."""
    saga = define("five")

    async def act(call: Call) -> None:
        del call

    for number in range(1, 6):
        saga.step(name=f"step_{number}", compensate=act)(act)
    return saga.bind()


async def timed(
    bound: BoundSaga, path: Path, sagas: int, concurrent: int
) -> tuple[float, int, tuple[Event, ...]]:
    """Sagas per second, commits, and the events of one run."""
    journal = SqliteJournal(path)
    left = iter(range(sagas))

    async def client(engine: Engine) -> None:
        for number in left:
            await engine.run("five", run_id=None, context={"number": number})

    async with Engine(journal, [bound]) as engine:
        sample = await engine.run("five")
        began = time.perf_counter()
        await asyncio.gather(*(client(engine) for _ in range(concurrent)))
        elapsed = time.perf_counter() - began
        return sagas / elapsed, journal.commits, journal.read(sample.run_id)


async def floor(events: Sequence[Event], path: Path, sagas: int, concurrent: int) -> float:
    """Runs per second of bare appends."""
    journal = SqliteJournal(path)
    journal.open()
    batches = as_batches(events)
    left = iter(range(sagas))

    async def client() -> None:
        for number in left:
            seq = 0
            for batch in batches:
                entries = [
                    Entry(f"run-{number}", seq + place, event) for place, event in enumerate(batch, start=1)
                ]
                seq += len(batch)
                await journal.append(entries)

    try:
        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(concurrent)))
        return sagas / (time.perf_counter() - began)
    finally:
        journal.close()


def as_batches(events: Sequence[Event]) -> list[list[Event]]:
    """The events as the engine wrote them: a batch ends where a call is made or the run ends."""
    batches: list[list[Event]] = [[]]
    for event in events:
        batches[-1].append(replace(event, run_id="run") if isinstance(event, RunStarted) else event)
        if isinstance(event, AttemptStarted):
            batches.append([])
    return batches


def main() -> None:
    """Prints one line per concurrency."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sagas", type=int, default=2_000, help="sagas per figure")
    sagas = parser.parse_args().sagas
    bound = five_steps()
    print(f"{'at a time':>9} {'sagas/s':>9} {'floor/s':>9} {'ratio':>6} {'events/commit':>14}")
    with tempfile.TemporaryDirectory() as folder:
        for concurrent in CONCURRENT:
            number = max(200, sagas // (8 if concurrent == 1 else 1))
            rate, commits, events = asyncio.run(
                timed(bound, Path(folder) / f"engine-{concurrent}.db", number, concurrent)
            )
            bare = asyncio.run(floor(events, Path(folder) / f"floor-{concurrent}.db", number, concurrent))
            share = (number + 1) * len(events) / commits
            print(f"{concurrent:>9} {rate:>9,.0f} {bare:>9,.0f} {rate / bare:>6.2f} {share:>14.1f}")


if __name__ == "__main__":
    main()
