"""An engine on the soak's journal: starts sagas until it is killed, or carries the last ones to their end.

It prints what it has been told to be true, one line each: `accepted ID` when a start is durable, `ended ID
STATUS` when a result has come. It ends with `REFUSED` when the journal is another's, and with `FENCED` when
another process has taken it over.
"""

import asyncio
import itertools
import sys
from pathlib import Path

from benchmarks.soaking.sagas import bound_sagas

from sagacity_engine import Engine, EngineError, JournalRefused, RunSummary, SqliteJournal, Status
from sagacity_engine.events import RunStarted

LEASE_S = 1.0
AT_ONCE = 12
REFUSED, FENCED = 3, 4


async def main(folder: Path, generation: str, *, last: bool) -> int:
    """The exit code."""
    journal = SqliteJournal(folder / "runs.db", lease_s=LEASE_S)
    sagas = bound_sagas(str(folder / "ledger"))
    engine = Engine(journal, sagas, max_threads=8, shutdown_s=2.0)
    try:
        await engine.__aenter__()
    except JournalRefused as refusal:
        print(f"refused {refusal}", flush=True)
        return REFUSED
    try:
        print("open", flush=True)
        if last:
            await _finish(engine, journal)
            print("finished", flush=True)
            return 0
        names = [bound.saga.name for bound in sagas]
        numbers = itertools.count()
        starting = [asyncio.ensure_future(_start(engine, names, generation, numbers)) for _ in range(AT_ONCE)]
        # Those who wait for runs that write nothing do not learn of it.
        await asyncio.wait(starting, return_when=asyncio.FIRST_COMPLETED)
        for each in starting:
            each.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        return FENCED
    finally:
        await engine.__aexit__(None, None, None)


async def _start(engine: Engine, names: list[str], generation: str, numbers: "itertools.count[int]") -> None:
    """Starts one run after the other, until the engine can not."""
    for number in numbers:
        name = names[number % len(names)]
        try:
            run_id = await engine.start(name, {"room": number % 50}, run_id=f"{generation}-{number}")
            print(f"accepted {run_id}", flush=True)
            result = await engine.result(run_id)
            print(f"ended {run_id} {result.status.value}", flush=True)
        except JournalRefused:
            return
        except EngineError as refusal:
            print(f"said {refusal}", flush=True)
            await asyncio.sleep(0.01)


async def _finish(engine: Engine, journal: SqliteJournal) -> None:
    """Until no run is open; runs that hold up others and need a person are given up."""
    while journal.open_runs(1):
        for line in journal.runs(Status.NEEDS_ATTENTION, 10_000):
            if _holds_up_others(journal, line):
                await engine.abandon(line.run_id, who="the soak", why="others wait for it")
        await asyncio.sleep(0.2)


def _holds_up_others(journal: SqliteJournal, line: RunSummary) -> bool:
    started = journal.read(line.run_id)[0]
    assert isinstance(started, RunStarted), "a run begins with its start"
    outer = journal.run(started.parent) if started.parent else None
    return bool(started.locks) or (outer is not None and not outer.status.ended)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), sys.argv[2], last=sys.argv[3] == "last")))
