"""Boosted trees as LightGBM text: loaded once, asked for all steps of a run in one call, on one thread.

LightGBM does not check its own text: an altered file crashes the process or predicts nonsense. So text
reaches this file only after the bundle's hashes were verified.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LEAVES_NOT_FINITE = re.compile(r"^leaf_value=.*\b(?:nan|inf)\b", re.IGNORECASE | re.MULTILINE)


class BoostedModel:
    """A booster whose raw scores are read; `text` is LightGBM's. Raises `ValueError` on any other text."""

    def __init__(self, text: str) -> None:
        import lightgbm

        if not text.startswith("tree\n"):
            raise ValueError("this is not the text of a LightGBM model")
        if _LEAVES_NOT_FINITE.search(text):
            raise ValueError("a tree has a leaf that is no finite number")
        self.text = text
        self._booster = lightgbm.Booster(model_str=text)
        self.columns = self._booster.num_feature()
        self.outputs = self._booster.num_model_per_iteration()

    def scores(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """Raw scores (logits for a binary model), one list per row, one score per output."""
        scores: list[list[float]] = self.matrix(rows).tolist()
        return scores

    def matrix(self, rows: Sequence[Sequence[float]] | NDArray[Any]) -> NDArray[np.float64]:
        """The same as an array, one row per row."""
        import numpy as np

        matrix = np.asarray(rows)
        if matrix.dtype != np.float32:
            matrix = matrix.astype(np.float64, copy=False)
        raw = self._booster.predict(matrix, raw_score=True, num_threads=1)
        return np.asarray(raw, dtype=np.float64).reshape(len(rows), self.outputs)

    def leaves(self, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        """The number of the leaf that each row ends in: rows x trees."""
        import numpy as np

        told = self._booster.predict(rows, pred_leaf=True, num_threads=1)
        return np.asarray(told, dtype=np.int64).reshape(len(rows), -1)
