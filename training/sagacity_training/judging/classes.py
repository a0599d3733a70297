"""How well classes are told apart: confusion, F1 of each class, and their mean.

F1 = 2 tp / (2 tp + fp + fn). The mean over classes (macro-F1) counts rare classes like frequent ones; a
class that neither occurs nor is forecast says nothing and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """`confusion[truth][forecast]` counts rows; `f1` per class, None where it neither occurs nor is told."""

    names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    f1: tuple[float | None, ...]
    macro_f1: float | None

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "confusion": [list(row) for row in self.confusion],
            "f1": dict(zip(self.names, self.f1, strict=True)),
            "macro_f1": self.macro_f1,
            "names": list(self.names),
        }


def class_figures(labels: NDArray[np.int64], told: NDArray[np.int64], names: Sequence[str]) -> ClassFigures:
    """The figures of class numbers `told` where `labels` are true; both index `names`."""
    import numpy as np

    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, (labels, told), 1)
    return figures_of_confusion(counts.tolist(), names)


def figures_of_confusion(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> ClassFigures:
    """The figures of counts by truth (rows) and forecast (columns)."""
    rows = tuple(tuple(int(count) for count in row) for row in confusion)
    f1 = tuple(_f1(rows, place) for place in range(len(names)))
    told = [value for value in f1 if value is not None]
    return ClassFigures(tuple(names), rows, f1, sum(told) / len(told) if told else None)


def _f1(rows: Sequence[Sequence[int]], place: int) -> float | None:
    right = rows[place][place]
    total = sum(rows[place]) + sum(row[place] for row in rows)  # true + forecast = 2 tp + fp + fn
    return 2 * right / total if total else None
