"""When to learn again, with a clock that the test moves."""

from __future__ import annotations

import pytest

from sagacity_training.loop.drift import Alarm
from sagacity_training.loop.watching import HOUR_S, Seen, Trained, WatchPolicy, due, watch

ALARM = Alarm("trip/pay", True, 5.0, 40)
POLICY = WatchPolicy()
TRAINED = Trained(at=0.0, runs=10_000)


@pytest.mark.parametrize(
    ("trained", "seen", "now", "reason"),
    [
        (None, Seen(runs=0), 1e9, ""),
        (None, Seen(runs=1), 1e9, "nothing was trained yet"),
        (TRAINED, Seen(runs=10_999), 2 * HOUR_S, ""),
        (TRAINED, Seen(runs=11_000), 2 * HOUR_S, "1000 runs are new beside 10000"),
        (TRAINED, Seen(runs=11_000), 0.5 * HOUR_S, ""),
        (Trained(at=0.0, runs=100), Seen(runs=500), 2 * HOUR_S, ""),
        (TRAINED, Seen(runs=10_001, alarms=(ALARM, ALARM)), 2 * HOUR_S, "drift: trip/pay fails more often"),
        (TRAINED, Seen(runs=10_001, alarms=(ALARM,)), 0.5 * HOUR_S, ""),
        (TRAINED, Seen(runs=10_001), 7 * 24 * HOUR_S, "the latest training is 7 days old"),
        (TRAINED, Seen(runs=10_000), 70 * 24 * HOUR_S, ""),
    ],
)
def test_the_reason_to_train(trained: Trained | None, seen: Seen, now: float, reason: str) -> None:
    """New runs must be many and a share; drift and age count; nothing does within the rest."""
    told = due(trained, seen, now, POLICY)
    assert told.startswith(reason) if reason else told == ""


def test_it_trains_when_due_and_stops_when_told() -> None:
    """Looks a minute apart find 20 new runs each: trained at once, after the rest, and for half as much."""
    now, runs, reasons = [0.0], [0], list[str]()

    def look(_trained: Trained | None) -> Seen:
        return Seen(runs=runs[0])

    def train(reason: str) -> Trained:
        reasons.append(reason)
        return Trained(at=now[0], runs=runs[0])

    def wait(seconds: float) -> bool:
        now[0] += seconds
        runs[0] += 20
        return runs[0] > 4_000

    watch(look, train, clock=lambda: now[0], wait=wait, policy=WatchPolicy(grown=0.5))
    assert reasons == [
        "nothing was trained yet",
        "1200 runs are new beside 20",
        "1200 runs are new beside 1220",
        "1220 runs are new beside 2420",
    ]
