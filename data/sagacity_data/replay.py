"""Launch features for rows that have none: history replayed through the one fold that serves live.

For imported rows, and for rows recorded before a feature existed. A launch sees only what had ended, or was
under way, strictly before it; the rows of its own run and of later ones cannot change its features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sagacity_data.features import LaunchFeatures
from sagacity_data.rows import NO_FEATURES, AttemptRow, Row, StepFeatures
from sagacity_data.signals import signals
from sagacity_engine import Saga


def replayed(rows: Iterable[Row], sagas: Mapping[str, Saga]) -> list[Row]:
    """The rows, in their order, with the features that a live recorder would have given them.

    `sagas` are the definitions by their hash. Rows of another definition, or without a launch time, get no
    features; they still count as history.
    """
    listed = list(rows)
    launches = {
        row.run_id: (row.launch_at, row)
        for row in listed
        if isinstance(row, AttemptRow) and row.launch_at is not None and row.definition_hash in sagas
    }
    features: dict[str, Mapping[str, StepFeatures]] = {}
    history, told = LaunchFeatures(), iter(signals(listed))
    pending = next(told, None)
    for at, row in sorted(launches.values(), key=lambda launch: (launch[0], launch[1].run_id)):
        while pending is not None and pending.at < at:
            history.observe(pending)
            pending = next(told, None)
        features[row.run_id] = history.features(sagas[row.definition_hash], row.context, at)
    return [
        replace(row, features=features.get(row.run_id, {}).get(row.step, NO_FEATURES))
        if isinstance(row, AttemptRow)
        else row
        for row in listed
    ]
