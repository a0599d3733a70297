"""Labels against the truth: in a world every failure's class is known, and hindsight is asked without it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from sagacity_data import AttemptOutcome, AttemptRow, DatasetStore, label
from sagacity_engine import Direction, FailureClass
from sagacity_training.ladder.season import Season, log_past

Scores = Counter[tuple[FailureClass, FailureClass]]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[AttemptRow]:
    store = DatasetStore(tmp_path_factory.mktemp("logged") / "dataset")
    log_past(Season(seed=3, logged=1_000, fresh=10), store, lambda _: None)
    return store.read_attempts()


def truth_of(rows: list[AttemptRow]) -> dict[tuple[str, str], FailureClass]:
    """What the world says of each step whose first attempt was refused."""
    return {
        (row.run_id, row.step): row.failure_class
        for row in rows
        if row.direction is Direction.FORWARD
        and row.attempt == 1
        and row.outcome is AttemptOutcome.FAILED
        and row.failure_class is not None
    }


def scores(rows: list[AttemptRow], truth: dict[tuple[str, str], FailureClass]) -> Scores:
    """How often each true class was called which."""
    told = {(each.run_id, each.step): each.failure_class for each in label(rows)}
    return Counter((known, told[step]) for step, known in truth.items())


def test_hindsight_names_most_failures_rightly(rows: list[AttemptRow]) -> None:
    """Blind to what was declared, hindsight names most failures, and mostly rightly, in every class."""
    blind = [replace(row, failure_class=None, failure_kind=None, kind_source=None) for row in rows]
    told = scores(blind, truth_of(rows))
    named = Counter({pair: count for pair, count in told.items() if pair[1] is not FailureClass.UNKNOWN})
    right = sum(count for (known, said), count in named.items() if known is said)
    assert told.total() > 500
    assert named.total() > 0.7 * told.total()
    assert right > 0.75 * named.total()
    for said in (FailureClass.TRANSIENT, FailureClass.CASCADING, FailureClass.PERMANENT):
        called = Counter({known: count for (known, as_said), count in named.items() if as_said is said})
        assert called.most_common(1)[0][0] is said


def test_declared_classes_are_the_truth(rows: list[AttemptRow]) -> None:
    """What the participants declared is what the labels say."""
    told = scores(rows, truth_of(rows))
    assert all(known is said for known, said in told)
