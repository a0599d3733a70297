"""History in, bundle out: the three targets of the step models, chosen honestly, fitted on all that is known.

    rows and labels -> table -> slices in time order -> candidates, choice -> refit on the whole -> bundle

Figures come from the select slice, which nothing behind them was fitted on; the model that is served is the
chosen recipe fitted again on the whole history, so it has seen more than the one the figures are about.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sagacity_data.inferred import with_features
from sagacity_data.labels import Label, label
from sagacity_data.rows import AttemptRow, Row
from sagacity_data.store import DatasetStore
from sagacity_models.bundle import Bundle, save_bundle, stamped
from sagacity_models.encoding import columns_of
from sagacity_models.registry import Registry
from sagacity_models.registry_process import RegistryProcess
from sagacity_models.step_models import Cause, Recipe, RefusalModel
from sagacity_training.composed import composed_targets
from sagacity_training.config import SliceConfig
from sagacity_training.durations import train_durations
from sagacity_training.errors import NothingToLearn
from sagacity_training.log_steps import log_steps
from sagacity_training.matrices import Matrices
from sagacity_training.refusals import train_refusals
from sagacity_training.slices import Slices, slice_by_time
from sagacity_training.stages import WHEN, Stage, Stages
from sagacity_training.step_parts import StepParts, learn_parts
from sagacity_training.step_table import StepTable
from sagacity_training.targets import Target
from sagacity_training.training_result import TrainingResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Progress = Callable[[str], None]

RUNS_MAX: Final = 50_000
"""The most runs that are given launch features before training: features take far more room than rows."""

LIBRARIES: Final = ("lightgbm", "numpy", "scikit-learn")


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
        rows = rows_to_learn(DatasetStore(dataset_dir), at)
        result = fit_bundle(rows, seed=seed, at=at, progress=progress)
        if process is not None:
            tell("logging to the registry")
            result = log_steps(result, process, created_at)
    if folder is not None:
        key = None if registry is None else registry.keys.signer()
        save_bundle(result.model, folder, created_at=created_at, key=key)
        result = replace(result, kept_in=Path(folder))
    return result


def rows_to_learn(store: DatasetStore, at: float) -> list[Row]:
    """The runs launched before `at`, with launch features: imported ones, and those recorded without, get
    theirs from the history before them. Of more than `RUNS_MAX` such runs the latest do, and the others are
    history only.
    """
    rows = store.read(until=at)
    bare: dict[str, float] = {}
    for row in rows:
        if isinstance(row, AttemptRow) and not row.features and row.launch_at is not None:
            bare[row.run_id] = row.launch_at
    latest = sorted(bare, key=lambda run_id: (bare[run_id], run_id))[-RUNS_MAX:]
    return with_features(rows, store.definitions(), frozenset(latest))


def fit_bundle(
    rows: Iterable[Row],
    *,
    seed: int,
    at: float,
    labels: Iterable[Label] | None = None,
    progress: Progress | None = None,
    parts: bool = True,
    slices: SliceConfig | None = None,
) -> TrainingResult:
    """The bundle that these rows give, in any order, from what was known at `at`; nothing is written.

    `labels` default to `label(rows)`. Without `parts` the bundle has no more than plans need.
    `slices` says how history is cut.
    Raises `NothingToLearn` where no row has a launch and an end.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

    import_module("lightgbm")  # First, so that the threads of all that it brings are limited, too.
    # The matrices are small: threads would only wait for each other, badly so where cores are shared.
    with threadpool_limits(1):
        tell, listed = progress or _silent, list(rows)
        result = _fitted(listed, labels, seed, at, tell=tell, config=slices)
        return with_parts(result, learn_parts(listed, seed=seed, at=at, tell=tell)) if parts else result


def _fitted(
    listed: list[Row],
    labels: Iterable[Label] | None,
    seed: int,
    at: float,
    *,
    tell: Progress,
    config: SliceConfig | None,
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
    slices = slice_by_time(table, config)
    columns = columns_of([row.features for row in table])
    figures = Stage.of(slices.fit, slices.cuts[0], table, columns)
    served = Stage.of(table, at, table, columns)
    stages = Stages(table, slices, figures, served, at)
    judged = figures.matrices.of(slices.targets(*WHEN["refusal"], at).select)
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
    kinds = stages.of("durations"), stages.of("refusal durations")
    durations, target = train_durations(*kinds, figures.base, served.base, seed=seed)
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


def with_parts(result: TrainingResult, parts: StepParts) -> TrainingResult:
    """The result with these parts in its bundle, whose version is another one then."""
    bundle = replace(result.model, tabular=parts.tabular, failure_classes=parts.failure_classes)
    return replace(result, model=stamped(bundle), parts=parts)


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
