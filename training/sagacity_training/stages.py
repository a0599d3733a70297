"""What each target is trained on: which rows, known by when, and which of their columns.

Two stages see the same rows. `figures` has base rates and encoding learnt from the fit slice alone, so that
no figure rests on anything later; `served` has those of the whole history. Whether a request is hopeless
depends on what is asked, so that target is shown the context, the calendar, the step and its long-run rates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from sagacity_data.feature_catalogue import CONTEXT_PREFIX
from sagacity_models.base_rates import BaseRates
from sagacity_models.encoding import Columns, FeatureEncoding
from sagacity_models.step_models import Cause
from sagacity_training.matrices import Matrices, encode
from sagacity_training.slices import Slices
from sagacity_training.step_table import StepRow, StepTable, evidence_of
from sagacity_training.targets import SlicedMatrices


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
        keep, known_at = WHEN[target]
        known = self.table.where(partial(_is_known, keep, known_at, self.at))
        sliced = self.slices.targets(keep, known_at, self.at)
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
    def of(cls, learnt: StepTable, cut: float, table: StepTable, columns: Columns) -> Stage:
        """`learnt` is the beginning of `table`: both are in the order of launch."""
        encoding = FeatureEncoding.learn({name: values[: len(learnt)] for name, values in columns.items()})
        base = BaseRates.estimate(evidence_of(learnt, cut), {row.key: row.first.service for row in learnt})
        return cls(base, encoding, encode(table, columns, encoding))


WHEN: Final[dict[str, tuple[Callable[[StepRow], bool], Callable[[StepRow], float]]]] = {
    "refusal": (lambda _: True, lambda row: row.cause_known_at),
    Cause.SERVICE: (lambda _: True, lambda row: row.cause_known_at),
    Cause.REQUEST: (lambda row: not row.refused_for(Cause.SERVICE), lambda row: row.cause_known_at),
    "durations": (lambda row: row.duration_s is not None, lambda row: row.known_at),
    "refusal durations": (
        lambda row: row.ended_s is not None and not row.succeeded,
        lambda row: row.known_at,
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


def _is_known(
    keep: Callable[[StepRow], bool], known_at: Callable[[StepRow], float], at: float, row: StepRow
) -> bool:
    return keep(row) and known_at(row) <= at
