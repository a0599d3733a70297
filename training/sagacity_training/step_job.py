"""Training on attempts, as a job: the bundle of step models, and what is to be said of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final

from sagacity_data.signals import launch_times
from sagacity_data.store import DatasetStore
from sagacity_models.bundle import Bundle, load_bundle, save_bundle, stamped
from sagacity_models.errors import ModelError
from sagacity_models.registry import STEP_MODELS
from sagacity_training.config import TrainingConfig
from sagacity_training.errors import NothingToLearn
from sagacity_training.failure_class_value import ClassValue
from sagacity_training.fitted import Fitted
from sagacity_training.held_out import ATTEMPTS_MAX, HeldOut
from sagacity_training.history import History, read_history
from sagacity_training.judging.classes import ClassFigures, figures_of_confusion
from sagacity_training.judging.decisions import Decisions, judge_decisions
from sagacity_training.judging.model_card import ModelCard
from sagacity_training.live_risk_task import learn_live_risk
from sagacity_training.report import figures_of
from sagacity_training.saga_calibration import (
    RUNS_MAX,
    RUNS_MIN,
    completed_runs,
    learn_saga_calibrations,
)
from sagacity_training.step_judged import judged_steps
from sagacity_training.targets import Target
from sagacity_training.train import fit_bundle
from sagacity_training.training_result import TrainingResult

PURPOSE: Final = "how likely each step of a run is to fail at its first attempt, and how, as of its launch"
WEAKNESSES: Final = (
    "It forecasts first attempts of launched runs; steps that runs hardly ever reach are told by mean rates.",
    "What plans change about the load on services is not in it, nor what the callers' own outages do.",
    "It follows a service's health as calls tell of it; other laws it learns when it is trained again.",
)


def fit_steps(
    dataset: Path, config: TrainingConfig, *, at: float, champion: Path | None, tell: Callable[[str], None]
) -> Fitted:
    """A bundle of step models; `champion` is the folder of the present one. Raises what training raises."""
    tell("reading the dataset")
    store = DatasetStore(dataset)
    history = read_history(store, at).without(frozenset(config.features.ignore))
    result = fit_bundle(
        history, seed=config.seed, at=at, progress=tell, slices=config.slices, search=config.search
    )
    held_out = _HeldOutRuns(store, history, at, config)
    result = _calibrated(result, held_out, tell)
    present = _present(champion)
    live = learn_live_risk(history.rows, store.definitions(), config, at=at, champion=present, tell=tell)
    if live is not None:
        result = replace(result, model=stamped(replace(result.model, live_risk=live.risk)))
    targets = {target.name: target for target in result.targets}
    judged = judged_steps(targets["refusal"], result.steps, result.slices, at=at, champion=present)
    classes = result.parts.classes or _classes(targets["classes"])
    created_at = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")

    def save(folder: Path) -> None:
        save_bundle(result.model, folder, created_at=created_at)

    return Fitted(
        kind="attempts",
        model=STEP_MODELS,
        experiment="steps",
        artifact="bundle",
        card=_card(result, history, at),
        judged=(judged, *result.parts.judged, *([live.judged] if live else [])),
        params=_params(result),
        metrics=figures_of(result.targets),
        lines=tuple(result.table().splitlines()),
        save=save,
        decisions=_Decided(held_out),
        classes=classes,
        class_macro_f1=classes.macro_f1 if classes else None,
    )


@dataclass(frozen=True)
class _HeldOutRuns:
    """The runs of the last slice, and a twin of the model that was fitted on what was known before them."""

    store: DatasetStore
    history: History
    at: float
    config: TrainingConfig

    def sample(self, most: int) -> HeldOut | str:
        """At most so many of them, or why there are none."""
        if len(self.history) > ATTEMPTS_MAX:
            return f"the dataset has more than {ATTEMPTS_MAX} rows"
        if self._twin is None:
            return "no attempt had ended before the held-out runs began"
        held = HeldOut(self.history.rows, self.store.definitions(), self._twin, cut=self._cut, most=most)
        return held if held.sampled else "the dataset has no definition of the held-out runs' sagas"

    @cached_property
    def _cut(self) -> float:
        launched = sorted(launch_times(self.history.rows).values())
        return launched[min(int(self.config.slices.ends[2] * len(launched)), len(launched) - 1)]

    @cached_property
    def _twin(self) -> Bundle | None:
        earlier = self.history.before(self._cut)
        try:
            return fit_bundle(
                earlier, seed=self.config.seed, at=self._cut, parts=False, slices=self.config.slices
            ).model
        except NothingToLearn:
            return None


def _calibrated(
    result: TrainingResult, held_out: _HeldOutRuns, tell: Callable[[str], None]
) -> TrainingResult:
    """The result with what held-out runs tell of forecasts of whole runs, where enough of them ended."""
    completed = completed_runs(held_out.history.rows)
    if len(completed) < RUNS_MIN:
        return result
    tell("comparing forecasts of runs with how they ended")
    held = held_out.sample(RUNS_MAX)
    if isinstance(held, str):
        return result
    maps = learn_saga_calibrations(held.runs(), completed)
    return replace(result, model=stamped(replace(result.model, calibrations=maps))) if maps else result


@dataclass(frozen=True, slots=True)
class _Decided:
    """Judges plans on held-out runs."""

    held_out: _HeldOutRuns

    def __call__(self, config: TrainingConfig) -> tuple[Decisions, ClassValue | None]:
        if not config.report.decision_runs:
            return Decisions(skipped="the configuration leaves it out (report.decision_runs = 0)"), None
        held = self.held_out.sample(config.report.decision_runs)
        if isinstance(held, str):
            return Decisions(skipped=held), None
        decided = judge_decisions(
            held.runs(),
            seed=config.seed,
            draws=config.report.draws,
            clock=time.monotonic,
            budget_s=config.report.decision_s,
        )
        return decided, held.classes()


def _present(champion: Path | None) -> Bundle | None:
    """The champion; None where it cannot be read, as then nothing is compared."""
    if champion is None:
        return None
    try:
        return load_bundle(champion)
    except ModelError:
        return None


def _classes(target: Target) -> ClassFigures | None:
    names, confusion = target.facts.get("classes", ()), target.facts.get("confusion", ())
    return figures_of_confusion(confusion, names) if any(map(sum, confusion)) else None


def _params(result: TrainingResult) -> dict[str, object]:
    facts = result.model.facts
    return {
        "bundle": result.version,
        **{name: facts[name] for name in ("seed", "data_sha256", "rows", "runs")},
        **{f"recipe.{target.name}": target.choice.recipe for target in result.targets},
    }


def _card(result: TrainingResult, history: History, at: float) -> ModelCard:
    launched = launch_times(history.rows).values()
    facts = result.model.facts
    return ModelCard(
        model=STEP_MODELS,
        version=result.version,
        made_at=at,
        purpose=PURPOSE,
        window=(min(launched), max(launched)) if launched else None,
        data_sha256=str(facts.get("data_sha256", "")),
        counts={"attempted steps": result.rows, "runs": result.runs},
        labels={source.value: count for source, count in result.labels.items()},
        features=tuple(result.model.encoding.names),
        weaknesses=(*WEAKNESSES, *_ignored(history)),
        facts={"libraries": facts.get("libraries", {}), "slices": facts.get("slices", {})},
    )


def _ignored(history: History) -> tuple[str, ...]:
    bare = history.bare
    return (f"{bare} first attempts have no launch features; their context stands in.",) if bare else ()
