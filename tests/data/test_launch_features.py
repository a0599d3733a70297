from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from sagacity_data import (
    FEATURE_NAMES,
    FEATURES,
    TEXT_FEATURES,
    AttemptOutcome,
    AttemptRow,
    CallEnded,
    CallStarted,
    HistoryAhead,
    LaunchFeatures,
    RunClosed,
    RunOpened,
    SignalRefused,
    history,
    signals,
    under_way,
)
from sagacity_engine import Compensation, Direction, FailureClass, Kind, Saga, Status, Step

T0 = 1_750_000_000.0
HOUR = 3_600.0
DAY = 24 * HOUR
SAGA = Saga(
    name="trip",
    steps=(
        Step(name="fly", service="air", region="eu", compensation=Compensation(cost=3.0)),
        Step(name="stay", service="hotels", region="us", start_to_close_timeout_s=5.0),
        Step(name="car", service="air", region="eu", kind=Kind.READ_ONLY),
    ),
)


def ended(
    at: float, outcome: str = "succeeded", declared: FailureClass | None = None, **changes: Any
) -> CallEnded:
    usual: dict[str, Any] = {
        "run_id": f"r{at}",
        "saga": "trip",
        "step": "fly",
        "service": "air",
        "direction": Direction.FORWARD,
        "attempt": 1,
        "duration_s": 1.0,
    }
    return CallEnded(at=at, outcome=AttemptOutcome(outcome), failure_class=declared, **{**usual, **changes})


def after(*told: Any, at: float = T0 + HOUR) -> dict[str, Any]:
    """The features of step `fly` at `at` after these signals."""
    fold = LaunchFeatures()
    for signal in told:
        fold.observe(signal)
    return dict(fold.features(SAGA, {}, at)["fly"])


def kept(age_s: float, half_life_s: float) -> float:
    return math.exp(-math.log(2) * age_s / half_life_s)


def test_the_catalogue_names_every_feature() -> None:
    """The features are those of the catalogue, in its order, then the context; texts where it says so."""
    features = LaunchFeatures().features(SAGA, {"season": "high", "n": 2}, T0)["stay"]
    assert tuple(features) == (*FEATURE_NAMES, "context.n", "context.season")
    assert len(set(FEATURE_NAMES)) == len(FEATURES)
    texts = {name for name in FEATURE_NAMES if isinstance(features[name], str)}
    assert texts == TEXT_FEATURES


def test_the_definition_is_told() -> None:
    """Counts, timeouts, regions and compensations are those of the definition; a step has its own facts."""
    stay = LaunchFeatures().features(SAGA, {}, T0)["stay"]
    assert (stay["saga_steps"], stay["saga_timeouts_s"], stay["saga_cross_region"]) == (3.0, 25.0, 1.0)
    assert (stay["saga_compensations"], stay["saga_compensation_cost"]) == (2.0, 3.0)
    assert (stay["step_kind"], stay["step_region"], stay["step_timeout_s"]) == ("compensatable", "us", 5.0)


def test_the_calendar_is_utc() -> None:
    """Noon and weekday of a known Saturday come out as such."""
    saturday_noon = datetime(2026, 2, 14, 12, tzinfo=UTC).timestamp()
    features = after(at=saturday_noon)
    assert features["hour_sin"] == pytest.approx(0.0, abs=1e-12)
    assert features["hour_cos"] == pytest.approx(-1.0)
    assert (features["weekday"], features["weekend"]) == (5.0, 1.0)


def test_context_is_taken_as_it_is() -> None:
    """Numbers and truth values are numbers, text is text, and a number that is not finite is left out."""
    context: dict[str, str | float | bool] = {
        "party": 3,
        "share": 0.5,
        "vip": True,
        "season": "high",
        "bad": math.nan,
        "huge": 10**400,
    }
    features = LaunchFeatures().features(SAGA, context, T0)["fly"]
    told = {name: value for name, value in features.items() if name.startswith("context.")}
    assert told == {"context.party": 3.0, "context.share": 0.5, "context.vip": 1.0, "context.season": "high"}


def test_rates_follow_the_formula() -> None:
    """A failure two hours ago and a success one hour ago give the decayed, shrunk rates computed by hand."""
    told = after(ended(T0 - HOUR, "failed", FailureClass.PERMANENT), ended(T0), at=T0 + HOUR)
    rate = 0.05
    for name, half_life in (("7d", 7 * DAY), ("1d", DAY), ("3h", 3 * HOUR), ("30m", HOUR / 2)):
        failed = kept(2 * HOUR, half_life)
        rate = (failed + 4 * rate) / (failed + kept(HOUR, half_life) + 4)
        assert told[f"service_failure_{name}"] == pytest.approx(rate, rel=1e-12)
        assert told[f"service_failure_logit_{name}"] == pytest.approx(math.log(rate / (1 - rate)), rel=1e-12)


