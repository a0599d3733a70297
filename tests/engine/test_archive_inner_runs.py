"""An inner run stays in the journal as long as the run above it may have to take it back."""

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

from sagacity_engine import Call, Engine, SqliteJournal, Status, define
from sagacity_engine.events import Action, OperatorActed, RunStarted
from sagacity_engine.journal import Batch
from sagacity_engine.sqlite.archive import archive

FAR = 1e12
"""A time by which every run has ended."""


def journal_of(path: Path, undone: list[str]) -> tuple[SqliteJournal, Any]:
    """A journal, and a trip whose stay is a saga, before the boss is asked."""

    async def act(call: Call) -> None:
        del call

    async def undo(call: Call) -> None:
        undone.append(call.step)

    rooms = define("rooms")
    rooms.step(name="hotel", compensate=undo)(act)
    trip = define("trip")
    trip.sub_saga(rooms, name="stay")
    trip.approval("boss", after=["stay"])
    return SqliteJournal(path), trip.bind()


async def stayed(engine: Engine) -> None:
    """Waits until the inner run is over and the boss is asked."""
    while (await engine.state("r")).steps["boss"].attempts == 0:  # noqa: ASYNC110  the engine tells nobody else
        await asyncio.sleep(0.01)


def test_an_inner_run_waits_for_the_run_above_it(tmp_path: Path) -> None:
    """While the outer run is open its finished inner run is not archived, and is taken back when it turns."""
    undone: list[str] = []
    journal, bound = journal_of(tmp_path / "runs.db", undone)

    async def go() -> None:
        async with Engine(journal, [bound]) as engine:
            await engine.start("trip", run_id="r")
            await stayed(engine)
            assert journal.archive(FAR, tmp_path / "old.db") == 0
            await engine.cancel("r", "Asha")
            assert (await engine.result("r")).status is Status.COMPENSATED

    asyncio.run(go())
    assert undone == ["hotel"]


def test_runs_go_with_those_above_them(tmp_path: Path) -> None:
    """Once the outer run has ended, one archiving takes it and its inner run."""
    journal, bound = journal_of(tmp_path / "runs.db", [])

    async def go() -> None:
        async with Engine(journal, [bound]) as engine:
            await engine.start("trip", run_id="r")
            await stayed(engine)
            await engine.signal("r", "boss", who="Asha")
            await engine.result("r")

    asyncio.run(go())
    journal.open()
    assert journal.archive(FAR, tmp_path / "old.db") == 2
    assert journal.runs() == ()
    journal.close()


def test_an_inner_run_stays_when_the_run_above_it_went_on(tmp_path: Path) -> None:
    """A person undoes the outer run after both were copied: neither is deleted."""
    path = tmp_path / "runs.db"
    journal, bound = journal_of(path, [])
    [inner] = bound.inner.values()

    async def go() -> None:
        async with Engine(journal, [inner]) as engine:
            await engine.run("rooms", run_id="r")
            [first, *others] = journal.read("r")
            assert isinstance(first, RunStarted)
            child = replace(first, run_id="r/stay/1", parent="r")
            await journal.append(Batch("r/stay/1", 1, (child, *others)))

    asyncio.run(go())
    journal.open()

    class Meddling(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql == "PRAGMA synchronous = FULL":
                undo = OperatorActed(at=FAR, action=Action.UNDO, who="Asha")
                asyncio.run(journal.append(Batch("r", 1 + len(journal.read("r")), (undo,))))
            return super().execute(sql, *parameters)

    def connect(where: str) -> sqlite3.Connection:
        return sqlite3.connect(where, isolation_level=None, check_same_thread=False, factory=Meddling)

    assert archive(path, FAR, tmp_path / "old.db", 10, connect=connect, clock=lambda: 1000.0) == 0
    assert {line.run_id for line in journal.runs()} == {"r", "r/stay/1"}
    journal.close()
