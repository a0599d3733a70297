"""Training on event logs, as a job: the model of case outcomes, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from sagacity_models.case_outcome import CaseModelKind, CaseModelRefused, CaseOutcomeModel
from sagacity_training.cases import CaseTrainingResult, train_cases
from sagacity_training.config import TrainingConfig
from sagacity_training.fitted import Fitted
from sagacity_training.judging.classes import ClassFigures, figures_of_confusion
from sagacity_training.judging.decisions import Decisions
from sagacity_training.judging.model_card import ModelCard
from sagacity_training.log_cases import CASE_MODELS
from sagacity_training.text_files import write_texts

PURPOSE: Final = "the chance that a running case ends well, from what has happened to it so far"
WEAKNESSES: Final = (
    "It knows cases, not steps: it forecasts no plan and no failure of a service.",
    "Outcomes are as the rule says; cases of which the rule says nothing are not judged.",
    "What drives a case but is not in the log is unknown to it, and a share that drifts is followed late.",
)
FILE_BYTES_MAX: Final = 256 << 20


def fit_cases(
    dataset: Path, config: TrainingConfig, *, at: float, champion: Path | None, tell: Callable[[str], None]
) -> Fitted:
    """A model of case outcomes; `champion` is the folder of the present one. Raises what training raises."""
    present = None if champion is None else read_case_model(champion)
    result = train_cases(
        dataset,
        seed=config.seed,
        test_share=config.slices.test,
        ignore_attributes=config.features.ignore,
        champion=present,
        progress=tell,
    )
    return Fitted(
        kind="event_log",
        model=CASE_MODELS,
        experiment="cases",
        artifact="model",
        card=_card(result, at),
        judged=result.judged,
        params={"verdict": result.verdict, **result.params},
        metrics=result.metrics,
        lines=tuple(case_lines(result)),
        save=lambda folder: write_texts(result.artifacts, folder),
        decisions=lambda _: (Decisions(skipped="an event log has no plans to choose among"), None),
        classes=_classes(result),
        class_macro_f1=result.class_macro_f1,
        notes=result.notes,
    )


def read_case_model(folder: Path) -> CaseOutcomeModel | None:
    """The model whose texts are in `folder`; None where it cannot be read, as then nothing is compared."""
    try:
        files = [path for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
        texts = {
            path.name: path.read_text("utf-8") for path in files if path.stat().st_size <= FILE_BYTES_MAX
        }
        return CaseOutcomeModel.from_artifacts(texts)
    except (OSError, UnicodeDecodeError, CaseModelRefused):
        return None


def case_lines(result: CaseTrainingResult) -> list[str]:
    """What was found, for a reader at a terminal."""
    scores, gain = result.scores, result.scores.log_loss_gain
    auc = f"{scores.auc.value:.4f}" if scores.auc else "-"
    rows = [
        ("figure", "base rate", "model"),
        ("log loss", f"{scores.base_log_loss:.4f}", f"{scores.log_loss:.4f}"),
        ("Brier score", f"{scores.base_brier:.4f}", f"{scores.brier:.4f}"),
        ("AUC", "0.5000", auc),
        ("calibration error", "-", f"{scores.calibration_error:.4f}"),
    ]
    return [
        result.verdict,
        f"rule: {result.rule}",
        f"{scores.cases} test cases, {scores.rows} prefixes, {scores.positive_share:.1%} of them succeed",
        f"base rate: {scores.base_rate:.1%}, the share of successes of the latest training cases, shrunken",
        "",
        *(f"{name:<17}  {base:>9}  {model:>6}" for name, base, model in rows),
        f"log loss gained: {gain.value:.4f}, 95 % interval {gain.low:.4f} to {gain.high:.4f}",
        *(f"note: {note}" for note in result.notes),
    ]


def _classes(result: CaseTrainingResult) -> ClassFigures | None:
    if result.model.kind is CaseModelKind.BASE_RATE:
        return None
    counts = result.scores.confusion
    confusion = (
        (counts.true_negatives, counts.false_positives),
        (counts.false_negatives, counts.true_positives),
    )
    return figures_of_confusion(confusion, ("fails", "succeeds"))


def _card(result: CaseTrainingResult, at: float) -> ModelCard:
    params = result.params
    counts = {name: int(params[name]) for name in ("train_cases", "test_cases") if name in params}
    return ModelCard(
        model=CASE_MODELS,
        version="",
        made_at=at,
        purpose=PURPOSE,
        window=None,
        data_sha256=str(params.get("data_sha256", "")),
        counts=counts,
        labels={result.rule: sum(counts.values())},
        features=(),
        weaknesses=WEAKNESSES,
        facts={name: value for name, value in params.items() if name not in counts and name != "data_sha256"},
    )
