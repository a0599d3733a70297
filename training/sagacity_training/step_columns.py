"""The arrays under a step table, made of rows in any order, and the attempts behind each of its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from sagacity_data.labels import Label
from sagacity_data.rows import AttemptOutcome, AttemptRow
from sagacity_engine import Direction, FailureClass
from sagacity_models.base_rates import CLASSES, step_key
from sagacity_models.feature_columns import FeatureColumn
from sagacity_training.history import History

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Codes = NDArray[np.int64]
    Small = NDArray[np.int8]

_Name = TypeVar("_Name", str, tuple[str, str])

OUTCOMES: Final = tuple(AttemptOutcome)
SEEN: Final = tuple(FailureClass)
_OUTCOME: Final = {each: code for code, each in enumerate(OUTCOMES)}
_CLASS: Final[dict[FailureClass | None, int]] = {None: -1, **{each: n for n, each in enumerate(SEEN)}}
_TELLING: Final = frozenset(each for each in AttemptOutcome if each.tells)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCalls:
    """Attempts in order of row and number: `row` says whose they are. Times in seconds, NaN where missing."""

    row: Codes
    outcome: Small
    """A place in `OUTCOMES`."""
    seen: Small
    """As which class the engine saw it: a place in `SEEN`, or -1."""
    ended_at: Array
    duration_s: Array
    timeout_s: Array

    def where(self, kept: NDArray[np.bool_], row: Codes | None = None) -> StepCalls:
        """The attempts that are kept; `row` replaces their rows, given for all."""
        return StepCalls(
            row=(self.row if row is None else row)[kept],
            outcome=self.outcome[kept],
            seen=self.seen[kept],
            ended_at=self.ended_at[kept],
            duration_s=self.duration_s[kept],
            timeout_s=self.timeout_s[kept],
        )

    def add_to(self, digest: hashlib._Hash) -> None:
        """Adds all that they tell to a digest."""
        for array in (self.row, self.outcome, self.seen, self.ended_at, self.duration_s, self.timeout_s):
            digest.update(array.tobytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class StepColumns:
    """One entry per row in every array; codes are places in the tuples of names, which are sorted."""

    keys: tuple[str, ...]
    services: tuple[str, ...]
    regions: tuple[str, ...]
    run_ids: tuple[str, ...]
    key: Codes
    service: Codes
    region: Codes
    run: Codes
    launch_at: Array
    known_at: Array
    class_known_at: Array
    timeout_s: Array
    duration_s: Array
    outcome: Small
    seen: Small
    failure_class: Small
    features: Mapping[str, FeatureColumn]
    tries: StepCalls
    undos: StepCalls

    def __len__(self) -> int:
        return len(self.run)


def step_columns(history: History, labels: Iterable[Label]) -> StepColumns:
    """The columns of all rows of a history: by launch, run and step."""
    import numpy as np

    told = [
        (place, row)
        for place, row in enumerate(history.rows)
        if isinstance(row, AttemptRow) and row.outcome in _TELLING
    ]
    rows = [row for _, row in told]
    run_ids, run = _coded([row.run_id for row in rows])
    pairs, pair = _coded([(row.saga, row.step) for row in rows])
    keys, of_pair = _coded([step_key(*each) for each in pairs])
    key = of_pair[pair]
    forward = np.array([row.direction is Direction.FORWARD for row in rows], dtype=np.bool_)
    attempt = np.array([row.attempt for row in rows], dtype=np.int64)
    launch_at = _numbers([row.launch_at for row in rows])
    calls = _calls(rows)
    group = run * max(len(keys), 1) + key
    firsts = _firsts(group, attempt, forward, launch_at)
    order = np.lexsort((key[firsts], run[firsts], launch_at[firsts]))
    firsts = firsts[order]
    owner = _owners(group[firsts], group)
    services, service = _coded([rows[place].service for place in firsts.tolist()])
    regions, region = _coded([rows[place].region for place in firsts.tolist()])
    known_at = np.nan_to_num(calls.ended_at[firsts], nan=np.inf, posinf=np.inf)
    failure_class, class_known_at = _classes([rows[place] for place in firsts.tolist()], labels)
    places = np.array([place for place, _ in told], dtype=np.int64)[firsts]
    own = history.places[places]
    return StepColumns(
        keys=tuple(keys), services=tuple(services), regions=tuple(regions), run_ids=tuple(run_ids),
        key=key[firsts], service=service, region=region, run=run[firsts],
        launch_at=launch_at[firsts], known_at=known_at, class_known_at=class_known_at,
        timeout_s=calls.timeout_s[firsts], duration_s=calls.duration_s[firsts],
        outcome=calls.outcome[firsts], seen=calls.seen[firsts], failure_class=failure_class,
        features={name: column[own] for name, column in history.features.items()},
        tries=_owned(calls, owner, forward, attempt),
        undos=_owned(calls, owner, ~forward, attempt),
    )  # fmt: skip


def _coded(values: Sequence[_Name]) -> tuple[list[_Name], Codes]:
    """The different values, sorted, and each value's place among them."""
    import numpy as np

    names = sorted(set(values))
    places = {name: code for code, name in enumerate(names)}
    return names, np.fromiter((places[value] for value in values), dtype=np.int64, count=len(values))


