"""Runs whose true laws are known, made as live risk reads them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from sagacity_data.event_log import Case
from sagacity_data.rows import AttemptOutcome
from sagacity_engine import Direction, Saga, Step
from sagacity_models.live_risk_events import AttemptEnd, RunEvents, RunShape, ServiceHealth
from sagacity_training.live_risk import LiveRiskResult, fit_live_risk
from sagacity_training.live_risk_runs import LiveRun

START = 1_760_000_000.0
TRIP = Saga(
    name="trip",
    steps=tuple(Step(name=name, service=f"{name} vendor") for name in ("book", "pay", "tell")),
    deadline_s=60.0,
)
TRUTH = {"none": 0.9, "Busy": 0.5, "Odd": 0.1}
"""P(success) by the error of the first attempt at paying."""

TYPICAL_S = {"none": 10.0, "Busy": 100.0, "Odd": 100.0}
"""The median of the remaining time by the same."""


def attempt_end(step: str, at: float, **said: Any) -> AttemptEnd:
    """An attempt's end, a success unless another outcome is said."""
    told: dict[str, Any] = {
        "step": step,
        "service": f"{step} vendor",
        "direction": Direction.FORWARD,
        "attempt": 1,
        "outcome": AttemptOutcome.SUCCEEDED,
        "ended_at": at,
    }
    return AttemptEnd(**told | said)


def _run(number: int, draw: random.Random, signal: bool) -> LiveRun:
    events = RunEvents("trip", ServiceHealth(), RunShape.of(TRIP))
    at = START + 500.0 * number
    seen = [events.launched({"tier": draw.choice(("gold", "plain"))}, at)]
    seen.append(events.ended(attempt_end("book", at + 1.0, duration_s=1.0)))
    error = draw.choice(tuple(TRUTH))
    failed = {} if error == "none" else {"outcome": AttemptOutcome.FAILED, "error_type": error}
    seen.append(events.ended(attempt_end("pay", at + 2.0, duration_s=1.0, **failed)))
    success = draw.random() < (TRUTH[error] if signal else 0.7)
    took_s = TYPICAL_S[error] * draw.lognormvariate(0.0, 0.3)
    return LiveRun(number, Case(f"r{number}", tuple(seen)), round((at + 2.0 + took_s) * 1e6), success, 60.0)


@pytest.fixture(scope="session")
def make_runs() -> Callable[..., list[LiveRun]]:
    """A maker of so many runs of `TRIP`: after paying was tried, the rest depends on its error alone."""

    def make(count: int, seed: int, *, signal: bool = True) -> list[LiveRun]:
        draw = random.Random(seed)
        return [_run(number, draw, signal) for number in range(count)]

    return make


@pytest.fixture(scope="session")
def learnt(make_runs: Callable[..., list[LiveRun]]) -> LiveRiskResult:
    """Live risk of 2,400 runs with signal: enough to tell it surely, not only by luck of the draw."""
    return fit_live_risk(make_runs(2_400, 3), seed=1)