def test_a_step_is_shrunk_towards_its_service() -> None:
    """A step nobody has seen starts from the 7-day rate of its service, and that from the prior."""
    fold = LaunchFeatures()
    fold.observe(ended(T0, "failed", FailureClass.CASCADING))
    features = fold.features(SAGA, {}, T0 + 1)
    car, stay = features["car"], features["stay"]
    assert (
        car["step_failure_30m"]
        == car["step_failure_7d"]
        == pytest.approx(car["service_failure_7d"], rel=1e-12)
    )
    assert car["step_health_failure_3h"] == pytest.approx(car["service_health_failure_7d"], rel=1e-12)
    assert stay["step_failure_7d"] == pytest.approx(stay["service_failure_1d"]) == pytest.approx(0.05)
    assert features["fly"]["step_failure_7d"] != car["step_failure_7d"]


def test_certainty_stays_finite() -> None:
    """A hundred thousand failures in a row make a rate of one, to the last bit, and log-odds all the same."""
    fold = LaunchFeatures()
    for n in range(100_000):
        fold.observe(ended(T0 + n / 1_000, "timed_out"))
    told = fold.features(SAGA, {}, T0 + 101)["fly"]
    assert told["step_failure_30m"] == 1.0
    logit = told["step_failure_logit_30m"]
    assert isinstance(logit, float)
    assert 20 < logit < 40


def test_silence_decays_to_the_prior() -> None:
    """A hundred failures a year ago say next to nothing: every rate is back at its prior."""
    told = after(*(ended(T0 + n, "timed_out") for n in range(100)), at=T0 + 365 * DAY)
    assert told["service_failure_30m"] == pytest.approx(0.05, abs=1e-6)
    assert told["step_health_failure_7d"] == pytest.approx(0.02, abs=1e-6)
    assert told["service_since_success"] == told["service_since_health_failure"] == math.log1p(30 * DAY)


@pytest.mark.parametrize(
    ("end", "failure", "sick"),
    [
        (ended(T0), False, False),
        (ended(T0, "failed", FailureClass.PERMANENT), True, False),
        (ended(T0, "failed", FailureClass.UNKNOWN), True, False),
        (ended(T0, "failed", FailureClass.TRANSIENT), True, True),
        (ended(T0, "failed", FailureClass.CASCADING), True, True),
        (ended(T0, "timed_out"), True, True),
        (ended(T0, "lost_reply"), True, True),
        (ended(T0, "timed_out", attempt=2), None, True),
        (ended(T0, "timed_out", direction=Direction.UNDO), None, True),
        (ended(T0, "failed", FailureClass.PERMANENT, attempt=2), None, False),
    ],
)
def test_what_counts_as_failure_and_as_health(end: CallEnded, failure: bool | None, sick: bool) -> None:
    """First forward attempts count as failures or not; every call counts for the service's health."""
    told = after(end)
    expected = {True: "more", False: "less", None: "same"}
    assert compared(told["service_failure_7d"], 0.05) == expected[failure]
    assert compared(told["service_health_failure_7d"], 0.02) == expected[sick]
    assert told["service_health_streak"] == float(sick)
    assert (told["service_since_health_failure"] == pytest.approx(math.log1p(HOUR))) == sick


def compared(value: float, with_: float) -> str:
    if value == pytest.approx(with_, rel=1e-9):
        return "same"
    return "more" if value > with_ else "less"


def test_a_crash_of_the_engine_says_nothing() -> None:
    """An attempt cut off by a crash ends its call and changes nothing else."""
    start = CallStarted(
        at=T0, run_id="r1", saga="trip", step="fly", service="air", direction=Direction.FORWARD, attempt=1
    )
    crashed = ended(T0 + 5, "crashed", run_id="r1")
    assert after(start)["service_in_flight"] == 1.0
    assert after(start, crashed) == after()


@pytest.mark.parametrize("outcome", ["cancelled", "open"])
def test_what_was_given_up_says_nothing(outcome: str) -> None:
    """An attempt that was cancelled, or that never ended, changes no rate and no score."""
    assert after(ended(T0, outcome)) == after()


