"""The shapes of sagas that are killed at every write, each with those outside who want something of it.

A shape's `story` is told again in every life of the process, from the beginning: whatever it did before is
there already, and it goes on from where things stand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from tests.kill_points import sagas
from tests.kill_points.client import Client
from tests.kill_points.participants import Participants

from sagacity_engine import BoundSaga
from sagacity_engine.events import Action, Status
from sagacity_engine.machine.phases import StepPhase

Story = Callable[[Client], Awaitable[object]]

WAITING = (StepPhase.PENDING, StepPhase.RUNNING)


@dataclass(frozen=True, slots=True)
class Shape:
    """One saga, the story around it, and how its runs may end, whatever is killed when."""

    name: str
    bind: Callable[[Participants], BoundSaga]
    story: Story
    ends: frozenset[Status]


async def _one_run(client: Client) -> None:
    await client.run("r")


async def _somebody_approves(client: Client) -> None:
    await client.start("r")
    state = await client.until("r", lambda state: state.steps["visa"].phase not in WAITING)
    if state.steps["visa"].phase is StepPhase.AWAITING and "visa" not in state.signals:
        await client.signal("r", "visa")
    await client.result("r")


async def _two_want_it(client: Client) -> None:
    await client.start("r1", run_input={"room": 7})
    await client.start("r2", run_input={"room": 7})
    await client.result("r1")
    await client.result("r2")


async def _somebody_mends_it(client: Client) -> None:
    result = await client.run("r")
    if result.status is Status.NEEDS_ATTENTION:
        client.who.broken.clear()
        await client.act("r", Action.RETRY, "a")
        await client.result("r")


async def _somebody_pauses_it(client: Client) -> None:
    await client.start("r")
    state = await client.until("r", lambda state: state.steps["b"].phase is not StepPhase.PENDING)
    if state.ended is None and state.paused_at is None and not state.paused_s:
        await client.act("r", Action.PAUSE)
        state = await client.state("r")
    if state.paused_at is not None:
        await client.act("r", Action.RESUME)
    await client.result("r")


async def _another_process_cancels_it(client: Client) -> None:
    await client.start("r")
    await client.until("r", lambda state: state.steps["b"].phase is not StepPhase.PENDING)
    await client.ask_to_cancel("r")
    await client.result("r")


def _of(*ends: Status) -> frozenset[Status]:
    return frozenset(ends)


_DONE, _BACK = Status.COMPLETED, Status.COMPENSATED

SHAPES: Mapping[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("chain", sagas.chain, _one_run, _of(_DONE)),
        Shape("chain that turns back", sagas.chain_that_turns_back, _one_run, _of(_BACK)),
        Shape("side by side, taken back", sagas.side_by_side, _one_run, _of(_BACK)),
        Shape("past the pivot", sagas.past_the_pivot, _one_run, _of(_DONE)),
        Shape("uncertain pivot, probed", sagas.uncertain_pivot, _one_run, _of(_DONE)),
        Shape("optional, stray undo", sagas.optional, _one_run, _of(_DONE)),
        Shape("alternative", sagas.alternative, _one_run, _of(_DONE)),
        Shape("back to a savepoint", sagas.savepoint, _one_run, _of(_DONE, _BACK)),
        Shape("approval", sagas.approval, _somebody_approves, _of(_DONE)),
        Shape("sub-saga", sagas.sub_saga, _one_run, _of(_DONE)),
        Shape("sub-saga taken back", sagas.sub_saga_taken_back, _one_run, _of(_BACK)),
        Shape("hedge", sagas.hedged, _one_run, _of(_DONE)),
        Shape("queue for a room", sagas.one_room, _two_want_it, _of(_DONE)),
        Shape("operator retries an undo", sagas.broken_undo, _somebody_mends_it, _of(_BACK)),
        Shape("pause and resume", sagas.long, _somebody_pauses_it, _of(_DONE)),
        Shape("retries", sagas.retries, _one_run, _of(_DONE)),
        Shape("cancelled by another process", sagas.long, _another_process_cancels_it, _of(_BACK, _DONE)),
    )
}
