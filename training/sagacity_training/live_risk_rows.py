"""The rows that laws of remaining time are learnt from and judged by: every prefix of every case.

A row tells how much longer its case took (T), or, while the case is open, how long it has been watched since
(C): censored, not short. C is known for every row, ended or not, because nothing but the moment of learning
cuts cases off. So an ended row stands for itself and for the rows like it that were cut off: its weight is
1 / P(C >= T) (inverse probability of censoring weighting, Robins & Rotnitzky 1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sagacity_data.event_log import Case
from sagacity_models.prefix_features import PrefixLayout
from sagacity_models.prefix_vocabulary import step_of
from sagacity_training.case_judged import latest_us
from sagacity_training.case_rows import CELLS_MAX, PREFIX_EVENTS_MAX

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

WEIGHT_MAX: Final = 10.0
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class TimedCase:
    """A case with the moment of its end, None while it is open; instants in microseconds since 1970."""

    case: Case
    end_us: int | None


@dataclass(frozen=True, slots=True)
class RemainingRows:
    """One row for each prefix: `remaining_s` is T where `ended`, else the C that it exceeds."""

    features: NDArray[np.float32]
    steps: tuple[str, ...]
    remaining_s: Array
    watched_s: Array
    ended: NDArray[np.bool_]
    cases: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.remaining_s)

    @property
    def ended_cases(self) -> int:
        """How many of the cases have ended."""
        import numpy as np

        return len(np.unique(self.cases[self.ended]))

    def weights(self) -> Array:
        """1 / P(C >= T) of ended rows, at most `WEIGHT_MAX`; 0 of the others."""
        import numpy as np

        watched = np.sort(self.watched_s)
        reach = 1 - np.searchsorted(watched, self.remaining_s, side="left") / max(len(watched), 1)
        weights = np.minimum(1 / np.maximum(reach, 1e-9), WEIGHT_MAX)
        return np.where(self.ended, weights, 0.0)


def remaining_rows(cases: Sequence[TimedCase], layout: PrefixLayout, until_us: int) -> RemainingRows:
    """What was known of these cases at `until_us`; a row for each event before then and before the end."""
    import numpy as np

    features: list[Any] = []
    steps: list[str] = []
    figures: list[tuple[float, float, bool, int]] = []
    step_over = -(-_cells(cases, layout) // CELLS_MAX)
    for number, timed in enumerate(cases[::step_over]):
        end_us = timed.end_us if timed.end_us is not None and timed.end_us <= until_us else None
        latest = latest_us(timed.case.events[:PREFIX_EVENTS_MAX])
        for event, at_us, row in zip(
            timed.case.events, latest.tolist(), layout.rows(timed.case), strict=False
        ):
            if at_us > until_us or (end_us is not None and at_us >= end_us):
                break
            watched_s = (until_us - at_us) / _SECOND_US
            remaining_s = watched_s if end_us is None else (end_us - at_us) / _SECOND_US
            features.append(row.copy())
            steps.append(step_of(event))
            figures.append((remaining_s, watched_s, end_us is not None, number))
    told = np.array(figures, dtype=np.float64).reshape(-1, 4)
    return RemainingRows(
        np.array(features, dtype=np.float32).reshape(-1, layout.width),
        tuple(steps),
        told[:, 0],
        told[:, 1],
        told[:, 2] > 0,
        told[:, 3].astype(np.int64),
    )


def joined(first: RemainingRows, second: RemainingRows) -> RemainingRows:
    """The rows of both, as rows of different cases."""
    import numpy as np

    shift = int(first.cases.max()) + 1 if len(first) else 0
    return RemainingRows(
        np.concatenate([first.features, second.features]),
        first.steps + second.steps,
        np.concatenate([first.remaining_s, second.remaining_s]),
        np.concatenate([first.watched_s, second.watched_s]),
        np.concatenate([first.ended, second.ended]),
        np.concatenate([first.cases, second.cases + shift]),
    )


def mean_remaining_s(rows: RemainingRows) -> float:
    """The mean of ended rows, weighted for those that were cut off."""
    import numpy as np

    return float(np.average(rows.remaining_s, weights=rows.weights()))


def _cells(cases: Sequence[TimedCase], layout: PrefixLayout) -> int:
    rows = sum(min(len(timed.case.events), PREFIX_EVENTS_MAX) for timed in cases)
    return max(rows * layout.width, 1)