def test_a_breaker_is_open_until_the_service_answers() -> None:
    """From the attempt it turned away until an answer it is open; failing probes leave it so."""
    turned_away = ended(T0, "failed", FailureClass.CASCADING, called=False, breaker_open=True)
    probed = ended(T0 + 60, "failed", FailureClass.TRANSIENT)
    answered = ended(T0 + 120, "failed", FailureClass.PERMANENT)
    told = [after(), after(turned_away), after(turned_away, probed), after(turned_away, probed, answered)]
    assert [each["service_breaker"] for each in told] == ["none", "open", "open", "closed"]
    assert told[0]["service_since_breaker_open"] == pytest.approx(math.log1p(30 * DAY))
    assert told[3]["service_since_breaker_open"] == pytest.approx(math.log1p(HOUR))


@pytest.mark.parametrize("breaker_open", [True, False])
def test_an_attempt_that_was_turned_away_is_no_call(breaker_open: bool) -> None:
    """It is a failure of a first attempt, which is what is foretold, and no word on the service's health."""
    told = after(ended(T0, "failed", FailureClass.CASCADING, called=False, breaker_open=breaker_open))
    usual = after()
    assert told["service_failure_7d"] > usual["service_failure_7d"]
    assert told["step_failure_7d"] > usual["step_failure_7d"]
    unmoved = ["service_health_failure_30m", "service_calls_30m", "service_health_streak"]
    unmoved += ["service_ill_logit_1h", "service_last_outcome", "service_since_health_failure"]
    assert {name: told[name] for name in unmoved} == {name: usual[name] for name in unmoved}
    assert told["service_breaker"] == ("open" if breaker_open else "none")


@pytest.mark.parametrize(
    ("error_type", "source", "called", "breaker_open"),
    [
        ("CircuitOpen", "engine", False, True),
        ("NoFreeThread", "engine", False, False),
        ("Refused", "engine", True, False),
        ("CircuitOpen", "temporal", True, False),
    ],
)
def test_rows_tell_who_was_not_called(
    attempt_row: Callable[..., AttemptRow], error_type: str, source: str, called: bool, breaker_open: bool
) -> None:
    """Our engine's own refusals are recognised by their error type; another engine's word is not ours."""
    row = attempt_row(outcome=AttemptOutcome.FAILED, error_type=error_type, source=source)
    (end,) = [signal for signal in signals([row]) if isinstance(signal, CallEnded)]
    assert (end.called, end.breaker_open) == (called, breaker_open)


def test_undos_are_no_history_of_the_step() -> None:
    """A failing undo speaks against its service, not against the step's forward call."""
    told = after(ended(T0, "timed_out", direction=Direction.UNDO))
    assert told["service_calls_7d"] > 0.0
    assert told["step_calls_7d"] == 0.0
    assert told["step_health_failure_7d"] == pytest.approx(told["service_health_failure_7d"], rel=1e-12)


def test_streak_and_last_outcome_follow_the_calls() -> None:
    """Health failures in a row are counted until the service answers, be it with a refusal."""
    sick = [ended(T0 + n, "timed_out") for n in range(3)]
    refusal = ended(T0 + 9, "failed", FailureClass.PERMANENT)
    told = [after(), after(*sick), after(*sick, refusal), after(*sick, refusal, ended(T0 + 20))]
    assert [each["service_health_streak"] for each in told] == [0.0, 3.0, 0.0, 0.0]
    assert [each["service_last_outcome"] for each in told] == [
        "none",
        "health_failure",
        "failed",
        "succeeded",
    ]
    assert told[3]["service_since_success"] == pytest.approx(math.log1p(HOUR - 20))
    assert told[3]["service_since_health_failure"] == pytest.approx(math.log1p(HOUR - 2))


def test_latency_is_a_shrunk_log_mean() -> None:
    """Durations count with their logarithm, timed-out calls with the timeout, refusals not at all."""
    prior = math.log(0.2 * 10.0)
    assert after()["step_log_latency_7d"] == pytest.approx(prior)
    told = after(
        ended(T0, duration_s=8.0),
        ended(T0 + 1, "timed_out", duration_s=10.0),
        ended(T0 + 2, "failed", FailureClass.PERMANENT, duration_s=0.001),
        ended(T0 + 3, duration_s=None),
        at=T0 + 4,
    )
    assert told["step_log_latency_7d"] == pytest.approx(
        (math.log(8) + math.log(10) + 4 * prior) / 6, rel=1e-4
    )
    assert told["saga_estimated_s"] == pytest.approx(
        math.exp(told["step_log_latency_7d"]) + 0.2 * 5.0 + 0.2 * 10.0
    )


