"""The Mumbai-Goa trip: its saga as an author would write it, and the world it is sold in.

The order is the story's, with three attempts each and timeouts near the 99th percentile. What depends on what
is kept small: a cab needs the flight's arrival, a table needs to know the hotel. The laws below were written
down before any policy was run on them.
"""

from __future__ import annotations

from sagacity_engine.parts import Compensation, CostPolicy, Kind, SagaFreedom, StepFreedom
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.worlds.law import Effect, StepLaw, WorldLaw
from sagacity_engine.worlds.outages import OutageLaw

_FREEDOM = StepFreedom(start_to_close_timeout_s=(1.0, 30.0), maximum_attempts=(1, 5))


def _bookable(
    name: str, service: str, *, timeout_s: float, cost: float, undo_cost: float, after: tuple[str, ...] = ()
) -> Step:
    return Step(
        name=name,
        service=service,
        after=after,
        start_to_close_timeout_s=timeout_s,
        retry=RetryPolicy(maximum_attempts=3),
        idempotent=True,
        cost=cost,
        compensation=Compensation(cost=undo_cost),
        freedom=_FREEDOM,
    )


def goa_trip() -> Saga:
    """The trip's saga: eight steps, payment as the pivot, confirmation retriable after it."""
    return Saga(
        name="goa-trip",
        version="1",
        deadline_s=900.0,
        steps=(
            _bookable("book_flight", "indigo", timeout_s=8.0, cost=1.0, undo_cost=9.0),
            _bookable("book_hotel", "beach_resort", timeout_s=7.0, cost=0.8, undo_cost=8.0),
            _bookable(
                "book_cab", "city_cabs", timeout_s=4.0, cost=0.3, undo_cost=1.5, after=("book_flight",)
            ),
            _bookable("book_activities", "goa_divers", timeout_s=10.0, cost=0.5, undo_cost=3.0),
            _bookable(
                "book_restaurant", "zomato", timeout_s=4.0, cost=0.2, undo_cost=0.8, after=("book_hotel",)
            ),
            _bookable("book_return_flight", "akasa", timeout_s=8.0, cost=1.0, undo_cost=9.0),
            Step(
                name="take_payment",
                service="razorpay",
                kind=Kind.PIVOT,
                start_to_close_timeout_s=6.0,
                idempotent=True,
                cost=0.5,
                freedom=_FREEDOM,
            ),
            Step(
                name="send_confirmation",
                service="msg91",
                kind=Kind.RETRIABLE,
                after=("take_payment",),
                start_to_close_timeout_s=2.5,
                idempotent=True,
                cost=0.05,
                freedom=_FREEDOM,
            ),
        ),
        freedom=SagaFreedom(reorder=True, timeouts=True, retries=True, compensation=True),
        policy=CostPolicy(latency_cost_per_s=0.02, failure_penalty=15.0),
    )


def _outage(share: float, hours: float) -> OutageLaw:
    return OutageLaw(share, hours * 3600.0)


GOA_LAW = WorldLaw(
    trips_per_day=30.0,
    burst_size=4.0,
    burst_gap_s=30.0,
    context_shares={"season": {"peak": 0.3, "shoulder": 0.4, "monsoon": 0.3}},
    steps={
        "book_flight": StepLaw(
            service="indigo",
            outages=_outage(0.045, 6.0),
            permanent_base=0.015,
            permanent_effects=(
                Effect("season", "peak", 1.5),
                Effect("lead_days", 20.0, -0.04),
                Effect("party", 2.0, 0.2),
            ),
            failure_base=0.025,
            rush=(18, 22),
            rush_weight=0.9,
            median_s=2.5,
        ),
        "book_hotel": StepLaw(
            service="beach_resort",
            outages=_outage(0.05, 6.0),
            permanent_base=0.025,
            permanent_effects=(
                Effect("season", "peak", 2.2),
                Effect("season", "monsoon", -1.2),
                Effect("weekend", True, 0.6),
                Effect("party", 2.0, 0.2),
            ),
            failure_base=0.03,
            median_s=2.0,
        ),
        "book_cab": StepLaw(
            service="city_cabs",
            outages=_outage(0.05, 5.0),
            refusal="NoCabs",
            permanent_base=0.008,
            permanent_effects=(Effect("season", "monsoon", 2.4), Effect("party", 2.0, 0.3)),
            failure_base=0.04,
            rush=(7, 10),
            rush_weight=1.1,
            median_s=1.2,
        ),
        "book_activities": StepLaw(
            service="goa_divers",
            outages=_outage(0.055, 6.0),
            refusal="Closed",
            permanent_base=0.01,
            permanent_effects=(Effect("season", "monsoon", 3.4), Effect("party", 2.0, 0.25)),
            failure_base=0.05,
            median_s=3.0,
        ),
        "book_restaurant": StepLaw(
            service="zomato",
            outages=_outage(0.05, 5.0),
            refusal="NoTable",
            permanent_base=0.008,
            permanent_effects=(Effect("weekend", True, 1.8), Effect("party", 2.0, 0.4)),
            failure_base=0.03,
            rush=(18, 23),
            rush_weight=1.2,
            median_s=1.0,
        ),
        "book_return_flight": StepLaw(
            service="akasa",
            outages=_outage(0.05, 6.0),
            permanent_base=0.015,
            permanent_effects=(
                Effect("season", "peak", 1.5),
                Effect("weekend", True, 1.0),
                Effect("lead_days", 20.0, -0.04),
                Effect("party", 2.0, 0.2),
            ),
            failure_base=0.03,
            median_s=2.5,
        ),
        "take_payment": StepLaw(
            service="razorpay",
            outages=_outage(0.045, 4.0),
            refusal="Declined",
            permanent_base=0.02,
            permanent_effects=(Effect("tier", "gold", -1.0), Effect("party", 2.0, 0.15)),
            failure_base=0.02,
            median_s=1.8,
        ),
        "send_confirmation": StepLaw(
            service="msg91",
            outages=_outage(0.045, 4.0),
            permanent_base=0.0,
            failure_base=0.03,
            median_s=0.6,
        ),
    },
)
