"""Counsel from real parts: bundle and history together, and what stands in when they fail."""

from pathlib import Path
from typing import Any

import pytest

from sagacity_api import assembly
from sagacity_api.answers import Model
from sagacity_api.counsel import duration_quantile
from sagacity_api.saga_reading import CONTEXT_KEYS_MAX, context_from
from sagacity_data import AttemptOutcome, AttemptRow
from sagacity_data.store import DatasetStore
from sagacity_engine import (
    Direction,
    FailureClass,
    Kind,
    Launch,
    Plan,
    PlanRefused,
    Saga,
    SagaRefused,
    read_saga,
)
from sagacity_models.calibration import Isotonic
from sagacity_models.forecast import Latency, Regime, StepForecast, UndoForecast

AT = 1_790_000_000.0


@pytest.fixture
def saga(trip: dict[str, Any]) -> Saga:
    return read_saga(trip)


def launched(at: float = AT) -> Launch:
    return Launch(run_id="r", context={"season": "dry"}, at=at)


def attempt(saga: Saga, at: float) -> AttemptRow:
    return AttemptRow(
        run_id="earlier",
        saga=saga.name,
        definition_hash=saga.definition_hash,
        step="book_flight",
        service="flights",
        region="",
        kind=Kind.COMPENSATABLE,
        direction=Direction.FORWARD,
        attempt=1,
        position=0,
        steps_done=0,
        in_flight=0,
        scheduled_at=at,
        started_at=at,
        timeout_s=10.0,
        maximum_attempts=3,
        ended_at=at + 1,
        outcome=AttemptOutcome.SUCCEEDED,
        error_type="",
        failure_class=None,
        launch_at=at,
        arm="author",
        propensity=1.0,
        fallback=False,
        advice_id="",
        model_version="",
        context={},
        features={},
    )


@pytest.fixture
def dataset(tmp_path: Path, saga: Saga) -> Path:
    """A dataset in which a flight was booked at AT."""
    store = DatasetStore(tmp_path / "dataset")
    store.append([attempt(saga, AT)])
    return store.folder


def test_history_is_replayed(bundle: Path, dataset: Path, saga: Saga) -> None:
    """With a dataset the features know what happened before, and a launch before its end is answered too."""
    counsel = assembly.bundle_counsel(bundle, dataset)
    assert counsel._forecaster._history.earliest_at > AT  # type: ignore[attr-defined]  # looks inside
    for at in (AT + 3600, AT - 3600):
        assert not counsel.predict(saga, launched(at), None, "q").fallback


def test_what_is_no_bundle_or_dataset_is_refused(bundle: Path, tmp_path: Path) -> None:
    """Missing and foreign folders are named in the refusal."""
    for folder, history in ((tmp_path / "none", None), (tmp_path, None), (bundle, tmp_path)):
        with pytest.raises(assembly.SourceRefused) as refused:
            assembly.bundle_counsel(folder, history)
        assert str(tmp_path) in str(refused.value)
    with pytest.raises(assembly.SourceRefused, match="train with --registry"):
        assembly.champion_folder(tmp_path / "none")


def test_a_bundle_without_learned_models_says_so(bundle: Path) -> None:
    """The kind of model is told: mean rates are not called learned."""
    assert assembly.bundle_counsel(bundle, None).model.kind == "base_rates"
    assert assembly.prior_counsel().model == Model("priors", "priors")


def test_without_standby_the_error_goes_through(make_counsel: Any, broken: Any, saga: Saga) -> None:
    """Only a standby hides a failing forecaster."""
    with pytest.raises(RuntimeError, match="odd"):
        make_counsel(broken(RuntimeError("odd"))).predict(saga, launched(), None, "q")


def test_a_standing_in_forecast_is_told_to_the_engine(
    counsel: Any, make_counsel: Any, broken: Any, saga: Saga
) -> None:
    """Advice from mean rates is advice, and its reasons say that they stood in."""
    standing_in = make_counsel(broken(RuntimeError("odd")), standby=counsel._forecaster)
    usual = counsel.optimize(saga, launched(), exact=False, request_id="q").advice()
    advice = standing_in.optimize(saga, launched(), exact=False, request_id="q").advice()
    assert (advice.plan, advice.fallback) == (usual.plan, False)
    assert set(advice.reasons) - set(usual.reasons) == {"mean rates stood in for the model"}


def test_the_chance_of_the_whole_run_is_calibrated(make_counsel: Any, saga: Saga) -> None:
    """A map of this saga type moves P(success) alone: the ends still sum to 1, the plan stays the same."""
    plain = make_counsel()
    half = make_counsel(calibrations={saga.name: Isotonic((0.0, 1.0), (0.0, 0.5))})
    other = make_counsel(calibrations={"another": Isotonic((0.0, 1.0), (0.0, 0.5))})
    told, mapped = (each.predict(saga, launched(), None, "q").expected for each in (plain, half))
    assert mapped.success_probability == pytest.approx(told.success_probability / 2)
    ends = mapped.success_probability + mapped.compensated_probability + mapped.attention_probability
    assert ends == pytest.approx(1.0)
    assert mapped.cost == told.cost
    assert other.predict(saga, launched(), None, "q").expected == told
    plans = [each.optimize(saga, launched(), exact=False, request_id="q").plan for each in (plain, half)]
    assert plans[0] == plans[1]


def test_an_illegal_plan_is_not_judged(counsel: Any, saga: Saga) -> None:
    """`predict` refuses a plan that `check` refuses."""
    with pytest.raises(PlanRefused):
        counsel.predict(saga, launched(), Plan(saga="x", definition_hash="", steps=()), "q")


def test_quantiles_of_a_mixture() -> None:
    """The quantile lies where the regimes' successes together reach the level; one regime gives its own."""
    quick, slow = Latency(1.0, 0.0), Latency(5.0, 0.0)
    undo = UndoForecast(0.0, quick)
    mixed = StepForecast(regimes=(Regime(0.8, {}, quick, quick), Regime(0.2, {}, slow, slow)), undo=undo)
    assert duration_quantile(mixed, 0.5) == pytest.approx(1.0)
    assert duration_quantile(mixed, 0.9) == pytest.approx(5.0)
    failing = {FailureClass.PERMANENT: 1.0}
    dead = StepForecast(regimes=(Regime(0.8, {}, quick, quick), Regime(0.2, failing, slow, slow)), undo=undo)
    assert duration_quantile(dead, 0.9) == pytest.approx(1.0)
    hopeless = StepForecast(regimes=(Regime(1.0, failing, slow, slow),), undo=undo)
    assert duration_quantile(hopeless, 0.9) == pytest.approx(5.0)


def test_context_is_bounded() -> None:
    """As many keys as the features keep, and no more."""
    fits = {str(n): 1.0 for n in range(CONTEXT_KEYS_MAX)}
    assert context_from(fits) == fits
    with pytest.raises(SagaRefused, match="the most is 64"):
        context_from({**fits, "one more": 1.0})