def test_runs_under_way_and_failed_runs_are_counted() -> None:
    """A run counts from its launch to its end, then towards the failure rate of its saga type."""
    opened = [RunOpened(at=T0 + n, run_id=f"r{n}", saga="trip") for n in range(3)]
    closed = RunClosed(at=T0 + 60, run_id="r0", saga="trip", status=Status.COMPENSATED)
    told = after(*opened, closed)
    assert after(*opened)["runs_in_flight"] == 3.0
    assert told["runs_in_flight"] == 2.0
    weight = kept(HOUR - 60, 7 * DAY)
    assert told["saga_failure_7d"] == pytest.approx((weight + 4 * 0.1) / (weight + 4), rel=1e-12)


def test_an_abandoned_run_is_no_failure_of_its_saga() -> None:
    """A run that somebody gave up is under way no longer, and says nothing of its saga type."""
    opened = RunOpened(at=T0, run_id="r0", saga="trip")
    told = after(opened, RunClosed(at=T0 + 60, run_id="r0", saga="trip", status=Status.ABANDONED))
    assert told == after()


def test_what_never_ends_stops_counting_after_a_day() -> None:
    """A run whose end was lost is under way for a day, and no longer."""
    opened = RunOpened(at=T0, run_id="r0", saga="trip")
    assert after(opened, at=T0 + DAY)["runs_in_flight"] == 1.0
    assert after(opened, at=T0 + DAY + 1)["runs_in_flight"] == 0.0


def test_the_present_is_not_the_past() -> None:
    """What happens at the very moment of the launch, its own start included, is not in its features."""
    assert after(ended(T0, "timed_out"), RunOpened(at=T0, run_id="r1", saga="trip"), at=T0) == after(at=T0)


def test_signals_of_one_instant_have_one_order() -> None:
    """However the signals of one instant are told, the features after it are the same to the last bit."""
    told = [ended(T0, outcome, run_id=f"r{n}") for n, outcome in enumerate(["timed_out", "succeeded"] * 3)]
    assert after(*told) == after(*reversed(told))


def test_late_signals_count_with_the_weight_they_have() -> None:
    """A late failure gives the rates of the right order; last outcome, streak and sickness ignore it."""
    early, late = ended(T0, "timed_out"), ended(T0 + 600)
    in_order, fold = after(early, late), LaunchFeatures()
    fold.observe(late)
    fold.features(SAGA, {}, T0 + 700)
    fold.observe(early)
    out_of_order = fold.features(SAGA, {}, T0 + HOUR)["fly"]
    scores = {name for name in FEATURE_NAMES if name.startswith("service_ill_")}
    numbers = set(FEATURE_NAMES) - TEXT_FEATURES - scores
    assert {name: out_of_order[name] for name in numbers} == pytest.approx(
        {name: in_order[name] for name in numbers}, rel=1e-12
    )
    assert out_of_order["service_last_outcome"] == "succeeded"
    assert out_of_order["service_health_streak"] == 0.0
    assert {name: out_of_order[name] for name in scores} == {name: after(late)[name] for name in scores}


def test_the_past_cannot_be_asked_once_the_future_is_known() -> None:
    """Features for a time at or before the latest folded signal are refused; `earliest_at` is not."""
    fold = LaunchFeatures()
    fold.observe(ended(T0))
    fold.features(SAGA, {}, T0)
    fold.features(SAGA, {}, T0 + 1)
    with pytest.raises(HistoryAhead, match="ask for a time after it"):
        fold.features(SAGA, {}, T0)
    assert fold.features(SAGA, {}, fold.earliest_at)["fly"]["service_last_outcome"] == "succeeded"


@pytest.mark.parametrize("at", [math.nan, math.inf, -math.inf])
def test_a_signal_without_a_time_is_refused(at: float) -> None:
    """A time that is no finite number is refused, naming the run, and the history stays usable."""
    fold = LaunchFeatures()
    with pytest.raises(SignalRefused, match="run 'r1' has time"):
        fold.observe(RunOpened(at=at, run_id="r1", saga="trip"))
    assert fold.features(SAGA, {}, T0)["fly"] == after(at=T0)


