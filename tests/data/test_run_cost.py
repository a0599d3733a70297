from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sagacity_data import AttemptRow, RunUnfinished, run_cost, state_cost
from sagacity_engine import Compensation, CostPolicy, Kind, RetryPolicy, Saga, Step
from sagacity_engine.virtual.host import Reply

ORDER = Saga(
    name="order",
    steps=(
        Step(name="check", kind=Kind.READ_ONLY, cost=0.25),
        Step(name="reserve", cost=2.0, compensation=Compensation(cost=3.0)),
        Step(name="charge", kind=Kind.PIVOT, cost=5.0, retry=RetryPolicy(maximum_attempts=3)),
    ),
    policy=CostPolicy(latency_cost_per_s=0.1, failure_penalty=50.0),
)
REFUSED = Reply(duration_s=1.0, error_type="Declined")


def test_a_completed_run_costs_its_attempts_and_time(play: Callable[..., Any]) -> None:
    """One refused charge: attempts 12.25, 4 s of calls and 0.5 s of waiting at 0.1, no penalty; 5 wasted."""
    played = play(ORDER, {"charge": [REFUSED]})
    cost = run_cost(ORDER, played.events["r1"])
    assert (cost.attempts, cost.undos, cost.penalty, cost.wasted) == (12.25, 0.0, 0.0, 5.0)
    assert cost.latency == pytest.approx(0.45)
    assert cost.total == pytest.approx(12.7)


def test_a_compensated_run_wastes_what_was_undone(play: Callable[..., Any]) -> None:
    """Charge refused three times: 17.25 of attempts and 3 of undo; all but the read-only step is wasted."""
    played = play(ORDER, {"charge": [REFUSED] * 3})
    cost = run_cost(ORDER, played.events["r1"])
    assert (cost.attempts, cost.undos, cost.penalty) == (17.25, 3.0, 50.0)
    assert cost.wasted == 2.0 + 15.0 + 3.0
    assert cost.latency == pytest.approx(0.1 * (1 + 1 + 1 + 0.5 + 1 + 1 + 1 + 1))
    assert cost.total == pytest.approx(17.25 + 3.0 + 50.0 + 0.75)


def test_a_failed_undo_still_wastes_the_work(play: Callable[..., Any]) -> None:
    """A step whose compensation fails for good counts as undone: its work and every undo are wasted."""
    undo = Compensation(cost=3.0, retry=RetryPolicy(maximum_attempts=2))
    saga = Saga(name="s", steps=(Step(name="a", cost=2.0, compensation=undo), Step(name="b", cost=1.0)))
    played = play(saga, {"b": [REFUSED] * 3, "undo a": [REFUSED] * 2})
    cost = run_cost(saga, played.events["r1"])
    assert (cost.attempts, cost.undos, cost.wasted) == (5.0, 6.0, 11.0)


@pytest.mark.parametrize("refusals", [0, 1, 3])
def test_events_rows_and_state_agree(play: Callable[..., Any], refusals: int) -> None:
    """A run costs the same by its events, by its rows in any order, and by its last state."""
    played = play(ORDER, {"charge": [REFUSED] * refusals})
    by_events = run_cost(ORDER, played.events["r1"])
    assert run_cost(ORDER, reversed(played.rows)) == by_events
    assert state_cost(played.states["r1"]) == by_events
    assert (played.rows[-1].cost, played.rows[-1].wasted_cost) == (by_events.total, by_events.wasted)


def test_an_unfinished_run_has_no_cost(play: Callable[..., Any]) -> None:
    """Without its launch or its end a run's cost is refused, naming the saga."""
    events = play(ORDER).events["r1"]
    with pytest.raises(RunUnfinished, match="'order' has no known launch or end"):
        run_cost(ORDER, events[:-1])
    with pytest.raises(RunUnfinished):
        run_cost(ORDER, events[1:])
    with pytest.raises(RunUnfinished):
        run_cost(ORDER, [row for row in play(ORDER).rows if isinstance(row, AttemptRow)])
