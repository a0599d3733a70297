"""What the journal alone can keep: batches, events and sagas per second, and bytes, beside a bare floor.

    python benchmarks/journal.py [--sagas 4000] [--durability full]

A saga here is what the engine writes for five trivial steps: 12 events in 6 batches, each submitted when the
one before is durable, at 1, 16, 64 and 256 sagas at a time. The floor puts rows of the same number and size
into one table of the same kind of file, in the same batches, with `synchronous=FULL` and a loop written by
hand around `executemany`: no encoding, no checksums, no list of runs, no lease, no thread. With `--busy` the
event loop's thread never rests, as in an engine that is out of processor; the floor has no such thread.
"""

import argparse
import asyncio
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from sagacity_engine.codec import encode_batch
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import (
    AttemptStarted,
    AttemptSucceeded,
    Direction,
    Event,
    RunEnded,
    RunStarted,
    Status,
)
from sagacity_engine.journal import Batch
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga, Step
from sagacity_engine.sqlite.file import Durability
from sagacity_engine.sqlite.journal import SqliteJournal

CONCURRENT = (1, 16, 64, 256)
STEPS = tuple(f"step_{number}" for number in range(1, 6))
SAGA = Saga(name="five", steps=tuple(Step(name=name) for name in STEPS))
PLAN = author_plan(SAGA)


def story(number: int) -> list[Batch]:
    """The batches of one saga, as the engine writes them."""
    run_id, at = str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)), 1763910000.123456
    events: list[Event] = [
        RunStarted(
            run_id=run_id, at=at, definition_hash=SAGA.definition_hash, plan=PLAN, context={"number": number}
        )
    ]
    for name in STEPS:
        events.append(AttemptStarted(at=at, step=name, direction=Direction.FORWARD, attempt=1))
        events.append(AttemptSucceeded(at=at, step=name, direction=Direction.FORWARD, attempt=1))
    events.append(RunEnded(at=at, status=Status.COMPLETED))
    return [Batch(run_id, seq, (events[seq - 1], events[seq])) for seq in range(1, 13, 2)]


class Clients:
    """So many sagas at a time, one after the other until none is left."""

    def __init__(self, journal: SqliteJournal, stories: Iterator[list[Batch]], busy: bool) -> None:
        self._journal = journal
        self._stories = stories
        self._busy = busy
        self._left = 0
        self._done = asyncio.get_running_loop().create_future()

    async def run(self, concurrent: int) -> None:
        """Returns when the last saga is durable."""
        self._left = concurrent
        for _ in range(concurrent):
            self._next()
        if self._busy:
            self._spin()
        await self._done

    def _spin(self) -> None:
        if not self._done.done():
            asyncio.get_running_loop().call_soon(self._spin)

    def _next(self) -> None:
        batches = next(self._stories, None)
        if batches is None:
            self._left -= 1
            if not self._left:
                self._done.set_result(None)
            return
        rest = iter(batches)

        def settle(refusal: JournalRefused | None) -> None:
            if refusal is not None:
                self._done.set_exception(refusal)
            elif (batch := next(rest, None)) is None:
                self._next()
            else:
                self._journal.submit(batch, settle)

        settle(None)


def journal(
    path: Path, sagas: int, concurrent: int, durability: Durability, busy: bool
) -> tuple[float, float, float]:
    """Sagas per second, events per commit and bytes per saga."""
    stories = [story(number) for number in range(sagas)]
    kept = SqliteJournal(path, durability=durability)
    kept.open()

    async def go() -> float:
        began = time.perf_counter()
        await Clients(kept, iter(stories), busy).run(concurrent)
        return time.perf_counter() - began

    elapsed = asyncio.run(go())
    kept.close()
    return sagas / elapsed, sagas * 12 / kept.commits, path.stat().st_size / sagas


def floor(path: Path, sagas: int, concurrent: int) -> float:
    """Sagas per second of bare rows of the same sizes."""
    rows = [
        [(number, batch.seq, encode_batch(batch.events)[0], b"x" * 16) for batch in story(number)]
        for number in range(sagas)
    ]
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE batches (number INTEGER, seq INTEGER, body TEXT, checksum BLOB, "
        "PRIMARY KEY (number, seq)) WITHOUT ROWID"
    )
    began = time.perf_counter()
    for first in range(0, sagas, concurrent):
        group = rows[first : first + concurrent]
        for place in range(6):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO batches VALUES (?, ?, ?, ?)", [saga[place] for saga in group])
            connection.execute("COMMIT")
    elapsed = time.perf_counter() - began
    connection.close()
    return sagas / elapsed


def main() -> None:
    """Prints one line per concurrency."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sagas", type=int, default=4_000, help="sagas per figure, an eighth of them one by one"
    )
    parser.add_argument("--durability", choices=("full", "normal"), default="full")
    parser.add_argument("--busy", action="store_true", help="keep the event loop's thread busy")
    given = parser.parse_args()
    print(f"{'at a time':>9} {'sagas/s':>9} {'batches/s':>10} {'events/s':>9} {'events/commit':>14}", end="")
    print(f" {'bytes/saga':>11} {'floor, sagas/s':>15} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for concurrent in CONCURRENT:
            number = max(concurrent, given.sagas // (8 if concurrent == 1 else 1))
            path = Path(folder) / f"journal-{concurrent}.db"
            rate, share, size = journal(path, number, concurrent, given.durability, given.busy)
            bare = floor(Path(folder) / f"floor-{concurrent}.db", number, concurrent)
            print(
                f"{concurrent:>9} {rate:>9,.0f} {6 * rate:>10,.0f} {12 * rate:>9,.0f} {share:>14.1f}", end=""
            )
            print(f" {size:>11,.0f} {bare:>15,.0f} {rate / bare:>6.2f}")


if __name__ == "__main__":
    main()
