"""A table as arrays: each row encoded once, by the very methods that serve, for both kinds of model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagacity_models.base_rates import BaseRates, StepRates
from sagacity_models.encoding import Columns, FeatureEncoding
from sagacity_training.step_table import StepRow, StepTable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Matrices:
    """The rows of a table, and their columns for linear models (`designs`) and for trees."""

    rows: tuple[StepRow, ...]
    designs: Array
    trees: Array
    categories: tuple[int, ...]
    """The columns of `trees` that are categories."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def content_hash(self) -> str:
        """SHA-256 of all that models read of these rows, given their encoding."""
        digest = hashlib.sha256(self.trees.tobytes())
        for row in self.rows:
            tries = [
                (each.outcome.value, each.failure_class, each.timeout_s, each.started_at, each.ended_at)
                for each in (*row.attempts, *row.undos)
            ]
            told = (row.run_id, row.key, row.launch_at, row.failure_class, row.class_known_at, tries)
            digest.update(repr(told).encode())
        return digest.hexdigest()

    def of(self, table: StepTable) -> Matrices:
        """The rows of `table`, which must all be ours."""
        places = {(row.run_id, row.key): place for place, row in enumerate(self.rows)}
        chosen = [places[row.run_id, row.key] for row in table]
        return Matrices(table.rows, self.designs[chosen], self.trees[chosen], self.categories)

    def only(self, designs: Sequence[bool], trees: Sequence[bool]) -> Matrices:
        """The same rows with every column that is not kept made constant, so that no model reads it."""
        import numpy as np

        kept = np.where(np.array(designs), self.designs, 0.0), np.where(np.array(trees), self.trees, 0.0)
        return Matrices(self.rows, *kept, self.categories)

    def told(self, value: Callable[[StepRow], float]) -> Array:
        """One number per row."""
        import numpy as np

        return np.fromiter(map(value, self.rows), dtype=np.float64, count=len(self.rows))

    def based(self, base: BaseRates, value: Callable[[StepRates], float]) -> Array:
        """One number per row that only depends on the base rates of its step."""
        known = {(row.key, row.first.service) for row in self.rows}
        values = {place: value(base.of_key(*place)) for place in known}
        return self.told(lambda row: values[row.key, row.first.service])


def encode(table: StepTable, columns: Columns, encoding: FeatureEncoding) -> Matrices:
    """The arrays of a table, whose features are given as columns."""
    trees = encoding.tree_rows(columns, len(table))
    return Matrices(table.rows, encoding.design_rows(trees), trees, encoding.categorical_positions)
