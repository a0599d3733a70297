"""Rows on their way to a history: who has launch features, who waits for them, where they come from.

Stored features of first attempts become columns; those of failures and undos stay at hand as texts that are
read when somebody asks. First attempts without any get what the history before their launch gives.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeGuard

from sagacity_data.feature_values import context_features
from sagacity_data.inferred import infer_sagas, with_definitions
from sagacity_data.replay import launches
from sagacity_data.rows import AttemptOutcome, AttemptRow, Row
from sagacity_engine import Direction, Saga
from sagacity_models.feature_columns import Features
from sagacity_training.feature_table import FeatureTable

DETAILED_MAX: Final = 300_000
"""Of so many latest attempts the failures and undos have their features at hand, where history gave them."""
_PIECE: Final = 5_000
_NONE: Final = "{}"


@dataclass(slots=True)
class Gathered:
    """What has features has a place; `waiting` are first attempts without any yet."""

    rows: list[Row]
    waiting: list[int] = field(default_factory=list)
    bare: int = 0
    """First attempts of which nothing but the caller's context is known."""
    table: FeatureTable = field(default_factory=FeatureTable)
    told: list[int] = field(default_factory=list)
    """The rows that have features, in the order of their places."""
    held: list[Features] = field(default_factory=list)

    def place(self, number: int, features: Features, *, bare: bool = False) -> None:
        """Row `number` has these features."""
        self.told.append(number)
        self.held.append(features)
        self.bare += bare
        if len(self.held) >= _PIECE:
            self.flush()

    def flush(self) -> None:
        """Puts all that was placed into the table."""
        self.table.add(self.held)
        self.held = []


class StoredFeatures(Mapping[str, float | str]):
    """Features as a dataset stores them, read when first asked for."""

    __slots__ = ("_text", "_told")

    def __init__(self, text: str) -> None:
        self._text = text
        self._told: dict[str, float | str] | None = None

    def __getitem__(self, name: str) -> float | str:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def _read(self) -> dict[str, float | str]:
        told = self._told
        if told is None:
            told = self._told = json.loads(self._text)
        return told


def is_first(row: Row) -> TypeGuard[AttemptRow]:
    """Whether the row is a step's first forward attempt."""
    return isinstance(row, AttemptRow) and row.attempt == 1 and row.direction is Direction.FORWARD


def _is_telling(row: AttemptRow) -> bool:
    return row.direction is not Direction.FORWARD or row.outcome is not AttemptOutcome.SUCCEEDED


def read_gathered(batches: Iterator[tuple[list[AttemptRow], Any]]) -> Gathered:
    """Rows are made here while another thread makes columns of the features of the batch before."""
    gathered = Gathered([])
    with ThreadPoolExecutor(1) as other:
        before: Future[None] | None = None
        for rows, texts in batches:
            firsts = _take(gathered, rows, texts)
            if before is not None:
                before.result()
            before = other.submit(gathered.table.add_texts, firsts) if len(firsts) else None
        if before is not None:
            before.result()
    return gathered


def _take(gathered: Gathered, rows: list[AttemptRow], texts: Any) -> Any:
    """Takes in a batch of rows; the stored features of its first attempts that have any, in their order."""
    import pyarrow as pa

    start = len(gathered.rows)
    taken: list[int] = []
    for number, row in enumerate(rows):
        if _is_telling(row) and (text := texts[number].as_py()) != _NONE:
            rows[number] = replace(row, features=StoredFeatures(str(text)))
        if is_first(row):
            taken.append(number)
    gathered.rows += rows
    firsts = texts.take(pa.array(taken, pa.int64()))
    has = pa.array([text != _NONE for text in firsts.to_pylist()], pa.bool_())
    for number, told in zip(taken, has.to_pylist(), strict=True):
        (gathered.told if told else gathered.waiting).append(start + number)
    return firsts.filter(has)


def replay_waiting(gathered: Gathered, definitions: Mapping[str, Saga]) -> None:
    """Gives features to the first attempts that wait for them; what history cannot tell has its context."""
    inferred = infer_sagas(gathered.rows)
    rows = gathered.rows = with_definitions(gathered.rows, inferred)
    known = {**definitions, **{saga.definition_hash: saga for saga in inferred.values()}}
    waiting: dict[str, dict[str, int]] = defaultdict(dict)
    for number in gathered.waiting:
        waiting[rows[number].run_id][_step_of(rows[number])] = number
    detailed = _detailed(rows, waiting)
    for launch in launches(rows, known, waiting):
        for step, number in list(waiting[launch.run_id].items()):
            if step in launch.features:
                gathered.place(number, launch.features[step])
                del waiting[launch.run_id][step]
        for number in detailed.get(launch.run_id, ()):
            row = rows[number]
            assert isinstance(row, AttemptRow), "runs are not detailed"
            rows[number] = replace(row, features=launch.features.get(row.step, row.features))
    for steps in waiting.values():
        for number in steps.values():
            row = rows[number]
            assert isinstance(row, AttemptRow), "only attempts wait"
            gathered.place(number, context_features(row.context), bare=True)


def _step_of(row: Row) -> str:
    assert isinstance(row, AttemptRow), "runs are of no step"
    return row.step


def _detailed(rows: Sequence[Row], waiting: Mapping[str, object]) -> dict[str, list[int]]:
    """By run, the failures and undos without features among the latest attempts of runs that wait."""
    told = [
        (row.launch_at or 0.0, number)
        for number, row in enumerate(rows)
        if isinstance(row, AttemptRow) and row.run_id in waiting
    ]
    found: dict[str, list[int]] = defaultdict(list)
    for _, number in sorted(told)[-DETAILED_MAX:]:
        row = rows[number]
        if isinstance(row, AttemptRow) and _is_telling(row) and not row.features:
            found[row.run_id].append(number)
    return found
