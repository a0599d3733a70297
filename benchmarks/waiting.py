"""What a run that only waits costs: memory, and the time to start, find again and let go on.

    python benchmarks/waiting.py [--runs 100000]

Every run waits for an approval, journaled to SQLite. Printed: resident memory before and after, bytes per
run, starts a second; then the same for an engine that opens the journal anew; then approvals a second.
"""

import argparse
import asyncio
import gc
import resource
import tempfile
import time
from pathlib import Path

from sagacity_engine import BoundSaga, Call, Engine, SqliteJournal, define

BATCH = 500


def waiting_saga() -> BoundSaga:
    """A saga that books, waits for the host's word and confirms."""
    saga = define("stay")

    async def act(call: Call) -> None:
        del call

    saga.step(name="hold", compensate=act)(act)
    saga.approval("host", after=["hold"])
    saga.step(name="confirm", after=["host"], compensate=act)(act)
    return saga.bind()


def resident_bytes() -> int:
    """Resident memory of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


async def started(engine: Engine, runs: int) -> float:
    """Starts the runs and waits until every one of them waits; runs a second."""
    began = time.perf_counter()
    for first in range(0, runs, BATCH):
        numbers = range(first, min(first + BATCH, runs))
        await asyncio.gather(*(engine.start("stay", {"n": n}, run_id=f"stay-{n}") for n in numbers))
    while (await engine.state(f"stay-{runs - 1}")).steps["host"].phase != "awaiting":  # noqa: ASYNC110  nobody rings
        await asyncio.sleep(0.05)
    return runs / (time.perf_counter() - began)


async def measured(path: Path, runs: int) -> None:
    """Prints the figures."""
    bound = waiting_saga()
    before = resident_bytes()
    async with Engine(SqliteJournal(path), [bound], max_open=2 * runs) as engine:
        rate = await started(engine, runs)
        grown = resident_bytes() - before
        each = f"{grown / runs:,.0f} bytes a run"
        print(f"{runs} waiting: {grown / 2**20:,.0f} MiB more, {each}, {rate:,.0f} starts/s")
    before = resident_bytes()
    began = time.perf_counter()
    async with Engine(SqliteJournal(path), [bound], max_open=2 * runs) as engine:
        took_s, grown = time.perf_counter() - began, resident_bytes() - before
        print(f"found again in {took_s:.1f} s, {grown / 2**20:+,.0f} MiB")
        sample = min(runs, 2_000)
        began = time.perf_counter()
        await asyncio.gather(*(engine.signal(f"stay-{n}", "host", who="host") for n in range(sample)))
        await asyncio.gather(*(engine.result(f"stay-{n}") for n in range(sample)))
        print(f"{sample / (time.perf_counter() - began):,.0f} approvals/s, to the end of the run")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak {peak:,.0f} MiB")


def main() -> None:
    """Runs it in a folder that is removed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100_000, help="runs that wait")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measured(Path(folder) / "runs.db", runs))


if __name__ == "__main__":
    main()
