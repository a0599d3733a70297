"""Training finds what was planted, says so when nothing was, and gives the same bundle from the same data."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagacity_data import AttemptOutcome, AttemptRow, DatasetStore
from sagacity_models.bundle import load_bundle, save_bundle
from sagacity_models.forecaster import BundleForecaster
from sagacity_models.registry import Registry, champion_bundle
from sagacity_models.step_models import Recipe
from sagacity_training.case_scores import CalibrationPoint, CaseScores, Confusion, Interval
from sagacity_training.cases import CaseTrainingResult
from sagacity_training.errors import NothingToLearn, NotKept
from sagacity_training.log_cases import CASE_MODELS, log_cases
from sagacity_training.train import fit_bundle, train_steps
from sagacity_training.training_result import TrainingResult

pytestmark = pytest.mark.slow

MakeHistory = Callable[..., Any]
RUNS = 1_500


@pytest.fixture(scope="session")
def history(make_history: MakeHistory) -> Any:
    return make_history(RUNS, seed=1)


@pytest.fixture(scope="session")
def result(history: Any) -> TrainingResult:
    return fit_bundle(history.rows, seed=1, at=history.end)


def scores(result: TrainingResult, target: str) -> tuple[dict[str, float], dict[str, float]]:
    found = next(each for each in result.targets if each.name == target)
    return dict(found.scores["base"]), dict(found.scores[found.choice.recipe])


def test_a_planted_signal_is_found(history: Any, result: TrainingResult) -> None:
    """On rows it has not seen, the model recovers more than 60 % of the log loss that the truth would."""
    base, chosen = scores(result, "refusal")
    runs = sorted({row.launch_at: row.run_id for row in history.attempts}.items())
    late = {run for _, run in runs[int(0.85 * len(runs)) :]}
    first = [row for row in history.attempts if row.attempt == 1 and row.run_id in late]
    truth = [history.truth[row.run_id, row.step] for row in first]
    refused = [row.outcome.value == "failed" for row in first]
    floor = -sum(math.log(p if y else 1 - p) for p, y in zip(truth, refused, strict=True)) / len(first)
    assert len(first) == base["n"]
    assert (base["log_loss"] - chosen["log_loss"]) / (base["log_loss"] - floor) > 0.6
    assert chosen["brier"] < base["brier"]
    assert chosen["auc"] > base["auc"] + 0.08


def test_the_bundle_holds_what_failures_teach(history: Any, result: TrainingResult, tmp_path: Path) -> None:
    """Beside the models of first attempts a bundle and its files hold a classifier of failures."""
    assert result.model.failure_classes is not None
    save_bundle(result.model, tmp_path / "bundle", created_at="x")
    failed = [row for row in history.attempts if row.outcome is AttemptOutcome.FAILED][:20]
    told = load_bundle(tmp_path / "bundle").failure_classes
    assert told is not None
    pairs = [(row, None) for row in failed]
    assert told.posteriors(pairs) == result.model.failure_classes.posteriors(pairs)
    assert {each.task.split(".")[0] for each in result.parts.judged} <= {"failure_class"}


def test_the_model_is_calibrated(result: TrainingResult) -> None:
    """Forecasts and observed rates differ by less than three points on average, on rows not seen."""
    assert scores(result, "refusal")[1]["ece"] < 0.03


def test_classes_and_durations_are_found(result: TrainingResult) -> None:
    """The class follows the season and durations follow the region, so both models beat their base rates."""
    base, chosen = scores(result, "classes")
    assert chosen["log_loss"] < base["log_loss"] - 0.03
    base, chosen = scores(result, "durations")
    assert chosen["pinball_p50"] < base["pinball_p50"]
    assert chosen["coverage_p90"] == pytest.approx(0.9, abs=0.03)


def test_the_served_forecast_is_near_the_truth(history: Any, result: TrainingResult) -> None:
    """What is served moves with the planted interaction: the season matters at even steps only."""
    forecaster = BundleForecaster(result.model, history.features)
    high, low = (
        forecaster.forecast(
            history.saga, {"season": season, "region": "north", "party": 3.0, "noise": 0.0}, history.end + 1
        )
        for season in ("high", "low")
    )
    for name in ("step0", "step2", "step4", "step6"):
        assert high.steps[name].failure_probability > 1.8 * low.steps[name].failure_probability
    for name in ("step1", "step3", "step5", "step7"):
        assert high.steps[name].failure_probability < 1.6 * low.steps[name].failure_probability


def test_no_signal_is_said(make_history: MakeHistory) -> None:
    """Where the context decides nothing, the base rates are used and the reason is given."""
    history = make_history(RUNS, seed=2, signal=0.0)
    result = fit_bundle(history.rows, seed=1, at=history.end)
    assert {target.choice.recipe for target in result.targets} == {Recipe.BASE}
    assert not result.signal
    assert all("no signal" in target.choice.reason for target in result.targets)
    forecast = BundleForecaster(result.model, history.features).forecast(history.saga, {}, history.end + 1)
    assert forecast.steps["step0"].failure_probability == pytest.approx(
        result.model.base.of("trip", "step0").refusal
    )


def test_hidden_outages_are_felt(make_history: MakeHistory) -> None:
    """After recent failures of a service its forecast rises: outages are seen through what they did."""
    history = make_history(RUNS, seed=3, outages=True)
    result = fit_bundle(history.rows, seed=1, at=history.end)
    base, chosen = scores(result, "refusal")
    assert chosen["log_loss"] < base["log_loss"] - 0.015


def test_same_data_same_bundle(history: Any, result: TrainingResult, tmp_path: Path) -> None:
    """The order of the rows does not matter, and neither does the clock: the version is the same."""
    rows = list(history.rows)
    random.Random(9).shuffle(rows)
    again = fit_bundle(rows, seed=1, at=history.end)
    assert again.version == result.version
    assert save_bundle(again.model, tmp_path / "bundle", created_at="whenever") == result.version


def test_little_history_gives_base_rates(make_history: MakeHistory) -> None:
    """Thirty runs are enough for rates and too few for a model."""
    history = make_history(30, seed=4)
    result = fit_bundle(history.rows, seed=1, at=history.end)
    assert not result.signal
    assert 0 < result.model.base.pooled.refusal < 0.5
    assert "too little history" in result.table()


def test_nothing_to_learn_is_said(tmp_path: Path) -> None:
    """An empty dataset, or one that ended later than the cut, is refused with the way out."""
    with pytest.raises(NothingToLearn, match="record some runs"):
        train_steps(tmp_path, seed=1, at=0.0)


def test_a_bundle_can_be_kept_in_a_folder(make_history: MakeHistory, tmp_path: Path) -> None:
    """Training from a dataset's folder leaves a bundle that loads; the steps it takes are told."""
    history = make_history(60, seed=5)
    DatasetStore(tmp_path / "data").append(history.rows)
    told: list[str] = []
    kept = train_steps(
        tmp_path / "data", seed=1, at=history.end, folder=tmp_path / "bundle", progress=told.append
    )
    assert (
        load_bundle(kept.bundle).version
        == kept.version
        == fit_bundle(history.rows, seed=1, at=history.end).version
    )
    assert told[0] == "reading the dataset"
    with pytest.raises(NotKept):
        _ = fit_bundle(history.rows, seed=1, at=history.end).bundle


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(tmp_path_factory.mktemp("trained") / "registry")


