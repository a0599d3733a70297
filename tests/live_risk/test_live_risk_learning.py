"""Live risk is learnt where there is a signal, and says so where there is none."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest

from sagacity_models.case_outcome import CaseModelKind
from sagacity_models.live_risk import Confidence, LiveRisk, LiveSource
from sagacity_models.live_risk_remaining import RemainingKind
from sagacity_training.errors import NothingToLearn
from sagacity_training.live_risk import LiveRiskResult, fit_live_risk
from sagacity_training.live_risk_runs import LiveRun
from sagacity_training.live_risk_source import risk_forecaster

START = 1_760_000_000.0
TRUTH = {"none": 0.9, "Busy": 0.5, "Odd": 0.1}
Make = Callable[..., list[LiveRun]]


def last_forecasts(risk: LiveRisk, runs: list[LiveRun]) -> dict[str, list[float]]:
    """P(success) after paying was tried, by the error it met."""
    told: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        said = risk_forecaster(risk)([run.known])
        told[str(run.case.events[-1].attributes["error"])].append(float(said[-1]))
    return told


def test_forecasts_come_near_the_true_probabilities(learnt: LiveRiskResult, make_runs: Make) -> None:
    """On runs of another seed the mean forecast of each group lies within 0.06 of its known probability."""
    assert learnt.risk.source is LiveSource.MODEL
    for error, said in last_forecasts(learnt.risk, make_runs(90, 17)).items():
        assert np.mean(said) == pytest.approx(TRUTH[error], abs=0.06)


def test_what_happened_ranks_runs_better_than_their_launch(learnt: LiveRiskResult) -> None:
    """Nothing at the launch tells runs apart; what came later does, and the base rate is beaten."""
    assert learnt.scores.auc is not None
    assert learnt.launch_auc is not None
    assert learnt.launch_auc < 0.6 < learnt.scores.auc.value
    assert learnt.scores.brier_gain.low > 0
    assert learnt.signal
    (judged,) = learnt.judged
    assert judged.task == "outcome"
    assert set(judged.groups["phase"]) == {"forward"}
    assert set(judged.groups["saga"]) == {"trip"}


def test_the_remaining_time_beats_the_mean_and_keeps_its_shares(learnt: LiveRiskResult) -> None:
    """Ten seconds or a hundred: the law that sees which errs less than half as much, and is near honest."""
    remaining = learnt.remaining
    assert remaining is not None
    assert remaining.scores is not None
    assert remaining.choice.remaining.kind is not RemainingKind.POOLED
    assert remaining.scores.error_s < 0.8 * remaining.scores.mean_error_s
    for level, share in remaining.scores.covered:
        assert share == pytest.approx(level, abs=0.12)


def test_the_deadline_counts_from_the_launch_and_needs_success(
    learnt: LiveRiskResult, make_runs: Make
) -> None:
    """P(in time) is at most P(success), near it for quick runs, low for slow ones, and 0 once it is over."""
    quick, slow = (
        next(run for run in make_runs(60, 5) if run.case.events[-1].attributes["error"] == error)
        for error in ("none", "Busy")
    )
    for run, share in ((quick, 0.9), (slow, 0.05)):
        case = learnt.risk.start({})
        for event in run.case.events:
            case.add(event)
        at = run.case.end_us / 1e6
        told = case.forecast(at, 60.0)
        assert told.within_deadline is not None
        assert told.within_deadline == pytest.approx(share * told.success, abs=0.15)
        assert case.forecast(at + 60.0, 60.0).within_deadline == 0.0
        later = case.forecast(at + 1e4).remaining_s(0.5)
        assert later is not None
        assert later >= 0.0
        assert case.forecast(at).within_deadline is None


def test_live_risk_comes_back_from_its_texts(learnt: LiveRiskResult, make_runs: Make) -> None:
    """Texts are the same each time, give the same forecasts, and anything else is refused."""
    texts = learnt.risk.texts()
    again = LiveRisk.from_texts(texts)
    assert again.texts() == texts
    runs = make_runs(5, 2)
    cases = [run.known for run in runs]
    assert risk_forecaster(again)(cases).tolist() == risk_forecaster(learnt.risk)(cases).tolist()
    with pytest.raises(ValueError, match="no live risk"):
        LiveRisk.from_texts({})
    with pytest.raises(ValueError, match="format 9"):
        LiveRisk.from_texts(texts | {"live_risk.json": '{"format_version": 9}'})


def test_the_same_runs_and_seed_give_the_same_texts(make_runs: Make) -> None:
    """Training is a function of the runs and the seed."""
    runs = make_runs(150, 4)
    assert fit_live_risk(runs, seed=2).risk.texts() == fit_live_risk(runs, seed=2).risk.texts()


def test_without_signal_every_run_gets_the_base_rate_and_low_confidence(make_runs: Make) -> None:
    """Outcomes drawn apart from everything: one number for every row, and no run is called hopeless."""
    runs = make_runs(400, 6, signal=False)
    told = fit_live_risk(runs, seed=1)
    (judged,) = told.judged
    assert not told.signal
    assert told.reason.startswith("no signal")
    assert judged.chosen == "base"
    assert len(set(judged.forecasts)) == 1
    assert list(judged.forecasts) == list(judged.base)
    assert told.risk.outcome.kind is CaseModelKind.BASE_RATE
    case = told.risk.start({})
    case.add(runs[0].case.events[0])
    said = case.forecast(START)
    assert said.success == judged.forecasts[0] == pytest.approx(0.7, abs=0.08)
    assert said.confidence is Confidence.LOW


def test_an_unknown_saga_is_not_guessed_at(learnt: LiveRiskResult, make_runs: Make) -> None:
    """The model knows nothing of it: the rate of all runs, evidence 0, low confidence, never hopeless."""
    event = make_runs(1, 1)[0].case.events[0]
    stranger = type(event)(
        "other/launch", event.at_us, event.lifecycle, None, {**event.attributes, "saga": "other"}
    )
    case = learnt.risk.start({})
    case.add(stranger)
    told = case.forecast(START)
    assert learnt.risk.rates is not None
    assert told.success == learnt.risk.rates.whole.probability
    assert (told.evidence, told.confidence, told.hopeless(1.0)) == (0, Confidence.LOW, False)


def test_a_champion_is_judged_on_the_same_rows(learnt: LiveRiskResult, make_runs: Make) -> None:
    """Its forecasts of the test rows stand beside those of the new one."""
    told = fit_live_risk(make_runs(150, 4), seed=2, champion=learnt.risk)
    (judged,) = told.judged
    assert judged.champion is not None
    assert len(judged.champion) == len(judged.forecasts)
    assert not np.array_equal(judged.champion, judged.forecasts)


def test_too_few_runs_are_refused_with_the_way_out(make_runs: Make) -> None:
    """Nothing, and a run alone, cannot be learnt from; it says how many there were."""
    with pytest.raises(NothingToLearn, match=re.escape("of 0 runs")):
        fit_live_risk([], seed=0)
    with pytest.raises(NothingToLearn, match="record more runs"):
        fit_live_risk(make_runs(1, 1), seed=0)
