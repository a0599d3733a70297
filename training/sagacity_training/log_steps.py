"""A trained bundle, logged to the registry with its figures and plots."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from sagacity_models.bundle import save_bundle
from sagacity_models.registry import CHAMPION, STEP_MODELS
from sagacity_models.registry_process import RegistryProcess
from sagacity_training.plots import calibration_figure, confusion_figure, save_figure
from sagacity_training.report import figures_of
from sagacity_training.scores import calibration_bins
from sagacity_training.targets import Target
from sagacity_training.training_result import TrainingResult


def log_steps(result: TrainingResult, registry: RegistryProcess, created_at: str) -> TrainingResult:
    """`result` with the registry's version of it; the champion moves if history carried a signal.

    It also moves where there is none yet: base rates are an honest first one. Raises `RegistryRefused`.
    """
    facts = result.model.facts
    params = {
        "bundle": result.version,
        **{name: facts[name] for name in ("seed", "data_sha256", "rows", "runs")},
        **{f"recipe.{target.name}": target.choice.recipe for target in result.targets},
    }
    with tempfile.TemporaryDirectory() as scratch:
        bundle, figures = Path(scratch, "bundle"), Path(scratch, "figures")
        save_bundle(result.model, bundle, created_at=created_at)
        figures.mkdir()
        _draw(result.targets, figures)
        (figures / "figures.txt").write_text(result.table() + "\n", encoding="utf-8")
        logged = registry.log(
            "steps",
            params=params,
            metrics=figures_of(result.targets),
            artifacts={"bundle": bundle, "figures": figures},
            model=STEP_MODELS,
            model_artifact="bundle",
        )
    promoted = result.signal or registry.version(CHAMPION, model=STEP_MODELS) is None
    if promoted:
        registry.promote(logged.version, model=STEP_MODELS, alias=CHAMPION)
    return replace(result, kept_in=logged.folder, model_version=logged.version, promoted=promoted)


def _draw(targets: tuple[Target, ...], folder: Path) -> None:
    for target in targets:
        if target.name == "refusal" and len(target.outcomes):
            bins = calibration_bins(target.outcomes, target.forecasts)
            points = [(told, seen) for told, seen, _ in bins]
            save_figure(calibration_figure(points, "first attempt refused"), folder / "calibration.png")
        if target.name == "classes" and len(target.outcomes):
            save_figure(
                confusion_figure(target.facts["confusion"], target.facts["classes"]), folder / "confusion.png"
            )
