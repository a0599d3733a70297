"""A dataset's rows ready to learn from: attempts as light rows, launch features of first attempts as columns.

Features take ten times the room of the rest of a row, so they are read into columns (`feature_table`). Only
attempts that did not succeed, and undos, keep theirs at hand, unread until somebody asks: failures are few,
and what they were like is what the classes of failures are learnt from.

Rows recorded without features, and imported ones, get those that the history before their launch gives, by
the fold that serves live; a definition that nobody gave is inferred, and with it come its names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sagacity_data.feature_catalogue import CONTEXT_PREFIX
from sagacity_data.feature_values import context_features
from sagacity_data.rows import Row, RunRow
from sagacity_data.store import DatasetStore
from sagacity_data.store_where import Where
from sagacity_models.feature_columns import FeatureColumn
from sagacity_training.gathering import Gathered, is_first, read_gathered, replay_waiting
from sagacity_training.uncollected import uncollected

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Rows, and per row the place of its launch features in `features`; -1 where it is no first attempt."""

    rows: Sequence[Row]
    places: NDArray[np.int64]
    features: Mapping[str, FeatureColumn]
    bare: int = 0
    """First attempts of which nothing but the caller's context is known."""

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> History:
        """Rows that have their features, or have none."""
        listed = list(rows)
        gathered = Gathered(listed)
        for number, row in enumerate(listed):
            if is_first(row):
                gathered.place(number, row.features or context_features(row.context), bare=not row.features)
        return _history(gathered)

    def without(self, ignored: frozenset[str]) -> History:
        """The same without the features that no model may use; context that became none goes with them."""
        if not ignored:
            return self
        kept = {name: column for name, column in self.features.items() if name not in ignored}
        return replace(self, rows=[_without(row, ignored) for row in self.rows], features=kept)

    def before(self, cut: float) -> History:
        """The runs that were launched before then."""
        import numpy as np

        kept = [
            place for place, row in enumerate(self.rows) if row.launch_at is not None and row.launch_at < cut
        ]
        return replace(
            self,
            rows=[self.rows[place] for place in kept],
            places=self.places[np.array(kept, dtype=np.int64)],
        )


def read_history(store: DatasetStore, at: float) -> History:
    """The runs launched before `at` (seconds since 1970). Raises what the store raises."""
    with uncollected():
        gathered = store.gather(read_gathered, Where(until=at))
        gathered.rows += store.read_runs(until=at)
        if gathered.waiting:
            replay_waiting(gathered, store.definitions())
        return _history(gathered)


def _history(gathered: Gathered) -> History:
    import numpy as np

    gathered.flush()
    places = np.full(len(gathered.rows), -1, dtype=np.int64)
    places[np.array(gathered.told, dtype=np.int64)] = np.arange(len(gathered.told))
    return History(rows=gathered.rows, places=places, features=gathered.table.columns(), bare=gathered.bare)


def _without(row: Row, ignored: frozenset[str]) -> Row:
    if isinstance(row, RunRow):
        return row
    return replace(
        row,
        features={name: value for name, value in row.features.items() if name not in ignored},
        context={name: value for name, value in row.context.items() if CONTEXT_PREFIX + name not in ignored},
    )
