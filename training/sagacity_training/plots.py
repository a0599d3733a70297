"""The two figures that say whether to believe a bundle: is it calibrated, which classes does it confuse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sagacity_models.base_rates import CLASSES
from sagacity_training.scores import calibration_bins

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_SIZE_IN = (4.8, 4.2)


def calibration_figure(outcomes: Array, forecasts: Array) -> Figure:
    """Observed rates against forecasts, in bins of equal mass; honest forecasts lie on the diagonal."""
    figure, axes = _blank()
    bins = calibration_bins(outcomes, forecasts)
    told, seen = [each[0] for each in bins], [each[1] for each in bins]
    top = max([*told, *seen, 0.01]) * 1.1
    axes.plot([0, top], [0, top], color="0.6", linewidth=1, label="honest")
    axes.plot(told, seen, marker="o", label="select slice")
    axes.set(xlabel="forecast P(first attempt refused)", ylabel="share refused", xlim=(0, top), ylim=(0, top))
    axes.legend(loc="upper left")
    return figure


def confusion_figure(confusion: list[list[int]]) -> Figure:
    """Refusals of the select slice by true class (rows) and most probable class (columns)."""
    figure, axes = _blank()
    axes.imshow(confusion, cmap="Blues")
    names = [each.value for each in CLASSES]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="forecast", ylabel="label")
    top = max(max(row) for row in confusion)
    for row, counts in enumerate(confusion):
        for column, count in enumerate(counts):
            color = "white" if count > top / 2 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG file, without the time or the program in it."""
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _blank() -> tuple[Figure, Axes]:
    """A figure that draws on memory only: no window system, no state shared with anybody's plots."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_IN, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()