def test_a_bundle_can_be_registered(make_history: MakeHistory, registry: Registry, tmp_path: Path) -> None:
    """The first version becomes the champion even without signal; a later one without signal does not."""
    history = make_history(60, seed=6)
    DatasetStore(tmp_path / "data").append(history.rows)
    first, second = (
        train_steps(tmp_path / "data", seed=seed, at=history.end, registry=registry) for seed in (1, 2)
    )
    assert (first.model_version, first.promoted, first.signal) == ("1", True, False)
    assert (second.model_version, second.promoted) == ("2", False)
    assert champion_bundle(registry.folder) == first.bundle
    figures = sorted(path.name for path in (first.bundle.parent / "figures").iterdir())
    assert figures == ["calibration.png", "confusion.png", "figures.txt"]


def test_case_models_are_logged_too(registry: Registry) -> None:
    """A model of case outcomes becomes a version of its own model, with its texts and two plots."""
    interval = Interval(0.1, 0.0, 0.2)
    scores = CaseScores(
        rows=9, cases=3, positive_share=0.5, base_rate=0.5, calibration_error=0.1,
        log_loss=0.6, brier=0.2, base_log_loss=0.7, base_brier=0.25,
        auc=interval, log_loss_gain=interval, brier_gain=interval,
        calibration=(CalibrationPoint(9, 0.4, 0.5),), confusion=Confusion(4, 1, 3, 1),
    )  # fmt: skip
    no_model: Any = None  # logging reads the texts, never the model
    trained = CaseTrainingResult(
        signal=False, verdict="no signal", rule="a", scores=scores, candidates=(), notes=(),
        params={"seed": 1}, metrics={"log_loss": 0.6}, artifacts={"model.json": "{}"}, model=no_model,
        judged=(), cut_us=0,
    )  # fmt: skip
    logged = log_cases(trained, registry)
    assert registry.version(model=CASE_MODELS) == logged.version == "1"
    assert (logged.folder / "model.json").read_text("utf-8") == "{}"
    plots = sorted(path.name for path in (logged.folder.parent / "figures").iterdir())
    assert plots == ["calibration.png", "confusion.png"]


def test_what_became_known_later_changes_nothing(history: Any) -> None:
    """Outcomes after the cut cannot be learnt from: flipping them all leaves the bundle as it is."""
    cut = history.attempts[len(history.attempts) // 2].launch_at
    past = [row for row in history.attempts if row.launch_at < cut]
    later = [row for row in history.attempts if row.launch_at >= cut]
    with_future = fit_bundle([*past, *map(_flipped, later)], seed=1, at=cut)
    assert with_future.version == fit_bundle([*past, *later], seed=1, at=cut).version


def _flipped(row: AttemptRow) -> AttemptRow:
    refused = row.outcome is AttemptOutcome.FAILED
    return replace(
        row, outcome=AttemptOutcome.SUCCEEDED if refused else AttemptOutcome.FAILED, failure_class=None
    )
