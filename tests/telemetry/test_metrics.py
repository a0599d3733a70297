"""Runs as metrics: what is counted in every story, and what is read from the engine at a scrape."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from sagacity_api.telemetry import EventPoster, Readings, RunMetrics
from sagacity_api.telemetry.label_cap import OTHER, LabelCap
from sagacity_engine import Event, MemoryJournal, RunState, SagaRefused, Status
from sagacity_engine.batch import Batch
from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    ProbeAnswered,
    RunEnded,
    RunStarted,
)
from sagacity_engine.listeners import Listeners

Values = Callable[..., float]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def values(registry: CollectorRegistry) -> Values:
    """The sum of a metric's series that have these labels."""

    def total(name: str, **labels: str) -> float:
        return sum(
            sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.name == f"sagacity_{name}" and labels.items() <= sample.labels.items()
        )

    return total


@pytest.fixture
def counts(registry: CollectorRegistry, values: Values) -> tuple[CollectorRegistry, Values]:
    return registry, values


def test_every_story_adds_up(story: Any, play: Any, registry: Any, values: Values) -> None:
    """In every story starts, ends and durations agree with the events, and at the end nothing is open."""
    told = [event for _, event in play(story, listener=RunMetrics(registry))]
    kinds = Counter(type(event) for event in told)
    ends = sum(kinds[kind] for kind in (AttemptSucceeded, AttemptFailed, AttemptUnknown, ProbeAnswered))
    given_up = values("attempts_total", outcome="given_up")
    assert values("runs_started_total") == kinds[RunStarted]
    assert values("runs_ended_total") == kinds[RunEnded] == values("run_duration_seconds_count")
    assert values("attempts_total") == kinds[AttemptStarted] == ends + given_up
    assert values("attempt_duration_seconds_count") == kinds[AttemptStarted]
    assert values("runs_open") == 0
    assert values("attempts_in_flight") == 0


def test_outcomes_are_told_apart(stories: Any, play: Any, registry: Any, values: Values) -> None:
    """Attempts are counted by step, service, direction, outcome and class; retries and undos by step."""
    play(stories["compensated"], listener=RunMetrics(registry))
    book: Mapping[str, str] = {"saga": "trip", "step": "book", "service": "airline"}
    assert values("attempts_total", **book, direction="forward", outcome="succeeded", failure_class="") == 1
    undo: Mapping[str, str] = {**book, "direction": "undo"}
    assert values("attempts_total", **undo, outcome="failed", failure_class="transient") == 1
    assert values("attempts_total", **undo, outcome="unknown", failure_class="") == 1
    assert values("attempts_total", step="hotel", failure_class="permanent") == 1
    assert values("retries_total", **undo) == 2
    assert values("retries_total") == 2
    assert values("undos_total", **book, outcome="undone") == values("undos_total") == 1
    assert values("runs_ended_total", saga="trip", status="COMPENSATED") == 1


def test_durations_are_those_of_the_events(stories: Any, play: Any, registry: Any, values: Values) -> None:
    """An attempt's duration runs from its start to its end, a run's from its start, in seconds."""
    told = play(stories["compensated"], listener=RunMetrics(registry))
    took_s = told[-1][1].at - told[0][1].at
    assert values("run_duration_seconds_sum") == pytest.approx(took_s)
    assert values("attempt_duration_seconds_sum", step="hotel", outcome="failed") == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("timed out", ("timeouts_total", {"step": "book", "direction": "forward"})),
        ("hedged", ("hedges_total", {"step": "book"})),
        ("rolled back to a savepoint", ("rollbacks_total", {"saga": "trip"})),
        ("deadline", ("deadlines_total", {"saga": "trip"})),
        ("cancelled while waiting", ("cancels_total", {"saga": "trip"})),
        ("abandoned", ("operator_actions_total", {"action": "abandon"})),
        ("abandoned", ("needs_attention_total", {"step": "book", "service": "airline"})),
        ("abandoned", ("undos_total", {"outcome": "compensation_failed"})),
        ("taken back", ("operator_actions_total", {"action": "undo"})),
    ],
)
def test_what_happens_is_counted(
    name: str, counted: tuple[str, dict[str, str]], stories: Any, play: Any, counts: Any
) -> None:
    """Each of these has happened once in its story."""
    metric, labels = counted
    registry, values = counts
    play(stories[name], listener=RunMetrics(registry))
    assert values(metric, **labels) == 1


