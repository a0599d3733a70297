"""What is known when an attempt starts, not at the launch: for live risk and for what to do about a failure.

One function makes these features from the attempt's row as of its start, for training and for live use alike.
A live attempt is such a row already: its outcome is `open` and its end is missing. A row from the store gives
the same features, because nothing that was known at its end is read; `as_of_start` takes it all away.

What is not known is left out, never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import Any, Final

from sagacity_data.feature_catalogue import ATTEMPT_FEATURES
from sagacity_data.feature_values import SINCE_MAX_S
from sagacity_data.rows import AttemptOutcome, AttemptRow, Known, Row, StepFeatures

NONE: Final = "none"
"""The last outcome and class of a step's first attempt."""


def attempt_features(row: AttemptRow, before: AttemptRow | None = None) -> StepFeatures:
    """The features of the attempt, as of its start; `before` is the same step's attempt before it, if any.

    `before` must be of the same run, step and direction. Its end is told only if it was known at the start.
    """
    if before is not None and _ended_after(before, row):
        before = as_of_start(before)
    values = (
        row.direction.value,
        _count(row.attempt),
        _count(None if row.maximum_attempts is None else max(row.maximum_attempts - row.attempt, 0)),
        _finite(row.timeout_s),
        _count(row.position),
        _count(row.rank),
        _count(row.stage),
        _count(row.steps_done),
        _log_s(row.launch_at, row.started_at),
        _log_s(row.scheduled_at, row.started_at),
        _count(row.in_flight),
        row.breaker_state,
        None if row.input_bytes is None else math.log1p(max(row.input_bytes, 0)),
        NONE if before is None else before.outcome.value,
        NONE if before is None or before.failure_class is None else before.failure_class.value,
        None if before is None else _log_s(before.ended_at, row.started_at),
    )
    return {name: value for name, value in zip(_NAMES, values, strict=True) if value is not None}


def attempts_with_features(rows: Iterable[Row]) -> Iterator[tuple[AttemptRow, StepFeatures]]:
    """Each attempt among `rows` with its features as of its start, by run, step, direction and number.

    `rows` may come in any order, and must hold whole runs: an attempt that is missing tells the next nothing.
    """
    before: AttemptRow | None = None
    for row in sorted((row for row in rows if isinstance(row, AttemptRow)), key=_key):
        if before is not None and _key(before)[:3] != _key(row)[:3]:
            before = None
        yield row, attempt_features(row, before)
        before = row


def as_of_start(row: AttemptRow) -> AttemptRow:
    """The row as it stood when the attempt started: without all that was known only at its end."""
    return replace(row, **_NO_END)


_NAMES: Final = tuple(feature.name for feature in ATTEMPT_FEATURES)
_OUTCOMES: Final = frozenset(
    field.name for field in fields(AttemptRow) if field.metadata["known"] == Known.END.value
)
_NO_END: Final[dict[str, Any]] = {
    **dict.fromkeys(_OUTCOMES),
    "outcome": AttemptOutcome.OPEN,
    "error_type": "",
    "error_message": "",
}


def _key(row: AttemptRow) -> tuple[str, str, str, int]:
    return row.key


def _ended_after(before: AttemptRow, row: AttemptRow) -> bool:
    if before.ended_at is None or row.started_at is None:
        return False  # Attempts of a step follow one another; times that are missing do not deny it.
    return before.ended_at > row.started_at


def _count(number: int | None) -> float | None:
    return None if number is None else float(number)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _log_s(then: float | None, now: float | None) -> float | None:
    """ln(1+s) of the time from `then` to `now`, at most 30 days; None where either is not known."""
    if then is None or now is None or not math.isfinite(now - then):
        return None
    return math.log1p(min(max(now - then, 0.0), SINCE_MAX_S))
