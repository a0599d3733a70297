"""Attributes that give the outcome away: probably written after it, so they are left out of the features.

An event log says when an event happened, but not when an attribute of a case was filled in. A status or an
end date that was added when the case was closed stands in the file as if it had been known from the start,
and a model would learn to copy it. An attribute that separates the outcomes (nearly) perfectly at the first
event of a case, all by itself, is taken for such a one and reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sagacity_models.prefix_features import PrefixLayout
    from sagacity_training.case_rows import KnownCase

AUC_MIN: Final = 0.99
CASES_MIN: Final = 30
"""Of each outcome; below that a perfect separation may be chance."""


def telltale_attributes(cases: Sequence[KnownCase], layout: PrefixLayout) -> tuple[str, ...]:
    """The attributes, in order of name, that tell the outcome of `cases` at their first event."""
    import numpy as np

    begun = [case for case in cases if case.prefix.events]
    labels = np.array([case.success for case in begun], dtype=bool)
    if min(int(labels.sum()), int((~labels).sum())) < CASES_MIN:
        return ()
    first = np.array([next(layout.rows(case.prefix)).copy() for case in begun])
    found = [key for key, column in layout.numbers.items() if _separates(first[:, column], labels)]
    for key, group in layout.levels.items():
        level = first[:, group.columns] @ np.arange(1, len(group.columns) + 1)
        shares = {value: float(labels[level == value].mean()) for value in np.unique(level).tolist()}
        if _separates(np.array([shares[value] for value in level.tolist()]), labels):
            found.append(key)
    return tuple(sorted(found))


def _separates(values: NDArray[np.floating], labels: NDArray[np.bool_]) -> bool:
    """Whether ordering by `values`, unknown ones first, puts nearly all of one outcome before the other."""
    import numpy as np

    from sagacity_training.case_scores import auc

    known = np.where(np.isnan(values), -np.inf, values)
    area = auc(labels.astype(np.float64), known.astype(np.float64))
    return area is not None and max(area, 1 - area) >= AUC_MIN
