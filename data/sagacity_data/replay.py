"""Launch features for rows that have none: history replayed through the one fold that serves live.

For imported rows, and for rows recorded before a feature existed. A launch sees only what had ended, or was
under way, strictly before it; the rows of its own run and of later ones cannot change its features.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sagacity_data.features import LaunchFeatures
from sagacity_data.rows import NO_FEATURES, AttemptRow, Row, StepFeatures
from sagacity_data.signals import launch_times, signals_after_launch
from sagacity_engine import Saga


@dataclass(frozen=True, slots=True)
class LaunchReplayed:
    """One run's launch in a replay: each step's features as of then."""

    run_id: str
    at: float
    features: Mapping[str, StepFeatures]


def launches(
    rows: Iterable[Row], sagas: Mapping[str, Saga], only: Collection[str] | None = None
) -> Iterator[LaunchReplayed]:
    """Every launch that the attempts among `rows` (in any order) tell of, in the order of time.

    `sagas` are the definitions by their hash. Runs of another definition, or without a launch time, are no
    launches, nor are those that `only`, if given, does not name; they still count as history. Launches are
    made when asked for, one at a time, so that their features need not fit into memory together.
    """
    listed = rows if isinstance(rows, Sequence) else list(rows)
    times = launch_times(listed)
    firsts: dict[str, AttemptRow] = {}
    for row in listed:
        if not isinstance(row, AttemptRow) or row.definition_hash not in sagas:
            continue
        if row.run_id in times and (only is None or row.run_id in only):
            firsts.setdefault(row.run_id, row)
    history, told = LaunchFeatures(), signals_after_launch(listed, times)
    pending = next(told, None)
    for run_id in sorted(firsts, key=lambda run_id: (times[run_id], run_id)):
        at, row = times[run_id], firsts[run_id]
        while pending is not None and pending.at < at:
            history.observe(pending)
            pending = next(told, None)
        yield LaunchReplayed(run_id, at, history.features(sagas[row.definition_hash], row.context, at))


def replayed(rows: Iterable[Row], sagas: Mapping[str, Saga]) -> list[Row]:
    """The rows, in their order, with the features that a live recorder would have given them.

    What is no launch of `launches` gets no features. Features take far more room than rows: where there are
    more than some 100,000 attempts, go through `launches` instead.
    """
    listed = list(rows)
    features = {launch.run_id: launch.features for launch in launches(listed, sagas)}
    return [
        replace(row, features=features.get(row.run_id, {}).get(row.step, NO_FEATURES))
        if isinstance(row, AttemptRow)
        else row
        for row in listed
    ]
