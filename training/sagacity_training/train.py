"""History in, bundle out: the three targets of the step models, chosen honestly, fitted on all that is known.

    rows and labels -> table -> slices in time order -> candidates, choice -> refit on the whole -> bundle

Figures come from the select slice, which nothing behind them was fitted on; the model that is served is the
chosen recipe fitted again on the whole history, so it has seen more than the one the figures are about.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sagacity_data.feature_catalogue import CONTEXT_PREFIX
from sagacity_data.labels import Label, label
from sagacity_data.rows import Row
from sagacity_data.store import DatasetStore
from sagacity_models.base_rates import BaseRates
from sagacity_models.bundle import Bundle, save_bundle, stamped
from sagacity_models.encoding import Columns, FeatureEncoding, columns_of
from sagacity_models.registry import CHAMPION, STEP_MODELS, Registry
from sagacity_models.registry_process import RegistryProcess
from sagacity_models.step_models import Cause, Recipe, RefusalModel
from sagacity_training.composed import composed_targets
from sagacity_training.durations import train_durations
from sagacity_training.errors import NothingToLearn, NotKept
from sagacity_training.matrices import Matrices, encode
from sagacity_training.plots import calibration_figure, confusion_figure, save_figure
from sagacity_training.refusals import train_refusals
from sagacity_training.report import figures_of, report
from sagacity_training.scores import calibration_bins
from sagacity_training.slices import Slices, slice_by_time
from sagacity_training.step_table import StepRow, StepTable, evidence_of
from sagacity_training.targets import SlicedMatrices, Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Progress = Callable[[str], None]

LIBRARIES: Final = ("lightgbm", "numpy", "scikit-learn")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """A trained model and what is to be said of it. `kept_in` is the folder it was saved to, if it was."""

    model: Bundle
    targets: tuple[Target, ...]
    rows: int
    runs: int
    kept_in: Path | None = None
    model_version: str = ""
    promoted: bool = False

    @property
    def version(self) -> str:
        """The bundle's version: the same from the same data and seed."""
        return self.model.version

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


