"""A trained model as the job sees it, whatever kind of dataset it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sagacity_training.config import TrainingConfig
from sagacity_training.failure_class_value import ClassValue
from sagacity_training.judging.classes import ClassFigures
from sagacity_training.judging.coverage import Coverage
from sagacity_training.judging.decisions import Decisions
from sagacity_training.judging.judged import Judged
from sagacity_training.judging.learning_curve import LearningCurve
from sagacity_training.judging.model_card import ModelCard

Judge = Callable[[TrainingConfig], tuple[Decisions, ClassValue | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What there is to judge and to keep. `lines` are the figures as text, for a reader.

    `save` writes the model to a folder that it makes; `decisions` judges the plans it causes, which takes a
    while. `model` and `experiment` are its names in a registry, `artifact` that of its folder there.
    """

    kind: str
    model: str
    experiment: str
    artifact: str
    card: ModelCard
    judged: tuple[Judged, ...]
    params: Mapping[str, object]
    metrics: Mapping[str, float]
    lines: tuple[str, ...]
    save: Callable[[Path], None]
    decisions: Judge
    classes: ClassFigures | None = None
    class_macro_f1: float | None = None
    durations: tuple[Coverage, ...] = ()
    curves: tuple[LearningCurve, ...] = ()
    notes: tuple[str, ...] = ()
