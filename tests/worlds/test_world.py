"""The simulated world: keyed luck, outages that follow their law, laws that can be read off a table."""

from dataclasses import replace
from statistics import mean

import pytest
import yaml

from sagacity_engine import Direction, FailureClass, Launch, author_plan, read_saga
from sagacity_engine.advisor import author_advice
from sagacity_engine.events import AttemptFailed, AttemptStarted, Event
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.virtual.host import VirtualHost
from sagacity_engine.worlds import GOA_LAW, World, goa_trip, trips
from sagacity_engine.worlds.law import DAY_S, Context, Effect
from sagacity_engine.worlds.outages import OutageLaw, Outages
from sagacity_engine.worlds.traffic import Trip

BEGIN = 1_736_121_600.0


def told(count: int, seed: int = 1) -> list[tuple[str, Event]]:
    """Every event of `count` trips under the author's plan."""
    world = World(GOA_LAW, seed=seed, begin=BEGIN, span_s=90 * DAY_S)
    events: list[tuple[str, Event]] = []

    def listen(state: RunState, event: Event) -> None:
        events.append((state.started.run_id, event))

    host = VirtualHost(world, world.jitter, listen)
    for trip in trips(GOA_LAW, seed=seed, label="test", begin=BEGIN, count=count):
        launch = Launch(run_id=trip.trip_id, context=trip.context, at=trip.at)
        host.launch(goa_trip(), launch, lambda saga, launch: author_advice(saga, "test"))
    host.run()
    return events


def test_same_seed_same_events() -> None:
    """A seed replays a stretch of trips event for event, and another seed does not."""
    first = told(60)
    assert first == told(60)
    assert first != told(60, seed=2)


def test_document_and_world_hold_one_trip(pytestconfig: pytest.Config) -> None:
    """The trip's document in examples/ and the world's Python definition are the same value."""
    text = (pytestconfig.rootpath / "examples" / "goa_trip.yaml").read_text(encoding="utf-8")
    assert read_saga(yaml.safe_load(text)) == goa_trip()


def test_permanent_refusals_stay_refused() -> None:
    """An input that was sold out once is never accepted later in the same run."""
    refused: set[tuple[str, str]] = set()
    for run_id, event in told(150):
        if isinstance(event, AttemptFailed) and event.failure_class is FailureClass.PERMANENT:
            refused.add((run_id, event.step))
        elif (
            type(event).__name__ == "AttemptSucceeded"
            and getattr(event, "direction", "") == Direction.FORWARD
        ):
            assert (run_id, getattr(event, "step", "")) not in refused
    assert refused


def test_luck_does_not_depend_on_who_asked_before() -> None:
    """A trip's luck at a step is the same in two copies of the world that were asked in different orders."""
    state = booked(trips(GOA_LAW, seed=1, label="test", begin=BEGIN, count=1)[0])
    attempts = [
        AttemptStarted(at=BEGIN, step=s, direction=Direction.FORWARD, attempt=1) for s in goa_trip().names
    ]

    def replies(order: list[AttemptStarted]) -> dict[str, object]:
        world = World(GOA_LAW, seed=1, begin=BEGIN, span_s=DAY_S)
        return {attempt.step: world.call(state, attempt) for attempt in order}

    assert replies(attempts) == replies(attempts[::-1])


def booked(trip: Trip) -> RunState:
    """A run of the trip that has just started."""
    states: list[RunState] = []
    world = World(GOA_LAW, seed=1, begin=BEGIN, span_s=DAY_S)
    host = VirtualHost(world, world.jitter, lambda state, event: states.append(state))
    launch = Launch(run_id=trip.trip_id, context=trip.context, at=trip.at)
    host.launch(goa_trip(), launch, lambda saga, launch: author_advice(saga, "test"))
    host.run()
    return states[0]


def test_load_is_what_is_in_flight() -> None:
    """A call counts as load from its start until the caller stops waiting for it."""
    world = World(GOA_LAW, seed=1, begin=BEGIN, span_s=DAY_S)
    state = booked(trips(GOA_LAW, seed=1, label="test", begin=BEGIN, count=1)[0])
    attempt = AttemptStarted(at=BEGIN, step="book_flight", direction=Direction.FORWARD, attempt=1)
    world.call(state, attempt)
    assert world.load("indigo") > 0
    world.settled(state, attempt, BEGIN + 1)
    assert world.load("indigo") == 0


def test_outages_cover_their_share() -> None:
    """Over many years a service is down for its law's share of the time."""
    law = OutageLaw(share=0.05, mean_down_s=6 * 3600.0)
    shares = [
        Outages(law, seed=seed, service="s", begin=0.0, span_s=3_000 * DAY_S).covered_share(
            0.0, 3_000 * DAY_S
        )
        for seed in range(5)
    ]
    assert mean(shares) == pytest.approx(0.05, rel=0.1)


def test_prediction_composes() -> None:
    """Predicting in two steps equals predicting in one, and far ahead only the share is left."""
    law = OutageLaw(share=0.05, mean_down_s=6 * 3600.0)
    twice = law.predicted(law.predicted(0.9, 3_000.0), 5_000.0)
    assert twice == pytest.approx(law.predicted(0.9, 8_000.0))
    assert law.predicted(0.9, 1e9) == pytest.approx(0.05)


def test_a_service_without_outages_is_never_down() -> None:
    """A law with share 0 has no outages and predicts none."""
    law = OutageLaw(share=0.0, mean_down_s=3600.0)
    assert not Outages(law, seed=1, service="s", begin=0.0, span_s=DAY_S).down(1_000.0)
    assert law.predicted(0.0, 10.0) == 0.0


def test_effects_move_the_odds_the_way_they_read() -> None:
    """A peak season, a weekend and a larger party make a hotel harder to get; the monsoon easier."""
    hotel = GOA_LAW.steps["book_hotel"]
    quiet: Context = {"season": "shoulder", "weekend": False, "party": 2.0}
    assert hotel.permanent(quiet) == pytest.approx(hotel.permanent_base)
    assert hotel.permanent({**quiet, "season": "peak"}) > hotel.permanent(quiet)
    assert hotel.permanent({**quiet, "weekend": True}) > hotel.permanent(quiet)
    assert hotel.permanent({**quiet, "party": 5.0}) > hotel.permanent(quiet)
    assert hotel.permanent({**quiet, "season": "monsoon"}) < hotel.permanent(quiet)
    assert Effect("absent", 2.0, 5.0).of(quiet) == 0.0


def test_arrivals_are_in_order_and_keyed() -> None:
    """Trips come in time order, and a trip's context depends on its id and the seed only."""
    some = trips(GOA_LAW, seed=3, label="x", begin=BEGIN, count=200)
    assert [trip.at for trip in some] == sorted(trip.at for trip in some)
    assert some[0].at > BEGIN
    rarer = trips(replace(GOA_LAW, trips_per_day=5.0), seed=3, label="x", begin=BEGIN, count=200)
    assert [trip.context for trip in some] == [trip.context for trip in rarer]


def test_author_plan_is_the_story() -> None:
    """The author's plan is the story's order, three attempts each, one step at a time."""
    plan = author_plan(goa_trip())
    assert plan.names == goa_trip().names
    assert all(len(stage) == 1 for stage in plan.stages())
    assert {step.retry.maximum_attempts for step in plan.steps} == {3}
