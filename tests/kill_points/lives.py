"""One story over several lives of a process: each dies as told, the last one does not; then what is left.

A life opens the real engine on the files that the one before left behind. Participants, and what clients were
told, go over all lives.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.kill_points.client import Asked, Client, Fact
from tests.kill_points.participants import Participants
from tests.kill_points.sagas import Hedging
from tests.kill_points.shapes import Shape
from tests.kill_points.stepwise import StepwiseJournal, StepwiseLoop, run_life
from tests.kill_points.troubles import Killed

from sagacity_engine.batch import Batch
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import Event
from sagacity_engine.handlers import BoundSaga
from sagacity_engine.host import Engine
from sagacity_engine.machine import machine
from sagacity_engine.run_lines import RunSummary
from sagacity_engine.sqlite.connection import Connection
from sagacity_engine.sqlite.file import Durability
from sagacity_engine.sqlite.journal import SqliteJournal
from sagacity_engine.testing import violations
from sagacity_engine.testing.trial import saga_of

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
        client = Client(engine, journal, told.who, facts=told.facts, asked=told.asked, wrong=told.wrong)
        await told.shape.story(client)
        told.wrong += [f"{run_id} is stranded: {why}" for run_id, why in engine.stranded.items()]


def judged(told: Told, folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What was acknowledged and is not there, and everything that is not as it must be at a story's end."""
    with closing(sqlite3.connect(folder / FILE)) as connection:
        (intact,) = connection.execute("PRAGMA integrity_check").fetchone()
    damage = [] if intact == "ok" else [f"the file is damaged: {intact}"]
    journal = SqliteJournal(folder / FILE, read_only=True)
    journal.open()
    with closing(journal):
        try:
            lines = journal.runs()
            stories = {line.run_id: journal.read(line.run_id) for line in lines}
            lost = [*_lost(told, stories), *_unanswered(told, journal)]
        except JournalRefused as problem:
            return (), (*told.wrong, *damage, f"the file is damaged: {problem}")
    found = [breach for line in lines for breach in _breaches(told, line, stories[line.run_id])]
    unknown = [
        f"{run_id}: effects of a run that is not there" for run_id in set(told.who.ledger) - set(stories)
    ]
    return tuple(lost), (*told.wrong, *damage, *found, *unknown)


def _lost(told: Told, stories: Mapping[str, tuple[Event, ...]]) -> Iterator[str]:
    for batch in told.kept:
        last = batch.seq - 1 + len(batch.events)
        if stories.get(batch.run_id, ())[batch.seq - 1 : last] != batch.events:
            yield f"{batch.run_id}: events {batch.seq} to {last}"
    for fact in told.facts:
        if not fact.holds(stories.get(fact.run_id, ())):
            yield f"{fact.run_id}: {fact.words}"


def _unanswered(told: Told, journal: SqliteJournal) -> Iterator[str]:
    for asked in told.asked:
        if journal.answer_of(asked.number) is None:
            yield f"request {asked.number} was never answered"


def _breaches(told: Told, line: RunSummary, events: tuple[Event, ...]) -> Iterator[str]:
    """What is wrong with one run."""
    run_id, saga = line.run_id, saga_of(told.bound.saga, line.run_id)
    ledger = told.who.ledger.get(run_id, [])
    yield from (f"{run_id}: {breach}" for breach in violations(saga, events, ledger))
    keys = [each.key for each in ledger if each.honours_keys]
    if len(keys) != len(set(keys)):
        yield f"{run_id}: a key took effect twice"
    state = machine.replay(saga, events)
    if state.ended is None:
        yield f"{run_id} is open"
        return
    ended = state.ended
    if (line.status, line.ended_at, line.reason) != (ended.status, ended.at, ended.reason):
        yield f"{run_id}: its line says {line.status.value}, its events {ended.status.value}"
    if not state.started.parent:
        told.ended.add(ended.status.value)
        if ended.status not in told.shape.ends:
            yield f"{run_id} ended {ended.status.value}: {ended.reason}"