def test_fresh_attempts_are_no_retries(stories: Any, play: Any, registry: Any, values: Values) -> None:
    """What is begun anew, by a rollback or by a person, is not counted as retried."""
    metrics = RunMetrics(registry)
    play(stories["redriven"], listener=metrics)
    play(stories["rolled back to a savepoint"], listener=metrics)
    assert values("attempts_total", step="hotel", direction="forward") == 4
    assert values("retries_total") == 0


def test_gauges_follow_what_is_open(stories: Any, play: Any, registry: Any, values: Values) -> None:
    """While a run is under way it is open, and its attempt in flight; only between start and end."""
    metrics = RunMetrics(registry)
    told = play(stories["completed"], listener=lambda *_: None)
    seen = []
    for state, event in told[:4]:
        metrics(state, event)
        seen.append((type(event).__name__, values("runs_open"), values("attempts_in_flight", step="book")))
    assert seen == [
        ("RunStarted", 1, 0),
        ("AttemptStarted", 1, 1),
        ("AttemptFailed", 1, 0),
        ("AttemptStarted", 1, 1),
    ]


def test_a_late_listener_guesses_nothing(stories: Any, play: Any, registry: Any, values: Values) -> None:
    """An attempt whose start was not seen has an outcome and no duration, and no gauge goes below zero."""
    metrics = RunMetrics(registry)
    for state, event in play(stories["completed"], listener=lambda *_: None)[2:]:
        metrics(state, event)
        assert values("attempts_in_flight") >= 0
    assert values("attempts_total", step="book") == 2
    assert values("attempt_duration_seconds_count", step="book") == 1
    assert values("runs_open") == 0


def test_missing_events_leave_nothing_open(story: Any, play: Any) -> None:
    """Whichever event is missing, unless it is an end, nothing is open or in flight after the last."""
    told = play(story, listener=lambda *_: None)
    for missing, (_, left_out) in enumerate(told):
        if isinstance(left_out, RunEnded):
            continue
        registry = CollectorRegistry()
        metrics = RunMetrics(registry)
        for place, (state, event) in enumerate(told):
            if place != missing:
                metrics(state, event)
        gauges = ("sagacity_runs_open", "sagacity_attempts_in_flight")
        open_ones = [
            sample
            for family in registry.collect()
            for sample in family.samples
            if sample.name in gauges and sample.value
        ]
        assert open_ones == []


def test_memory_is_bounded(stories: Any, play: Any, registry: Any, values: Values) -> None:
    """Of more open runs than the limit the quietest counts as open no longer, nor do its attempts."""
    metrics = RunMetrics(registry, runs_max=3)
    many = [replace(stories["completed"], run_id=f"r{number}") for number in range(10)]
    for state, event in play(*many, listener=lambda *_: None):
        metrics(state, event)
        assert values("runs_open") <= 3
        assert values("attempts_in_flight") <= 3
    assert values("runs_open") == 0
    assert values("attempts_in_flight") == 0


def test_labels_stay_few(stories: Any, play: Any, registry: Any, values: Values) -> None:
    """Sagas and steps beyond their caps are counted together as `other`; no run's id is a label."""
    metrics = RunMetrics(registry, sagas_max=3, steps_max=5)
    simple = stories["completed"]
    for number in range(20):
        saga = replace(simple.saga, name=f"saga-{number}")
        play(replace(simple, saga=saga, run_id=f"run-{number}"), listener=metrics)
    series = [sample for family in registry.collect() for sample in family.samples]
    assert {sample.labels["saga"] for sample in series if "saga" in sample.labels} == {
        "saga-0",
        "saga-1",
        "saga-2",
        OTHER,
    }
    places = {(sample.labels["saga"], sample.labels["step"]) for sample in series if "step" in sample.labels}
    assert len({place for place in places if place[1] != OTHER}) == 5
    assert values("runs_ended_total", saga=OTHER) == 17
    assert "run-" not in generate_latest(registry).decode()


