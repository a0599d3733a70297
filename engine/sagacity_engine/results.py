"""How a run ended, in one value: what callers of an engine get back, live or read from the journal later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sagacity_engine.advisor import Arm
from sagacity_engine.drafts import maker
from sagacity_engine.errors import JournalRefused, RunRefused
from sagacity_engine.events import Status
from sagacity_engine.journal import Journal
from sagacity_engine.machine import machine
from sagacity_engine.machine.run_state import RunState
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


_result = maker(RunResult)
_ARMS = {arm.value: arm for arm in Arm}


def result_of(state: RunState) -> RunResult:
    """The result of a run that has ended."""
    assert state.ended is not None, "only an ended run has a result"
    started, ended = state.started, state.ended
    return _result(
        run_id=started.run_id,
        saga=state.saga.name,
        status=ended.status,
        outputs=state.outputs,
        reason=ended.reason,
        step=ended.step,
        plan=state.plan,
        arm=_ARMS.get(started.arm) or Arm(started.arm),
        fallback=started.fallback,
        advice_id=started.advice_id,
        model_version=started.model_version,
        reasons=started.reasons,
        started_at=started.at,
        ended_at=ended.at,
    )


def stored_result(journal: Journal, run_id: str, why_open: Callable[[str], str]) -> RunResult:
    """The result of a run that the journal has; `why_open` says why one that has not ended is not going on.

    Raises `RunRefused` for a run that does not exist or has not ended.
    """
    summary = journal.run(run_id)
    if summary is None:
        raise RunRefused(f"there is no run {run_id!r} in this journal; check the id")
    if not summary.status.ended:
        raise RunRefused(why_open(run_id))
    saga = journal.definition(summary.definition_hash)
    if saga is None:
        raise JournalRefused(f"the journal lacks the definition of run {run_id!r}; restore it from a copy")
    return result_of(machine.replay(saga, journal.read(run_id)))
