"""One training from end to end: fit, judge, gate, report, register.

    dataset -> model and its forecasts of held-out rows -> figures -> verdict -> report -> registry, alias

Nothing is left half-written: a model's folder, the report and the ledger appear whole or not at all, and a
registry's champion moves last. The gate's ledger is written before, so a look is paid for whatever follows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sagacity_models.registry import CHAMPION, Registry
from sagacity_models.registry_process import RegistryProcess
from sagacity_training.case_job import fit_cases
from sagacity_training.config import TrainingConfig, refuse_unread
from sagacity_training.fitted import Fitted
from sagacity_training.gate_ledger import spend
from sagacity_training.judging.figures import figures_of
from sagacity_training.judging.gate import Verdict, gate
from sagacity_training.judging.ledger import Ledger
from sagacity_training.judging.report_page import Report, page
from sagacity_training.log_cases import CASE_MODELS
from sagacity_training.plots import calibration_figure, confusion_figure, save_figure
from sagacity_training.text_files import renew_texts

CHALLENGER: Final = "challenger"
REPORT_PAGE: Final = "report.html"
REPORT_DATA: Final = "report.json"
Tell = Callable[[str], None]
Fit = Callable[..., Fitted]
Shelf = Registry | RegistryProcess
Opens = Callable[[Registry], AbstractContextManager[Shelf]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to train on, and where to keep what comes of it; `at` is in seconds since 1970."""

    dataset: Path
    kind: str  # "attempts" or "event_log"
    config: TrainingConfig
    at: float
    registry: Registry | None = None
    into: Path | None = None
    report: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a training ended. `bundle` is the model's folder, if it was kept; `version` the registry's."""

    fitted: Fitted
    verdict: Verdict
    report: Report
    bundle: Path | None
    version: str
    champion: bool

    def as_json(self) -> dict[str, Any]:
        """What `sagacity train --json` ends with."""
        return {
            "models": {each.task: each.summary() for each in self.report.tasks},
            "class_macro_f1": self.fitted.class_macro_f1,
            "signal": self.verdict.signal,
            "promoted": self.verdict.promoted,
            "reasons": list(self.verdict.reasons),
            "bundle": None if self.bundle is None else str(self.bundle),
        }


def run_job(
    job: Job, *, tell: Tell | None = None, fit: Fit | None = None, open_registry: Opens = RegistryProcess
) -> Done:
    """Train, judge and keep. `fit` stands in for the trainer of the dataset's kind.

    Raises what the dataset, training, bundles and the registry refuse, and `OSError` where `into` or `report`
    cannot be written.
    """
    say: Tell = tell or _silent
    refuse_unread(job.config, job.kind)
    trainer = fit or (fit_cases if job.kind == "event_log" else _fit_steps)
    opened: AbstractContextManager[Shelf | None] = (
        nullcontext() if job.registry is None else open_registry(job.registry)
    )
    with opened as process:
        present = _champion(job, process)
        fitted = trainer(job.dataset, job.config, at=job.at, champion=present, tell=say)
        say("judging it")
        verdict = _gated(job, fitted, champion=present is not None)
        report = _reported(job, fitted, verdict, say)
        if job.into is not None:
            fitted.save(job.into)
        if job.report is not None:
            renew_texts(_texts(report), job.report)
        if process is None:
            return Done(
                fitted=fitted, verdict=verdict, report=report, bundle=job.into, version="", champion=False
            )
        say("logging to the registry")
        return _registered(job, fitted, verdict, report, process)


def _fit_steps(*given: Any, **options: Any) -> Fitted:
    from sagacity_training.step_job import fit_steps  # LightGBM, which cases may do without.

    return fit_steps(*given, **options)


def _champion(job: Job, process: Shelf | None) -> Path | None:
    """The folder of the present champion's model, if there is one."""
    model = _model_of(job.kind)
    if job.registry is None or process is None or process.version(CHAMPION, model=model) is None:
        return None
    return job.registry.bundle_folder(CHAMPION, model=model)


def _model_of(kind: str) -> str:
    from sagacity_models.registry import STEP_MODELS

    return CASE_MODELS if kind == "event_log" else STEP_MODELS


def _gated(job: Job, fitted: Fitted, *, champion: bool) -> Verdict:
    def look(spent: Ledger) -> tuple[Verdict, Ledger]:
        verdict = gate(fitted.judged, job.config.gate, spent, champion=champion)
        return verdict, verdict.spent

    if job.registry is None:
        return look(Ledger())[0]
    return spend(job.registry.folder, fitted.model, look)


def _reported(job: Job, fitted: Fitted, verdict: Verdict, say: Tell) -> Report:
    config = job.config
    tasks = tuple(
        figures_of(each, config.gate, draws=config.report.draws, seed=config.seed) for each in fitted.judged
    )
    report = Report(
        kind=fitted.kind,
        verdict=verdict,
        tasks=tasks,
        card=fitted.card,
        classes=fitted.classes,
        durations=fitted.durations,
        curves=fitted.curves,
        notes=fitted.notes,
        config=config.as_json(),
    )
    if job.registry is None and job.report is None:
        return report  # Nobody would read what plans earn, and it takes a while.
    say("judging plans")
    decisions, value = fitted.decisions(config)
    return replace(report, decisions=decisions, class_value=value)


def _registered(job: Job, fitted: Fitted, verdict: Verdict, report: Report, process: Shelf) -> Done:
    with tempfile.TemporaryDirectory() as scratch:
        model, figures, told = (Path(scratch, name) for name in (fitted.artifact, "figures", "report"))
        fitted.save(model)
        figures.mkdir()
        _draw(report, figures)
        (figures / "figures.txt").write_text("\n".join(fitted.lines) + "\n", encoding="utf-8")
        renew_texts(_texts(report), told)
        logged = process.log(
            fitted.experiment,
            params={**fitted.params, "promoted": verdict.promoted, "signal": verdict.signal},
            metrics={**fitted.metrics, **_metrics(report)},
            artifacts={fitted.artifact: model, "figures": figures, "report": told},
            model=fitted.model,
            model_artifact=fitted.artifact,
        )
    champion = verdict.promoted or verdict.stands_in
    if champion or verdict.signal:
        alias = CHAMPION if champion else CHALLENGER
        process.promote(logged.version, model=fitted.model, alias=alias)
    return Done(
        fitted=fitted,
        verdict=verdict,
        report=report,
        bundle=job.into or logged.folder,
        version=logged.version,
        champion=champion,
    )


def _metrics(report: Report) -> dict[str, float]:
    return {name: value for each in report.tasks for name, value in each.metrics().items()}


def _texts(report: Report) -> dict[str, str]:
    return {REPORT_PAGE: page(report), REPORT_DATA: report.json_text()}


def _draw(report: Report, folder: Path) -> None:
    first = next((each for each in report.tasks if each.points), None)
    if first is not None:
        points = [(point.forecast, point.observed) for point in first.points]
        save_figure(calibration_figure(points, first.task.replace("_", " ")), folder / "calibration.png")
    if report.classes is not None:
        figure = confusion_figure(report.classes.confusion, report.classes.names)
        save_figure(figure, folder / "confusion.png")


def _silent(what: str) -> None:
    del what
