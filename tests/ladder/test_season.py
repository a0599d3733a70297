"""The demo's world keeps what is promised of it, before and apart from any policy."""

from sagacity_engine.worlds.law import DAY_S
from sagacity_training.ladder.season import Season

DEMO = Season(seed=3, logged=4_000, fresh=2_000)


def test_outages_cover_three_to_ten_percent() -> None:
    """Each service is down for 3 to 10 % of the time, in the logged stretch as in the fresh one."""
    world = DEMO.world()
    for stretch in (DEMO.past, DEMO.future):
        for outages in world.outages.values():
            assert 0.03 <= outages.covered_share(stretch[0].at, stretch[-1].at) <= 0.10


def test_fresh_trips_span_sixty_days() -> None:
    """The fresh trips span more than sixty days, and begin after the last logged one."""
    assert DEMO.future[-1].at - DEMO.future[0].at > 60 * DAY_S
    assert DEMO.future[0].at > DEMO.past[-1].at
