"""A process killed, a disk that fills or fails, and power lost, at every write of the journal's files."""

import logging

import pytest
from tests.kill_points import points
from tests.kill_points.shapes import SHAPES
from tests.kill_points.sweep import Point, Verdict, tell
from tests.kill_points.troubles import KILLING, POWER, Fault, Trouble

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "sagacity_engine")


def told(points_told: list[Point]) -> list[Verdict]:
    """The verdicts, none of which is bad."""
    verdicts = [tell(point) for point in points_told]
    assert [(each.point, each.lost, each.breaches) for each in verdicts if not each.well] == []
    return verdicts


@pytest.mark.parametrize("shape", SHAPES)
def test_trouble_at_every_write_loses_nothing(shape: str) -> None:
    """Wherever the disk or the process fails: what was acknowledged is there, and every run ends rightly."""
    verdicts = told(list(points.at_every_write(shape)))
    assert len(verdicts) == points.writes(shape) > 60
    for verdict in verdicts:
        (fault,) = verdict.point.faults
        assert isinstance(fault, Fault)
        assert verdict.died[0] == fault.trouble.kills or fault.trouble is Trouble.POWER_LOSS_AFTER_ERROR
        assert verdict.counts[0] >= fault.at
    assert {status.value for status in SHAPES[shape].ends} >= set().union(*(each.ended for each in verdicts))


def test_the_same_story_makes_the_same_writes() -> None:
    """A place is the same write in every telling: nothing in a story depends on how fast anything is."""
    for shape in ("side by side, taken back", "queue for a room", "cancelled by another process"):
        again = {tell(Point(shape, (None,))).counts for _ in range(3)}
        assert again == {(points.writes(shape),)}


def test_a_journal_in_the_making_can_be_killed() -> None:
    """Whoever comes after finds a journal, or none, and makes one: never half of one."""
    verdicts = told(list(points.at_every_write_of_a_new_journal("chain")))
    assert len(verdicts) > 30
    assert {"COMPLETED"} == set().union(*(each.ended for each in verdicts))


def test_without_every_sync_only_the_power_takes_anything() -> None:
    """With `durability="normal"` a killed process loses nothing; lost power takes the last that was told."""
    killed = told(list(points.unsynced("chain", KILLING, step=3)))
    assert all(each.died[0] for each in killed)
    cut_off = [tell(each) for each in points.unsynced("chain", POWER[:1], step=4)]
    assert any(each.lost for each in cut_off)
    assert not any("damaged" in breach or "open" in breach for each in cut_off for breach in each.breaches)
