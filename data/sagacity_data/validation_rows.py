"""What one row may say: its times in order, its numbers in range, no word from the future.

Each rule is a function from a row to what is wrong with it in words; a missing value breaks no rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from sagacity_data.feature_catalogue import CONTEXT_PREFIX, KNOWN_AT, TEXT_FEATURES
from sagacity_data.feature_values import context_features
from sagacity_data.rows import AttemptOutcome, AttemptRow, Known, RunRow
from sagacity_data.validation_findings import Check

Problem = tuple[Check, str]

_SPANS: Final[dict[type, tuple[tuple[str, ...], ...]]] = {
    AttemptRow: (("launch_at", "scheduled_at", "started_at", "ended_at"),),
    RunRow: (("launch_at", "ended_at"),),
}
"""Times that never go back along a line."""

_TIMES: Final[dict[type, tuple[str, ...]]] = {
    AttemptRow: ("launch_at", "scheduled_at", "started_at", "ended_at", "kind_known_at"),
    RunRow: ("launch_at", "ended_at"),
}
_LEAST: Final[dict[type, tuple[tuple[str, float], ...]]] = {
    AttemptRow: (
        ("attempt", 1),
        ("position", 0),
        ("rank", 0),
        ("steps_done", 0),
        ("in_flight", 0),
        ("stage", 0),
        ("maximum_attempts", 0),
        ("input_bytes", 0),
        ("timeout_s", 0),
    ),
    RunRow: (("cost", 0), ("wasted_cost", 0), ("latency_s", 0), ("input_bytes", 0)),
}
"""Numbers and the least they may be."""

LATENCY_TOLERANCE_S: Final = 1e-3


def row_problems(row: AttemptRow | RunRow, now: float) -> Iterator[Problem]:
    """What is wrong with the row, as far as it alone tells; `now` in s since 1970 UTC."""
    kind = type(row)
    for span in _SPANS[kind]:
        yield from _out_of_order(row, span)
    yield from _beyond(row, _TIMES[kind], now)
    yield from _out_of_range(row, _LEAST[kind])
    if isinstance(row, AttemptRow):
        yield from _contradictions(row)
        yield from _feature_problems(row)
    else:
        yield from _run_contradictions(row)


def _out_of_order(row: AttemptRow | RunRow, span: tuple[str, ...]) -> Iterator[Problem]:
    told = [(name, at) for name in span if (at := getattr(row, name)) is not None]
    for (early, begun), (late, ended) in pairwise(told):
        if ended < begun:
            yield Check.TIMES, f"{late} {ended!r} lies before {early} {begun!r}"


def _beyond(row: AttemptRow | RunRow, names: tuple[str, ...], now: float) -> Iterator[Problem]:
    for name in names:
        at = getattr(row, name)
        if at is None:
            continue
        if not math.isfinite(at):
            yield Check.RANGE, f"{name} is {at!r}, which is no time"
        elif at > now:
            yield Check.FUTURE, f"{name} {at!r} is later than now, {now!r}"


def _out_of_range(row: AttemptRow | RunRow, least: tuple[tuple[str, float], ...]) -> Iterator[Problem]:
    for name, lowest in least:
        number = getattr(row, name)
        if number is not None and not lowest <= number < math.inf:
            yield Check.RANGE, f"{name} is {number!r}, not a number from {lowest} on"
    if not 0.0 < row.propensity <= 1.0:
        yield Check.RANGE, f"propensity is {row.propensity!r}, not in (0, 1]"


def _contradictions(row: AttemptRow) -> Iterator[Problem]:
    if row.kind_known_at is not None and row.ended_at is not None and row.kind_known_at < row.ended_at:
        yield (
            Check.KNOWN_TOO_EARLY,
            f"kind_known_at {row.kind_known_at!r} lies before the end it is about, {row.ended_at!r}",
        )
    if row.outcome is AttemptOutcome.SUCCEEDED and (row.failure_class or row.failure_kind or row.error_type):
        yield Check.CONTRADICTION, "it succeeded and has an error or a failure's class or kind"
    if row.outcome is AttemptOutcome.OPEN and row.ended_at is not None:
        yield Check.CONTRADICTION, f"it is open and ended at {row.ended_at!r}"
    if row.failure_kind is None and (row.kind_source is not None or row.kind_known_at is not None):
        yield Check.CONTRADICTION, "somebody says a kind of failure, and there is none"


def _run_contradictions(row: RunRow) -> Iterator[Problem]:
    if row.ended_at is not None and not row.status.ended:
        yield Check.CONTRADICTION, f"it is {row.status.value} and ended at {row.ended_at!r}"
    if row.latency_s is not None and row.launch_at is not None and row.ended_at is not None:
        span = row.ended_at - row.launch_at
        if not math.isclose(span, row.latency_s, abs_tol=LATENCY_TOLERANCE_S):
            yield Check.CONTRADICTION, f"latency_s is {row.latency_s!r}, launch to end {span!r}"
    if row.cost is not None and row.wasted_cost is not None and row.wasted_cost > row.cost * (1 + 1e-9):
        yield Check.CONTRADICTION, f"wasted_cost {row.wasted_cost!r} exceeds cost {row.cost!r}"


def _feature_problems(row: AttemptRow) -> Iterator[Problem]:
    """A stored feature is one of the catalogue's that is known at launch, or says what the caller said."""
    context: Mapping[str, Any] = context_features(row.context) if row.features else {}
    for name, value in row.features.items():
        if name.startswith(CONTEXT_PREFIX):
            if context.get(name) != value:
                yield Check.FEATURE, f"{name} is {value!r} and the context says {context.get(name)!r}"
            continue
        known = KNOWN_AT.get(name)
        if known is None:
            yield Check.FEATURE, f"{name!r} is no feature of the catalogue"
        elif known is not Known.LAUNCH:
            yield Check.NOT_AT_LAUNCH, f"{name} is known from the {known.value} on, not at the launch"
        elif (name in TEXT_FEATURES) is not isinstance(value, str):
            yield Check.FEATURE, f"{name} is {value!r}, a {type(value).__name__}"
        elif not isinstance(value, str) and not math.isfinite(value):
            yield Check.FEATURE, f"{name} is {value!r}"
