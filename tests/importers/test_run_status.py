"""How a foreign run ended, in our words."""

import pytest

from sagacity_data.importers.foreign_runs import ForeignAttempt
from sagacity_data.importers.run_status import End, status_of
from sagacity_data.rows import AttemptOutcome
from sagacity_engine import Direction, Status


def did(step: str, outcome: str = "succeeded") -> ForeignAttempt:
    return ForeignAttempt(step=step, outcome=AttemptOutcome(outcome))


def undid(step: str, outcome: str = "succeeded") -> ForeignAttempt:
    return ForeignAttempt(step=step, outcome=AttemptOutcome(outcome), direction=Direction.UNDO)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (End.COMPLETED, Status.COMPLETED),
        (End.TERMINATED, Status.ABANDONED),
        (End.OPEN, Status.RUNNING),
    ],
)
@pytest.mark.parametrize("attempts", [[], [did("book")], [did("book"), undid("book"), did("pay")]])
def test_only_a_failed_run_is_judged_by_what_stands(
    end: End, status: Status, attempts: list[ForeignAttempt]
) -> None:
    """Every other end says by itself how the run stands."""
    assert status_of(end, attempts) is status


@pytest.mark.parametrize(
    "attempts",
    [
        [],
        [did("book", "failed")],
        [did("book"), undid("book")],
        [did("book", "timed_out"), undid("book")],
        [did("book"), did("pay"), did("ship", "failed"), undid("pay"), undid("book")],
        [did("book"), undid("book", "failed"), undid("book")],
        [undid("book")],
    ],
)
def test_a_failed_run_of_which_nothing_stands_is_compensated(attempts: list[ForeignAttempt]) -> None:
    """Nothing took effect, or whatever may have was undone."""
    assert status_of(End.FAILED, attempts) is Status.COMPENSATED


@pytest.mark.parametrize(
    "attempts",
    [
        [did("book")],
        [did("book"), did("pay"), undid("pay")],
        [did("book"), undid("book", "failed")],
        [did("book"), undid("book", "open")],
        [did("book"), undid("book"), did("book")],
        [did("book", "timed_out"), did("book", "failed")],
        [did("book", "cancelled")],
        [did("book", "unknown")],
        [did("book", "lost_reply")],
    ],
)
def test_a_failed_run_with_an_effect_left_needs_attention(attempts: list[ForeignAttempt]) -> None:
    """A step succeeded, or may have, and no undo of it succeeded afterwards."""
    assert status_of(End.FAILED, attempts) is Status.NEEDS_ATTENTION


def test_a_run_that_took_all_back_and_ended_in_peace_is_compensated() -> None:
    """A run that completed after every effect of it was undone did not do what it was for."""
    assert status_of(End.COMPLETED, [did("book"), did("pay", "failed"), undid("book")]) is Status.COMPENSATED
    assert status_of(End.COMPLETED, [did("book"), undid("book", "failed")]) is Status.COMPLETED
