"""Whether quantile forecasts cover what they say: the share of values at or below each, and the pinball loss.

A value that was cut off by a timeout is known to be longer than the timeout only. Where the quantile is below
that, it is known to lie below the value; where it is above, nobody knows, and the row is left out at that
level. The more rows that leaves out, the less the level is identified; their share is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sagacity_training.scores import pinball_losses

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Coverage:
    """One level: the share of values at or below the quantile, over `rows` rows, and the mean pinball loss.

    `left_out` is the share of rows of which nobody knows on which side they are. The loss is over values
    that were not cut off; None without any.
    """

    level: float
    share: float | None
    rows: int
    left_out: float
    pinball: float | None

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def coverages(
    values: Array, quantiles: Mapping[float, Array], censored: NDArray[np.bool_] | None = None
) -> tuple[Coverage, ...]:
    """The coverage of each level's quantile forecasts, by rising level; `values` are in their unit."""
    import numpy as np

    cut = np.zeros(len(values), dtype=bool) if censored is None else censored
    return tuple(_coverage(values, quantiles[level], cut, level) for level in sorted(quantiles))


def _coverage(values: Array, told: Array, cut: NDArray[np.bool_], level: float) -> Coverage:
    known = ~cut | (values >= told)
    rows = int(known.sum())
    covered = float((~cut & (values <= told))[known].mean()) if rows else None
    whole = values[~cut]
    pinball = float(pinball_losses(whole, told[~cut], level).mean()) if len(whole) else None
    return Coverage(level, covered, rows, 1 - rows / len(values) if len(values) else 0.0, pinball)
