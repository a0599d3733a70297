"""A table as arrays: rows for trees encoded once, by the rules that serve; rows for linear models by piece.

Rows for trees are kept, in single precision. Rows for linear models have a column per level and are an order
larger, so they are made of those when they are asked for, some at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sagacity_models.base_rates import BaseRates, StepRates
from sagacity_models.encoding import FeatureEncoding
from sagacity_training.step_table import StepTable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Trees = NDArray[np.float32]

PIECE: Final = 50_000


@dataclass(frozen=True, slots=True)
class Matrices:
    """The rows of a table, and their columns for trees; `shown` says which columns linear models see."""

    table: StepTable
    trees: Trees
    encoding: FeatureEncoding
    shown: Array | None = None

    def __len__(self) -> int:
        return len(self.table)

    @property
    def categories(self) -> tuple[int, ...]:
        """The columns of `trees` that are categories."""
        return self.encoding.categorical_positions

    @property
    def content_hash(self) -> str:
        """SHA-256 of all that models read of these rows, given their encoding."""
        digest = hashlib.sha256(self.trees.tobytes())
        self.table.add_to(digest)
        return digest.hexdigest()

    def of(self, table: StepTable) -> Matrices:
        """The rows of `table`, which must all be ours; without a copy where they lie together."""
        import numpy as np

        places = np.searchsorted(self.table.places, table.places)
        if len(places) and places[-1] - places[0] + 1 == len(places):
            return replace(self, table=table, trees=self.trees[places[0] : places[-1] + 1])
        return replace(self, table=table, trees=self.trees[places])

    def latest(self, rows: int) -> Matrices:
        """At most so many rows, the last ones."""
        if len(self) <= rows:
            return self
        table = StepTable(self.table.columns, self.table.places[-rows:])
        return replace(self, table=table, trees=self.trees[-rows:])

    def only(self, designs: Sequence[bool], trees: Sequence[bool]) -> Matrices:
        """The same rows with every column that is not kept made constant, so that no model reads it."""
        import numpy as np

        kept = np.where(np.array(trees), self.trees, np.float32(0))
        return replace(self, trees=kept, shown=np.array(designs, dtype=np.float64))

    def designs(self) -> Array:
        """All rows for linear models: make it of few rows only."""
        return self._designs(self.trees)

    def pieces(self) -> Iterator[tuple[slice, Array]]:
        """The rows for linear models, so many at a time, and where they are."""
        for start in range(0, len(self), PIECE):
            own = slice(start, start + PIECE)
            yield own, self._designs(self.trees[own])

    def _designs(self, trees: Trees) -> Array:
        designs = self.encoding.design_rows(trees.astype("float64"))
        return designs if self.shown is None else designs * self.shown

    def based(self, base: BaseRates, value: Callable[[StepRates], float]) -> Array:
        """One number per row that only depends on the base rates of its step."""
        return based(self.table, base, value)


def based(table: StepTable, base: BaseRates, value: Callable[[StepRates], float]) -> Array:
    """One number per row that only depends on the base rates of its step."""
    import numpy as np

    columns, width = table.columns, max(len(table.columns.services), 1)
    found, places = np.unique(table.key * width + table.service, return_inverse=True)
    values = [
        value(base.of_key(columns.keys[code // width], columns.services[code % width]))
        for code in found.tolist()
    ]
    return np.array(values, dtype=np.float64)[places]


def encode(table: StepTable, encoding: FeatureEncoding) -> Matrices:
    """The arrays of a table."""
    import numpy as np

    trees = np.full((len(table), len(encoding.names)), np.nan, dtype=np.float32)
    features = table.features
    # Column by column: no more than one of them is gathered at a time beside the matrix.
    encoding.fill_tree_rows({name: features[name] for name in encoding.names if name in features}, trees)
    return Matrices(table, trees, encoding)
