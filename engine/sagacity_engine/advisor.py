"""The port through which a plan is asked for before a run, and the rule that asking can never hurt.

`ask` puts a time budget and `check` between any advisor and the engine. Whatever goes wrong (slow, failing,
missing or illegal advice) the answer is the author's plan, marked as a fallback with the reason.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from sagacity_engine.plan import Plan, author_plan, check
from sagacity_engine.saga import Saga

Context = Mapping[str, str | float | bool]
"""What the caller knows about this run at launch, such as season or party size; never its payload."""


class Arm(StrEnum):
    """Which plan a run was assigned, whatever then became of the advice."""

    ADVISED = "advised"  # The advisor is asked and its legal plan is used.
    AUTHOR = "author"  # The permanent holdout: the author's plan, so that the advice can be judged.


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One run about to start. `at` is in seconds since the epoch."""

    run_id: str
    context: Context
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A plan for one run and where it came from. `expires_at` is in seconds since the epoch."""

    plan: Plan
    advice_id: str = ""
    model_version: str = ""
    fallback: bool = False
    reasons: tuple[str, ...] = ()
    expires_at: float | None = None
    unusable: bool = False  # The advisor gave none, or none that can be used.
    expected: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class Advisor(Protocol):
    """Anything that can propose a plan. It may fail, be slow or propose nonsense: `ask` stands between."""

    async def advise(self, saga: Saga, launch: Launch) -> Advice:
        """A plan for this run of `saga`, hopefully better than the author's."""
        ...


class NoAdvisor:
    """The author's plan, always."""

    async def advise(self, saga: Saga, launch: Launch) -> Advice:
        """The author's plan; `launch` does not matter."""
        del launch
        return author_advice(saga, "no advisor is configured")


def author_advice(saga: Saga, reason: str, *, unusable: bool = False) -> Advice:
    """The author's plan as a fallback, with the reason in words."""
    return Advice(plan=author_plan(saga), fallback=True, reasons=(reason,), unusable=unusable)


async def ask(advisor: Advisor, saga: Saga, launch: Launch, *, budget_s: float) -> Advice:
    """Advice that is legal and arrived within `budget_s` seconds, else the author's plan. Never raises."""
    asked = asyncio.ensure_future(_asked(advisor, saga, launch))
    try:
        # Not `asyncio.timeout`, which would wait for an advisor that ignores being cancelled.
        await asyncio.wait([asked], timeout=budget_s)
        if not asked.done():
            return author_advice(saga, f"no advice within {budget_s:g} s", unusable=True)
        return accepted(asked.result(), saga, launch.at)
    except asyncio.CancelledError:
        if not asked.cancelled():
            raise
        return author_advice(saga, "the advisor failed: CancelledError", unusable=True)
    except Exception as problem:  # noqa: BLE001  advice is foreign code; nothing it raises may touch the run
        reason = f"the advisor failed: {type(problem).__name__}: {problem}"
        return author_advice(saga, reason, unusable=True)
    finally:
        asked.add_done_callback(_looked_at)
        asked.cancel()


async def _asked(advisor: Advisor, saga: Saga, launch: Launch) -> Advice:
    return await advisor.advise(saga, launch)


def _looked_at(asked: asyncio.Future[Advice]) -> None:
    """What a late advisor raises after all is no accident."""
    if not asked.cancelled():
        asked.exception()


def accepted(advice: Advice, saga: Saga, at: float) -> Advice:
    """`advice` if its plan is legal and still valid at `at`, else the author's plan with the reason."""
    if advice.expires_at is not None and advice.expires_at < at:
        return author_advice(saga, "the advice had expired", unusable=True)
    if breaches := check(advice.plan, saga):
        reason = "the advised plan is not legal: " + "; ".join(breaches[:3])
        return author_advice(saga, reason, unusable=True)
    return advice


def assign_arm(run_id: str, holdout_share: float) -> tuple[Arm, float]:
    """The run's arm and the probability with which it got it.

    The arm is a hash of the run id, so that it is reproducible and nobody can choose it.
    """
    draw = int.from_bytes(hashlib.sha256(f"arm:{run_id}".encode()).digest()[:8], "big") / 2**64
    if draw < holdout_share:
        return Arm.AUTHOR, holdout_share
    return Arm.ADVISED, 1 - holdout_share
