"""The parts of a bundle that failures, undos and doubts teach, learnt together and judged one by one."""

from collections.abc import Callable
from typing import Any

import pytest

from sagacity_data.rows import AttemptOutcome, AttemptRow
from sagacity_engine import Direction, FailureClass
from sagacity_training import step_parts
from sagacity_training.step_parts import StepParts, learn_parts

MakeRow = Callable[..., AttemptRow]
FAILED = AttemptOutcome.FAILED
END = 1e9


def learnt(rows: list[AttemptRow], at: float = END) -> StepParts:
    return learn_parts(rows, seed=1, at=at)


def test_a_history_without_failures_has_no_parts(attempt: MakeRow) -> None:
    """Where nothing failed, was undone or was in doubt there is nothing to keep and nothing to judge."""
    assert learnt([attempt(f"r{n}", float(n)) for n in range(30)]) == StepParts()
    assert learnt([]) == StepParts()


def test_each_part_is_learnt_from_its_own_cases(attempt: MakeRow) -> None:
    """Two failures passed when tried again, one undo of four was refused, one lost reply was there."""
    rows: list[AttemptRow] = []
    for n, run in enumerate(("a", "b")):
        at = 100.0 * n
        rows += [
            attempt(run, at, outcome=FAILED, error_type="Reset", failure_class=FailureClass.TRANSIENT),
            attempt(run, at + 2, attempt=2),
        ]
    for n in range(4):
        told: dict[str, Any] = {"outcome": FAILED, "error_type": "Down"} if n == 0 else {}
        rows.append(attempt(f"u{n}", 300.0 + n, direction=Direction.UNDO, maximum_attempts=1, **told))
    rows += [
        attempt("l", 400.0, outcome=AttemptOutcome.LOST_REPLY),
        attempt("l", 402.0, attempt=2, outcome=FAILED, error_type="AlreadyBooked"),
    ]
    parts = learnt(rows)
    assert parts.failure_classes is not None
    assert set(parts.tabular) == {
        "compensation_failure", "compensation_failure_after_retries", "effect"
    }  # fmt: skip
    undo = {"saga": "trip", "service": "resort", "step": "trip/hotel"}
    assert parts.tabular["compensation_failure"].evidence == 4
    assert 0.05 < parts.tabular["compensation_failure"].chances([undo])[0] < 0.25
    assert parts.tabular["effect"].evidence == 1
    assert parts.tabular["effect"].chances([{"lost": "lost_reply"}])[0] > 0.5


def test_what_was_not_known_yet_teaches_nothing(attempt: MakeRow) -> None:
    """Training as of a time before any failure had ended finds none."""
    rows = [
        attempt("a", 500.0, outcome=FAILED, error_type="Reset", failure_class=FailureClass.TRANSIENT),
        attempt("a", 510.0, attempt=2),
        attempt("u", 500.0, direction=Direction.UNDO, ended_at=700.0),
    ]
    assert learnt(rows, at=400.0) == StepParts()
    assert learnt(rows, at=600.0).failure_classes is not None
    assert learnt(rows, at=600.0).tabular == {}


def test_the_latest_attempts_teach(attempt: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the earliest launches are left out, in whatever order the rows come."""
    monkeypatch.setattr(step_parts, "ROWS_MAX", 3)
    undos = [attempt(f"u{n}", float(n), direction=Direction.UNDO) for n in (4, 1, 3, 0, 2)]
    assert learnt(undos).tabular["compensation_failure"].evidence == 3


def test_held_out_failures_are_told_and_counted(attempt: MakeRow) -> None:
    """Of 400 failures whose word tells the class, the held-out ones are all on the confusion's diagonal."""
    rows: list[AttemptRow] = []
    for n in range(400):
        at = 1_000.0 * n
        if n % 2:
            rows += [
                attempt(f"r{n}", at, outcome=FAILED, error_type="Reset"),
                attempt(f"r{n}", at + 5, attempt=2),
            ]
        else:
            lost = {"error_type": "SoldOut", "failure_class": FailureClass.PERMANENT}
            rows.append(attempt(f"r{n}", at, outcome=FAILED, **lost))
    parts = learnt(rows)
    assert parts.classes is not None
    counts = parts.classes.confusion
    assert sum(map(sum, counts)) == sum(counts[place][place] for place in range(len(counts))) == 60
    assert parts.classes.macro_f1 == 1.0
    assert [each.task for each in parts.judged] == [
        "failure_class.transient", "failure_class.permanent", "failure_class.cascading"
    ]  # fmt: skip
    assert all(each.chosen != "base" for each in parts.judged)
