"""A dataset of so many attempts as an engine would have recorded it: every row with its launch features.

A world of `step_failure` is simulated, its launches are replayed in order, and rows go to the disk as they
are made, so memory is that of the bare rows.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from benchmarks.step_failure import WORLD

from sagacity_data.inferred import infer_sagas, with_definitions
from sagacity_data.replay import launches
from sagacity_data.rows import NO_FEATURES, AttemptRow
from sagacity_data.store import DatasetStore


def record(world: str, attempts: int, folder: Path) -> int:
    """Writes the dataset into a folder that is missing or empty; how many attempts it has."""
    bare = [replace(row, definition_hash="") for row in WORLD[world](attempts).rows]
    inferred = infer_sagas(bare)
    rows = [row for row in with_definitions(bare, inferred) if isinstance(row, AttemptRow)]
    sagas = {saga.definition_hash: saga for saga in inferred.values()}
    runs: dict[str, list[AttemptRow]] = defaultdict(list)
    for row in rows:
        runs[row.run_id].append(row)
    store = DatasetStore(folder)
    with store.adding() as draft:
        for launch in launches(rows, sagas):
            told = launch.features
            draft.add(
                replace(row, features=told.get(row.step, NO_FEATURES)) for row in runs.pop(launch.run_id)
            )
        draft.keep()
    store.keep_definitions(sagas.values())
    return len(rows)
