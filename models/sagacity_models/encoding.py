"""From named features to the rows that the models read: one fixed order, learnt once, kept in the bundle.

Trees get the numbers as they are (missing is NaN) and one code per category. Linear models get standardised
numbers (missing is the mean, hence 0) and one column per level. A level that was rare or never seen while
learning is "other"; a missing one is neither that nor any known level. `tree_rows` and
`design_rows` do to many rows what `tree_row` and `design_row` do to one; a test holds them to each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import nan
from typing import TYPE_CHECKING, Any, Final

from sagacity_models.feature_columns import (
    Columns,
    FeatureColumn,
    Features,
    FeatureValue,
    columns_of,
    feature_column,
    number_in,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "CategoryColumn",
    "Columns",
    "FeatureEncoding",
    "FeatureValue",
    "Features",
    "NumberColumn",
    "columns_of",
    "number_in",
]

LEVELS_MAX: Final = 40
LEVEL_ROWS_MIN: Final = 20
FEATURES_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A numeric feature, with what standardises it."""

    name: str
    mean: float
    scale: float


@dataclass(frozen=True, slots=True)
class CategoryColumn:
    """A categorical feature and its known levels; any other value is "other"."""

    name: str
    levels: tuple[str, ...]


@dataclass(frozen=True)
class FeatureEncoding:
    """The columns of every model in a bundle. Equal encodings give equal rows."""

    numbers: tuple[NumberColumn, ...]
    categories: tuple[CategoryColumn, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The features that are read, in the order of a tree's row."""
        return (*self._number_names, *(column.name for column in self.categories))

    @cached_property
    def design_names(self) -> tuple[str, ...]:
        """What each column of a linear model's row says, in order."""
        levels = [
            f"{column.name} is {level}"
            for column in self.categories
            for level in (*column.levels, "another value")
        ]
        return (*self._number_names, *levels)

    @property
    def categorical_positions(self) -> tuple[int, ...]:
        """The places of the categories in a tree's row."""
        return tuple(range(len(self.numbers), len(self.names)))

    @cached_property
    def schema_hash(self) -> str:
        """SHA-256 of the columns and their levels."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def tree_row(self, features: Features) -> list[float]:
        """The row of a tree model; NaN where a feature is missing or no finite number."""
        get = features.get
        row: list[float] = []
        for name in self._number_names:
            value = get(name)
            # Nearly every value is a finite float; the difference to itself tells without a call.
            row.append(value if type(value) is float and value - value == 0.0 else number_in(value))
        for name, codes in self._codes:
            level = get(name)
            row.append(nan if level is None else float(codes.get(str(level), len(codes))))
        return row

    def tree_matrix(self, rows: Sequence[Features]) -> NDArray[np.float64]:
        """`tree_row` of every row at once."""
        import numpy as np

        matrix = np.empty((len(rows), len(self.names)))
        if not rows:
            return matrix
        numbers = len(self.numbers)
        try:
            # None becomes NaN, and the whole conversion is one call.
            told = np.array([list(map(row.get, self._number_names)) for row in rows], dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            return np.array([self.tree_row(row) for row in rows])  # A text where a number should be.
        matrix[:, :numbers] = np.where(np.isfinite(told), told, np.nan).reshape(len(rows), numbers)
        for place, (name, codes) in enumerate(self._codes, start=numbers):
            levels = [row.get(name) for row in rows]
            matrix[:, place] = [
                nan if level is None else codes.get(str(level), len(codes)) for level in levels
            ]
        return matrix

    def tree_rows(self, columns: Columns, rows: int) -> NDArray[np.float64]:
        """`tree_row` of every row at once, column by column."""
        import numpy as np

        matrix = np.full((rows, len(self.names)), np.nan)
        self.fill_tree_rows(
            {name: feature_column(columns[name]) for name in self.names if name in columns}, matrix
        )
        return matrix

    def fill_tree_rows(self, columns: Mapping[str, FeatureColumn], matrix: NDArray[Any]) -> None:
        """The same into a matrix of any float type that holds NaN, as many rows as the columns have."""
        for place, column in enumerate(self.numbers):
            told = columns.get(column.name)
            if told is not None and told.numbers is not None:
                matrix[:, place] = told.numbers
        for place, (name, codes) in enumerate(self._codes, start=len(self.numbers)):
            if name in columns:
                matrix[:, place] = _coded(columns[name], codes)

    def design_row(self, tree_row: Sequence[float]) -> list[float]:
        """The row of a linear model, all finite, from that of a tree model."""
        row = [
            (value - mean) / scale if value == value else 0.0  # noqa: PLR0124  not NaN, without a call
            for value, (mean, scale) in zip(tree_row, self._moments, strict=False)
        ]
        row += [0.0] * (len(self.design_names) - len(row))
        start = len(self.numbers)
        for code, (_, codes) in zip(tree_row[start:], self._codes, strict=True):
            if code == code:  # noqa: PLR0124  not NaN
                row[start + int(code)] = 1.0
            start += len(codes) + 1
        return row

    def design_rows(self, tree_rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """`design_row` of every row at once."""
        import numpy as np

        numbers = len(self.numbers)
        designs = np.zeros((len(tree_rows), len(self.design_names)))
        means, scales = self._moment_arrays
        designs[:, :numbers] = np.nan_to_num((tree_rows[:, :numbers] - means) / scales, nan=0.0)
        start = numbers
        for place, (_, codes) in enumerate(self._codes):
            known = np.flatnonzero(~np.isnan(tree_rows[:, numbers + place]))
            designs[known, start + tree_rows[known, numbers + place].astype(int)] = 1.0
            start += len(codes) + 1
        return designs

    @cached_property
    def _number_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.numbers)

    @cached_property
    def _moments(self) -> tuple[tuple[float, float], ...]:
        return tuple((column.mean, column.scale) for column in self.numbers)

    @cached_property
    def _moment_arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        import numpy as np

        told = np.array(self._moments).reshape(len(self.numbers), 2)
        return told[:, 0], told[:, 1]

    @cached_property
    def _codes(self) -> tuple[tuple[str, dict[str, int]], ...]:
        return tuple(
            (column.name, {level: code for code, level in enumerate(column.levels)})
            for column in self.categories
        )

    def as_json(self) -> dict[str, Any]:
        """The encoding as JSON values; `from_json` reads it back."""
        return {
            "numbers": [[column.name, column.mean, column.scale] for column in self.numbers],
            "categories": [[column.name, list(column.levels)] for column in self.categories],
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> FeatureEncoding:
        """The encoding that `as_json` wrote."""
        return cls(
            tuple(
                NumberColumn(str(name), float(mean), float(scale)) for name, mean, scale in written["numbers"]
            ),
            tuple(
                CategoryColumn(str(name), tuple(map(str, levels))) for name, levels in written["categories"]
            ),
        )

    @classmethod
    def learn(cls, columns: Columns) -> FeatureEncoding:
        """The encoding of these columns: constant features get no column, rare levels become "other".

        A feature is a number if every value that is there is one (truth values count as 0 and 1).
        """
        numbers: list[NumberColumn] = []
        categories: list[CategoryColumn] = []
        for name in sorted(columns)[:FEATURES_MAX]:
            column = feature_column(columns[name])
            if column.has_text:
                categories += _category(name, column)
            else:
                numbers += _number(name, column)
        return cls(tuple(numbers), tuple(categories))


def _coded(column: FeatureColumn, codes: Mapping[str, int]) -> NDArray[np.float64]:
    """The place of each row's level among the known ones; past them all if it is none, NaN if missing."""
    import numpy as np

    told, names = column.as_levels()
    # The last two places are those of the codes -2, a text that was not kept, and -1, a missing one.
    places = [*(float(codes.get(name, len(codes))) for name in names), float(len(codes)), nan]
    return np.array(places)[told]


def _number(name: str, column: FeatureColumn) -> list[NumberColumn]:
    if column.numbers is None:
        return []
    known = column.numbers[column.numbers == column.numbers].astype("float64")
    if len(known) < 2:
        return []
    mean, scale = float(known.mean()), float(known.std())
    # A spread that is nothing but rounding would blow up into a column of noise.
    return [NumberColumn(name, mean, scale)] if scale > 1e-9 * max(1.0, abs(mean)) else []


def _category(name: str, column: FeatureColumn) -> list[CategoryColumn]:
    import numpy as np

    told, names = column.as_levels()
    found = np.bincount(told[told >= 0], minlength=len(names)).tolist()
    counts = {level: count for level, count in zip(names, found, strict=True) if count}
    enough = min(LEVEL_ROWS_MIN, max(1, len(told) // 50))
    common = sorted(counts, key=lambda level: (-counts[level], level))[:LEVELS_MAX]
    levels = tuple(sorted(level for level in common if counts[level] >= enough))
    varies = len(counts) > 1 or bool((told < 0).any())
    return [CategoryColumn(name, levels)] if levels and varies else []
