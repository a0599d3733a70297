"""The sagas that are killed at every write: one for each way in which an engine can go.

All participants are honest; where a step's participant does not honour keys, the step says so.
"""

from __future__ import annotations

from dataclasses import replace

from tests.kill_points.participants import Participants

from sagacity_engine import BoundSaga, Compensation, RetryPolicy, define
from sagacity_engine.advisor import Advice, Launch
from sagacity_engine.authoring import SagaBuilder
from sagacity_engine.parts import StepFreedom
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga

AT_ONCE = RetryPolicy(initial_interval_s=0.0, maximum_attempts=8)


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


def chain(who: Participants) -> BoundSaga:
    trip = _trip()
    for name in ("a", "b", "c"):
        _step(trip, who, name)
    return trip.bind()


def chain_that_turns_back(who: Participants) -> BoundSaga:
    trip = _trip()
    _step(trip, who, "a")
    trip.step(name="b", retry=AT_ONCE, compensate=who.undoes())(who.does(honours=False))
    _step(trip, who, "c")
    _refused(trip, who)
    return trip.bind()


def side_by_side(who: Participants) -> BoundSaga:
    trip = _trip(stages=[["a", "b", "c"], ["last"]])
    for name, lands_s in (("a", 0.2), ("b", 0.5), ("c", 0.5)):
        _step(trip, who, name, lands_s=lands_s)
    trip.step(name="last", on_failure="IMMEDIATE_FULL_COMPENSATION", compensate=who.undoes())(
        who.does(refuses=True)
    )
    return trip.bind()


def past_the_pivot(who: Participants) -> BoundSaga:
    trip = _trip(stages=[["a"], ["pay"], ["ship", "tell"]])
    _step(trip, who, "a")
    _pay(trip, who)
    for name in ("ship", "tell"):
        trip.step(name=name, kind="retriable", after=["pay"], idempotent=True, retry=AT_ONCE)(
            who.does(fails=1)
        )
    return trip.bind()


def uncertain_pivot(who: Participants) -> BoundSaga:
    trip = _trip()
    _step(trip, who, "a")
    trip.step(name="pay", kind="pivot", retry=AT_ONCE, probe=who.knows())(who.does(honours=False, loses=1))
    trip.step(name="tell", kind="retriable", after=["pay"], idempotent=True, retry=AT_ONCE)(who.does())
    return trip.bind()


def optional(who: Participants) -> BoundSaga:
    trip = _trip(stages=[["a", "extra"], ["pay"]])
    _step(trip, who, "a")
    trip.step(name="extra", optional=True, compensate=who.undoes())(who.does(honours=False, loses=1))
    _pay(trip, who)
    return trip.bind()


def alternative(who: Participants) -> BoundSaga:
    trip = _trip()
    _step(trip, who, "hotel")
    trip.step(name="train", retry=AT_ONCE, idempotent=True, compensate=who.undoes())(who.does(refuses=True))
    trip.step(name="bus", alternative_to="train", retry=AT_ONCE, idempotent=True, compensate=who.undoes())(
        who.does()
    )
    trip.step(name="pay", kind="pivot", after=["train"], idempotent=True, retry=AT_ONCE)(who.does())
    return trip.bind()


def savepoint(who: Participants) -> BoundSaga:
    trip = _trip()
    _step(trip, who, "a")
    trip.step(name="kept", savepoint=True, idempotent=True, retry=AT_ONCE, compensate=who.undoes())(
        who.does()
    )
    _step(trip, who, "x")
    once = RetryPolicy(maximum_attempts=1)
    trip.step(
        name="y", idempotent=True, retry=once, on_failure="ROLLBACK_TO_SAVEPOINT", compensate=who.undoes()
    )(who.does(fails=1))
    _pay(trip, who)
    return trip.bind()


def approval(who: Participants) -> BoundSaga:
    trip = _trip()
    _step(trip, who, "a")
    visa = trip.approval("visa", expires_after_s=3600)
    trip.step(name="pay", kind="pivot", after=[visa], idempotent=True, retry=AT_ONCE)(who.does())
    return trip.bind()


def _inner(who: Participants) -> SagaBuilder:
    hotel = define("hotel")
    _step(hotel, who, "room")
    _step(hotel, who, "breakfast")
    return hotel


def sub_saga(who: Participants) -> BoundSaga:
    trip = _trip()
    _step(trip, who, "a")
    trip.sub_saga(_inner(who))
    _pay(trip, who)
    return trip.bind()


def sub_saga_taken_back(who: Participants) -> BoundSaga:
    trip = _trip()
    trip.sub_saga(_inner(who))
    _step(trip, who, "a")
    _refused(trip, who)
    return trip.bind()


def hedged(who: Participants) -> BoundSaga:
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


def one_room(who: Participants) -> BoundSaga:
    trip = _trip(locks=["room-${input.room}"])
    _step(trip, who, "a")
    _pay(trip, who)
    return trip.bind()


def broken_undo(who: Participants) -> BoundSaga:
    who.broken.add("a")
    trip = _trip()
    undo = Compensation(retry=RetryPolicy(initial_interval_s=0.0, maximum_attempts=2))
    trip.step(name="a", idempotent=True, retry=AT_ONCE, compensate=who.undoes(), compensation=undo)(
        who.does()
    )
    _refused(trip, who)
    return trip.bind()


def retries(who: Participants) -> BoundSaga:
    trip = _trip(retry_budget=20)
    for name, fails in (("a", 2), ("b", 1)):
        _step(trip, who, name, fails=fails)
    _pay(trip, who)
    return trip.bind()


def long(who: Participants) -> BoundSaga:
    trip = _trip()
    _step(trip, who, "a")
    _step(trip, who, "b", lands_s=1.0, replies_s=2.0)
    _pay(trip, who)
    return trip.bind()
