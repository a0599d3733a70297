"""Situations in which nobody can tell what a call did, or a service is asked less than its callers like."""

from __future__ import annotations

from collections.abc import Iterator

from sagacity_engine.events import (
    Answer,
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Direction,
    ProbeAnswered,
    RunEnded,
    UnknownReason,
)
from sagacity_engine.hosting.failures import CIRCUIT_OPEN
from sagacity_engine.strategy import OnTimeout
from sagacity_engine.testing.simulation.run import Predicate, Run, failures

FORWARD, UNDO = Direction.FORWARD, Direction.UNDO
EARLY_S = 0.01


def _lost(run: Run) -> Iterator[AttemptUnknown]:
    return (event for event in run.of(AttemptUnknown) if event.direction is FORWARD)


def _timed_out(run: Run) -> Iterator[AttemptUnknown]:
    return (event for event in _lost(run) if event.reason is UnknownReason.TIMED_OUT)


def _pivot(run: Run, event: AttemptUnknown | ProbeAnswered | RunEnded) -> bool:
    return run.saga.pivot is not None and event.step == run.saga.pivot.name


def _pivot_answered(run: Run, answer: Answer) -> bool:
    return any(_pivot(run, event) and event.answer is answer for event in run.of(ProbeAnswered))


def _answered(run: Run, answer: Answer) -> bool:
    return any(event.answer is answer for event in run.of(ProbeAnswered))


def _cut_short(run: Run) -> bool:
    began = {(event.step, event.attempt): event.at for event in run.starts(FORWARD)}
    return any(
        run.saga.by_name[event.step].schedule_to_close_timeout_s is not None
        and event.at - began[event.step, event.attempt]
        < run.started.plan.by_name[event.step].start_to_close_timeout_s - EARLY_S
        for event in _timed_out(run)
    )


def _taken_back(run: Run, *, acted: bool) -> bool:
    return any(
        run.acted(event.step, FORWARD, event.attempt) is acted and run.succeeded(event.step, UNDO)
        for event in _lost(run)
    )


def _let_through(run: Run) -> bool:
    refused = {event.step: event.at for event in run.of(AttemptFailed) if event.error_type == CIRCUIT_OPEN}
    return any(
        event.step in refused and event.direction is FORWARD and event.at > refused[event.step]
        for event in run.of(AttemptSucceeded)
    )


def _hedged(run: Run, kind: type[AttemptFailed | AttemptUnknown]) -> bool:
    twice = {(event.step, event.attempt) for event in run.of(AttemptHedged)}
    return any((event.step, event.attempt) in twice and event.direction is FORWARD for event in run.of(kind))


def _came_back_later(run: Run) -> bool:
    return any(
        event.retry_after_s and event.direction is FORWARD and run.tried_again(event)
        for event in run.of(AttemptFailed)
    )


def _found_by_retry(run: Run) -> bool:
    """A success whose effect was an earlier attempt's, of which nobody had known."""
    return any(
        event.direction is FORWARD
        and event.attempt > 1
        and not run.acted(event.step, FORWARD, event.attempt)
        and any(run.acted(event.step, FORWARD, earlier) for earlier in range(1, event.attempt))
        for event in run.of(AttemptSucceeded)
    )


def _failed_with(error_type: str, words: str = "") -> Predicate:
    return lambda run: any(
        event.error_type == error_type and words in event.message for event in run.of(AttemptFailed)
    )


def _lost_with(words: str) -> Predicate:
    return lambda run: any(event.message.startswith(words) for event in _lost(run))


def _probes_gave_up(run: Run) -> bool:
    doubted = {event.step for event in run.of(ProbeAnswered) if event.answer is Answer.CANNOT_TELL}
    told = {event.step for event in run.of(ProbeAnswered) if event.answer is not Answer.CANNOT_TELL}
    return any(run.succeeded(step, UNDO) for step in doubted - told)


def _refused_then_undone(run: Run) -> bool:
    undone = {event.step for event in run.starts(UNDO)}
    doubtful = {event.step for event in _lost(run)}
    landed = {event.step for event in run.of(AttemptSucceeded) if event.direction is FORWARD}
    return bool(undone - doubtful - landed - {step.name for step in run.saga.steps if step.sub_saga})


DOUBTS: dict[str, Predicate] = {
    "pivot in doubt, and the probe found it": lambda run: _pivot_answered(run, Answer.HAPPENED),
    "pivot in doubt, and the probe found nothing": lambda run: _pivot_answered(run, Answer.DID_NOT_HAPPEN),
    "pivot in doubt, tried again under its key": lambda run: any(
        _pivot(run, event) and run.tried_again(event) for event in _lost(run)
    ),
    "pivot in doubt, for a person to settle": lambda run: any(
        event.reason.startswith("whether the pivot took effect") for event in run.of(RunEnded)
    ),
    "probe found the effect": lambda run: _answered(run, Answer.HAPPENED),
    "probe found no effect": lambda run: _answered(run, Answer.DID_NOT_HAPPEN),
    "probes could not tell, and the step was undone": _probes_gave_up,
    "unknown effect was there and was taken back": lambda run: _taken_back(run, acted=True),
    "unknown effect was not there and its undo did nothing": lambda run: _taken_back(run, acted=False),
    "retry found what an earlier attempt had done": _found_by_retry,
    "refused step was undone as well": _refused_then_undone,
    "timed out and tried again": lambda run: any(map(run.tried_again, _timed_out(run))),
    "timed out and went on without": lambda run: (
        run.completed
        and any(
            run.saga.by_name[event.step].optional and not run.succeeded(event.step, FORWARD)
            for event in _timed_out(run)
        )
    ),
    "timed out and compensated as the plan says": lambda run: any(
        run.started.plan.by_name[event.step].on_timeout is OnTimeout.COMPENSATE for event in _timed_out(run)
    ),
    "schedule-to-close cut a call short": _cut_short,
    "heartbeat was lost": lambda run: any(
        event.reason is UnknownReason.HEARTBEAT_LOST for event in _lost(run)
    ),
    "output could not be kept": _lost_with("the output cannot be kept"),
    "exception that is not ours": lambda run: any(
        event.message in ("ValueError", "KeyError", "ConnectionResetError") for event in _lost(run)
    ),
    "function was cancelled by itself": _lost_with("CancelledError"),
    "no thread was free in time": _failed_with("NoFreeThread", "no thread was free"),
    "no place at the service in time": _failed_with("NoFreeThread", "no place within"),
    "breaker refused": _failed_with(CIRCUIT_OPEN),
    "breaker refused, later half-open let a call through": _let_through,
    "service's retry budget refused": lambda run: any(event.retry_refused for event in failures(run)),
    "run's retry budget was spent": lambda run: (
        run.saga.retry_budget is not None and 0 < run.saga.retry_budget <= run.states[-1].retries
    ),
    "participant asked for time and got it": _came_back_later,
    "terminal refusal": lambda run: any(event.terminal for event in run.of(AttemptFailed)),
    "both calls of a hedge failed": lambda run: _hedged(run, AttemptFailed),
    "hedge ended in doubt": lambda run: _hedged(run, AttemptUnknown),
    "attempt number five": lambda run: any(event.attempt > 4 for event in run.of(AttemptStarted)),
}
