"""The shapes of sagas that are killed at every write, each with those outside who want something of it.

A shape's `story` is told again in every life of the process, from the beginning: whatever it did before is
there already, and it goes on from where things stand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from sagacity_engine import BoundSaga, Compensation, RetryPolicy, define
from sagacity_engine.advisor import Advice, Launch
from sagacity_engine.authoring import SagaBuilder
from sagacity_engine.events import Action, Status
from sagacity_engine.parts import StepFreedom
from sagacity_engine.phases import StepPhase
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga
from tests.kill_points.client import Client
from tests.kill_points.participants import Participants

Story = Callable[[Client], Awaitable[object]]

AT_ONCE = RetryPolicy(initial_interval_s=0.0, maximum_attempts=8)
WAITING = (StepPhase.PENDING, StepPhase.RUNNING)


@dataclass(frozen=True, slots=True)
class Shape:
    """One saga, the story around it, and how its runs may end, whatever is killed when."""

    name: str
    bind: Callable[[Participants], BoundSaga]
    story: Story
    ends: frozenset[Status]


def _trip(**options: object) -> SagaBuilder:
    return define("trip", **options)  # type: ignore[arg-type]  # the shapes below pass what define takes


def _step(trip: SagaBuilder, who: Participants, name: str, after: str = "", **action: object) -> None:
    """A compensatable step whose participant honours keys."""
    before = [after] if after else []
    trip.step(name=name, after=before, idempotent=True, retry=AT_ONCE, compensate=who.undoes())(
        who.does(**action)  # type: ignore[arg-type]  # (as above)
    )


def _pay(trip: SagaBuilder, who: Participants) -> None:
    trip.step(name="pay", kind="pivot", idempotent=True, retry=AT_ONCE)(who.does())


def _refused(trip: SagaBuilder, who: Participants) -> None:
    """A last step that turns the run back."""
    trip.step(name="last", compensate=who.undoes())(who.does(refuses=True))


async def _one_run(client: Client) -> None:
    await client.run("r")


def _chain(who: Participants) -> BoundSaga:
    trip = _trip()
    for name in ("a", "b", "c"):
        _step(trip, who, name)
    return trip.bind()


def _chain_that_turns_back(who: Participants) -> BoundSaga:
    trip = _trip()
    _step(trip, who, "a")
    trip.step(name="b", retry=AT_ONCE, compensate=who.undoes())(who.does(honours=False))
    _step(trip, who, "c")
    _refused(trip, who)
    return trip.bind()


def _side_by_side(who: Participants) -> BoundSaga:
    trip = _trip(stages=[["a", "b", "c"], ["last"]])
    for name, lands_s in (("a", 0.2), ("b", 0.5), ("c", 0.5)):
        _step(trip, who, name, lands_s=lands_s)
    trip.step(name="last", on_failure="IMMEDIATE_FULL_COMPENSATION", compensate=who.undoes())(
        who.does(refuses=True)
    )
    return trip.bind()


def _past_the_pivot(who: Participants) -> BoundSaga:
    trip = _trip(stages=[["a"], ["pay"], ["ship", "tell"]])
    _step(trip, who, "a")
    _pay(trip, who)
    for name in ("ship", "tell"):
        trip.step(name=name, kind="retriable", after=["pay"], idempotent=True, retry=AT_ONCE)(who.does(fails=1))
    return trip.bind()


def _uncertain_pivot(who: Participants) -> BoundSaga:
    trip = _trip()
    _step(trip, who, "a")
    trip.step(name="pay", kind="pivot", retry=AT_ONCE, probe=who.knows())(who.does(honours=False, loses=1))
    trip.step(name="tell", kind="retriable", after=["pay"], idempotent=True, retry=AT_ONCE)(who.does())
    return trip.bind()


def _optional(who: Participants) -> BoundSaga:
    trip = _trip(stages=[["a", "extra"], ["pay"]])
    _step(trip, who, "a")
    trip.step(name="extra", optional=True, compensate=who.undoes())(who.does(honours=False, loses=1))
    _pay(trip, who)
    return trip.bind()


def _alternative(who: Participants) -> BoundSaga:
    trip = _trip()
    _step(trip, who, "hotel")
    trip.step(name="train", retry=AT_ONCE, idempotent=True, compensate=who.undoes())(who.does(refuses=True))
    trip.step(name="bus", alternative_to="train", retry=AT_ONCE, idempotent=True, compensate=who.undoes())(
        who.does()
    )
    trip.step(name="pay", kind="pivot", after=["train"], idempotent=True, retry=AT_ONCE)(who.does())
    return trip.bind()


def _savepoint(who: Participants) -> BoundSaga:
    trip = _trip()
    _step(trip, who, "a")
    trip.step(name="kept", savepoint=True, idempotent=True, retry=AT_ONCE, compensate=who.undoes())(who.does())
    _step(trip, who, "x")
    once = RetryPolicy(maximum_attempts=1)
    trip.step(
        name="y", idempotent=True, retry=once, on_failure="ROLLBACK_TO_SAVEPOINT", compensate=who.undoes()
    )(who.does(fails=1))
    _pay(trip, who)
    return trip.bind()


def _approval(who: Participants) -> BoundSaga:
    trip = _trip()
    _step(trip, who, "a")
    visa = trip.approval("visa", expires_after_s=3600)
    trip.step(name="pay", kind="pivot", after=[visa], idempotent=True, retry=AT_ONCE)(who.does())
    return trip.bind()


async def _somebody_approves(client: Client) -> None:
    await client.start("r")
    state = await client.until("r", lambda state: state.steps["visa"].phase not in WAITING)
    if state.steps["visa"].phase is StepPhase.AWAITING:
        await client.signal("r", "visa")
    await client.result("r")


def _inner(who: Participants) -> SagaBuilder:
    hotel = define("hotel")
    _step(hotel, who, "room")
    _step(hotel, who, "breakfast")
    return hotel


def _sub_saga(who: Participants) -> BoundSaga:
    trip = _trip()
    _step(trip, who, "a")
    trip.sub_saga(_inner(who))
    _pay(trip, who)
    return trip.bind()


def _sub_saga_taken_back(who: Participants) -> BoundSaga:
    trip = _trip()
    trip.sub_saga(_inner(who))
    _step(trip, who, "a")
    _refused(trip, who)
    return trip.bind()


def _hedged(who: Participants) -> BoundSaga:
    trip = _trip()
    freedom = StepFreedom(hedge_delay_s=(0.5, 2.0))
    trip.step(name="a", idempotent=True, retry=AT_ONCE, compensate=who.undoes(), freedom=freedom)(
        who.slow_once()
    )
    _pay(trip, who)
    return trip.bind()


class Hedging:
    """An advisor who would hedge every step that it may."""

    async def advise(self, saga: Saga, launch: Launch) -> Advice:
        del launch
        plan = author_plan(saga)
        steps = tuple(
            replace(step, hedge_delay_s=1.0) if saga.by_name[step.name].freedom.hedge_delay_s else step
            for step in plan.steps
        )
        return Advice(plan=replace(plan, steps=steps))


def _one_room(who: Participants) -> BoundSaga:
    trip = _trip(locks=["room-${input.room}"])
    _step(trip, who, "a")
    _pay(trip, who)
    return trip.bind()


async def _two_want_it(client: Client) -> None:
    await client.start("r1", run_input={"room": 7})
    await client.start("r2", run_input={"room": 7})
    await client.result("r1")
    await client.result("r2")


def _broken_undo(who: Participants) -> BoundSaga:
    who.broken.add("a")
    trip = _trip()
    undo = Compensation(retry=RetryPolicy(initial_interval_s=0.0, maximum_attempts=2))
    trip.step(name="a", idempotent=True, retry=AT_ONCE, compensate=who.undoes(), compensation=undo)(who.does())
    _refused(trip, who)
    return trip.bind()


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


def _retries(who: Participants) -> BoundSaga:
    trip = _trip(retry_budget=20)
    for name, fails in (("a", 2), ("b", 1)):
        _step(trip, who, name, fails=fails)
    _pay(trip, who)
    return trip.bind()


def _long(who: Participants) -> BoundSaga:
    trip = _trip()
    _step(trip, who, "a")
    _step(trip, who, "b", lands_s=1.0, replies_s=2.0)
    _pay(trip, who)
    return trip.bind()


async def _another_process_cancels_it(client: Client) -> None:
    await client.start("r")
    await client.until("r", lambda state: state.steps["b"].phase is not StepPhase.PENDING)
    await client.ask_to_cancel("r")
    await client.result("r")


def _of(*ends: Status) -> frozenset[Status]:
    return frozenset(ends)


_DONE, _BACK, _CARE = Status.COMPLETED, Status.COMPENSATED, Status.NEEDS_ATTENTION

SHAPES: Mapping[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("chain", _chain, _one_run, _of(_DONE)),
        Shape("chain that turns back", _chain_that_turns_back, _one_run, _of(_BACK)),
        Shape("side by side, taken back", _side_by_side, _one_run, _of(_BACK)),
        Shape("past the pivot", _past_the_pivot, _one_run, _of(_DONE)),
        Shape("uncertain pivot, probed", _uncertain_pivot, _one_run, _of(_DONE)),
        Shape("optional, stray undo", _optional, _one_run, _of(_DONE)),
        Shape("alternative", _alternative, _one_run, _of(_DONE)),
        Shape("back to a savepoint", _savepoint, _one_run, _of(_DONE, _BACK)),
        Shape("approval", _approval, _somebody_approves, _of(_DONE)),
        Shape("sub-saga", _sub_saga, _one_run, _of(_DONE)),
        Shape("sub-saga taken back", _sub_saga_taken_back, _one_run, _of(_BACK)),
        Shape("hedge", _hedged, _one_run, _of(_DONE)),
        Shape("queue for a room", _one_room, _two_want_it, _of(_DONE)),
        Shape("operator retries an undo", _broken_undo, _somebody_mends_it, _of(_BACK)),
        Shape("pause and resume", _long, _somebody_pauses_it, _of(_DONE)),
        Shape("retries", _retries, _one_run, _of(_DONE)),
        Shape("cancelled by another process", _long, _another_process_cancels_it, _of(_BACK, _DONE)),
    )
}
