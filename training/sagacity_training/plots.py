"""The two figures that say whether to believe a bundle: is it calibrated, which classes does it confuse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE_IN = (4.8, 4.2)


def calibration_figure(points: Sequence[tuple[float, float]], what: str) -> Figure:
    """Observed rates against mean forecasts of `what`; honest forecasts lie on the diagonal."""
    figure, axes = _blank()
    told, seen = [point[0] for point in points], [point[1] for point in points]
    top = max([*told, *seen, 0.01]) * 1.1
    axes.plot([0, top], [0, top], color="0.6", linewidth=1, label="honest")
    axes.plot(told, seen, marker="o", label="later runs")
    axes.set(xlabel=f"forecast P({what})", ylabel="observed share", xlim=(0, top), ylim=(0, top))
    axes.legend(loc="upper left")
    return figure


def confusion_figure(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> Figure:
    """Counts by what was true (rows) and what was forecast (columns)."""
    figure, axes = _blank()
    axes.imshow(confusion, cmap="Blues")
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
