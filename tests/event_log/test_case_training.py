from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from sagacity_data.case_store import EventLogDataset
from sagacity_data.event_log import Case, CaseEvent
from sagacity_data.importers import import_event_logs
from sagacity_data.outcomes import AttributeEquals, CompletedWithin, OutcomeActivities
from sagacity_models.case_calibration import IsotonicMap, PlattMap, calibration_from_json, logit
from sagacity_models.case_outcome import CaseModelKind, CaseModelRefused, CaseOutcomeModel
from sagacity_training import case_rows
from sagacity_training.case_choice import latest_rate
from sagacity_training.case_fit import fit_calibration
from sagacity_training.case_rows import KnownCase
from sagacity_training.case_scores import score_cases
from sagacity_training.cases import CaseTrainingRefused, CaseTrainingResult, train_cases

RULE = OutcomeActivities(("accepted", "declined"), ("accepted",))
Trained = Callable[..., CaseTrainingResult]


@pytest.fixture
def trained(tmp_path: Path, write_loans: Callable[..., Path]) -> Trained:
    def train(
        count: int, signal: float, telltale: bool = False, seed: int = 5, rule: Any = RULE, **options: Any
    ) -> CaseTrainingResult:
        log = write_loans(count, signal, telltale=telltale, seed=seed)
        import_event_logs([log], tmp_path / "set", rule, replace=True)
        return train_cases(tmp_path / "set", seed=7, **options)

    return train


def test_real_signal_is_found_and_beats_the_base_rate(trained: Trained) -> None:
    """Where a review tells most outcomes, the model is surely better than the rate on unseen cases."""
    result = trained(1000, 0.8)
    scores = result.scores
    assert result.signal
    assert result.verdict.startswith("signal: ")
    assert scores.auc is not None
    assert scores.auc.low > 0.7
    assert scores.brier < scores.base_brier
    assert scores.brier_gain.low > 0
    assert scores.cases == 200


def test_no_signal_is_said_plainly_and_falls_back(trained: Trained) -> None:
    """Where outcomes are drawn apart from everything, five logs in five get the base rate and the words."""
    for seed in range(5):
        result = trained(600, 0.0, seed=seed)
        assert not result.signal
        assert result.verdict.startswith("no signal: ")
        assert result.model.kind is CaseModelKind.BASE_RATE
        assert result.scores.brier == result.scores.base_brier
        assert len(result.candidates) == 3


def test_too_little_history_is_no_signal(trained: Trained) -> None:
    """A log too small to conclude anything from gets the base rate and the counts that are missing."""
    result = trained(40, 0.9)
    assert result.verdict.startswith("no signal: too little history")
    assert result.candidates == ()


def test_the_same_seed_gives_the_same_numbers(trained: Trained) -> None:
    """Two trainings on the same dataset agree in every figure and every artifact."""
    first, second = trained(500, 0.8), trained(500, 0.8)
    assert first.metrics == second.metrics
    assert first.artifacts == second.artifacts
    assert first.params == second.params


def test_artifacts_are_text_and_the_whole_model(trained: Trained, tmp_path: Path) -> None:
    """A model read back from its artifacts gives the same probability for every prefix of every case."""
    result = trained(500, 0.8)
    assert all(isinstance(text, str) for text in result.artifacts.values())
    again = CaseOutcomeModel.from_artifacts(result.artifacts)
    for _number, case in EventLogDataset.open(tmp_path / "set").cases(range(0, 500, 50)):
        assert again.probability(case) == result.model.probability(case)
        assert 0 < again.probability(case) < 1


def test_artifacts_of_another_format_are_refused(trained: Trained) -> None:
    """A changed format version or changed columns are refused, not guessed at."""
    artifacts = dict(trained(40, 0.9).artifacts)
    head = json.loads(artifacts["case_model.json"])
    changes: list[tuple[dict[str, Any], str]] = [
        ({"format_version": 99}, "format 99"),
        ({"columns": ["x"]}, "other feature columns"),
        ({"kind": "lightgbm"}, "KeyError: 'lightgbm.txt'"),
        ({"kind": "oracle"}, "'oracle' is not a valid"),
    ]
    for change, said in changes:
        with pytest.raises(CaseModelRefused, match=said):
            CaseOutcomeModel.from_artifacts(artifacts | {"case_model.json": json.dumps(head | change)})


