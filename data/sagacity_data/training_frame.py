"""Rows as data frames: what the trainer fits on, and a flat view of every attempt.

`launch_frame` has one line per run and step whose first forward attempt was made: a step that was never
attempted says nothing about its failure. Its features are those of the launch; what the attempt and the end
told are in columns that `OUTCOME_COLUMNS` names, so that no model takes them for features by accident.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sagacity_data.feature_values import context_features
from sagacity_data.labels import Label, label
from sagacity_data.rows import AttemptOutcome, AttemptRow, Row
from sagacity_engine import Direction

if TYPE_CHECKING:
    import pandas as pd

IDENTITY_COLUMNS: Final = (
    "run_id",
    "step",
    "saga",
    "service",
    "definition_hash",
    "launch_at",
    "arm",
    "propensity",
)
"""Which run and step a line is about. All known at the launch."""

OUTCOME_COLUMNS: Final = (
    "first_outcome",  # How the first attempt ended: an `AttemptOutcome` value.
    "refused",  # Whether the first attempt was definitely refused.
    "timed_out",  # Whether our timeout cut the first attempt off.
    "failure_class",  # The step's label; None when nothing failed.
    "label_source",  # Who says so; None when nothing failed.
    "label_known_at",  # When that was known, s since 1970; NaN: not known, do not train on the label.
    "known_at",  # When the first attempt's end was known, s since 1970; NaN when missing.
    "duration_s",  # Of the first attempt; censored at timeout_s when it timed out; NaN when missing.
    "timeout_s",  # The start-to-close timeout that was in force for the first attempt.
    "position",  # Rank of the step in start order: which steps were attempted depends on the plan.
    "attempts",  # Forward attempts made.
    "final_outcome",  # How the last forward attempt ended.
)
"""What was known only later. None of it may be used to predict at the launch."""


def launch_frame(rows: Iterable[Row], labels: Sequence[Label] | None = None) -> pd.DataFrame:
    """One line per attempted (run, step), by launch, run and start order.

    Columns are `IDENTITY_COLUMNS`, every feature by its own name (see `feature_catalogue`; absent ones are
    NaN, or None for texts) and `OUTCOME_COLUMNS`. `labels` default to `label(rows)`.
    """
    attempts = [row for row in rows if isinstance(row, AttemptRow) and row.direction is Direction.FORWARD]
    labelled = {(told.run_id, told.step): told for told in (label(attempts) if labels is None else labels)}
    by_step: dict[tuple[str, str], list[AttemptRow]] = defaultdict(list)
    for row in attempts:
        by_step[row.run_id, row.step].append(row)
    lines = [sorted(tries, key=lambda row: row.attempt) for tries in by_step.values()]
    lines = sorted((tries for tries in lines if tries[0].attempt == 1), key=lambda tries: _order(tries[0]))
    firsts = [tries[0] for tries in lines]
    columns: dict[str, list[Any]] = {
        name: [getattr(row, name) for row in firsts] for name in IDENTITY_COLUMNS
    }
    columns.update(_feature_columns(firsts))
    outcomes = [_outcomes(tries, labelled.get((tries[0].run_id, tries[0].step))) for tries in lines]
    columns.update({name: [line[n] for line in outcomes] for n, name in enumerate(OUTCOME_COLUMNS)})
    return _frame(columns)


def feature_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of a launch frame that are features, in the frame's order."""
    others = {*IDENTITY_COLUMNS, *OUTCOME_COLUMNS}
    return [name for name in frame.columns if name not in others]


def attempts_frame(rows: Iterable[AttemptRow]) -> pd.DataFrame:
    """One line per attempt: the columns of `AttemptRow`, the context and the features flattened.

    The context's keys are columns `context.<key>`; the features have their own names.
    """
    listed = list(rows)
    columns: dict[str, list[Any]] = {
        field.name: [_plain(getattr(row, field.name)) for row in listed]
        for field in fields(AttemptRow)
        if field.name not in ("context", "features")
    }
    columns["duration_s"] = [row.duration_s for row in listed]
    columns.update(_feature_columns(listed))
    return _frame(columns)


def _order(row: AttemptRow) -> tuple[float, str, int, str]:
    launched = -1.0 if row.launch_at is None else row.launch_at
    return (launched, row.run_id, -1 if row.position is None else row.position, row.step)


def _outcomes(tries: list[AttemptRow], told: Label | None) -> tuple[Any, ...]:
    first, last = tries[0], tries[-1]
    return (
        first.outcome.value,
        first.outcome is AttemptOutcome.FAILED,
        first.outcome is AttemptOutcome.TIMED_OUT,
        None if told is None else told.failure_class.value,
        None if told is None else told.source.value,
        None if told is None else told.known_at,
        first.ended_at,
        first.duration_s,
        first.timeout_s,
        first.position,
        len(tries),
        last.outcome.value,
    )


def _feature_columns(rows: list[AttemptRow]) -> dict[str, list[Any]]:
    """The features of each row by name; the context stands in where a row has no features."""
    told = [row.features or context_features(row.context) for row in rows]
    names = sorted({name for names in {tuple(each) for each in told} for name in names})
    columns = {name: [each.get(name) for each in told] for name in names}
    return {name: _one_type(column) for name, column in columns.items()}


def _one_type(column: list[Any]) -> list[Any]:
    """A feature that is text for some runs is text for all of them."""
    if not any(isinstance(value, str) for value in column):
        return column
    return [value if value is None or isinstance(value, str) else str(value) for value in column]


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value


_NUMBERS: Final = frozenset(
    {"launch_at", "propensity", "label_known_at", "known_at", "duration_s", "timeout_s", "position"}
    | {"scheduled_at", "started_at", "ended_at", "steps_done", "in_flight", "maximum_attempts"}
)
"""Columns of numbers that may be missing: floats with NaN, even when every value is missing."""


def _frame(columns: dict[str, list[Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({name: _series(name, column) for name, column in columns.items()})


def _series(name: str, column: list[Any]) -> Any:
    import pandas as pd

    if name in _NUMBERS:
        return pd.Series(column, dtype="float64")
    if any(isinstance(value, str) for value in column) or not column:
        return pd.Series(column, dtype="object")
    if any(isinstance(value, float) for value in column):
        return pd.Series(column, dtype="float64")
    return pd.Series(column)
