"""A table to learn from, checked once: features by name, outcomes as places in the list of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sagacity_models.encoding import FeatureEncoding
from sagacity_models.feature_columns import Columns, FeatureColumn, feature_column
from sagacity_training.errors import NothingToLearn
from sagacity_training.learners_config import LearnerConfig
from sagacity_training.learners_fits import fit_rates

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sagacity_models.tabular_rates import ShrunkRates

    Array = NDArray[np.float64]
    Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFacts:
    """What else is known of the rows: when their outcome was, which belong together, how to slice figures.

    Left out: known at once, each row a case of its own, and no groups.
    """

    known_at: Array | None = None
    cases: NDArray[np.int64] | None = None
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTable:
    """The rows as arrays, checked."""

    columns: Mapping[str, FeatureColumn]
    codes: Codes
    at: Array
    known_at: Array
    cases: Codes
    classes: tuple[str, ...]
    seed: int
    groups: Mapping[str, Sequence[str]]
    config: LearnerConfig

    @classmethod
    def checked(
        cls,
        columns: Columns,
        outcomes: Array | Codes,
        at: Array,
        *,
        classes: tuple[str, ...],
        seed: int,
        facts: RowFacts,
        config: LearnerConfig,
    ) -> TrainingTable:
        """The table, if its parts fit; raises `NothingToLearn` without rows, else `ValueError`."""
        import numpy as np

        rows = len(outcomes)
        if not rows:
            raise NothingToLearn("a table without rows: there is nothing to learn from")
        known_at = at if facts.known_at is None else facts.known_at
        cases = np.arange(rows) if facts.cases is None else facts.cases
        lengths = {len(at), len(known_at), len(cases), *(len(column) for column in columns.values())}
        if lengths != {rows}:
            raise ValueError(f"{rows} outcomes, but columns of {sorted(lengths - {rows})} rows")
        codes = np.asarray(outcomes).astype(np.int64)
        if not np.array_equal(codes, outcomes) or codes.min() < 0 or codes.max() >= len(classes):
            raise ValueError(f"outcomes must be whole numbers from 0 to {len(classes) - 1}")
        if not np.isfinite(at).all() or bool((np.diff(at) < 0).any()):
            raise ValueError("rows must be in time order")
        if config.monotone and len(classes) > 2:
            raise ValueError("monotone features can be declared for two classes only")
        return cls(
            columns={name: feature_column(column) for name, column in columns.items()},
            codes=codes,
            at=np.asarray(at, dtype=np.float64),
            known_at=np.asarray(known_at, dtype=np.float64),
            cases=np.asarray(cases, dtype=np.int64),
            classes=classes,
            seed=seed,
            groups=facts.groups,
            config=config,
        )

    def encoding(self, places: Codes) -> FeatureEncoding:
        """Learnt from these rows; a monotone feature that is no number is refused."""
        learnt = FeatureEncoding.learn({name: column[places] for name, column in self.columns.items()})
        texts = {column.name for column in learnt.categories}
        if strange := sorted(texts & set(self.config.monotone)):
            raise ValueError(f"{strange[0]!r} is declared monotone, and holds texts")
        return learnt

    def trees(self, encoding: FeatureEncoding) -> Array:
        """All rows as trees read them."""
        return encoding.tree_rows(self.columns, len(self.codes))

    def rates(self, places: Codes) -> ShrunkRates:
        """The shrunk rates of these rows."""
        config, width = self.config, len(self.classes)
        prior = config.rate_prior or (1 / width,) * width
        return fit_rates(
            self.columns, self.codes, places, prior, config.rate_prior_cases, levels=config.rate_levels
        )

    def signs(self, encoding: FeatureEncoding) -> dict[int, int]:
        """The declared signs by column; numbers are first in both kinds of row."""
        names = [column.name for column in encoding.numbers]
        return {
            place: self.config.monotone[name]
            for place, name in enumerate(names)
            if name in self.config.monotone
        }