def test_a_snapshot_is_plain_and_exact() -> None:
    """A fold restored from its snapshot as JSON text goes on exactly like the one it came from."""
    fold = LaunchFeatures()
    start = CallStarted(
        at=T0 + 2,
        run_id="r7",
        saga="trip",
        step="stay",
        service="hotels",
        direction=Direction.FORWARD,
        attempt=1,
    )
    for signal in (RunOpened(at=T0, run_id="r7", saga="trip"), ended(T0 + 1, "timed_out"), start):
        fold.observe(signal)
    text = json.dumps(fold.snapshot(), allow_nan=False)
    restored = LaunchFeatures.restore(json.loads(text))
    assert json.dumps(restored.snapshot()) == text
    for each in (fold, restored):
        each.observe(ended(T0 + 2, run_id="r7", step="stay", service="hotels"))
        each.observe(RunClosed(at=T0 + 3, run_id="r7", saga="trip", status=Status.COMPLETED))
    assert restored.features(SAGA, {"n": 1}, T0 + 9) == fold.features(SAGA, {"n": 1}, T0 + 9)


def test_a_snapshot_is_not_changed_by_what_follows() -> None:
    """A snapshot taken earlier stays as it was, late signals included."""
    fold = LaunchFeatures()
    fold.observe(ended(T0 + 10))
    fold.features(SAGA, {}, T0 + 11)
    snapshot = fold.snapshot()
    before = json.dumps(snapshot)
    fold.observe(ended(T0 + 5, "timed_out"))
    assert json.dumps(snapshot) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(kind="other"),
        lambda document: document.update(version=99),
        lambda document: document.pop("steps"),
        lambda document: document["services"]["air"].update(sums=[1.0]),
        lambda document: document["services"]["air"].update(sickness=[None, 0.1]),
        lambda document: document.update(pending=[["RunOpened", {"at": "noon"}]]),
        lambda document: document.update(runs=7),
    ],
)
def test_a_foreign_snapshot_is_refused(change: Callable[[dict[str, Any]], Any]) -> None:
    """A snapshot of another kind or version, or a damaged one, is refused with the way out."""
    fold = LaunchFeatures()
    fold.observe(ended(T0))
    fold.features(SAGA, {}, T0 + 1)
    document = fold.snapshot()
    change(document)
    with pytest.raises(SignalRefused, match="start without it and replay the dataset"):
        LaunchFeatures.restore(document)


def test_the_state_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the least recently changed services are forgotten, the recent ones kept."""
    monkeypatch.setattr(history, "SERVICES_MAX", 10)
    monkeypatch.setattr(history, "STEPS_MAX", 10)
    fold = LaunchFeatures()
    for n in range(50):
        fold.observe(ended(T0 + n, service=f"s{n}", step=f"s{n}"))
    fold.features(SAGA, {}, T0 + 100)
    snapshot = fold.snapshot()
    assert list(snapshot["services"]) == [f"s{n}" for n in range(40, 50)]
    assert [step for _, step, *_ in snapshot["steps"]] == [f"s{n}" for n in range(40, 50)]


def test_ten_times_too_much_does_not_grow_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times as many services, steps, saga types and open runs as are kept leave what is kept."""
    monkeypatch.setattr(under_way, "UNDER_WAY_MAX", 2_000)
    fold = LaunchFeatures()
    for n in range(10 * history.SERVICES_MAX):
        name = f"n{n}"
        fold.observe(ended(T0 + n, service=name, step=name, saga=name))
        fold.observe(RunClosed(at=T0 + n, run_id=name, saga=name, status=Status.COMPLETED))
    for n in range(10 * under_way.UNDER_WAY_MAX):
        fold.observe(RunOpened(at=T0 + n / 10, run_id=f"open {n}", saga="trip"))
    fold.features(SAGA, {}, T0 + 10 * history.SERVICES_MAX + 1)
    snapshot = fold.snapshot()
    assert len(snapshot["services"]) <= history.SERVICES_MAX
    assert len(snapshot["steps"]) <= history.STEPS_MAX
    assert len(snapshot["sagas"]) <= history.SAGAS_MAX
    assert 0 < len(snapshot["runs"]) <= under_way.UNDER_WAY_MAX
    assert "n49999" in snapshot["services"]
    assert snapshot["runs"][-1][1] == "open 19999"


def test_asking_again_gives_the_same_answer() -> None:
    """The same launch asked twice in a row is answered once; another context or a new signal is not."""
    fold = LaunchFeatures()
    first = fold.features(SAGA, {"n": 1}, T0)
    assert fold.features(SAGA, {"n": 1}, T0) is first
    assert fold.features(SAGA, {"n": 2}, T0)["fly"]["context.n"] == 2.0
    fold.observe(ended(T0 - 5, "timed_out"))
    assert fold.features(SAGA, {"n": 2}, T0)["fly"]["service_health_streak"] == 1.0
