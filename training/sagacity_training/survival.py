"""How long things last when some were not watched to their end: the product-limit estimate, and judgement.

Kaplan and Meier (1958): at every end seen, the survival is multiplied by 1 - (weight that ends) / (weight
still watched). A call that was cut off is watched until then and never ends. Weights may be fractions.

The same estimate judges forecasts. With a forecast's own distribution F, the *place* F(duration) of a call is
uniform if the forecast is right, and a call that was cut off at c has a place beyond F(c). So the share of
calls within a forecast quantile is one minus the product-limit survival of the places, timeouts or not.

A call that was cut off might have succeeded or been refused in the end. Calls that took nearly as long tell
how often: it is a refusal with the share of refusals among the slowest tenth of its step's ended calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]

SLOWEST: Final = 0.1
SLOWEST_PRIOR_CALLS: Final = 10.0


class Survival(NamedTuple):
    """One entry per end that was seen, in order: where, and what is left just before and just after it."""

    ends: Array
    before: Array
    after: Array

    @property
    def shown_to(self) -> float:
        """The level up to which ends were seen; 0 where none was."""
        return 1 - float(self.after[-1]) if len(self.after) else 0.0


def kaplan_meier(values: Array, cut: Flags, weights: Array | None = None) -> Survival:
    """The product-limit estimate of `values`, of which those `cut` were only seen to exceed theirs.

    An end and a cut at the same value count as the end first, as is usual.
    """
    order = np.lexsort((cut, values))
    ended = ~cut[order]
    weight = np.ones(len(values)) if weights is None else weights[order]
    watched = np.cumsum(weight[::-1])[::-1]
    kept = 1 - np.where(ended & (watched > 0), weight / np.maximum(watched, 1e-300), 0.0)
    left: Array = np.cumprod(np.clip(kept, 0.0, 1.0), dtype=np.float64)
    before = np.concatenate([[1.0], left[:-1]])
    counted = ended & (weight > 0)
    return Survival(values[order][counted], before[counted], left[counted])


def shares_within(
    places: Array, cut: Flags, levels: Sequence[float], weights: Array | None = None
) -> list[float | None]:
    """Per level, the share of calls whose place is at most that; None where timeouts hide it."""
    survival = kaplan_meier(places, cut, weights)
    watched_to = float(places.max()) if len(places) else 0.0
    if len(survival.after) and survival.after[-1] <= 0:
        watched_to = 1.0  # every call was seen to its end
    shares: list[float | None] = []
    for level in levels:
        seen = int(np.searchsorted(survival.ends, level, side="right"))
        told = 1 - float(survival.after[seen - 1]) if seen else 0.0
        shares.append(told if level <= watched_to else None)
    return shares


def timeout_shares(steps: Codes, logs: Array, refused: Flags, count: int) -> Array:
    """Per step code below `count`, P(a call that was cut off would have been refused).

    `logs` are log-durations of ended calls, refused or not: the share of refusals in the slowest tenth of
    each step, towards that of all steps where a step has few calls.
    """
    totals, refusals = np.zeros(count), np.zeros(count)
    for code, rows in by_step(steps):
        most = max(1, round(SLOWEST * len(rows)))
        slowest = rows[np.argsort(logs[rows], kind="stable")[-most:]]
        totals[code], refusals[code] = most, refused[slowest].sum()
    pooled = refusals.sum() / max(totals.sum(), 1.0)
    return np.asarray((refusals + SLOWEST_PRIOR_CALLS * pooled) / (totals + SLOWEST_PRIOR_CALLS))


def by_step(steps: Codes) -> Iterator[tuple[int, Codes]]:
    """Every step's code and the rows of its calls, in order."""
    order = np.argsort(steps, kind="stable")
    codes, starts = np.unique(steps[order], return_index=True)
    if len(steps):
        yield from zip(codes.tolist(), np.split(order, starts[1:]), strict=True)
