"""History is cut by time, and nothing is used before it was known."""

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sagacity_data import AttemptOutcome, AttemptRow, label
from sagacity_engine import FailureClass
from sagacity_models.feature_columns import FeatureColumn
from sagacity_training.config import SliceConfig
from sagacity_training.slices import slice_by_time
from sagacity_training.stages import Known
from sagacity_training.step_evidence import evidence_of
from sagacity_training.step_table import StepTable


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
        assert earlier.launch_at.max() < later.launch_at.min()


def test_shares_and_a_gap_before_each_cut(table: StepTable) -> None:
    """Shares say where the cuts are; rows launched within the embargo before one are in no slice."""
    usual, early = slice_by_time(table), slice_by_time(table, SliceConfig(fit=0.3, tune=0.1, calibrate=0.1))
    assert early.cuts < usual.cuts
    assert len(early.select) > 2 * len(usual.select)
    gap_s = (usual.cuts[1] - usual.cuts[0]) / 2
    gapped = slice_by_time(table, SliceConfig(embargo_s=gap_s))
    assert gapped.cuts == usual.cuts
    assert gapped.select.places.tolist() == usual.select.places.tolist()
    for part, whole, cut in zip(
        (gapped.fit, gapped.tune), (usual.fit, usual.tune), usual.cuts[:2], strict=True
    ):
        assert part.places.tolist() == whole.places[whole.launch_at < cut - gap_s].tolist()
        assert 0 < len(part) < len(whole)


def test_labels_wait_until_they_are_known(table: StepTable) -> None:
    """A target is in a slice only if it was known when the next slice began: the embargo."""
    slices = slice_by_time(table)
    late = Known(lambda rows: rows.failure_class >= 0, lambda rows: rows.class_known_at + 3_600.0)
    classes = slices.targets(late, 1e12)
    assert len(classes.fit)
    assert (classes.fit.class_known_at + 3_600.0 <= slices.cuts[0]).all()
    assert (classes.tune.class_known_at + 3_600.0 <= slices.cuts[1]).all()
    known_late = slices.fit.class_known_at + 3_600.0 > slices.cuts[0]
    held_back = slices.fit.where((slices.fit.failure_class >= 0) & known_late)
    assert len(held_back)
    assert not set(held_back.places.tolist()) & set(classes.fit.places.tolist())


def test_rates_wait_too(table: StepTable) -> None:
    """Evidence up to a cut is the evidence of what had ended by then, and no more."""
    cut = float(table.launch_at[len(table) // 2])
    by_then = evidence_of(table, cut)
    assert sum(each.first_attempts for each in by_then.values()) == (table.known_at <= cut).sum()
    assert evidence_of(table, 0.0) == {}


def test_a_late_label_is_no_evidence(history: Any) -> None:
    """A class that nobody knew by the cut counts as unknown in the shares."""
    never = [replace(each, known_at=None) for each in label(history.rows)]
    told = evidence_of(StepTable.of(history.rows, never), history.end)
    assert all(set(each.classes) <= {FailureClass.UNKNOWN} for each in told.values())


def test_only_first_attempts_are_rows(history: Any, table: StepTable) -> None:
    """One row per run and step that was attempted, whatever came after; steps not reached are no rows."""
    assert len(table) == sum(row.attempt == 1 for row in history.attempts)
    assert len(table.tries().row) > len(table)


def test_crashes_say_nothing(history: Any) -> None:
    """An attempt that a crash of the engine cut off is no row and no evidence."""

    def crashed(row: AttemptRow) -> AttemptRow:
        return replace(row, outcome=AttemptOutcome.CRASHED)

    assert len(StepTable.of(map(crashed, history.attempts), [])) == 0


def test_order_does_not_matter(history: Any, table: StepTable) -> None:
    """Rows in any order make the same table."""
    again = StepTable.of(reversed(history.rows), label(history.rows))
    digests = hashlib.sha256(), hashlib.sha256()
    for each, digest in zip((table, again), digests, strict=True):
        each.add_to(digest)
    assert digests[0].hexdigest() == digests[1].hexdigest()
    assert table.features.keys() == again.features.keys()
    for name, column in table.features.items():
        assert column.as_levels()[0].shape == (len(table),)
        assert _values(column) == _values(again.features[name])


def test_timeouts_count_as_cut_off_not_as_refused(make_history: Callable[..., Any]) -> None:
    """A timed-out first attempt is no refusal, and its duration is censored at the timeout in force."""
    history = make_history(80, seed=8, steps=2, timeout_s=0.8)
    table = StepTable.of(history.rows, label(history.rows))
    cut_off = table.where(table.cut_off)
    assert len(cut_off) == sum(
        row.outcome is AttemptOutcome.TIMED_OUT and row.attempt == 1 for row in history.attempts
    )
    assert not cut_off.refused.any()
    assert set(cut_off.duration_s.tolist()) == {0.8}
    evidence = evidence_of(table)
    assert sum(n for each in evidence.values() for _, n in each.durations.censored) == len(cut_off)


def _values(column: FeatureColumn) -> list[str | None]:
    codes, names = column.as_levels()
    return [names[code] if code >= 0 else None for code in codes.tolist()]
