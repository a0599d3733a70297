"""What training the step models gives: the bundle, what was found, and where both were kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sagacity_data.failure_kinds import LabelSource
from sagacity_models.bundle import Bundle
from sagacity_models.step_models import Recipe
from sagacity_training.errors import NotKept
from sagacity_training.report import report
from sagacity_training.slices import Slices
from sagacity_training.step_parts import StepParts
from sagacity_training.step_table import StepTable
from sagacity_training.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """A trained model and what is to be said of it. `kept_in` is the folder it was saved to, if it was."""

    model: Bundle
    targets: tuple[Target, ...]
    steps: StepTable
    slices: Slices
    labels: Mapping[LabelSource, int]
    """How many failures each source told the class of."""
    kept_in: Path | None = None
    model_version: str = ""
    parts: StepParts = field(default_factory=StepParts)
    promoted: bool = False

    @property
    def version(self) -> str:
        """The bundle's version: the same from the same data and seed."""
        return self.model.version

    @property
    def rows(self) -> int:
        """First attempts that were learnt from."""
        return len(self.steps)

    @property
    def runs(self) -> int:
        """How many runs they are of."""
        return self.steps.runs

    @property
    def signal(self) -> bool:
        """Whether any model beat the base rates."""
        return any(target.choice.recipe is not Recipe.BASE for target in self.targets)

    @property
    def bundle(self) -> Path:
        """The folder that holds the bundle; raises `NotKept` where training was given none to keep it in."""
        if self.kept_in is None:
            raise NotKept("the bundle was not saved; train with a folder or a registry")
        return self.kept_in

    def table(self) -> str:
        """The figures of every target beside the base rates', as plain text."""
        return report(self.targets, self.rows, self.runs)
