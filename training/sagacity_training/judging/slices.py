"""Where a forecaster does badly although it does well on the whole: the same figures, part by part.

A part is the rows of one label (a service, a saga, a region, an hour), if there are enough of them. It is
*harmed* where the forecaster loses more than `slice_harm_max` of the reference's log loss there and is worse
beyond chance, by a one-sided bound. With many parts some look bad by chance, so the bound of each is at
`slice_alpha` divided by the number of comparisons (Bonferroni). The whole task is one of the parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from sagacity_training.judging.blocks import Blocks, Bounded
from sagacity_training.judging.judged import Judged
from sagacity_training.judging.policy import GatePolicy
from sagacity_training.scores import log_losses

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Rows = NDArray[np.bool_]

SLICES_MAX: Final = 200
"""The most parts of one grouping that are judged: those with the most rows."""
WHOLE: Final = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceFigures:
    """One part. `harm` is by how much a row's log loss is above the reference's, on average."""

    group: str
    label: str
    reference: str  # "base" or "champion"
    rows: int
    events: int
    log_loss: float
    log_loss_reference: float
    harm: float
    harm_lower: float | None  # the one-sided bound; None with too few blocks
    harmed: bool

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def slices_of(judged: Judged, policy: GatePolicy) -> tuple[SliceFigures, ...]:
    """Every part with enough rows, against the base rate and, where there is one, the champion."""
    if not len(judged):
        return ()
    losses = {name: log_losses(judged.outcomes, told) for name, told in judged.forecasters().items()}
    parts = [(each, rows, ref) for each, rows in _parts(judged, policy) for ref in losses if ref != "chosen"]
    blocks = Blocks(judged.cases, policy.blocks)
    level = policy.slice_alpha / max(1, len(parts))
    told = (
        _figures(judged, losses, blocks, names=(group, label, ref), rows=rows, policy=policy, level=level)
        for (group, label), rows, ref in parts
    )
    return tuple(each for each in told if each is not None)


def labelled(labels: Sequence[str], rows_min: int) -> Iterator[tuple[str, Rows]]:
    """The labels with at least `rows_min` rows, by name, and which rows carry them."""
    import numpy as np

    names, number, counts = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True,
                                      return_counts=True)  # fmt: skip
    enough = [place for place in np.argsort(-counts, kind="stable") if counts[place] >= rows_min]
    for place in sorted(enough[:SLICES_MAX]):
        yield str(names[place]), number == place


def _parts(judged: Judged, policy: GatePolicy) -> Iterator[tuple[tuple[str, str], Rows]]:
    import numpy as np

    yield (WHOLE, ""), np.ones(len(judged), dtype=bool)
    groups: Mapping[str, Sequence[str]] = judged.groups
    for group in sorted(groups):
        for label, rows in labelled(groups[group], policy.slice_rows_min):
            yield (group, label), rows


def _figures(
    judged: Judged,
    losses: Mapping[str, Array],
    blocks: Blocks,
    *,
    names: tuple[str, str, str],
    rows: Rows,
    policy: GatePolicy,
    level: float,
) -> SliceFigures | None:
    import numpy as np

    group, label, reference = names
    rows = rows & np.isfinite(losses[reference])
    count = int(rows.sum())
    if count < policy.slice_rows_min:
        return None
    usual = float(losses[reference][rows].mean())
    harm: Bounded = blocks.bounded(losses["chosen"] - losses[reference], level, rows=rows)
    return SliceFigures(
        group=group,
        label=label,
        reference=reference,
        rows=count,
        events=int(judged.outcomes[rows].sum()),
        log_loss=float(losses["chosen"][rows].mean()),
        log_loss_reference=usual,
        harm=harm.mean,
        harm_lower=harm.lower if np.isfinite(harm.lower) else None,
        harmed=harm.lower > 0 and harm.mean > policy.slice_harm_max * usual,
    )
