"""What a dataset tells too early: features that know more than the history before their launch gives.

A recorded launch feature must be what a replay of the rows gives, whose features are those of the past by
construction. Whatever else a row holds of the future shows in its names and times: features that are in no
catalogue or known only later, times that have not come yet, and a failure explained before it happened.

A replay needs all of the history. Where some of it was pruned, or was never recorded, say so: then only what
does not depend on history is compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import islice
from typing import Final

from sagacity_data.feature_catalogue import CONTEXT_PREFIX, KNOWN_AT
from sagacity_data.feature_values import context_features
from sagacity_data.replay import launches
from sagacity_data.rows import AttemptRow, Known, Row, RunRow, StepFeatures
from sagacity_engine import Saga

LEAKS_MAX: Final = 1_000
"""No more than so many leaks are listed: one cause gives as many as there are rows."""

TOLERANCE: Final = 1e-6
"""Numbers that differ by less, in themselves or in proportion, are the same on another machine."""


class LeakKind(StrEnum):
    """What is wrong."""

    DIFFERS = "differs"  # The feature is not what the history before the launch gives.
    UNCATALOGUED = "uncatalogued"  # No such launch feature is known, so nobody knows what it tells.
    LATER = "later"  # It is known only at the attempt, or at its end.
    FUTURE = "future"  # A time that has not come yet.
    EARLY = "early"  # A failure's kind was known before the attempt had ended.


@dataclass(frozen=True, slots=True)
class Leak:
    """One value that tells too much, in a feature or a column. The `step` of a run is empty."""

    kind: LeakKind
    run_id: str
    step: str
    feature: str
    stored: float | str
    replayed: float | str | None = None  # What it should be; of a time, its bound.


def leaks(
    rows: Iterable[Row],
    sagas: Mapping[str, Saga],
    sample: int | None = None,
    *,
    now: float = math.inf,
    complete: bool = True,
) -> list[Leak]:
    """The leaks in `rows` (in any order, the whole history), at most `LEAKS_MAX`; none in a clean dataset.

    `sagas` are the definitions by their hash; features of other definitions are checked by name only. With
    `sample`, the features of so many runs, evenly spread over time, are compared with the replay instead of
    all; names and times are checked in every row. `now` is the time of reading, s since 1970. With `complete`
    false, some of the history is missing, and only what does not depend on history is compared.
    """
    listed = list(rows)
    found = _deduplicated(_all_leaks(listed, sagas, sample, now, complete))
    return list(islice(found, LEAKS_MAX))


def _all_leaks(
    rows: list[Row], sagas: Mapping[str, Saga], sample: int | None, now: float, complete: bool
) -> Iterator[Leak]:
    by_run: dict[str, list[AttemptRow]] = {}
    for row in rows:
        yield from _of_times(row, now)
        if isinstance(row, AttemptRow) and row.features:
            yield from _of_names(row)
            by_run.setdefault(row.run_id, []).append(row)
    for launch in launches(rows, sagas, _sampled(by_run, sample)):
        for row in by_run[launch.run_id]:
            yield from _of_values(row, launch.features.get(row.step, {}), complete)


def _of_times(row: Row, now: float) -> Iterator[Leak]:
    step = "" if isinstance(row, RunRow) else row.step
    times = {"launch_at": row.launch_at, "ended_at": row.ended_at}
    if isinstance(row, AttemptRow):
        times.update(started_at=row.started_at, kind_known_at=row.kind_known_at)
        known_at, ended_at = row.kind_known_at, row.ended_at
        if known_at is not None and ended_at is not None and known_at < ended_at:
            yield Leak(LeakKind.EARLY, row.run_id, step, "kind_known_at", known_at, ended_at)
    for name, at in times.items():
        if at is not None and at > now:
            yield Leak(LeakKind.FUTURE, row.run_id, step, name, at, now)


def _of_names(row: AttemptRow) -> Iterator[Leak]:
    for name, stored in row.features.items():
        if name.startswith(CONTEXT_PREFIX):
            continue
        known = KNOWN_AT.get(name) or _COLUMNS.get(name)
        if known is None or (known is Known.LAUNCH and name not in KNOWN_AT):
            yield Leak(LeakKind.UNCATALOGUED, row.run_id, row.step, name, stored)
        elif known is not Known.LAUNCH:
            yield Leak(LeakKind.LATER, row.run_id, row.step, name, stored)


def _of_values(row: AttemptRow, replayed: StepFeatures, complete: bool) -> Iterator[Leak]:
    told = {**replayed, **context_features(row.context)}
    for name, stored in row.features.items():
        of_context = name.startswith(CONTEXT_PREFIX)
        if not of_context and (name not in replayed or not (complete or name in WITHOUT_HISTORY)):
            continue
        if not agrees(name, stored, told.get(name)):
            yield Leak(LeakKind.DIFFERS, row.run_id, row.step, name, stored, told.get(name))


def agrees(name: str, stored: float | str | None, replayed: float | str | None) -> bool:
    """Whether a stored feature is what the replay gives, as far as a replay can know it."""
    if isinstance(stored, str) or isinstance(replayed, str) or stored is None or replayed is None:
        return stored == replayed
    if name in _UNDER_WAY and stored > replayed:
        return True
    return math.isclose(stored, replayed, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _sampled(by_run: Mapping[str, list[AttemptRow]], sample: int | None) -> set[str]:
    """The runs to compare: all of them, or so many at equal distances in the order of their launches."""
    if sample is None or sample >= len(by_run):
        return set(by_run)
    ordered = sorted(by_run, key=lambda run_id: (by_run[run_id][0].launch_at or -math.inf, run_id))
    return {ordered[number * len(ordered) // sample] for number in range(sample)}


def _deduplicated(found: Iterator[Leak]) -> Iterator[Leak]:
    """Each leak once: every attempt of a step carries the same features."""
    seen: set[tuple[LeakKind, str, str, str, float | str]] = set()
    for leak in found:
        what = (leak.kind, leak.run_id, leak.step, leak.feature, leak.stored)
        if what not in seen:
            seen.add(what)
            yield leak


_COLUMNS: Final = {field.name: Known(field.metadata["known"]) for field in fields(AttemptRow)}
WITHOUT_HISTORY: Final = frozenset(
    {"hour_sin", "hour_cos", "weekday", "weekend", "saga_steps", "saga_timeouts_s", "saga_cross_region"}
    | {"saga_compensations", "saga_compensation_cost", "step_kind", "step_region", "step_timeout_s"}
)
"""Launch features that the definition and the calendar give."""

_UNDER_WAY: Final = frozenset({"runs_in_flight", "service_in_flight"})
"""They may be more than a replay can know: what was under way and has not ended has no row yet."""
