"""A process that dies, or a statement that fails, at every statement; and a second death in the recovery."""

import logging

import pytest
from tests.kill_points import points
from tests.kill_points.shapes import SHAPES
from tests.kill_points.sweep import Point, StatementFault, Verdict, tell

from sagacity_engine.testing.failpoints import Failure

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
def test_trouble_at_every_statement_loses_nothing(shape: str) -> None:
    """On the ordinary `sqlite3` too: what was acknowledged is there, and every run ends rightly."""
    verdicts = told(list(points.at_every_statement(shape)))
    assert len(verdicts) == points.statements(shape) > 20
    for verdict in verdicts:
        (fault,) = verdict.point.faults
        assert isinstance(fault, StatementFault)
        assert verdict.died[0] == fault.failure.kills


@pytest.mark.parametrize("shape", SHAPES)
def test_a_recovery_can_be_killed_too(shape: str) -> None:
    """Killed somewhere, and again while the next process carries on, nothing is lost and every run ends."""
    verdicts = told(list(points.killed_twice(shape, every=29)))
    assert len(verdicts) > 5
    assert any(each.died == (True, True) for each in verdicts)


def test_a_decision_taken_as_soon_as_the_engine_is_back() -> None:
    """Who approves a run before its turn to be carried on has come gets one call of what follows, not two."""
    verdicts = told(
        [
            Point("approval", (StatementFault(failure, at),))
            for failure in (Failure.DIE_BEFORE, Failure.DIE_AFTER)
            for at in range(1, points.statements("approval") + 1)
        ]
    )
    assert {"COMPLETED"} == set().union(*(each.ended for each in verdicts))
