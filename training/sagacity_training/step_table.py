"""What the step models learn from: a row per run and step that was attempted, with the time each was known.

Only first attempts are rows: a forecast is made at the launch, and later attempts of a refused input would
count one refusal several times. Steps that were not attempted are no rows. Attempts that a crash of the
engine cut off say nothing and are left out. Rows are sorted by launch, run and step, so that no order of
the dataset can change what is learnt. Everything lies in arrays, one entry per row: a million rows are some
tens of megabytes, and no loop goes over them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagacity_data.labels import Label
from sagacity_data.rows import AttemptOutcome, Row
from sagacity_engine import FailureClass
from sagacity_models.feature_columns import FeatureColumn
from sagacity_models.forecaster import STEP_FEATURE
from sagacity_models.step_models import Cause
from sagacity_training.history import History
from sagacity_training.step_columns import OUTCOMES, SEEN, StepCalls, StepColumns, step_columns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Codes = NDArray[np.int64]
    Flags = NDArray[np.bool_]

_PERMANENT = SEEN.index(FailureClass.PERMANENT)
_SUCCEEDED, _FAILED, _TIMED_OUT = map(
    OUTCOMES.index, (AttemptOutcome.SUCCEEDED, AttemptOutcome.FAILED, AttemptOutcome.TIMED_OUT)
)


@dataclass(frozen=True, slots=True)
class StepTable:
    """Some rows of the columns, in the order of launch, run and step."""

    columns: StepColumns
    places: Codes

    def __len__(self) -> int:
        return len(self.places)

    @classmethod
    def of(cls, history: History | Iterable[Row], labels: Iterable[Label]) -> StepTable:
        """The table of a dataset's rows, in any order. Rows without a launch time are left out."""
        import numpy as np

        told = history if isinstance(history, History) else History.of(history)
        columns = step_columns(told, labels)
        return cls(columns, np.arange(len(columns)))

    def where(self, kept: Flags) -> StepTable:
        """The rows that are kept."""
        return StepTable(self.columns, self.places[kept])

    def joined(self, *others: StepTable) -> StepTable:
        """The rows of all, which must be of the same columns, in their order."""
        import numpy as np

        return StepTable(
            self.columns, np.unique(np.concatenate([self.places, *(each.places for each in others)]))
        )

    def column(self, name: str) -> FeatureColumn:
        """A feature, row by row."""
        if name == STEP_FEATURE:
            import numpy as np

            return FeatureColumn(None, self.key.astype(np.int32), self.columns.keys)
        return self.columns.features[name][self.places]

    @property
    def features(self) -> dict[str, FeatureColumn]:
        """Every feature."""
        return {name: self.column(name) for name in sorted({*self.columns.features, STEP_FEATURE})}

    @property
    def runs(self) -> int:
        """How many runs have a row."""
        import numpy as np

        return len(np.unique(self.run))

    @property
    def run(self) -> Codes:
        """The number of each row's run."""
        return self.columns.run[self.places]

    @property
    def key(self) -> Codes:
        """The place of each row's step in `columns.keys`."""
        return self.columns.key[self.places]

    @property
    def service(self) -> Codes:
        """The place of each row's service in `columns.services`."""
        return self.columns.service[self.places]

    def step_keys(self) -> list[str]:
        """The key of each row's step."""
        return [self.columns.keys[code] for code in self.key.tolist()]

    def services(self) -> list[str]:
        """The service of each row."""
        return [self.columns.services[code] for code in self.service.tolist()]

    def regions(self) -> list[str]:
        """The region of each row."""
        return [self.columns.regions[code] for code in self.columns.region[self.places].tolist()]

    def run_ids(self) -> list[str]:
        """The run of each row."""
        return [self.columns.run_ids[code] for code in self.run.tolist()]

    @property
    def launch_at(self) -> Array:
        """When the runs were launched, seconds since 1970."""
        return self.columns.launch_at[self.places]

    @property
    def known_at(self) -> Array:
        """When the first attempt's outcome was known; never (infinity), where its end is not."""
        return self.columns.known_at[self.places]

    @property
    def class_known_at(self) -> Array:
        """When the class was known; never, where there is none."""
        return self.columns.class_known_at[self.places]

    @property
    def cause_known_at(self) -> Array:
        """When the outcome was known, and for a refusal with a class, that class as well."""
        import numpy as np

        return np.where(
            self.failure_class >= 0, np.maximum(self.known_at, self.class_known_at), self.known_at
        )

    @property
    def failure_class(self) -> NDArray[np.int8]:
        """By hindsight or better, as a place in `SEEN`; -1 unless the first attempt was refused and somebody
        can tell the class.
        """
        return self.columns.failure_class[self.places]

    @property
    def seen(self) -> NDArray[np.int8]:
        """As which class the engine saw the first refusal, in the same way."""
        return self.columns.seen[self.places]

    @property
    def refused(self) -> Flags:
        """Whether the first attempt was definitely refused."""
        return self._ended(_FAILED)

    @property
    def succeeded(self) -> Flags:
        """Whether the first attempt succeeded."""
        return self._ended(_SUCCEEDED)

    @property
    def cut_off(self) -> Flags:
        """Whether our timeout cut the first attempt off."""
        return self._ended(_TIMED_OUT)

    def refused_for(self, cause: Cause) -> Flags:
        """Whether the first attempt was refused for this cause; what nobody can explain is the service's."""
        hopeless: Flags = self.failure_class == _PERMANENT
        return self.refused & (hopeless if cause is Cause.REQUEST else ~hopeless)

    @property
    def timeout_s(self) -> Array:
        """The timeout in force for the first attempt; NaN where there was none or nobody knows."""
        return self.columns.timeout_s[self.places]

    @property
    def ended_s(self) -> Array:
        """How long the first attempt took, or the timeout that cut it off; NaN where neither is known."""
        import numpy as np

        return np.where(self.cut_off, self.timeout_s, self.columns.duration_s[self.places])

    @property
    def duration_s(self) -> Array:
        """How long success took, or the timeout that cut it off; NaN where neither is known."""
        import numpy as np

        return np.where(self.succeeded | self.cut_off, self.ended_s, math.nan)

    def tries(self) -> StepCalls:
        """All forward attempts of these rows, by row and number."""
        return self._own(self.columns.tries)

    def undos(self) -> StepCalls:
        """All undo attempts of these rows, by row and number."""
        return self._own(self.columns.undos)

    def _ended(self, code: int) -> Flags:
        flags: Flags = self.columns.outcome[self.places] == code
        return flags

    def _own(self, calls: StepCalls) -> StepCalls:
        import numpy as np

        local = np.full(len(self.columns), -1, dtype=np.int64)
        local[self.places] = np.arange(len(self.places))
        row = local[calls.row]
        return calls.where(row >= 0, row)

    def add_to(self, digest: hashlib._Hash) -> None:
        """Adds all that these rows tell, but for their features, to a digest."""
        digest.update(repr((self.run_ids(), self.step_keys(), self.services())).encode())
        for array in (self.launch_at, self.known_at, self.class_known_at, self.timeout_s, self.ended_s):
            digest.update(array.tobytes())
        for codes in (self.failure_class, self.seen, self.columns.outcome[self.places]):
            digest.update(codes.tobytes())
        for calls in (self.tries(), self.undos()):
            calls.add_to(digest)
