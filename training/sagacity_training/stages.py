"""What each target is trained on: which rows, known by when, and which of their columns.

Two stages see the same rows. `figures` has base rates and encoding learnt from the fit slice alone, so that
no figure rests on anything later; `served` has those of the whole history. Whether a request is hopeless
depends on what is asked, so that target is shown the context, the calendar, the step and its long-run rates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sagacity_data.feature_catalogue import CONTEXT_PREFIX
from sagacity_models.base_rates import BaseRates
from sagacity_models.encoding import FeatureEncoding
from sagacity_models.step_models import Cause
from sagacity_training.matrices import Matrices, encode
from sagacity_training.slices import Slices
from sagacity_training.step_evidence import evidence_of, services_of
from sagacity_training.step_table import StepTable
from sagacity_training.targets import SlicedMatrices

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Known:
    """Which rows hold a target, and since when each does (seconds since 1970), as arrays over a table."""

    kept: Callable[[StepTable], Flags]
    known_at: Callable[[StepTable], Array]

    def by(self, table: StepTable, cut: float) -> StepTable:
        """The rows that held the target by `cut`."""
        return table.where(self.kept(table) & (self.known_at(table) <= cut))


@dataclass(frozen=True, slots=True)
class Stages:
    """What a target is trained on: the slices for its figures, and the whole history for what is served."""

    table: StepTable
    slices: Slices
    figures: Stage
    served: Stage
    at: float

    def of(self, target: str) -> tuple[SlicedMatrices, Matrices]:
        """The slices and the whole history of one target, as the models of that target see them."""
        known = WHEN[target].by(self.table, self.at)
        sliced = self.slices.targets(WHEN[target], self.at)
        seen = [
            self.figures.seen_by(target, self.figures.matrices.of(part))
            for part in (sliced.fit, sliced.tune, sliced.calibrate, sliced.select)
        ]
        return SlicedMatrices(*seen), self.served.seen_by(target, self.served.matrices.of(known))


@dataclass(frozen=True, slots=True)
class Stage:
    """Base rates and encoding learnt from one part of the table, and rows encoded with it."""

    base: BaseRates
    encoding: FeatureEncoding
    matrices: Matrices

    def seen_by(self, target: str, matrices: Matrices) -> Matrices:
        """The rows as the models of a target see them: what is asked, for hopeless requests, else all."""
        if target != Cause.REQUEST:
            return matrices
        names = self.encoding.design_names, self.encoding.names
        return matrices.only(*([_is_asked(name) for name in each] for each in names))

    @classmethod
    def of(cls, learnt: StepTable, cut: float, table: StepTable) -> Stage:
        """What `learnt` told by `cut`, and the rows of `table` as it has them."""
        encoding = FeatureEncoding.learn(learnt.features)
        base = BaseRates.estimate(evidence_of(learnt, cut), services_of(learnt))
        return cls(base, encoding, encode(table, encoding))


def _all(table: StepTable) -> Flags:
    import numpy as np

    return np.ones(len(table), dtype=np.bool_)


def _timed(values: Array) -> Flags:
    import numpy as np

    return ~np.isnan(values)


WHEN: Final[dict[str, Known]] = {
    "refusal": Known(_all, lambda table: table.cause_known_at),
    Cause.SERVICE: Known(_all, lambda table: table.cause_known_at),
    Cause.REQUEST: Known(lambda table: ~table.refused_for(Cause.SERVICE), lambda table: table.cause_known_at),
    "durations": Known(lambda table: _timed(table.duration_s), lambda table: table.known_at),
    "refusal durations": Known(
        lambda table: _timed(table.ended_s) & ~table.succeeded, lambda table: table.known_at
    ),
}
"""Per target: which rows hold it, and since when each does."""


_ASKED: Final = (
    "hour_sin",
    "hour_cos",
    "weekday",
    "weekend",
    "saga_steps",
    "step",
    "step_kind",
    "step_region",
    "step_failure_logit_7d",
    "service_failure_logit_7d",
)
"""Beside the caller's context, what the model of hopeless requests reads."""


def _is_asked(column: str) -> bool:
    """Whether a column (`feature`, or `feature is level`) says something of what is asked."""
    return column.startswith(CONTEXT_PREFIX) or column.split(" is ", 1)[0] in _ASKED
