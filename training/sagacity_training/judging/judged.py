"""What is judged: one task's forecasts of held-out rows, beside the base rate's and the champion's.

Nothing here knows of stores, bundles or registries: whoever trains hands these arrays over, and figures,
gate and report are functions of them. Rows are in time order, because failures come together: rows of one
case, and cases of one stretch of time, are no independent observations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

BASE: Final = "base"
"""`Judged.chosen` where nothing beat the base rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Forecasts of one yes/no task on its held-out rows. All arrays have one value per row.

    Raises `ValueError` where lengths differ, outcomes are not 0 or 1, a forecast is no probability, or rows
    are not in time order. There may be no rows at all.
    """

    task: str  # "step_failure", "outcome", "compensation_failure", ...
    outcomes: Array  # 0 or 1, held-out rows in time order
    forecasts: Array  # of the selected forecaster, calibrated
    base: Array  # of the base rate of the latest training slice
    champion: Array | None  # the present champion's, nan where it had learnt from the row
    at: Array  # launch or prefix time, seconds since 1970
    cases: NDArray[np.int64]  # run or case number: rows of one case are resampled together
    groups: Mapping[str, Sequence[str]] = field(
        default_factory=dict
    )  # "service", "saga", ...: a label per row
    n_train: int
    chosen: str  # the selected forecaster; `BASE` means no signal
    reason: str  # why, in words
    candidates: int = 1  # how many forecasters were compared on these very rows before one was selected
    advisory: bool = False  # figures for a reader; it has no say at the gate

    def __post_init__(self) -> None:
        import numpy as np

        for name, values in self._columns().items():
            if len(values) != len(self.outcomes):
                raise ValueError(
                    f"{self.task}: {len(values)} values of {name} for {len(self.outcomes)} outcomes"
                )
        if not np.isin(self.outcomes, (0.0, 1.0)).all():
            raise ValueError(f"{self.task}: outcomes hold something else than 0 and 1")
        for name, shares in self.forecasters().items():
            known = ~np.isnan(shares) if name == "champion" else np.full(len(shares), fill_value=True)
            if not bool(np.all((shares[known] >= 0) & (shares[known] <= 1))):
                raise ValueError(
                    f"{self.task}: the forecasts of {name} hold something that is no probability"
                )
        if not np.isfinite(self.at).all() or bool(np.any(np.diff(self.at) < 0)):
            raise ValueError(f"{self.task}: rows are not in time order")

    def __len__(self) -> int:
        return len(self.outcomes)

    @property
    def has_signal(self) -> bool:
        """Whether something else than the base rate was selected."""
        return self.chosen != BASE

    def forecasters(self) -> dict[str, Array]:
        """Whoever forecast these rows, by name: "chosen", "base" and, where there is one, "champion"."""
        told = {"chosen": self.forecasts, "base": self.base}
        return told if self.champion is None else {**told, "champion": self.champion}

    def _columns(self) -> dict[str, Sequence[object] | Array | NDArray[np.int64]]:
        return {**self.forecasters(), "at": self.at, "cases": self.cases, **self.groups}
