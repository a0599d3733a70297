"""Playing one policy over a stretch of trips, in its own copy of the world.

Each policy gets the same trips, outages and luck; only the load differs, because it is the policy's own. A
play is a function of its arguments alone, so policies run side by side in separate processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sagacity_data.cost import state_cost
from sagacity_engine.advisor import Launch
from sagacity_engine.events import Event, RunEnded, Status
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.saga import Saga
from sagacity_engine.virtual.host import Listener, Planner, VirtualHost
from sagacity_engine.worlds import Trip, World
from sagacity_engine.worlds.law import DAY_S


@dataclass(frozen=True, slots=True)
class TripOutcome:
    """How one trip ended under one policy; cost in the owner's unit, latency in seconds."""

    trip_id: str
    day: int
    completed: bool
    status: str
    cost: float
    wasted: float
    latency_s: float
    fallback: bool


def play(
    saga: Saga,
    world: World,
    trips: list[Trip],
    plan: Planner,
    *listeners: Listener,
    progress: Callable[[int], None] = lambda _done: None,
) -> list[TripOutcome]:
    """Runs every trip to its end in virtual time and accounts for it; outcomes in the order of `trips`."""
    outcomes: dict[str, TripOutcome] = {}

    def listen(state: RunState, event: Event) -> None:
        for listener in listeners:
            listener(state, event)
        if isinstance(event, RunEnded):
            outcomes[state.started.run_id] = _account(state, event)
            progress(len(outcomes))

    host = VirtualHost(world, world.jitter, listen)
    for trip in trips:
        host.launch(saga, Launch(run_id=trip.trip_id, context=trip.context, at=trip.at), plan)
    host.run()
    return [outcomes[trip.trip_id] for trip in trips]


def _account(state: RunState, ended: RunEnded) -> TripOutcome:
    cost = state_cost(state)
    return TripOutcome(
        trip_id=state.started.run_id,
        day=int(state.started.at // DAY_S),
        completed=ended.status is Status.COMPLETED,
        status=ended.status.value,
        cost=cost.total,
        wasted=cost.wasted,
        latency_s=ended.at - state.started.at,
        fallback=state.started.fallback,
    )
