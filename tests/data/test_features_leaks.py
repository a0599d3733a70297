"""A dataset that tells too early is found out; one that was recorded is clean."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sagacity_data import AttemptRow, FailureKind, LaunchFeatures, Row, signals
from sagacity_data.leaks import LEAKS_MAX, LeakKind, leaks
from sagacity_data.rows import RunRow
from sagacity_engine import FailureClass, Saga, Status, Step
from sagacity_engine.virtual.host import Reply

SAGA = Saga(name="trip", steps=(Step(name="fly", service="air"), Step(name="stay", service="hotels")))
BY_HASH = {SAGA.definition_hash: SAGA}
DOWN = Reply(duration_s=2.0, error_type="Down", failure_class=FailureClass.CASCADING)
Play = Callable[..., Any]


@pytest.fixture
def rows(play: Play) -> list[Row]:
    """Twenty runs, ten seconds apart and overlapping, as they were recorded; every third is refused once."""
    launches = [(f"r{n:02}", 100.0 + 10 * n, {"season": "high", "n": n}) for n in range(20)]
    script = {f"r{n:02}: fly": [DOWN] for n in range(0, 20, 3)}
    recorded: list[Row] = play(SAGA, script, launches, LaunchFeatures()).rows
    return recorded


def planted(rows: list[Row], run_id: str, step: str, **changes: float | str) -> list[Row]:
    """The rows with some stored features of one step of one run changed."""
    return [
        replace(row, features={**row.features, **changes})
        if isinstance(row, AttemptRow) and (row.run_id, row.step) == (run_id, step)
        else row
        for row in rows
    ]


def test_a_recorded_history_is_clean(rows: list[Row]) -> None:
    """What a recorder wrote is what a replay gives: nothing leaks."""
    assert any(isinstance(row, AttemptRow) and row.features for row in rows)
    assert leaks(rows, BY_HASH, now=10_000.0) == []


def test_a_feature_that_knows_the_outcome_is_found(rows: list[Row]) -> None:
    """A count that includes the run's own failure differs from the replay, and says by how much."""
    (leak,) = leaks(planted(rows, "r05", "fly", service_health_streak=7.0), BY_HASH)
    assert (leak.kind, leak.run_id, leak.step) == (LeakKind.DIFFERS, "r05", "fly")
    assert (leak.feature, leak.stored, leak.replayed) == ("service_health_streak", 7.0, 0.0)


def test_features_made_after_the_end_are_found(rows: list[Row]) -> None:
    """Features of the right names and shape, but as of after the run, differ where the run left its mark."""
    late = LaunchFeatures()
    for signal in signals(rows):
        late.observe(signal)
    told = late.features(SAGA, {"season": "high", "n": 19}, 5_000.0)
    found = leaks(planted(rows, "r19", "fly", **told["fly"]), BY_HASH)
    assert {leak.run_id for leak in found} == {"r19"}
    assert {"service_calls_7d", "service_since_success", "saga_failure_1d"} <= {
        leak.feature for leak in found
    }


def test_history_that_came_later_is_found(rows: list[Row], attempt_row: Callable[..., AttemptRow]) -> None:
    """An outcome dated back before the launches did not make their features, and shows in all of them."""
    back = attempt_row(run_id="x", service="air", launch_at=50.0, started_at=50.0, ended_at=60.0)
    found = leaks([*rows, back], BY_HASH)
    assert {leak.run_id for leak in found} == {f"r{n:02}" for n in range(20)}
    assert {leak.step for leak in found if leak.feature.startswith("service_")} == {"fly"}
    assert {leak.kind for leak in found} == {LeakKind.DIFFERS}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("final_price", LeakKind.UNCATALOGUED),
        ("saga", LeakKind.UNCATALOGUED),
        ("attempt_number", LeakKind.LATER),
        ("steps_done", LeakKind.LATER),
        ("ended_at", LeakKind.LATER),
        ("outcome", LeakKind.LATER),
    ],
)
def test_names_tell_what_does_not_belong(rows: list[Row], name: str, kind: LeakKind) -> None:
    """A feature of no catalogue, and one known only at the attempt or its end, are no launch features."""
    (leak,) = leaks(planted(rows, "r03", "stay", **{name: 1.0}), BY_HASH)
    assert (leak.kind, leak.run_id, leak.step, leak.feature, leak.stored) == (kind, "r03", "stay", name, 1.0)


@pytest.mark.parametrize(("key", "replayed"), [("season", "high"), ("coupon", None)])
def test_context_is_what_the_caller_said(rows: list[Row], key: str, replayed: str | None) -> None:
    """A feature of the context that the row's own context does not give is found."""
    (leak,) = leaks(planted(rows, "r03", "stay", **{f"context.{key}": "won"}), BY_HASH)
    assert (leak.kind, leak.feature, leak.replayed) == (LeakKind.DIFFERS, f"context.{key}", replayed)


