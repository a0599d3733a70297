"""Whether stored features are what was known: computed again from the history strictly before each launch.

The one fold that serves live replays the stored rows, and what it gives has to equal what was stored. A
feature that knew its own run's end, or anything else later than the launch, cannot be computed from before.
The history is in memory, without its features; stored features are read day by day.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sagacity_data.leaks import WITHOUT_HISTORY, agrees
from sagacity_data.replay import launches
from sagacity_data.rows import NO_FEATURES, AttemptRow, Row, StepFeatures
from sagacity_data.store import DatasetStore
from sagacity_data.store_days import DAY_S, UNKNOWN_DAY, day_of, day_start
from sagacity_data.store_where import Where
from sagacity_data.validation_findings import Check, Finding, Validation

NAMED_MAX: Final = 3
"""How many features one finding names."""

ATTEMPTS: Final = "attempts"
"""The path of a finding that is about whichever files hold an attempt."""

_COLUMNS: Final = ("run_id", "step", "direction", "attempt", "features")


def replay(store: DatasetStore, report: Validation, sample: int | None, *, whole: bool = True) -> None:
    """Compares the features of every run, or of `sample` runs evenly over time, with the history's.

    Where the history is not `whole`, for rows were erased, only what needs no history is compared. Raises
    `DatasetRefused` when the dataset cannot be read.
    """
    sagas = store.definitions()
    history = store.read_history()
    runs = _sampled(history, sample)
    stored = _Stored(store)
    for launch in launches(history, sagas, runs):
        for place, text in stored.of(launch.run_id, launch.at):
            report.replayed += 1
            known = launch.features.get(place[0], NO_FEATURES)
            words = _differing(report, json.loads(text), known, whole=whole)
            if words:
                report.found(_leak(launch.run_id, place, words))
    without = sum(isinstance(row, AttemptRow) and row.definition_hash not in sagas for row in history)
    if without:
        report.notes["attempts whose definition is not kept: not replayed"] += without
    if not whole:
        report.notes["rows were erased: only features that need no history were replayed"] += 1


def _sampled(history: list[Row], sample: int | None) -> set[str] | None:
    """Runs evenly spread over the history; None means all."""
    runs = list(dict.fromkeys(row.run_id for row in history)) if sample is not None else []
    if sample is None or len(runs) <= sample:
        return None
    return {runs[n * len(runs) // sample] for n in range(sample)}


class _Stored:
    """The stored features of one day's runs, as the texts they are."""

    def __init__(self, store: DatasetStore) -> None:
        self._store = store
        self._day = ""
        self._texts: dict[str, list[tuple[tuple[str, str, int], str]]] = {}

    def of(self, run_id: str, at: float) -> list[tuple[tuple[str, str, int], str]]:
        """The run's attempts that have features: step, direction and number, and their text."""
        day = day_of(at)
        if day != self._day:
            self._day, self._texts = day, {}
            if day != UNKNOWN_DAY:
                self._read(Where(since=day_start(day), until=day_start(day) + DAY_S))
        return self._texts.get(run_id, [])

    def _read(self, where: Where) -> None:
        for batch in self._store.scan(AttemptRow, _COLUMNS, where):
            columns = (batch.column(name).to_pylist() for name in _COLUMNS)
            for run_id, step, direction, attempt, text in zip(*columns, strict=True):
                if text != "{}":
                    self._texts.setdefault(run_id, []).append(((step, direction, attempt), text))


def _differing(report: Validation, told: Mapping[str, Any], known: StepFeatures, *, whole: bool) -> str:
    """In words, what the stored features say that history does not."""
    if any(name not in told for name in known):
        report.notes["attempts that lack features which are computed today"] += 1
    wrong = list(_differences(told, known, whole=whole))
    more = f", and {len(wrong) - NAMED_MAX} more" if len(wrong) > NAMED_MAX else ""
    return "; ".join(wrong[:NAMED_MAX]) + more


def _leak(run_id: str, place: tuple[str, str, int], words: str) -> Finding:
    step, direction, attempt = place
    return Finding(
        check=Check.LEAK,
        words=words,
        path=ATTEMPTS,
        run_id=run_id,
        step=step,
        direction=direction,
        attempt=attempt,
    )


def _differences(told: Mapping[str, Any], known: StepFeatures, *, whole: bool) -> Iterator[str]:
    for name, value in told.items():
        if name not in known:
            yield f"{name} is stored as {value!r} and history gives none"
        elif (whole or name in WITHOUT_HISTORY) and not agrees(name, value, known[name]):
            yield f"{name} is stored as {value!r} and history before the launch gives {known[name]!r}"
