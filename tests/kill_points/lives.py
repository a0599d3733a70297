"""One story over several lives of a process: each dies as told, the last one does not; then what is left.

A life opens the real engine on the files that the one before left behind. Participants, and what clients were
told, go over all lives.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sagacity_engine import machine
from sagacity_engine.batch import Batch
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import Event
from sagacity_engine.handlers import BoundSaga
from sagacity_engine.host import Engine
from sagacity_engine.results import result_of
from sagacity_engine.sqlite_connection import Connection
from sagacity_engine.sqlite_file import Durability
from sagacity_engine.sqlite_journal import SqliteJournal
from sagacity_engine.testing import violations
from sagacity_engine.testing.trial import saga_of
from tests.kill_points.client import Asked, Client, Fact
from tests.kill_points.participants import Participants
from tests.kill_points.shapes import Hedging, Shape
from tests.kill_points.stepwise import StepwiseJournal, StepwiseLoop, run_life
from tests.kill_points.troubles import Killed

FILE = "runs.db"
LIFE_S = 600.0
"""How much later the next life begins, on everybody's clock."""


class Ground(Protocol):
    """What a life's connections stand on: a disk, or failpoints."""

    count: int

    @property
    def dead(self) -> bool: ...
    def connect(self, path: str) -> Connection: ...
    def leave(self, into: Path) -> None: ...
    def close(self) -> None: ...


MakeGround = Callable[[Path], Ground]


@dataclass
class Told:
    """What goes over all lives of one story."""

    shape: Shape
    durability: Durability = "full"
    who: Participants = field(default_factory=Participants)
    kept: list[Batch] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lives: int = 0
    ended: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.bound: BoundSaga = self.shape.bind(self.who)


def live(told: Told, folder: Path, ground: Ground) -> bool:
    """One life; whether it came to the end of the story."""
    told.lives += 1
    begins_at = 1e9 + told.lives * LIFE_S
    loop: StepwiseLoop

    def clock() -> float:
        return begins_at + loop.time()

    journal = StepwiseJournal(folder / FILE, ground.connect, clock, told.kept, told.durability)
    loop = StepwiseLoop(journal, ground)
    try:
        run_life(loop, _tell(told, journal, clock))
    except Killed:
        return False
    except JournalRefused:  # The engine could not open its journal, and the process gave up.
        return False
    except Exception as problem:  # noqa: BLE001  whatever it is, the story did not go as it should
        told.wrong.append(f"life {told.lives}: {type(problem).__name__}: {problem}")
    return True


async def _tell(told: Told, journal: StepwiseJournal, clock: Callable[[], float]) -> None:
    async with Engine(
        journal,
        [told.bound],
        advisor=Hedging(),
        holdout_share=0.0,
        clock=clock,
        draw=lambda: 0.5,
        shutdown_s=60.0,
    ) as engine:
        client = Client(engine, journal, told.who, told.facts, told.asked, told.wrong)
        await told.shape.story(client)
        told.wrong += [f"{run_id} is stranded: {why}" for run_id, why in engine.stranded.items()]


def lost(told: Told, folder: Path) -> list[str]:
    """What was acknowledged and is not there."""
    found: list[str] = []
    with closing(_reader(folder)) as journal:
        for batch in told.kept:
            events = journal.read(batch.run_id)
            if events[batch.seq - 1 : batch.seq - 1 + len(batch.events)] != batch.events:
                found.append(f"{batch.run_id}: events {batch.seq} to {batch.seq + len(batch.events) - 1}")
        for fact in told.facts:
            if not fact.holds(journal.read(fact.run_id)):
                found.append(f"{fact.run_id}: {fact.words}")
        for asked in told.asked:
            if journal.answer_of(asked.number) is None:
                found.append(f"request {asked.number} was never answered")
    return found


def breaches(told: Told, folder: Path) -> list[str]:
    """Everything that is not as it must be, once the story is at its end."""
    found = list(told.wrong)
    with closing(sqlite3.connect(folder / FILE)) as connection:
        (intact,) = connection.execute("PRAGMA integrity_check").fetchone()
        if intact != "ok":
            found.append(f"the file is damaged: {intact}")
    with closing(_reader(folder)) as journal:
        lines = journal.runs()
        if journal.requests():
            found.append("a request is without an answer")
        for line in lines:
            events = journal.read(line.run_id)
            found += [f"{line.run_id}: {each}" for each in _of_run(told, line.run_id, events)]
            state = machine.replay(saga_of(told.bound.saga, line.run_id), events)
            if state.ended is None:
                found.append(f"{line.run_id} is open")
                continue
            result = result_of(state)
            if (line.status, line.ended_at, line.reason) != (result.status, result.ended_at, result.reason):
                found.append(f"{line.run_id}: its line says {line.status.value}, its events {result.status.value}")
            if "/" not in line.run_id:
                told.ended.add(result.status.value)
                if result.status not in told.shape.ends:
                    found.append(f"{line.run_id} ended {result.status.value}: {result.reason}")
    unknown = set(told.who.ledger) - {line.run_id for line in lines}
    found += [f"{run_id}: effects of a run that is not there" for run_id in sorted(unknown)]
    return found


def _of_run(told: Told, run_id: str, events: Sequence[Event]) -> tuple[str, ...]:
    ledger = told.who.ledger.get(run_id, [])
    keys = [each.key for each in ledger if each.honours_keys]
    twice = ("a key took effect twice",) if len(keys) != len(set(keys)) else ()
    return (*violations(saga_of(told.bound.saga, run_id), events, ledger), *twice)


def _reader(folder: Path) -> SqliteJournal:
    journal = SqliteJournal(folder / FILE, read_only=True)
    journal.open()
    return journal