def test_times_that_have_not_come_are_found(rows: list[Row]) -> None:
    """Rows dated later than now are found by their columns: an attempt's and a run's."""
    now = max(row.ended_at or 0.0 for row in rows)
    assert leaks(rows, BY_HASH, now=now) == []
    future = [
        replace(row, ended_at=now + 5.0) if row.run_id == "r19" and isinstance(row, RunRow) else row
        for row in rows
    ]
    (leak,) = leaks(future, BY_HASH, now=now)
    assert (leak.kind, leak.run_id, leak.step, leak.feature) == (LeakKind.FUTURE, "r19", "", "ended_at")
    assert (leak.stored, leak.replayed) == (now + 5.0, now)


def test_a_failure_is_not_explained_before_it_ends(attempt_row: Callable[..., AttemptRow]) -> None:
    """A kind that was known before the attempt's end is found; one known at the end is none."""
    row = attempt_row(failure_kind=FailureKind.BUSINESS, kind_known_at=101.0)
    assert leaks([row], {}) == []
    (leak,) = leaks([replace(row, kind_known_at=100.5)], {})
    assert (leak.kind, leak.feature, leak.stored, leak.replayed) == (
        LeakKind.EARLY,
        "kind_known_at",
        100.5,
        101.0,
    )


def test_no_number_is_no_feature(rows: list[Row]) -> None:
    """NaN in place of a number differs from whatever the replay gives."""
    (leak,) = leaks(planted(rows, "r03", "stay", saga_failure_7d=math.nan), BY_HASH)
    assert (leak.kind, leak.feature) == (LeakKind.DIFFERS, "saga_failure_7d")


def test_the_last_bits_of_another_machine_do_not_leak(rows: list[Row]) -> None:
    """Numbers that differ by rounding are the same."""
    row = next(row for row in rows if isinstance(row, AttemptRow) and row.run_id == "r09")
    value = row.features["service_failure_logit_3h"]
    assert isinstance(value, float)
    moved = value * (1 + 1e-12)
    assert leaks(planted(rows, "r09", row.step, service_failure_logit_3h=moved), BY_HASH) == []


def test_what_has_not_ended_yet_is_no_leak(rows: list[Row]) -> None:
    """A recorder counts runs and calls that have no row yet; fewer than the rows tell is wrong."""
    stored = next(row for row in rows if isinstance(row, AttemptRow) and row.run_id == "r09").features
    runs = stored["runs_in_flight"]
    assert isinstance(runs, float)
    assert leaks(planted(rows, "r09", "fly", runs_in_flight=runs + 1.0), BY_HASH) == []
    (leak,) = leaks(planted(rows, "r09", "fly", runs_in_flight=runs - 1.0), BY_HASH)
    assert leak.feature == "runs_in_flight"


def test_a_history_that_was_pruned_is_compared_as_far_as_it_goes(rows: list[Row]) -> None:
    """Without the first ten runs the rest differs; said to be incomplete, the definition's part counts."""
    kept = [row for row in rows if row.run_id >= "r10"]
    assert leaks(kept, BY_HASH)
    assert leaks(kept, BY_HASH, complete=False) == []
    (leak,) = leaks(planted(kept, "r15", "fly", saga_steps=3.0), BY_HASH, complete=False)
    assert (leak.feature, leak.stored, leak.replayed) == ("saga_steps", 3.0, 2.0)


def test_a_sample_is_spread_over_time(rows: list[Row]) -> None:
    """Of twenty runs that all leak, a sample of four finds every fifth."""
    bad = rows
    for n in range(20):
        bad = planted(bad, f"r{n:02}", "fly", weekday=9.0)
    assert [leak.run_id for leak in leaks(bad, BY_HASH, 4)] == ["r00", "r05", "r10", "r15"]
    assert len(leaks(bad, BY_HASH)) == 20


def test_the_list_is_bounded(attempt_row: Callable[..., AttemptRow]) -> None:
    """A cause that spoils every row is not listed without end."""
    spoiled = [attempt_row(run_id=f"r{n}", features={"odd": 1.0}) for n in range(LEAKS_MAX + 50)]
    assert len(leaks(spoiled, {})) == LEAKS_MAX


def test_rows_of_an_unknown_definition_are_checked_by_name(rows: list[Row]) -> None:
    """Without the definition there is no replay to compare with; names are checked all the same."""
    bad = planted(planted(rows, "r03", "stay", outcome="failed"), "r04", "stay", saga_steps=9.0)
    (leak,) = leaks(bad, {})
    assert (leak.kind, leak.run_id, leak.feature) == (LeakKind.LATER, "r03", "outcome")


def test_a_run_that_is_still_running_is_clean(rows: list[Row]) -> None:
    """A run without an end closes nothing, whatever its row says."""
    running = [
        replace(row, status=Status.RUNNING, ended_at=None) if isinstance(row, RunRow) else row for row in rows
    ]
    features = {leak.feature for leak in leaks(running, BY_HASH)}
    assert features == {"runs_in_flight", "saga_failure_1d", "saga_failure_7d"}