@pytest.mark.parametrize(("sagas_max", "steps_max"), [(0, 1), (1, 0)])
def test_senseless_caps_are_refused(sagas_max: int, steps_max: int) -> None:
    """A cap below one names itself."""
    with pytest.raises(SagaRefused, match="_max is 0; it must be at least 1"):
        LabelCap(sagas_max, steps_max)


def test_nothing_is_global(stories: Any, play: Any, registry: Any) -> None:
    """Nothing of ours is in the process's own registry."""
    play(stories["completed"], listener=RunMetrics(registry))
    Readings(registry)
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("sagacity")]


class Watched:
    """An engine as a scrape sees it."""

    def __init__(self) -> None:
        self.listeners = Listeners([])
        self.parked = {"a": "no space", "b": "no space"}
        self.stranded = {"c": "not registered"}


class Committing(MemoryJournal):
    commits = 7


def test_the_engine_is_read_at_a_scrape(registry: Any, values: Values, stories: Any, play: Any) -> None:
    """Drops, failures, parked and stranded runs, commits and the journal's runs are read anew each time."""
    engine, journal = Watched(), Committing()
    Readings(registry, engine=engine, journal=journal)
    assert values("runs_parked") == 2
    assert values("runs_stranded") == 1
    assert values("journal_commits_total") == 7
    engine.listeners.dropped, engine.listeners.failures, journal.commits = 3, 4, 8
    engine.parked.clear()
    kept(journal, play(stories["compensated"], listener=lambda *_: None))
    assert values("listener_dropped_events_total") == 3
    assert values("listener_failures_total") == 4
    assert values("runs_parked") == 0
    assert values("journal_commits_total") == 8
    assert values("journal_runs", status="COMPENSATED") == values("journal_runs") == 1
    assert values("journal_runs", status="NEEDS_ATTENTION") == 0


def kept(journal: MemoryJournal, told: list[tuple[RunState, Event]]) -> None:
    async def append() -> None:
        await journal.append(Batch("r", 1, tuple(event for _, event in told)))

    journal.open()
    asyncio.run(append())


def test_breakers_are_read_at_a_scrape(registry: Any, values: Values) -> None:
    """Each service's breaker is in exactly one state."""
    states = {"airline": "open", "bank": "closed"}
    Readings(registry, breakers=lambda: states)
    assert values("breaker_state", service="airline", state="open") == 1
    states["airline"] = "half_open"
    assert values("breaker_state", service="airline", state="open") == 0
    assert values("breaker_state", service="airline", state="half_open") == 1
    assert values("breaker_state") == 2


def test_the_poster_is_read_at_a_scrape(registry: Any, values: Values, stories: Any, play: Any) -> None:
    """What became of posted events is told by fate."""
    poster = EventPoster("http://127.0.0.1:9")
    Readings(registry, poster=poster)
    told = play(stories["completed"], listener=poster)
    assert values("posts_pending_events") == len(told)
    poster.close(0)
    assert values("posted_events_total", fate="dropped") == values("posted_events_total") == len(told)
    assert values("posts_failed_total") == 0


def test_a_broken_source_hides_no_other(registry: Any, values: Values) -> None:
    """A source that raises is left out and counted; a journal that is not open is one."""

    def broken() -> Mapping[str, str]:
        raise RuntimeError("no")

    class Full(MemoryJournal):
        def counts(self) -> Mapping[Status, int]:
            raise OSError("no space left")

    Readings(registry, engine=Watched(), journal=Full(), breakers=broken)
    assert values("runs_parked") == 2
    assert values("readings_failed_total") == 4
    assert values("readings_failed_total") == 6


def test_metrics_read_as_text(stories: Any, play: Any, registry: Any) -> None:
    """The exposition can be written, with the type of each metric."""
    play(stories["probed"], listener=RunMetrics(registry))
    Readings(registry, engine=Watched())
    text = generate_latest(registry).decode()
    assert "# TYPE sagacity_attempt_duration_seconds histogram" in text
    assert "# TYPE sagacity_runs_parked gauge" in text
