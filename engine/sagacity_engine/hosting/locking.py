"""Resources that no two runs hold at once: which keys a run asks for, and waiting for them before it starts.

A run's keys are worked out from its input when it starts, and are part of its start. With `wait` nothing is
written before the run holds them; with `reject` the start is refused; with `queue` the run is accepted and
its steps wait. Keys are taken in the order of their names, so that no two runs wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from sagacity_engine.errors import RunRefused, SagaRefused
from sagacity_engine.guards.resource_locks import ResourceLocks
from sagacity_engine.parts import WhenHeld
from sagacity_engine.references import resolve
from sagacity_engine.saga import Saga

KEY_MAX = 500
"""The most characters of a resource key."""


def lock_keys(saga: Saga, run_input: Mapping[str, Any]) -> tuple[str, ...]:
    """The resources a run with this input asks for; raises `SagaRefused` for a reference gone astray."""
    keys: list[str] = []
    for lock in saga.locks:
        try:
            key = str(resolve(lock.key, run_input, {}))
        except SagaRefused as problem:
            raise SagaRefused(f"the lock {lock.key!r} of saga {saga.name!r}: {problem}") from None
        if not 0 < len(key) <= KEY_MAX:
            raise SagaRefused(
                f"the lock {lock.key!r} became {key[:60]!r}; a key has 1 to {KEY_MAX} characters"
            )
        keys.append(key)
    return tuple(sorted(set(keys)))


async def lock_before_start(
    locks: ResourceLocks, saga: Saga, run_id: str, keys: tuple[str, ...], closed: asyncio.Future[None]
) -> bool:
    """Whether the run holds its keys now; False when it is to queue for them once it has started.

    Waits where the saga says wait; raises `RunRefused` naming the holder where it says reject, or when the
    engine has `closed` before the keys were free.
    """
    ways = {lock.when_held for lock in saga.locks}
    if not keys:
        return False
    if WhenHeld.REJECT in ways:
        if held := locks.try_all(run_id, keys):
            holder = locks.holder(held[0])
            raise RunRefused(f"{held[0]!r} is held by run {holder!r}; start this run when that one has ended")
        return True
    if WhenHeld.WAIT in ways:
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not locks.ask(run_id, keys, _settle(granted)):
            await asyncio.wait([granted, closed], return_when=asyncio.FIRST_COMPLETED)
            if not granted.done():
                raise RunRefused(f"the engine closed while run {run_id!r} waited to start; start it again")
        return True
    return False


def _settle(granted: asyncio.Future[None]) -> Callable[[], None]:
    def settle() -> None:
        if not granted.done():
            granted.set_result(None)

    return settle
