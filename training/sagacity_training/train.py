"""History in, bundle out: the three targets of the step models, chosen honestly, fitted on all that is known.

    rows and labels -> table -> slices in time order -> candidates, choice -> refit on the whole -> bundle

Figures come from the select slice, which nothing behind them was fitted on; the model that is served is the
chosen recipe fitted again on the whole history, so it has seen more than the one the figures are about.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sagacity_data.failure_kinds import LabelSource
from sagacity_data.labels import Label, label
from sagacity_data.rows import Row
from sagacity_data.store import DatasetStore
from sagacity_models.bundle import Bundle, save_bundle, stamped
from sagacity_models.durations import DurationModel
from sagacity_models.registry import Registry
from sagacity_models.registry_process import RegistryProcess
from sagacity_models.step_models import Cause, Recipe, RefusalModel
from sagacity_training.composed import composed_targets
from sagacity_training.config import SearchConfig, SliceConfig
from sagacity_training.durations import train_durations
from sagacity_training.errors import NothingToLearn
from sagacity_training.history import History, read_history
from sagacity_training.log_steps import log_steps
from sagacity_training.matrices import Matrices
from sagacity_training.refusals import train_refusals
from sagacity_training.slices import Slices, slice_by_time
from sagacity_training.stages import WHEN, Stage, Stages
from sagacity_training.step_parts import StepParts, learn_parts
from sagacity_training.step_table import StepTable
from sagacity_training.targets import Target
from sagacity_training.training_result import TrainingResult
from sagacity_training.uncollected import uncollected

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Progress = Callable[[str], None]

FITS_AT_ONCE: Final = 2
"""Each takes a copy of its rows; more at once would take more room than they save time."""

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
        history = read_history(DatasetStore(dataset_dir), at)
        result = fit_bundle(history, seed=seed, at=at, progress=progress)
        if process is not None:
            tell("logging to the registry")
            result = log_steps(result, process, created_at)
    if folder is not None:
        key = None if registry is None else registry.keys.signer()
        save_bundle(result.model, folder, created_at=created_at, key=key)
        result = replace(result, kept_in=Path(folder))
    return result


def fit_bundle(
    rows: History | Iterable[Row],
    *,
    seed: int,
    at: float,
    labels: Iterable[Label] | None = None,
    progress: Progress | None = None,
    parts: bool = True,
    slices: SliceConfig | None = None,
    search: SearchConfig | None = None,
) -> TrainingResult:
    """The bundle that these rows give, in any order, from what was known at `at`; nothing is written.

    `labels` default to `label(rows)`. Without `parts` the bundle has no more than plans need.
    `slices` says how history is cut, `search` how long better settings of trees are looked for.
    Raises `NothingToLearn` where no row has a launch and an end.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

    import_module("lightgbm")  # First, so that the threads of all that it brings are limited, too.
    # Each fit has one thread, so that it gives the same on every machine; two fits run side by side.
    with threadpool_limits(1), uncollected(), ThreadPoolExecutor(FITS_AT_ONCE) as pool:
        tell = progress or _silent
        history = rows if isinstance(rows, History) else History.of(rows)
        prepared = _prepared(history, labels, at, tell=tell, config=slices)
        tell("learning refusals, durations, classes of failures, undos and effects")
        service = pool.submit(_refusals, prepared, seed, Cause.SERVICE, search)
        durations = pool.submit(_durations, prepared, seed)
        request = pool.submit(_refusals, prepared, seed, Cause.REQUEST, search)
        others = pool.submit(learn_parts, history.rows, seed=seed, at=at) if parts else None
        try:
            result = _result(prepared, seed, service.result(), request.result(), durations.result())
            return with_parts(result, others.result()) if others else result
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What all fits read."""

    stages: Stages
    judged: Matrices
    """The rows of the figures of all refusals."""
    labels: Mapping[LabelSource, int]


def _prepared(
    history: History,
    labels: Iterable[Label] | None,
    at: float,
    *,
    tell: Progress,
    config: SliceConfig | None,
) -> _Prepared:
    tell("labelling failures")
    told = label(history.rows) if labels is None else list(labels)
    table = StepTable.of(history, told)
    table = table.where(table.known_at <= at)
    if not len(table):
        raise NothingToLearn(
            f"none of {len(history)} rows is a first attempt that was launched and had ended by {at!r}; "
            "record some runs, or import a history with times"
        )
    tell(f"encoding {len(table)} attempted steps of {table.runs} runs")
    slices = slice_by_time(table, config)
    figures = Stage.of(slices.fit, slices.cuts[0], table)
    stages = Stages(table, slices, figures, Stage.of(table, at, table), at)
    judged = figures.matrices.of(slices.targets(WHEN["refusal"], at).select)
    return _Prepared(stages, judged, Counter(each.source for each in told))


def _refusals(
    prepared: _Prepared, seed: int, cause: Cause, search: SearchConfig | None
) -> tuple[RefusalModel, Target, Array]:
    """The model of one cause, what was found, and its forecasts of the rows that judge all refusals."""
    stages = prepared.stages
    sliced, whole = stages.of(cause)
    model, target, forecast = train_refusals(
        sliced, stages.figures.base, whole, stages.served.base, seed, cause=cause, search=search
    )
    return model, target, forecast(stages.figures.seen_by(cause, prepared.judged))


def _durations(prepared: _Prepared, seed: int) -> tuple[DurationModel, Target]:
    stages = prepared.stages
    kinds = stages.of("durations"), stages.of("refusal durations")
    return train_durations(*kinds, stages.figures.base, stages.served.base, seed=seed)


def _result(
    prepared: _Prepared,
    seed: int,
    service: tuple[RefusalModel, Target, Array],
    request: tuple[RefusalModel, Target, Array],
    durations: tuple[DurationModel, Target],
) -> TrainingResult:
    stages, causes = prepared.stages, (service[1], request[1])
    fitted = any(each.choice.recipe is not Recipe.BASE for each in causes)
    both = composed_targets(prepared.judged, stages.figures.base, service[2], request[2], fitted=fitted)
    told = [*both, *causes, durations[1]]
    served = stages.served
    bundle = Bundle(
        base=served.base,
        encoding=served.encoding,
        service=service[0],
        request=request[0],
        durations=durations[0],
    )
    bundle = stamped(replace(bundle, facts=_facts(served.matrices, told, seed, stages.slices)))
    return TrainingResult(
        model=bundle, targets=tuple(told), steps=stages.table, slices=stages.slices, labels=prepared.labels
    )


def with_parts(result: TrainingResult, parts: StepParts) -> TrainingResult:
    """The result with these parts in its bundle, whose version is another one then."""
    bundle = replace(result.model, tabular=parts.tabular, failure_classes=parts.failure_classes)
    return replace(result, model=stamped(bundle), parts=parts)


def _facts(whole: Matrices, targets: list[Target], seed: int, slices: Slices) -> dict[str, Any]:
    return {
        "seed": seed,
        "data_sha256": whole.content_hash,
        "rows": len(whole),
        "runs": whole.table.runs,
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
