"""History is cut by time, and nothing is used before it was known."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sagacity_data import AttemptOutcome, AttemptRow, label
from sagacity_engine import FailureClass
from sagacity_training.config import SliceConfig
from sagacity_training.slices import slice_by_time
from sagacity_training.step_table import StepTable, evidence_of


@pytest.fixture(scope="module")
def history(make_history: Callable[..., Any]) -> Any:
    return make_history(120, seed=7, steps=3, outages=True)


@pytest.fixture(scope="module")
def table(history: Any) -> StepTable:
    return StepTable.of(history.rows, label(history.rows))


def test_slices_follow_each_other(table: StepTable) -> None:
    """Every row is in one slice, no run is in two, and each slice was launched after the one before."""
    slices = slice_by_time(table)
    parts = [slices.fit, slices.tune, slices.calibrate, slices.select]
    assert sum(map(len, parts)) == len(table)
    for earlier, later in itertools.pairwise(parts):
        assert max(row.launch_at for row in earlier) < min(row.launch_at for row in later)


def test_shares_and_a_gap_before_each_cut(table: StepTable) -> None:
    """Shares say where the cuts are; rows launched within the embargo before one are in no slice."""
    usual, early = slice_by_time(table), slice_by_time(table, SliceConfig(fit=0.3, tune=0.1, calibrate=0.1))
    assert early.cuts < usual.cuts
    assert len(early.select) > 2 * len(usual.select)
    gap_s = (usual.cuts[1] - usual.cuts[0]) / 2
    gapped = slice_by_time(table, SliceConfig(embargo_s=gap_s))
    assert gapped.cuts == usual.cuts
    assert gapped.select.rows == usual.select.rows
    for part, whole, cut in zip(
        (gapped.fit, gapped.tune), (usual.fit, usual.tune), usual.cuts[:2], strict=True
    ):
        assert list(part) == [row for row in whole if row.launch_at < cut - gap_s]
        assert 0 < len(part) < len(whole)


def test_labels_wait_until_they_are_known(table: StepTable) -> None:
    """A target is in a slice only if it was known when the next slice began: the embargo."""
    slices = slice_by_time(table)
    classes = slices.targets(
        lambda row: row.failure_class is not None, lambda row: row.class_known_at + 3_600.0, 1e12
    )
    assert all(row.class_known_at + 3_600.0 <= slices.cuts[0] for row in classes.fit)
    assert all(row.class_known_at + 3_600.0 <= slices.cuts[1] for row in classes.tune)
    held_back = [
        row
        for row in slices.fit
        if row.failure_class is not None and row.class_known_at + 3_600.0 > slices.cuts[0]
    ]
    assert held_back
    assert not {row.run_id for row in held_back} & {row.run_id for row in classes.fit if row in held_back}


def test_rates_wait_too(table: StepTable) -> None:
    """Evidence up to a cut is the evidence of what had ended by then, and no more."""
    cut = table.rows[len(table) // 2].launch_at
    by_then = evidence_of(table, cut)
    assert sum(each.first_attempts for each in by_then.values()) == sum(row.known_at <= cut for row in table)
    assert evidence_of(table, 0.0) == {}


def test_a_late_label_is_no_evidence(history: Any) -> None:
    """A class that nobody knew by the cut counts as unknown in the shares."""
    never = [replace(each, known_at=None) for each in label(history.rows)]
    told = evidence_of(StepTable.of(history.rows, never), history.end)
    assert all(set(each.classes) <= {FailureClass.UNKNOWN} for each in told.values())


def test_only_first_attempts_are_rows(history: Any, table: StepTable) -> None:
    """One row per run and step that was attempted, whatever came after; steps not reached are no rows."""
    assert len(table) == sum(row.attempt == 1 for row in history.attempts)
    assert any(len(row.attempts) > 1 for row in table)


def test_crashes_say_nothing(history: Any) -> None:
    """An attempt that a crash of the engine cut off is no row and no evidence."""

    def crashed(row: AttemptRow) -> AttemptRow:
        return replace(row, outcome=AttemptOutcome.CRASHED)

    assert len(StepTable.of(map(crashed, history.attempts), [])) == 0


def test_order_does_not_matter(history: Any, table: StepTable) -> None:
    """Rows in any order make the same table."""
    assert StepTable.of(reversed(history.rows), label(history.rows)) == table


def test_timeouts_count_as_cut_off_not_as_refused(make_history: Callable[..., Any]) -> None:
    """A timed-out first attempt is no refusal, and its duration is censored at the timeout in force."""
    history = make_history(80, seed=8, steps=2, timeout_s=0.8)
    table = StepTable.of(history.rows, label(history.rows))
    cut_off = [row for row in table if row.first.outcome is AttemptOutcome.TIMED_OUT]
    assert cut_off
    assert not any(row.refused for row in cut_off)
    assert {row.duration_s for row in cut_off} == {0.8}
    evidence = evidence_of(table)
    assert sum(n for each in evidence.values() for _, n in each.durations.censored) == len(cut_off)
