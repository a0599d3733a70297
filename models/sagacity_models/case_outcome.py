"""The probability that a running case will succeed, from the events it has had so far.

A model is one of four kinds: the base rate (the share of successes in training, the same for every prefix),
logistic regression, gradient-boosted trees, or the mean of the last two; and a calibration map after it. It
is kept as LightGBM text and JSON, nothing that runs on loading; who loads artifacts from elsewhere verifies
them first, because LightGBM does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sagacity_data.event_log import Case
from sagacity_models.case_calibration import CalibrationMap, calibration_from_json
from sagacity_models.errors import ModelError
from sagacity_models.prefix_features import PrefixLayout
from sagacity_models.prefix_vocabulary import PrefixVocabulary

if TYPE_CHECKING:
    import lightgbm as lgb
    import numpy as np
    from numpy.typing import NDArray

FORMAT_VERSION: Final = 1
THREADS: Final = 1
"""Fixed, so that the same input gives the same numbers everywhere; more gain little on data of this size."""
_MODEL, _LOGISTIC, _TREES = "case_model.json", "logistic.json", "lightgbm.txt"
_Z_MAX: Final = 8.0


class CaseModelRefused(ModelError):
    """Artifacts are not a case model of this version; the message says why and the way out."""


class CaseModelKind(StrEnum):
    """What the model computes before calibration."""

    BASE_RATE = "base_rate"  # The share of successes among training rows; knows nothing of the case.
    LOGISTIC = "logistic"  # L2-penalised logistic regression on standardised features.
    LIGHTGBM = "lightgbm"  # Gradient-boosted trees on the features as they are.
    MEAN = "mean"  # The mean of the probabilities of the two above.


_WITH_LOGISTIC: Final = (CaseModelKind.LOGISTIC, CaseModelKind.MEAN)
_WITH_TREES: Final = (CaseModelKind.LIGHTGBM, CaseModelKind.MEAN)


@dataclass(frozen=True, slots=True)
class LogisticModel:
    """Standardise by `mean` and `scale` (unknown values become the mean), then a linear score."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def scores(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Raw probabilities of feature rows."""
        import numpy as np

        logits = standardised(rows, self.mean, self.scale) @ np.asarray(self.weights, dtype=np.float32)
        return np.asarray(1 / (1 + np.exp(-(logits.astype(np.float64) + self.intercept))), dtype=np.float64)


class CaseOutcomeModel:
    """Feature rows or cases in, calibrated probabilities out.

    `logistic` and `trees` (LightGBM's own text) must be given where `kind` needs them.
    """

    def __init__(
        self,
        kind: CaseModelKind,
        vocabulary: PrefixVocabulary,
        base_rate: float,
        calibration: CalibrationMap,
        *,
        logistic: LogisticModel | None = None,
        trees: str | None = None,
    ) -> None:
        self.kind = kind
        self.vocabulary = vocabulary
        self.base_rate = base_rate
        self.calibration = calibration
        self.layout = PrefixLayout(vocabulary)
        self._logistic = logistic
        self._trees = trees
        self._booster: lgb.Booster | None = None

    def probabilities(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """The probability of success for each feature row, inside (0, 1)."""
        import numpy as np

        if self.kind is CaseModelKind.BASE_RATE:
            return np.full(len(rows), self.base_rate)
        return self.calibration.apply(self.raw(rows, self.kind))

    def probability(self, case: Case) -> float:
        """The probability that `case`, of which these events have happened, will succeed."""
        fold = self.layout.start(case.attributes)
        for event in case.events:
            fold.add(event)
        return float(self.probabilities(fold.row[None, :])[0])

    def raw(self, rows: NDArray[np.float32], kind: CaseModelKind) -> NDArray[np.float64]:
        """Probabilities before calibration, of a learnt `kind` whose parts this model holds."""
        if kind is CaseModelKind.LOGISTIC:
            return self._logistic_scores(rows)
        if kind is CaseModelKind.LIGHTGBM:
            return self._tree_scores(rows)
        assert kind is CaseModelKind.MEAN, "the base rate has no raw score"
        return (self._logistic_scores(rows) + self._tree_scores(rows)) / 2

    def artifacts(self) -> dict[str, str]:
        """The whole model as named texts; `from_artifacts` reads them back."""
        head: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "kind": self.kind.value,
            "base_rate": self.base_rate,
            "calibration": self.calibration.as_json(),
            "vocabulary": self.vocabulary.as_json(),
            "columns": list(self.layout.columns),
        }
        texts = {_MODEL: json.dumps(head, ensure_ascii=False, sort_keys=True)}
        if self._logistic is not None and self.kind in _WITH_LOGISTIC:
            texts[_LOGISTIC] = _logistic_text(self._logistic)
        if self._trees is not None and self.kind in _WITH_TREES:
            texts[_TREES] = self._trees
        return texts

    @classmethod
    def from_artifacts(cls, texts: Mapping[str, str]) -> CaseOutcomeModel:
        """The model that `artifacts` wrote. Raises `CaseModelRefused` for anything else."""
        try:
            head = json.loads(texts[_MODEL])
            if (found := head["format_version"]) != FORMAT_VERSION:
                raise CaseModelRefused(f"case model format {found!r} is not {FORMAT_VERSION}: train it again")
            kind = CaseModelKind(head["kind"])
            model = cls(
                kind,
                PrefixVocabulary.from_json(head["vocabulary"]),
                float(head["base_rate"]),
                calibration_from_json(head["calibration"]),
                logistic=_logistic_from(texts[_LOGISTIC]) if kind in _WITH_LOGISTIC else None,
                trees=texts[_TREES] if kind in _WITH_TREES else None,
            )
            columns = head["columns"]
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise CaseModelRefused(f"the case model cannot be read ({reason}): train it again") from None
        held = model._logistic
        fits = held is None or {len(held.mean), len(held.scale), len(held.weights)} == {model.layout.width}
        if list(model.layout.columns) != columns or not fits:
            raise CaseModelRefused("the case model was trained on other feature columns: train it again")
        return model

    def _logistic_scores(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        assert self._logistic is not None
        return self._logistic.scores(rows)

    def _tree_scores(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        import lightgbm as lgb
        import numpy as np

        if self._booster is None:
            assert self._trees is not None
            self._booster = lgb.Booster(model_str=self._trees)
        return np.asarray(self._booster.predict(rows, num_threads=THREADS), dtype=np.float64)


def standardised(
    rows: NDArray[np.float32], mean: tuple[float, ...], scale: tuple[float, ...]
) -> NDArray[np.float32]:
    """Rows with mean 0 and deviation 1 by column; unknown values become 0, far ones are held at +-8."""
    import numpy as np

    shifted: NDArray[np.float32] = rows - np.asarray(mean, dtype=np.float32)
    shifted /= np.asarray(scale, dtype=np.float32)
    shifted[np.isnan(shifted)] = 0.0
    return shifted.clip(-_Z_MAX, _Z_MAX, out=shifted)


def _logistic_text(model: LogisticModel) -> str:
    fields = {
        "mean": model.mean,
        "scale": model.scale,
        "weights": model.weights,
        "intercept": model.intercept,
    }
    return json.dumps(fields, sort_keys=True)


def _logistic_from(text: str) -> LogisticModel:
    read = json.loads(text)
    return LogisticModel(
        tuple(read["mean"]), tuple(read["scale"]), tuple(read["weights"]), float(read["intercept"])
    )
