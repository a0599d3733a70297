"""An advisor of all sorts: helpful, slow, failing, and one whose plans are not legal."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

from sagacity_engine.advisor import Advice, Launch
from sagacity_engine.hosting.counsel import Failure
from sagacity_engine.plan import Plan
from sagacity_engine.saga import Saga
from sagacity_engine.strategy import Strategy
from sagacity_engine.testing.random_plans import random_plan
from sagacity_engine.testing.simulation.witness import Witness

ADVICE_BUDGET_S = 0.2
"""How long the simulated engine waits for advice, in virtual seconds."""


class SimAdvisor:
    """Advises at random."""

    def __init__(self, rng: Random, witness: Witness) -> None:
        self._rng = rng
        self._hopeless = rng.random() < 0.1
        self._fault = witness.fault

    async def advise(self, saga: Saga, launch: Launch) -> Advice:
        """A legal plan most of the time."""
        del launch
        await self._dither("advice")
        plan = random_plan(saga, self._rng)
        if self._rng.random() < 0.05:
            self._fault("advice not legal")
            plan = _spoilt(plan, self._rng)
        return Advice(plan=plan, advice_id="simulated", model_version="0")

    async def advise_on_failure(self, saga: Saga, failure: Failure) -> Strategy | None:
        """Any strategy, whether it can be carried out or not."""
        del saga, failure
        await self._dither("counsel")
        advised: Strategy | None = self._rng.choice((None, None, *Strategy))
        return advised

    async def _dither(self, what: str) -> None:
        draw = self._rng.random()
        if draw < 0.04:
            self._fault(f"{what} too slow")
            await asyncio.sleep(ADVICE_BUDGET_S * 3)
        elif draw < (0.8 if self._hopeless else 0.08):
            self._fault(f"{what} failed")
            raise ValueError("no idea")
        elif draw < 0.5:
            await asyncio.sleep(ADVICE_BUDGET_S * self._rng.random() * 0.9)


def _spoilt(plan: Plan, rng: Random) -> Plan:
    first, *others = plan.steps
    spoilt: tuple[Any, ...] = (
        replace(plan, steps=tuple(others)),
        replace(plan, steps=(*plan.steps, first)),
        replace(plan, definition_hash="another"),
        replace(plan, launch_delay_s=float("nan")),
        replace(plan, steps=(replace(first, start_to_close_timeout_s=float("inf")), *others)),
        replace(plan, steps=(replace(first, after=(first.name,)), *others)),
        None,
    )
    chosen: Plan = rng.choice(spoilt)
    return chosen
