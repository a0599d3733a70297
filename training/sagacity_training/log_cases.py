"""A trained model of case outcomes, logged to the registry with its figures and plots."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from sagacity_models.registry import CHAMPION, Logged, Registry
from sagacity_models.registry_process import RegistryProcess
from sagacity_training.cases import CaseTrainingResult
from sagacity_training.plots import calibration_figure, confusion_figure, save_figure

CASE_MODELS: Final = "sagacity-cases"


def log_cases(result: CaseTrainingResult, registry: Registry | RegistryProcess) -> Logged:
    """Log `result` as a new version of `CASE_MODELS`; its folder holds the model's texts as they are.

    The champion becomes this version if the log carried a signal, or if there is no champion yet. Raises
    `RegistryRefused` where the registry cannot be used.
    """
    with tempfile.TemporaryDirectory() as scratch:
        model, figures = Path(scratch, "model"), Path(scratch, "figures")
        model.mkdir()
        figures.mkdir()
        for name, text in result.artifacts.items():
            (model / name).write_text(text, encoding="utf-8")
        _draw(result, figures)
        logged = registry.log(
            "cases",
            params={"verdict": result.verdict, **result.params},
            metrics=result.metrics,
            artifacts={"model": model, "figures": figures},
            model=CASE_MODELS,
            model_artifact="model",
        )
    if result.signal or registry.version(CHAMPION, model=CASE_MODELS) is None:
        registry.promote(logged.version, model=CASE_MODELS, alias=CHAMPION)
    return logged


def _draw(result: CaseTrainingResult, folder: Path) -> None:
    scores = result.scores
    points = [(point.predicted, point.observed) for point in scores.calibration]
    save_figure(calibration_figure(points, "the case succeeds"), folder / "calibration.png")
    counts = scores.confusion
    confusion = [
        [counts.true_negatives, counts.false_positives],
        [counts.false_negatives, counts.true_positives],
    ]
    save_figure(confusion_figure(confusion, ("fails", "succeeds")), folder / "confusion.png")
