"""The whole engine simulated: real host, machine, locks, guards, inner runs; all else is drawn from a seed.

A day is a batch of random sagas run by one engine after another on one journal, in virtual time, while
services fail, disks fill, processes die and people interfere. At the end of the day the trouble stops. Then
every run must end or wait for a person within a bound, every run's journal and what the participants really
did must satisfy the checker, what the engine believed must be the fold of its journal, and whatever was
acknowledged must be there. The same seed plays the same day, byte for byte.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

from sagacity_engine.events import Direction
from sagacity_engine.guards.service_guards import ServicePolicy
from sagacity_engine.parts import Breaker, Kind
from sagacity_engine.saga import Saga, Step
from sagacity_engine.testing.random_sagas import random_saga
from sagacity_engine.testing.simulation.advice import SimAdvisor
from sagacity_engine.testing.simulation.clients import Clients, Order
from sagacity_engine.testing.simulation.engines import WALL_S, Engines, Make
from sagacity_engine.testing.simulation.judge import Judge
from sagacity_engine.testing.simulation.participants import Participants
from sagacity_engine.testing.simulation.people import People
from sagacity_engine.testing.simulation.replies import Replies
from sagacity_engine.testing.simulation.report import Report
from sagacity_engine.testing.simulation.services import SimServices
from sagacity_engine.testing.simulation.virtual_loop import VirtualLoop, run_in_virtual_time
from sagacity_engine.testing.simulation.weather import random_weather
from sagacity_engine.testing.simulation.witness import Witness

RUNS = 24
"""Runs of a day, not counting inner ones."""

LAUNCHES_S, TROUBLE_S = 25.0, 40.0
"""Until when runs are started, and until when things go wrong, in virtual seconds."""

SETTLES_S_MAX = 600.0
"""How long after all trouble the last run may still be open, in virtual seconds."""

SERVICES = tuple(f"service-{number}" for number in range(1, 5))


def simulate(seed: int, runs: int = RUNS, *, keep_journals: bool = False) -> Report:
    """Plays the day of this seed; `breaches` is empty when nothing was wrong."""
    with _quiet():
        day = run_in_virtual_time(_played(seed, runs), seed)
    return day.report(keep_journals=keep_journals)


@contextmanager
def _quiet() -> Iterator[None]:
    """What engines say of disks that are full, thousands of times over, is no news here."""
    log = logging.getLogger("sagacity_engine")
    was, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was


async def _played(seed: int, runs: int) -> _Day:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "a simulation runs in virtual time"
    day = _Day(loop, seed, runs)
    await day.play()
    return day


class _Day:
    """One seed's day."""

    def __init__(self, loop: VirtualLoop, seed: int, runs: int) -> None:
        self.seed = seed
        self.loop = loop
        self.witness = Witness()
        rng = self._rng("day")
        self.weather = random_weather(rng, SERVICES, TROUBLE_S)
        self.participants = Participants(self.witness, lambda: WALL_S + loop.time(), self._intents)
        self.replies = Replies(self._rng("replies"), self.weather, self.participants, self.witness, loop.time)
        self.services = SimServices(
            loop, self._rng("services"), self.replies, self.participants, self.witness
        )
        sagas = [_tempered(random_saga(rng, name=f"saga-{number}"), rng) for number in range(runs)]
        make = Make(
            sagas=[self.services.bound(saga) for saga in sagas],
            advisor=SimAdvisor(self._rng("advice"), self.witness) if rng.random() < 0.7 else None,
            services=rng.choice(_POLICIES),
            max_runs=rng.choice((3, 1_000)),
            max_threads=rng.choice((2, 32)),
        )
        self.engines = Engines(loop, self._rng("engines"), make, self.weather.crash, self.witness)
        self.services.engines = self.engines
        self.clients = Clients(self.engines, self._rng("clients"), self.witness)
        self.people = People(self.engines, self._rng("people"), self.participants, self.replies, self.witness)
        self.orders = [
            Order(rng.uniform(0.0, LAUNCHES_S), saga.name, f"{seed}-{number}", rng.randint(1, 2))
            for number, saga in enumerate(sagas)
        ]
        loop.set_exception_handler(self._accident)

    async def play(self) -> None:
        """From the first launch until everything has come to rest."""
        background = [
            asyncio.ensure_future(each)
            for each in (self.engines.live(), self.people.watch(), self._trouble())
        ]
        clients = [asyncio.ensure_future(self.clients.place(order)) for order in self.orders]
        await asyncio.sleep(TROUBLE_S)
        self._calm(background[1:])
        await self._rest()
        for task in (*background, *clients):
            if task.done() and not task.cancelled() and (problem := task.exception()) is not None:
                self.witness.accident(f"{type(problem).__name__}: {problem}")
        for client in clients:
            client.cancel()
        await self.engines.close()
        await asyncio.wait(background)
        self.participants.close()

    def report(self, *, keep_journals: bool) -> Report:
        """What the day came to."""
        judge = Judge(self.engines, self.clients, self.participants, self.witness.marks)
        report = judge.judged(keep_journals=keep_journals)
        disk, notes = self.engines.disk, self.witness.notes
        notes["fence refused a stale writer"] += disk.fenced
        notes["request through the journal was carried out"] += disk.carried_out
        notes["answered request was asked again after a crash"] += disk.forgotten
        self.witness.faults["engine killed"] += self.engines.deaths
        report.faults += self.witness.faults
        report.situations += notes
        report.crashes += self.engines.deaths
        report.virtual_s += self.loop.time()
        found = (*report.breaches, *self.witness.accidents)
        report.breaches = [f"seed {self.seed}: {words}" for words in found]
        return report

    async def _trouble(self) -> None:
        """What befalls engines and their disk, besides commits that kill."""
        rng, engines = self._rng("trouble"), self.engines
        if not self.weather.crash:
            return
        while True:
            await asyncio.sleep(rng.expovariate(1 / 4.0))
            match rng.choice(("kill", "kill", "take over", "crowd", "shut", "disk full")):
                case "kill":
                    engines.kill(engines.current or engines.opening)
                case "take over":
                    engines.take_over()
                case "crowd":
                    engines.crowd()
                case "shut":
                    await engines.shut()
                case _:
                    await self._fill_disk(rng.uniform(0.2, 3.0))

    async def _fill_disk(self, seconds: float) -> None:
        disk = self.engines.disk
        before, disk.full = disk.refused, True
        try:
            await asyncio.sleep(seconds)
        finally:
            disk.full = False
        self.witness.fault("disk full")
        if disk.refused > before:
            self.witness.note("runs were parked until the disk had room")

    def _calm(self, troubles: Iterable[asyncio.Future[Any]]) -> None:
        for task in troubles:
            task.cancel()
        self.weather.calm = True
        self.replies.stuck.clear()
        self.engines.crash = 0.0

    async def _rest(self) -> None:
        """Until no run is open and nobody is waited for; or the bound is over."""
        bound_s = self.loop.time() + SETTLES_S_MAX
        while self.loop.time() < bound_s:
            await asyncio.sleep(1.0)
            quiet = self.people.settle_all() and not self.clients.starting
            if quiet and not self.engines.disk.kept.requests():
                return

    def _rng(self, what: str) -> Random:
        return Random(f"{self.seed}/{what}")

    def _intents(self, run_id: str, step: str) -> int:
        return self.engines.disk.intents.get((run_id, step, Direction.FORWARD), 0)

    def _accident(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        del loop
        problem = context.get("exception")
        self.witness.accident(f"{context.get('message')}: {type(problem).__name__}: {problem}")


def _tempered(saga: Saga, rng: Random) -> Saga:
    """The saga with locks that others hold too, breakers that close again within the day, and effects that
    nobody can take back.
    """
    locks = tuple(replace(lock, key=lock.key.removeprefix(f"{saga.name}-")) for lock in saga.locks)
    breaker = Breaker(failure_threshold=rng.choice((1, 2, 3)), open_s=rng.choice((1.0, 3.0)))
    lasting = saga.pivot is None and rng.random() < 0.3
    steps = tuple(_tempered_step(step, breaker, lasting=lasting) for step in saga.steps)
    return replace(saga, steps=steps, locks=locks)


def _tempered_step(step: Step, breaker: Breaker, *, lasting: bool) -> Step:
    if lasting and step.kind is Kind.RETRIABLE and step.sub_saga is None:
        step = replace(step, compensation=None)
    return step if step.breaker is None else replace(step, breaker=breaker)


_POLICIES: tuple[dict[str, ServicePolicy] | None, ...] = (
    None,
    {"*": ServicePolicy(retry_share=0.05, retry_burst=2.0)},
    {"*": ServicePolicy(concurrency=2, retry_share=None)},
    {"service-1": ServicePolicy(concurrency=1), "service-2": ServicePolicy(retry_burst=1.0)},
)