def test_attributes_that_tell_the_outcome_are_left_out(trained: Trained) -> None:
    """An attribute filled in after the outcome is reported and gets no column, so it cannot be copied."""
    result = trained(600, 0.0, telltale=True)
    assert any("'closing code'" in note for note in result.notes)
    assert not any("closing code" in column for column in result.model.layout.columns)
    assert not result.signal


def test_the_attribute_that_defines_success_is_never_a_feature(trained: Trained) -> None:
    """Under an attribute rule the attribute itself gets no column, and named attributes get none either."""
    result = trained(
        600, 0.0, telltale=True, rule=AttributeEquals("closing code", "77"), ignore_attributes=["amount"]
    )
    assert not any("closing code" in column or "amount" in column for column in result.model.layout.columns)


def test_without_signal_every_row_gets_the_base_rate(trained: Trained) -> None:
    """Forecasts, base and the model's own rate are one number, and what is judged says that nothing won."""
    result = trained(600, 0.0)
    predicted = [point.predicted for point in result.scores.calibration]
    assert predicted == pytest.approx([result.scores.base_rate])
    (judged,) = result.judged
    assert (judged.task, judged.chosen, judged.has_signal) == ("outcome", "base", False)
    assert set(judged.forecasts) == set(judged.base) == {result.model.base_rate}


def test_the_base_rate_follows_the_latest_slice_and_is_drawn_to_the_whole() -> None:
    """40 latest cases, half good, among 100 of which 30 % are: (20 + 20 x 0.3) / 60, but for the prior."""

    def case(number: int, success: bool) -> KnownCase:
        return KnownCase(number, Case(str(number), (CaseEvent("a", number),)), success)

    latest = [case(number, number % 2 == 0) for number in range(60, 100)]
    train = [case(number, number < 10) for number in range(60)] + latest
    whole = (30 + 0.5) / 101
    assert latest_rate(train, latest) == pytest.approx((20 + 20 * whole) / 60)
    assert 0 < latest_rate(latest[:1], latest[:1]) < 1
    assert latest_rate([], []) == 0.5


def test_what_is_judged_is_every_test_prefix_in_time_order(trained: Trained) -> None:
    """Outcomes and forecasts give the figures of the scores, and a champion is asked about each row."""
    first = trained(500, 0.8)
    result = trained(500, 0.8, champion=first.model)
    (judged,) = result.judged
    assert judged.chosen == result.model.kind.value
    assert judged.champion is not None
    assert list(judged.champion) == list(judged.forecasts)
    assert len(judged) == result.scores.rows
    assert len(set(judged.cases.tolist())) == result.scores.cases
    assert float(((judged.forecasts - judged.outcomes) ** 2).mean()) == pytest.approx(result.scores.brier)
    assert {len(labels) for labels in judged.groups.values()} == {len(judged)}
    assert first.judged[0].champion is None