def _numbers(values: Sequence[float | None]) -> Array:
    import numpy as np

    return np.array(values, dtype=np.float64)


def _calls(rows: Sequence[AttemptRow]) -> StepCalls:
    """All attempts, in the order of the rows; whose they are is not told yet."""
    import numpy as np

    started_at, ended_at = (
        _numbers([row.started_at for row in rows]),
        _numbers([row.ended_at for row in rows]),
    )
    return StepCalls(
        row=np.zeros(len(rows), dtype=np.int64),
        outcome=np.array([_OUTCOME[row.outcome] for row in rows], dtype=np.int8),
        seen=np.array([_CLASS[row.failure_class] for row in rows], dtype=np.int8),
        ended_at=ended_at,
        duration_s=ended_at - started_at,
        timeout_s=_numbers([row.timeout_s for row in rows]),
    )


def _firsts(group: Codes, attempt: Codes, forward: NDArray[np.bool_], launch_at: Array) -> Codes:
    """The places of first attempts that are rows, one for each group that has one."""
    import numpy as np

    tried = np.flatnonzero(forward)
    tried = tried[np.lexsort((attempt[tried], group[tried]))]
    begins = np.ones(len(tried), dtype=np.bool_)
    begins[1:] = group[tried][1:] != group[tried][:-1]
    firsts = tried[begins]
    chosen: Codes = firsts[(attempt[firsts] == 1) & ~np.isnan(launch_at[firsts])]
    return chosen


def _owners(of_rows: Codes, group: Codes) -> Codes:
    """For each attempt the row of its group; -1 where it has none."""
    import numpy as np

    if not len(of_rows):
        return np.full(len(group), -1, dtype=np.int64)
    order = np.argsort(of_rows)
    places = np.minimum(np.searchsorted(of_rows[order], group), len(of_rows) - 1)
    owner = order[places]
    return np.where(of_rows[owner] == group, owner, -1)


def _owned(calls: StepCalls, owner: Codes, kind: NDArray[np.bool_], attempt: Codes) -> StepCalls:
    """The attempts of one kind that belong to a row, by row and number."""
    import numpy as np

    mine = np.flatnonzero(kind & (owner >= 0))
    mine = mine[np.lexsort((attempt[mine], owner[mine]))]
    return StepCalls(
        row=owner[mine],
        outcome=calls.outcome[mine],
        seen=calls.seen[mine],
        ended_at=calls.ended_at[mine],
        duration_s=calls.duration_s[mine],
        timeout_s=calls.timeout_s[mine],
    )


def _classes(firsts: Sequence[AttemptRow], labels: Iterable[Label]) -> tuple[Small, Array]:
    """Per row the class of a refusal that somebody can tell, else -1, and since when it is known."""
    import numpy as np

    told = {(each.run_id, each.step): each for each in labels}
    codes = np.full(len(firsts), -1, dtype=np.int8)
    known_at = np.full(len(firsts), np.inf)
    for place, row in enumerate(firsts):
        if row.outcome is not AttemptOutcome.FAILED:
            continue
        label = told.get((row.run_id, row.step))
        if label is not None and label.failure_class in CLASSES:
            codes[place] = _CLASS[label.failure_class]
            known_at[place] = np.inf if label.known_at is None else label.known_at
    return codes, known_at
