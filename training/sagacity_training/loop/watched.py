"""A growing dataset and its registry, as the loop sees them: what is new, what drifted, what to take back.

The state is one small file beside the registry: when the latest training was and how many runs the dataset
held then, and since when the present champion is known to be that. So a watch that is started again goes on
where it was, and nothing is ever learnt twice from the same data. What a look compares is bounded: the latest
`ROWS_MAX` attempts launched since the training against as many before it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sagacity_data.labels import label
from sagacity_data.rows import AttemptRow, RunRow
from sagacity_data.store import DatasetStore
from sagacity_data.store_where import Where
from sagacity_models.encoding import columns_of
from sagacity_models.feature_columns import feature_column
from sagacity_training.loop.drift import Alarm, CalibrationWatch, Moved, moved_category, moved_number
from sagacity_training.loop.rollout import Evidence, Stage, next_move
from sagacity_training.loop.watching import Seen, Trained
from sagacity_training.step_judged import forecasts_of
from sagacity_training.step_table import StepTable
from sagacity_training.text_files import renew_texts
from sagacity_training.uplift.effect import uplift
from sagacity_training.uplift.trial import NoTrial, trial_of

if TYPE_CHECKING:
    from sagacity_models.bundle import Bundle
    from sagacity_training.uplift.blocks import Estimate

STATE: Final = "watch.json"
ROWS_MAX: Final = 50_000
MOVED_ROWS_MIN: Final = 500
"""With fewer rows on either side the stability of features is not asked: chance alone would move them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchState:
    """What a watch remembers; times in seconds since 1970."""

    trained: Trained | None = None
    champion: str = ""
    champion_since: float = 0.0

    @classmethod
    def read(cls, folder: Path) -> WatchState:
        """The state beside a registry; a new one where there is none, or none that can be read."""
        try:
            told = json.loads((folder / STATE).read_text("utf-8"))
            trained = told["trained"]
            return cls(
                trained=None
                if trained is None
                else Trained(at=float(trained["at"]), runs=int(trained["runs"])),
                champion=str(told["champion"]),
                champion_since=float(told["champion_since"]),
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return cls()  # All that is lost is when to train again, and one training too many is no harm.

    def write(self, folder: Path) -> None:
        """Keeps the state, whole or not at all. Raises `OSError`."""
        renew_texts({STATE: json.dumps(asdict(self)) + "\n"}, folder)


def seen_in(dataset: Path, champion: Bundle | None, trained: Trained | None) -> Seen:
    """How many runs there are, and what drifted since the latest training. Raises what the store raises."""
    store = DatasetStore(dataset)
    runs = runs_in(store)
    if trained is None or champion is None or runs == trained.runs:
        return Seen(runs=runs)
    latest = _attempts(store, Where(since=trained.at))
    before = _attempts(store, Where(until=trained.at))
    return Seen(runs=runs, alarms=drifted(champion, latest), moved=moved(before, latest))


def runs_in(store: DatasetStore) -> int:
    """How many runs the dataset holds; one that holds nothing of runs is counted by its attempts."""
    told = store.describe()
    return told.runs or told.attempts


def drifted(champion: Bundle, rows: Sequence[AttemptRow]) -> tuple[Alarm, ...]:
    """The steps of which these outcomes are not what the champion forecasts, in the order they were noticed.

    Rows without launch features are passed over: what would have been forecast is not known.
    """
    import numpy as np

    told = [row for row in rows if row.features]
    table = StepTable.of(told, label(rows))
    forecasts = forecasts_of(replace(champion, created_at=_ALWAYS), table)
    order = np.lexsort((table.key, table.run, table.known_at))
    figures = zip(forecasts[order], table.refused[order], table.known_at[order], strict=True)
    keys, watch = table.step_keys(), CalibrationWatch()
    found = (
        watch.observe(keys[place], float(forecast), bool(refused), float(known_at))
        for place, (forecast, refused, known_at) in zip(order.tolist(), figures, strict=True)
    )
    return tuple(alarm for alarm in found if alarm is not None)


def moved(before: Sequence[AttemptRow], now: Sequence[AttemptRow]) -> tuple[Moved, ...]:
    """The features whose values are not distributed as before, the farthest first."""
    both = [[row.features for row in rows if row.features] for rows in (before, now)]
    if min(map(len, both)) < MOVED_ROWS_MIN:
        return ()
    found: list[Moved] = []
    earlier, later = (columns_of(rows) for rows in both)
    for name in sorted(earlier.keys() & later.keys()):
        one, two = feature_column(earlier[name]), feature_column(later[name])
        if one.has_text or two.has_text:
            found.append(moved_category(name, _texts(earlier[name]), _texts(later[name])))
        elif one.numbers is not None and two.numbers is not None:
            found.append(moved_number(name, one.numbers.astype(float), two.numbers.astype(float)))
    return tuple(sorted((each for each in found if each.much), key=lambda each: -each.index))


def worse_than_the_holdout(dataset: Path, since: float) -> str:
    """Why the present champion should be taken back, by the runs assigned from `since` on; empty if not."""
    against = _against_holdout(DatasetStore(dataset), since)
    move = next_move(Stage.CHAMPION, Evidence(since_s=0.0, against_holdout=against))
    return move.reason if move.stage is Stage.RETIRED else ""


def _against_holdout(store: DatasetStore, since: float) -> Estimate | None:
    try:
        effects = uplift(trial_of(store.scan_rows(RunRow, Where(since=since)))).effects
    except NoTrial:
        return None
    return effects["cost"].difference if "cost" in effects else None


def _attempts(store: DatasetStore, where: Where) -> list[AttemptRow]:
    """The latest of them by launch, at most `ROWS_MAX`."""
    kept: list[AttemptRow] = []
    for row in store.scan_rows(AttemptRow, where):
        kept.append(row)
        if len(kept) >= 2 * ROWS_MAX:
            kept = _latest(kept)
    return _latest(kept)


def _latest(rows: list[AttemptRow]) -> list[AttemptRow]:
    return sorted(rows, key=lambda row: row.launch_at or 0.0)[-ROWS_MAX:]


def _texts(values: Any) -> list[str | None]:
    return [None if value is None else str(value) for value in values]


_ALWAYS: Final = "1970-01-01T00:00:00"
"""All rows are later than the training, whatever the bundle's own clock said."""
