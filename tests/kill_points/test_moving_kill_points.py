"""Archiving, and carrying a file of layout 1 over, with trouble at every write of any of the files."""

import logging
from collections.abc import Iterable

import pytest
from tests.kill_points.moving import (
    ARCHIVING,
    CARRYING_OVER,
    WITH_LOG,
    WITHOUT_LOG,
    Told,
    at_every_write,
    in_turn,
    strike,
)
from tests.kill_points.troubles import KILLING, LIVED_THROUGH, POWER, Trouble

pytestmark = pytest.mark.slow

EVERYWHERE = (Trouble.KILL_BEFORE, Trouble.TORN)
"""Killed after a write is killed before the next one, so that takes turns with the others."""

OTHERS = (*LIVED_THROUGH, *POWER, Trouble.KILL_AFTER)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "sagacity_engine")


def all_well(told: Iterable[Told]) -> None:
    """Nothing is wrong after the trouble, nor after the next try."""
    told = list(told)
    assert [(fault, left.wrong) for fault, left in told if left.wrong] == []
    assert all(left.died for fault, left in told if fault.trouble in KILLING)
    assert len(told) > 70


def test_a_move_without_trouble_is_well() -> None:
    """Else nothing could be told of one in trouble."""
    assert [strike(move, None).wrong for move in (ARCHIVING, *CARRYING_OVER.values())] == [(), (), ()]


def test_an_archive_that_is_killed_anywhere_loses_no_run() -> None:
    """Each run is whole in one of the files or in both, and after the next try in one."""
    all_well([*at_every_write(ARCHIVING, EVERYWHERE), *in_turn(ARCHIVING, OTHERS, step=3)])


def test_a_change_of_layout_that_is_killed_anywhere_leaves_one_of_the_two() -> None:
    """The file is of layout 1 or of layout 2, whole, with every run as it was; whoever is next finishes."""
    move = CARRYING_OVER[WITH_LOG]
    all_well([*at_every_write(move, EVERYWHERE), *in_turn(move, OTHERS, step=2)])


def test_so_does_one_of_a_file_that_never_had_a_log() -> None:
    """Giving it one is a change of the file too."""
    all_well(in_turn(CARRYING_OVER[WITHOUT_LOG], tuple(Trouble), step=1))
