"""A crash at every write of a run, before and after it is durable, and again during the recovery."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sagacity_engine import (
    BoundSaga,
    Call,
    Compensation,
    Direction,
    Engine,
    MemoryJournal,
    RetryPolicy,
    Status,
    StepError,
    define,
)
from sagacity_engine.events import AttemptUnknown, RunStarted, UnknownReason
from sagacity_engine.journal import Batch, Settle
from sagacity_engine.testing import Effect, violations

AT_ONCE = RetryPolicy(initial_interval_s=0.0)


class Mortal(MemoryJournal):
    """A journal whose process dies at its n-th write: nothing comes back, and nothing more is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 1_000_000
        self.durable = False
        self.dead = asyncio.Event()

    def arm(self, left: int, *, durable: bool) -> None:
        """Dies at write number `left`, just before or just after it became durable."""
        self.left, self.durable, self.dead = left, durable, asyncio.Event()

    def submit(self, batch: Batch, settle: Settle) -> None:
        self.left -= 1
        if self.left > 0:
            super().submit(batch, settle)
            return
        if self.left == 0 and self.durable:
            super().submit(batch, lambda _: None)
        self.dead.set()


class Participants:
    """Functions that note their effects; those of idempotent steps and undos honour keys."""

    def __init__(self) -> None:
        self.ledger: list[Effect] = []

    def acts(self, *, honours: bool = True, refuses: bool = False) -> Callable[[Call], Any]:
        async def act(call: Call) -> None:
            await asyncio.sleep(0)
            if refuses:
                raise StepError("No")
            if not (honours and any(effect.key == call.idempotency_key for effect in self.ledger)):
                self.ledger.append(
                    Effect(
                        step=call.step,
                        direction=call.direction,
                        attempt=call.attempt,
                        key=call.idempotency_key,
                        honours_keys=honours,
                    )
                )
            await asyncio.sleep(0)

        return act


def goes_forward(who: Participants) -> BoundSaga:
    trip = define("trip")
    trip.step(name="a", idempotent=True, retry=AT_ONCE, compensate=who.acts())(who.acts())
    trip.step(name="pay", kind="pivot", idempotent=True, retry=AT_ONCE)(who.acts())
    trip.step(name="tell", kind="retriable", after=["pay"], idempotent=True, retry=AT_ONCE)(who.acts())
    return trip.bind()


def turns_back(who: Participants) -> BoundSaga:
    trip = define("trip")
    undo = Compensation(retry=RetryPolicy(initial_interval_s=0.0, maximum_attempts=9))
    trip.step(name="a", idempotent=True, retry=AT_ONCE, compensate=who.acts(), compensation=undo)(who.acts())
    once = who.acts(honours=False)
    trip.step(name="b", retry=AT_ONCE, after=["a"], compensate=who.acts(), compensation=undo)(once)
    trip.step(name="pay", kind="pivot", retry=AT_ONCE)(who.acts(refuses=True))
    return trip.bind()


def side_by_side(who: Participants) -> BoundSaga:
    trip = define("trip", stages=[["a", "b", "maybe"], ["pay"]])
    for name in ("a", "b"):
        trip.step(name=name, idempotent=True, retry=AT_ONCE, compensate=who.acts())(who.acts())
    trip.step(name="maybe", optional=True, retry=AT_ONCE, compensate=who.acts())(who.acts(honours=False))
    trip.step(name="pay", kind="pivot", retry=AT_ONCE)(who.acts())
    return trip.bind()


async def live(journal: Mortal, bound: BoundSaga) -> bool:
    """One life of the process; whether it saw the run's end."""
    async with Engine(journal, [bound], shutdown_s=0.0, draw=lambda: 0.0) as engine:
        run = asyncio.create_task(engine.run("trip", run_id="r"))
        death = asyncio.create_task(journal.dead.wait())
        await asyncio.wait([run, death], return_when=asyncio.FIRST_COMPLETED)
        for task in (run, death):
            task.cancel()
        return not journal.dead.is_set()


async def crash_and_recover(
    make: Callable[[Participants], BoundSaga], deaths: list[tuple[int, bool]]
) -> set[str]:
    """Dies as told, one life after the other, then lives to the end; what came up on the way."""
    who, journal = Participants(), Mortal()
    bound = make(who)
    for left, durable in deaths:
        journal.arm(left, durable=durable)
        if await live(journal, bound):
            return {"ended too soon"}
    journal.arm(1_000_000, durable=True)
    assert await live(journal, bound)
    events = journal.read("r")
    assert violations(bound.saga, events, who.ledger) == ()
    assert isinstance(events[0], RunStarted)
    crashed = [e for e in events if isinstance(e, AttemptUnknown) and e.reason is UnknownReason.CRASHED]
    summary = journal.run("r")
    assert summary is not None
    found = {summary.status.value}
    return found | {f"crashed {e.direction.value}" for e in crashed}


@pytest.mark.parametrize("make", [goes_forward, turns_back, side_by_side])
def test_every_crash_point_recovers(make: Callable[[Participants], BoundSaga]) -> None:
    """From each write, once and once more in the recovery, the run ends and the invariants hold."""
    seen: set[str] = set()
    for first in range(1, 30):
        reached = False
        for durable in (False, True):
            found = asyncio.run(crash_and_recover(make, [(first, durable)]))
            reached |= "ended too soon" not in found
            seen |= found
            for second in range(1, 5):
                seen |= asyncio.run(crash_and_recover(make, [(first, durable), (second, not durable)]))
        if not reached:
            break
    else:
        pytest.fail("the run never got by without a crash")
    assert first > 3
    assert {"crashed forward", "ended too soon"} <= seen
    if make is goes_forward:
        assert Status.COMPLETED.value in seen
    if make is turns_back:
        assert {Status.COMPENSATED.value, f"crashed {Direction.UNDO.value}"} <= seen