def test_cases_too_young_to_be_late_are_left_out(trained: Trained, tmp_path: Path) -> None:
    """A rule about time leaves its own window out; a longer one may be asked for, and is told."""
    rule = CompletedWithin(75 * 60.0)
    own = trained(600, 0.8, rule=rule)
    assert own.params["follow_up_s"] == 75 * 60.0
    longer = trained(600, 0.8, rule=rule, drop_last_s=86_400.0)
    assert longer.params["follow_up_s"] == 86_400.0
    summaries = EventLogDataset.open(tmp_path / "set").summaries()
    end_us = max(summary.end_us for summary in summaries)
    young = sum(summary.start_us > end_us - 86_400_000_000 for summary in summaries)
    assert 60 < young < 75  # A case every 20 minutes, but for the time the last ones take to end.
    assert any(note.startswith(f"{young} cases that started too short a time") for note in longer.notes)
    assert longer.scores.cases == -(-(600 - young) * 2 // 10)


@pytest.mark.parametrize(("count", "rule"), [(1, RULE), (3, CompletedWithin(1e9))])
def test_datasets_without_training_cases_are_refused(trained: Trained, count: int, rule: Any) -> None:
    """A log without a case that was final before the test begins is refused, with the way out."""
    with pytest.raises(CaseTrainingRefused, match="import a longer log"):
        trained(count, 0.5, rule=rule)


def test_a_log_too_large_for_memory_is_thinned(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the stated number of cells, training uses every k-th case and says so; the test stays whole."""
    monkeypatch.setattr(case_rows, "CELLS_MAX", 40_000)
    result = trained(1000, 0.8)
    assert any("training cases are used, evenly over time" in note for note in result.notes)
    assert result.scores.cases == 200


def test_one_outcome_only_has_no_auc(trained: Trained) -> None:
    """Where every case succeeds there is nothing to rank: no AUC, the base rate, and no failure."""
    result = trained(200, 0.5, rule=CompletedWithin(7200.0))
    assert result.scores.auc is None
    assert "test_auc" not in result.metrics
    assert not result.signal


def test_scores_agree_with_scikit_learn() -> None:
    """AUC with ties, log loss and Brier equal scikit-learn's; counts and bins add up to the rows."""
    rng = np.random.default_rng(1)
    labels = (rng.random(500) < 0.4).astype(np.float64)
    predicted = np.clip(np.round(0.4 + 0.2 * (labels - 0.4) + 0.2 * rng.standard_normal(500), 1), 0.1, 0.9)
    scores = score_cases(labels, predicted, np.arange(500) // 5, 0.4, 3)
    assert scores.auc is not None
    assert scores.auc.value == pytest.approx(roc_auc_score(labels, predicted))
    assert scores.auc.low < scores.auc.value < scores.auc.high
    assert scores.log_loss == pytest.approx(log_loss(labels, predicted))
    assert scores.brier == pytest.approx(brier_score_loss(labels, predicted))
    assert sum(point.rows for point in scores.calibration) == scores.rows == 500
    counts = scores.confusion
    assert counts.true_positives + counts.false_negatives == labels.sum()
    assert counts.true_positives + counts.false_positives == (predicted >= 0.5).sum()


def test_intervals_are_over_cases_not_rows() -> None:
    """Repeating every row ten times within its case changes no interval; as separate cases it narrows."""
    rng = np.random.default_rng(2)
    labels = (rng.random(100) < 0.5).astype(np.float64)
    predicted = np.clip(0.5 + 0.3 * (labels - 0.5) + 0.1 * rng.standard_normal(100), 0.01, 0.99)
    once = score_cases(labels, predicted, np.arange(100), 0.5, 3)
    within = score_cases(
        np.repeat(labels, 10), np.repeat(predicted, 10), np.repeat(np.arange(100), 10), 0.5, 3
    )
    apart = score_cases(np.repeat(labels, 10), np.repeat(predicted, 10), np.arange(1000), 0.5, 3)
    assert within.brier_gain.low == pytest.approx(once.brier_gain.low)
    assert apart.brier_gain.high - apart.brier_gain.low < 0.5 * (once.brier_gain.high - once.brier_gain.low)


def test_calibration_repairs_what_it_can_and_never_turns_around() -> None:
    """Platt finds a known distortion, an inverted ranking becomes a constant, many cases get isotonic."""
    rng = np.random.default_rng(4)
    truth = rng.uniform(0.1, 0.9, 4000)
    labels = (rng.random(4000) < truth).astype(np.float64)
    distorted = 1 / (1 + np.exp(-(2 * logit(truth) - 1)))
    some = fit_calibration(distorted[:1500], labels[:1500], np.arange(1500))
    assert isinstance(some, PlattMap)
    assert (some.slope, some.intercept) == pytest.approx((0.5, 0.5), abs=0.15)
    inverted = fit_calibration(1 - distorted[:1500], labels[:1500], np.arange(1500))
    assert isinstance(inverted, PlattMap)
    assert inverted.slope == 0
    many = fit_calibration(distorted, labels, np.arange(4000))
    assert isinstance(many, IsotonicMap)
    assert float(np.abs(many.apply(distorted) - truth).mean()) < 0.05
    for fitted in (some, many):
        assert calibration_from_json(fitted.as_json()) == fitted
