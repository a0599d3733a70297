"""One feature of many rows as arrays: what encodings are learnt from, and what they turn into matrices.

A feature is a number in some rows, a text in some, and missing in others. Numbers lie in one array (NaN where
there is none), texts in another, as codes into a list of names, so that a million rows cost a few bytes each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FeatureValue = str | float | bool | None
Features = Mapping[str, FeatureValue]
"""What is known of one step of one run at launch."""

MISSING: Final = -1
"""The code where there is no text."""
UNNAMED: Final = -2
"""The code of a text that was not kept, for there were too many: no level, and not missing."""


@dataclass(frozen=True, slots=True)
class FeatureColumn:
    """One feature, row by row: a finite number, else a text by its code, else missing.

    `numbers` is None where no row has a number, `codes` where no row has a text.
    """

    numbers: NDArray[np.floating] | None
    codes: NDArray[np.int32] | None = None
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return (
            len(self.numbers)
            if self.numbers is not None
            else len(self.codes)
            if self.codes is not None
            else 0
        )

    def __getitem__(self, places: slice | NDArray[np.int64]) -> FeatureColumn:
        return FeatureColumn(
            None if self.numbers is None else self.numbers[places],
            None if self.codes is None else self.codes[places],
            self.names,
        )

    @property
    def has_text(self) -> bool:
        """Whether any row has a text."""
        return self.codes is not None and bool((self.codes != MISSING).any())

    def as_levels(self) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """Codes into names, where numbers stand as their text, and `MISSING` where a row has neither."""
        import numpy as np

        codes = np.full(len(self), MISSING, np.int32) if self.codes is None else self.codes
        if self.numbers is None:
            return codes, self.names
        numbered = np.flatnonzero((codes == MISSING) & np.isfinite(self.numbers))
        if not len(numbered):
            return codes, self.names
        values, which = np.unique(self.numbers[numbered], return_inverse=True)
        places = {name: code for code, name in enumerate(self.names)}
        known = [places.setdefault(str(value), len(places)) for value in values]
        codes = codes.copy()
        codes[numbered] = np.array(known, np.int32)[which]
        return codes, tuple(places)


Column: TypeAlias = Sequence[FeatureValue] | FeatureColumn
Columns = Mapping[str, Column]
"""What is known of many steps and runs, feature by feature."""


def feature_column(values: Column) -> FeatureColumn:
    """The values as arrays; where any is a text, all that are there become texts."""
    import numpy as np

    if isinstance(values, FeatureColumn):
        return values
    if str not in set(map(type, values)):
        return FeatureColumn(finite(np.array(values, dtype=np.float64)))
    places: dict[str, int] = {}
    codes = [MISSING if value is None else places.setdefault(str(value), len(places)) for value in values]
    numbers = np.array([number_in(value) for value in values])
    return FeatureColumn(numbers, np.array(codes, np.int32), tuple(places))


def columns_of(rows: Sequence[Features]) -> Columns:
    """The values of every feature, row by row; None where a row does not have it."""
    return {name: [row.get(name) for row in rows] for name in sorted(set().union(*rows))}


def finite(numbers: NDArray[np.floating]) -> NDArray[np.floating]:
    """The same array, with NaN in place of every infinity."""
    import numpy as np

    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def number_in(value: object) -> float:
    """The value as a finite number, else NaN.

    >>> number_in(True), number_in("seven"), number_in(float("inf"))
    (1.0, nan, nan)
    """
    if isinstance(value, (int, float)) and isfinite(value):
        return float(value)
    return nan
