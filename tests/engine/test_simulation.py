"""Thousands of random sagas, plans, misfortunes and people in virtual time, each held to the invariants."""

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagacity_engine import codec
from sagacity_engine.events import (
    Action,
    Answer,
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    DeadlineReached,
    Direction,
    Event,
    LocksAcquired,
    OperatorActed,
    ProbeAnswered,
    RolledBack,
    RunEnded,
    SignalReceived,
    Status,
    UnknownReason,
)
from sagacity_engine.machine.machine import fold, replay
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState, begin
from sagacity_engine.saga import Saga
from sagacity_engine.testing import (
    Attendant,
    Trial,
    play,
    random_plan,
    random_saga,
    random_script,
    random_wishes,
)
from sagacity_engine.testing.trial import saga_of

FORWARD, UNDO = Direction.FORWARD, Direction.UNDO
SEEDS = st.integers(0, 2**63)


def simulated(seed: int) -> Trial:
    """The run that a seed names: everything about it is drawn from that one generator."""
    rng = Random(seed)
    saga = random_saga(rng)
    return play(
        saga,
        random_script(saga, rng),
        random_plan(saga, rng),
        wishes=random_wishes(saga, rng),
        jitter=rng,
        acts=lambda *_: rng.random() < 0.5,
        attend=Attendant(rng),
    )


def encoded(trial: Trial) -> dict[str, list[tuple[str, str]]]:
    return {run_id: [codec.encode(event) for event in events] for run_id, events in trial.events.items()}


@given(SEEDS)
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_random_runs_keep_every_invariant(seed: int) -> None:
    """Whatever the seed brings: every run ends, the invariants hold, its kept events replay to its state."""
    trial = simulated(seed).sound()
    for run_id, events in encoded(trial).items():
        kept = [codec.decode(*event) for event in events]
        assert replay(saga_of(trial.saga, run_id), kept) == trial.states[run_id]


@given(SEEDS)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_seed_replays_byte_for_byte(seed: int) -> None:
    """Played twice, a seed leaves the same events to the byte, and the same ledgers."""
    first, second = simulated(seed), simulated(seed)
    assert encoded(first) == encoded(second)
    assert first.ledger == second.ledger


WANTED = {
    *(f"ended {status.value}" for status in Status if status.ended),
    *(f"reached {phase.value}" for phase in StepPhase),
    *(f"operator {action.value}" for action in Action),
    *(f"probe {answer.value}" for answer in Answer),
    "timed out",
    "lost reply",
    "refused",
    "refused for good",
    "asked to come later",
    "undo refused",
    "undo uncertain",
    "undo after a refusal",
    "deadline",
    "cancelled",
    "signal",
    "locks",
    "hedge",
    "rolled back",
    "rolled back twice",
    "alternative",
    "inner run",
    "inner run taken back",
    "two undos in flight",
    "two steps in flight",
    "undo beside a forward attempt",
    "outcome while paused",
    "pivot wins after an abort",
    "re-opened",
    "many steps",
}


@pytest.mark.parametrize(("seeds", "least"), [(1_500, 3), pytest.param(20_000, 40, marks=pytest.mark.slow)])
def test_the_simulation_reaches_the_situations_that_matter(seeds: int, least: int) -> None:
    """Over the first seeds all runs are sound, and each hard situation really comes up, many times."""
    seen: Counter[str] = Counter()
    for seed in range(seeds):
        trial = simulated(seed)
        assert trial.violations() == (), seed
        seen.update(set(situations(trial)))
    assert {name: seen[name] for name in WANTED if seen[name] < least} == {}


def situations(trial: Trial) -> Iterator[str]:
    if len(trial.saga.steps) > 20:
        yield "many steps"
    for run_id, events in trial.events.items():
        yield from _of_run(saga_of(trial.saga, run_id), events)
        if run_id != "run":
            yield "inner run"
            if any(isinstance(event, OperatorActed) and event.who == "run run" for event in events):
                yield "inner run taken back"


def _of_run(saga: Saga, events: list[Event]) -> Iterator[str]:
    state = replay(saga, events[:1])
    for event in events[1:]:
        if state.ended is not None:
            yield "re-opened"
        if state.paused_at is not None and isinstance(event, AttemptSucceeded | AttemptFailed):
            yield "outcome while paused"
        fold(state, event)
        yield from _of_state(state)
        yield from _of_event(state, event)
    if state.rollbacks > 1:
        yield "rolled back twice"


def _of_state(state: RunState) -> Iterator[str]:
    phases = Counter(step.phase for step in state.steps.values())
    yield from (f"reached {phase.value}" for phase in phases)
    if phases[StepPhase.UNDOING] > 1:
        yield "two undos in flight"
    if phases[StepPhase.RUNNING] > 1:
        yield "two steps in flight"
    if phases[StepPhase.UNDOING] and phases[StepPhase.RUNNING]:
        yield "undo beside a forward attempt"
    if state.abort is not None and state.committed:
        yield "pivot wins after an abort"


def _of_event(state: RunState, event: Event) -> Iterator[str]:
    match event:
        case AttemptStarted(direction=Direction.FORWARD, step=step) if state.saga.by_name[
            step
        ].alternative_to:
            yield "alternative"
        case AttemptStarted(direction=Direction.UNDO, step=step) if not state.steps[step].landed:
            yield "undo after a refusal"
        case AttemptUnknown(direction=Direction.UNDO):
            yield "undo uncertain"
        case AttemptUnknown(reason=UnknownReason.TIMED_OUT):
            yield "timed out"
        case AttemptUnknown():
            yield "lost reply"
        case AttemptFailed():
            yield "refused" if event.direction is FORWARD else "undo refused"
            if event.terminal:
                yield "refused for good"
            if event.retry_after_s is not None:
                yield "asked to come later"
        case _:
            yield from _of_other(event)


def _of_other(event: Event) -> Iterator[str]:
    match event:
        case ProbeAnswered(answer=answer):
            yield f"probe {answer.value}"
        case OperatorActed(action=action):
            yield f"operator {action.value}"
        case RunEnded(status=status):
            yield f"ended {status.value}"
        case _:
            names: dict[type, str] = {
                AttemptHedged: "hedge",
                CancelRequested: "cancelled",
                DeadlineReached: "deadline",
                LocksAcquired: "locks",
                RolledBack: "rolled back",
                SignalReceived: "signal",
            }
            if type(event) in names:
                yield names[type(event)]


def test_a_state_copied_before_an_event_is_not_changed_by_it() -> None:
    """Step states are replaced, never changed: a copy taken earlier still says what it said."""
    for seed in range(60):
        trial = simulated(seed)
        for run_id, events in trial.events.items():
            saga = saga_of(trial.saga, run_id)
            state = replay(saga, events[:1])
            for count, event in enumerate(events[1:], start=2):
                before = state.copy()
                fold(state, event)
                assert before == replay(saga, events[: count - 1]), (seed, run_id, count)
                if count > 25:
                    break


def test_a_run_begins_untouched() -> None:
    """The state after the start alone is that of `begin`."""
    trial = simulated(3)
    first = trial.events["run"][0]
    assert replay(trial.saga, [first]) == begin(trial.saga, trial.state.started)
