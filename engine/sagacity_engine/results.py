"""How a run ended, in one value: what callers of an engine get back, live or read from the journal later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagacity_engine.advisor import Arm
from sagacity_engine.events import Status
from sagacity_engine.machine import RunState
from sagacity_engine.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended. Times are seconds since the epoch; `step` and `reason` say what stopped it."""

    run_id: str
    saga: str
    status: Status
    outputs: Mapping[str, Any]
    reason: str
    step: str
    plan: Plan
    arm: Arm
    fallback: bool
    advice_id: str
    model_version: str
    reasons: tuple[str, ...]
    started_at: float
    ended_at: float


def result_of(state: RunState) -> RunResult:
    """The result of a run that has ended."""
    assert state.ended is not None, "only an ended run has a result"
    started, ended = state.started, state.ended
    return RunResult(
        run_id=started.run_id,
        saga=state.saga.name,
        status=ended.status,
        outputs=state.outputs,
        reason=ended.reason,
        step=ended.step,
        plan=state.plan,
        arm=Arm(started.arm),
        fallback=started.fallback,
        advice_id=started.advice_id,
        model_version=started.model_version,
        reasons=started.reasons,
        started_at=started.at,
        ended_at=ended.at,
    )