def train_steps(
    dataset_dir: str | os.PathLike[str],
    *,
    seed: int,
    at: float,
    registry: Registry | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """Train on what the dataset knew at `at` (seconds since 1970), and keep the bundle.

    It is saved to `folder` if given, and logged to `registry` if given, with figures and plots, as a new
    version. The registry's champion becomes this version if history carried a signal, or if there is no
    champion yet: base rates are an honest first one, but nothing to replace a model with. Raises
    `NothingToLearn` on an empty dataset, and what the store, the bundle and the registry raise.
    """
    tell = progress or _silent
    created_at = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    with RegistryProcess(registry) if registry is not None else nullcontext() as process:
        tell("reading the dataset")
        rows = DatasetStore(dataset_dir).read_attempts(until=at)
        result = fit_bundle(rows, seed=seed, at=at, progress=progress)
        if process is not None:
            tell("logging to the registry")
            result = _logged(result, process, created_at)
    if folder is not None:
        save_bundle(result.model, folder, created_at=created_at)
        result = replace(result, kept_in=Path(folder))
    return result


def _logged(result: TrainingResult, registry: RegistryProcess, created_at: str) -> TrainingResult:
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


def fit_bundle(
    rows: Iterable[Row],
    *,
    seed: int,
    at: float,
    labels: Iterable[Label] | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """The bundle that these rows give, in any order, from what was known at `at`; nothing is written.

    `labels` default to `label(rows)`. Raises `NothingToLearn` where no row has a launch and an end.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

    import_module("lightgbm")  # First, so that the threads of all that it brings are limited, too.
    # The matrices are small: threads would only wait for each other, badly so where cores are shared.
    with threadpool_limits(1):
        return _fitted(list(rows), labels, seed, at, progress or _silent)


def _fitted(
    listed: list[Row], labels: Iterable[Label] | None, seed: int, at: float, tell: Progress
) -> TrainingResult:
    table = StepTable.of(listed, label(listed) if labels is None else labels).where(
        lambda row: row.known_at <= at
    )
    if not len(table):
        raise NothingToLearn(
            f"none of {len(listed)} rows is a first attempt that was launched and had ended by {at!r}; "
            "record some runs, or import a history with times"
        )
    tell(f"encoding {len(table)} attempted steps of {table.runs} runs")
    slices = slice_by_time(table)
    columns = columns_of([row.features for row in table])
    figures = _Stage.of(slices.fit, slices.cuts[0], table, columns)
    served = _Stage.of(table, at, table, columns)
    stages = _Stages(table, slices, figures, served, at)
    judged = figures.matrices.of(slices.targets(*_WHEN["refusal"], at).select)
    models: dict[Cause, RefusalModel] = {}
    targets: list[Target] = []
    forecasts: list[Array] = []
    for cause in Cause:
        tell(f"learning refusals by the {cause}")
        sliced, whole = stages.of(cause)
        models[cause], target, forecast = train_refusals(
            sliced, figures.base, whole, served.base, seed, cause=cause
        )
        targets.append(target)
        forecasts.append(forecast(figures.seen_by(cause, judged)))
    tell("learning durations")
    sliced, whole = stages.of("durations")
    durations, target = train_durations(sliced, figures.base, whole, served.base, seed)
    fitted = any(each.choice.recipe is not Recipe.BASE for each in targets)
    both = composed_targets(judged, figures.base, *forecasts, fitted=fitted)
    told = [*both, *targets, target]
    bundle = Bundle(
        base=served.base,
        encoding=served.encoding,
        service=models[Cause.SERVICE],
        request=models[Cause.REQUEST],
        durations=durations,
    )
    facts = _facts(served.matrices, told, seed, slices)
    bundle = stamped(replace(bundle, facts=facts))
    return TrainingResult(model=bundle, targets=tuple(told), rows=len(table), runs=table.runs)


@dataclass(frozen=True, slots=True)
class _Stage:
    """Base rates and encoding learnt from one part of the table, and rows encoded with it."""

    base: BaseRates
    encoding: FeatureEncoding
    matrices: Matrices

    def seen_by(self, target: str, matrices: Matrices) -> Matrices:
        """The rows as the models of a target see them: what is asked, for hopeless requests, else all."""
        if target != Cause.REQUEST:
            return matrices
        names = self.encoding.design_names, self.encoding.names
        return matrices.only(*([_is_asked(name) for name in each] for each in names))

    @classmethod
    def of(cls, learnt: StepTable, cut: float, table: StepTable, columns: Columns) -> _Stage:
        """`learnt` is the beginning of `table`: both are in the order of launch."""
        encoding = FeatureEncoding.learn({name: values[: len(learnt)] for name, values in columns.items()})
        base = BaseRates.estimate(evidence_of(learnt, cut))
        return cls(base, encoding, encode(table, columns, encoding))


_ASKED: Final = (
    "hour_sin",
    "hour_cos",
    "weekday",
    "weekend",
    "saga_steps",
    "step",
    "step_kind",
    "step_region",
    "step_failure_logit_7d",
    "service_failure_logit_7d",
)
"""Beside the caller's context, what the model of hopeless requests reads."""


def _is_asked(column: str) -> bool:
    """Whether a column (`feature`, or `feature is level`) says something of what is asked."""
    return column.startswith(CONTEXT_PREFIX) or column.split(" is ", 1)[0] in _ASKED


_WHEN: Final[dict[str, tuple[Callable[[StepRow], bool], Callable[[StepRow], float]]]] = {
    "refusal": (lambda _: True, lambda row: row.cause_known_at),
    Cause.SERVICE: (lambda _: True, lambda row: row.cause_known_at),
    Cause.REQUEST: (lambda row: not row.refused_for(Cause.SERVICE), lambda row: row.cause_known_at),
    "durations": (lambda row: row.duration_s is not None, lambda row: row.known_at),
}
"""Per target: which rows hold it, and since when each does."""


@dataclass(frozen=True, slots=True)
class _Stages:
    """What a target is trained on: the slices for its figures, and the whole history for what is served."""

    table: StepTable
    slices: Slices
    figures: _Stage
    served: _Stage
    at: float

    def of(self, target: str) -> tuple[SlicedMatrices, Matrices]:
        """The slices and the whole history of one target, as the models of that target see them."""
        keep, known_at = _WHEN[target]
        known = self.table.where(partial(_is_known, keep, known_at, self.at))
        sliced = self.slices.targets(keep, known_at, self.at)
        seen = [
            self.figures.seen_by(target, self.figures.matrices.of(part))
            for part in (sliced.fit, sliced.tune, sliced.calibrate, sliced.select)
        ]
        return SlicedMatrices(*seen), self.served.seen_by(target, self.served.matrices.of(known))


def _is_known(
    keep: Callable[[StepRow], bool], known_at: Callable[[StepRow], float], at: float, row: StepRow
) -> bool:
    return keep(row) and known_at(row) <= at


def _facts(whole: Matrices, targets: list[Target], seed: int, slices: Slices) -> dict[str, Any]:
    return {
        "seed": seed,
        "data_sha256": whole.content_hash,
        "rows": len(whole),
        "runs": len({row.run_id for row in whole.rows}),
        "libraries": {name: version(name) for name in LIBRARIES},
        "slices": {
            "fit": len(slices.fit),
            "tune": len(slices.tune),
            "calibrate": len(slices.calibrate),
            "select": len(slices.select),
        },
        "figures_from": "the select slice, which nothing behind the figures was fitted on; "
        "the served model is the chosen recipe fitted again on all rows",
        "targets": {target.name: target.as_json() for target in targets},
    }


def _silent(message: str) -> None:
    del message
