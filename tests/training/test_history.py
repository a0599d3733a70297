"""A dataset read for training is the dataset: light rows, and every first attempt's features as columns."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagacity_data import AttemptOutcome, AttemptRow, Row, label
from sagacity_data.inferred import with_features
from sagacity_data.store import DatasetStore
from sagacity_engine import Direction
from sagacity_training.gathering import StoredFeatures
from sagacity_training.history import History, read_history
from sagacity_training.train import fit_bundle


@pytest.fixture(scope="module")
def history(make_history: Callable[..., Any]) -> Any:
    return make_history(150, seed=11, steps=3, outages=True)


def stored(folder: Path, rows: list[Row]) -> DatasetStore:
    """A dataset of these rows."""
    store = DatasetStore(folder)
    store.append(rows)
    return store


def bare(row: Row) -> Row:
    """The row as if nobody had recorded features."""
    return replace(row, features={}, definition_hash="") if isinstance(row, AttemptRow) else row


def test_what_is_read_teaches_what_the_rows_teach(history: Any, tmp_path: Path) -> None:
    """A bundle learnt from the stored dataset is the bundle learnt from its rows in memory."""
    store = stored(tmp_path, history.rows)
    read = read_history(store, at=1e12)
    assert fit_bundle(read, seed=1, at=history.end).version == (
        fit_bundle(history.rows, seed=1, at=history.end).version
    )


def test_features_that_nobody_recorded_are_those_of_a_replay(history: Any, tmp_path: Path) -> None:
    """Rows without features are given, as columns, what the replay of their history gives as mappings."""
    rows = [bare(row) for row in history.rows]
    read = read_history(stored(tmp_path, rows), at=1e12)
    assert read.bare == 0
    given = {row.key: row for row in with_features(rows, {}) if isinstance(row, AttemptRow)}
    for row, place in zip(read.rows, read.places.tolist(), strict=True):
        if not isinstance(row, AttemptRow):
            continue
        assert (place >= 0) == (row.attempt == 1 and row.direction is Direction.FORWARD)
        if place >= 0:
            told = given[row.key].features
            for name, column in read.features.items():
                own = column[slice(place, place + 1)]
                codes, names = own.as_levels()
                if isinstance(value := told.get(name), str):
                    assert names[codes[0]] == value
                elif value is not None:
                    assert own.numbers is not None
                    assert own.numbers[0] == pytest.approx(value, rel=1e-6)


def test_failures_have_their_features_at_hand(history: Any, tmp_path: Path) -> None:
    """Attempts that did not succeed keep their features as mappings; others hold none."""
    read = read_history(stored(tmp_path, history.rows), at=1e12)
    before = {row.key: row for row in history.attempts}
    attempts = [row for row in read.rows if isinstance(row, AttemptRow)]
    failed = [row for row in attempts if row.outcome is not AttemptOutcome.SUCCEEDED]
    assert failed
    for row in failed:
        assert dict(row.features) == dict(before[row.key].features)
    passed = [
        row
        for row in attempts
        if row.outcome is AttemptOutcome.SUCCEEDED and row.direction is Direction.FORWARD
    ]
    assert not any(row.features for row in passed)
    assert label(read.rows) == label(history.rows)


def test_ignored_features_are_gone_everywhere(history: Any) -> None:
    """A feature that no model may use is no column, and no row tells it, as context neither."""
    whole = History.of(history.rows)
    name = next(each for each in whole.features if each.startswith("context."))
    less = whole.without(frozenset({name, "hour_sin"}))
    assert whole.features.keys() - less.features.keys() == {name, "hour_sin"}
    attempts = [row for row in less.rows if isinstance(row, AttemptRow)]
    assert not any(name in row.features or "hour_sin" in row.features for row in attempts)
    assert not any(name.removeprefix("context.") in row.context for row in attempts)


def test_a_history_is_cut_by_launch(history: Any) -> None:
    """Before a cut are the runs launched before it, with the features they had."""
    whole = History.of(history.rows)
    cut = sorted(row.launch_at for row in history.attempts)[len(history.attempts) // 2]
    part = whole.before(cut)
    assert 0 < len(part) < len(whole)
    assert all(row.launch_at is not None and row.launch_at < cut for row in part.rows)
    assert len(part.places) == len(part.rows)


def test_stored_features_are_read_once_asked_for() -> None:
    """A stored text is a mapping of what it tells."""
    told = StoredFeatures('{"load": 1.5, "region": "north"}')
    assert dict(told) == {"load": 1.5, "region": "north"}
    assert len(told) == 2
    assert told["load"] == 1.5
