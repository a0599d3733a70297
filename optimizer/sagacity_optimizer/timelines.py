"""Sampled lives of a step: when each attempt starts and ends, given how the step ends in the end.

Every life is drawn from the exact conditional law of the end that is asked for: the attempt chain of
`outcomes` is walked with every move weighted by the probability that the wanted end still follows from
where it leads. So no rare failure is ever waited for; how likely each end is, `outcomes` says in closed
form.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sagacity_engine.plan import StepPlan
from sagacity_engine.saga import Step
from sagacity_models.forecast import StepForecast
from sagacity_models.shape_arrays import heights_at
from sagacity_optimizer.outcomes import UNKNOWN, attempt_laws, half_ceilings_s, retry_rules

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
EVENTS = 6  # refused with one of the four classes, unknown, succeeded
LOST, WON = 4, 5


class Moment(NamedTuple):
    """Where each life stands at a moment, once the attempt then in flight has settled."""

    begun: Bools  # the step has started
    attempts: Ints
    ends: Floats  # when that attempt ends, after the step's start
    won: Bools  # it succeeds
    tainted: Bools  # an effect may exist without a success
    over: Bools  # it is the last attempt of the life


class Lives(NamedTuple):
    """Lives of one step, one per row; times in seconds after the step's start."""

    starts: Floats  # (life, attempt); infinite for attempts that never start
    ends: Floats  # (life, attempt); infinite likewise
    tainted: Bools  # (life, attempt): whether an effect may exist once this attempt has ended
    attempts: Ints
    final_class: Ints  # of the failure that ended the life; meaningless after a success
    seconds: Floats  # to the end of the last attempt
    succeeds: Bools

    def at(self, since_s: Floats) -> Moment:
        """Where the lives stand `since_s` seconds after the start; below 0 they have not begun."""
        count = (self.starts <= since_s[:, None]) & np.isfinite(self.starts)
        attempts = np.asarray(count.sum(axis=1))
        last = np.maximum(attempts - 1, 0)[:, None]
        ends = np.take_along_axis(self.ends, last, axis=1)[:, 0]
        tainted = np.take_along_axis(self.tainted, last, axis=1)[:, 0]
        over = attempts == self.attempts
        return Moment(attempts > 0, attempts, ends, over & self.succeeds, tainted, over)

    def at_end(self) -> Moment:
        """Where the lives stand when they are over."""
        return self.at(np.full(len(self.attempts), np.inf))


class Chain:
    """The attempts of one step as a chain over (regime, tainted), state 2 * regime + tainted."""

    def __init__(self, step: Step, plan: StepPlan, forecast: StepForecast) -> None:
        self.forecast, self.timeout_s = forecast, plan.start_to_close_timeout_s
        self.most, self.waits = plan.retry.maximum_attempts, [2 * s for s in half_ceilings_s(plan.retry)]
        rules = retry_rules(step.kind, step.idempotent, plan.on_failure)
        laws = attempt_laws(forecast, self.timeout_s)
        states = range(2 * len(laws))
        self.weights = np.array([law.weight for law in laws])
        self.masses = np.array(
            [(*laws[s // 2].refused, laws[s // 2].unknown, laws[s // 2].success) for s in states]
        )
        self.again = np.array(
            [
                (
                    *(rules.tainted if s % 2 else rules.clean),
                    rules.unknown_again if s % 2 else rules.unknown,
                    False,
                )
                for s in states
            ]
        )
        self.next = np.array([[s] * 4 + [s | int(rules.taints), s] for s in states])

    def draw(self, succeeds: Bools, generator: np.random.Generator) -> Lives:
        """One life per row that ends as `succeeds` says; each such end must be possible."""
        walks = []
        for wanted in (True, False):
            rows = np.flatnonzero(succeeds == wanted)
            if len(rows):
                walks.append((rows, self._walk(len(rows), generator, success=wanted)))
        width = max(walk.starts.shape[1] for _, walk in walks)
        lives = Lives(
            np.full((len(succeeds), width), np.inf),
            np.full((len(succeeds), width), np.inf),
            np.zeros((len(succeeds), width), dtype=bool),
            np.zeros(len(succeeds), dtype=np.int64),
            np.zeros(len(succeeds), dtype=np.int64),
            np.zeros(len(succeeds)),
            succeeds,
        )
        for rows, walk in walks:
            for whole, part in zip(lives[:6], walk[:6], strict=True):
                if part.ndim == 2:
                    whole[rows, : part.shape[1]] = part
                else:
                    whole[rows] = part
        return lives

    def _walk(self, rows: int, generator: np.random.Generator, *, success: bool) -> Lives:
        hopes = self._hopes(success)
        first = self.weights * hopes[0][::2]
        assert first.sum() > 0, "lives were asked for that cannot happen"
        strata = (generator.permutation(rows) + generator.random(rows)) / rows
        state = 2 * np.searchsorted(np.cumsum(first) / first.sum(), strata).clip(0, len(first) - 1)
        now, alive = np.zeros(rows), np.ones(rows, dtype=bool)
        attempts, final = np.zeros(rows, dtype=np.int64), np.full(rows, UNKNOWN)
        starts, ends, stains = [], [], []
        for k in range(self.most):
            last = k == self.most - 1
            event = self._events(state, hopes[k], hopes[k + 1], generator, success=success, last=last)
            starts.append(np.where(alive, now, np.inf))
            now = np.where(alive, now + self._durations(state, event, generator), now)
            ends.append(np.where(alive, now, np.inf))
            attempts += alive
            final = np.where(alive, np.minimum(event, UNKNOWN), final)
            goes_on = self.again[state, event] & (not last)
            state = np.where(alive, self.next[state, event], state)
            stains.append(state % 2 == 1)
            alive = alive & goes_on
            if not alive.any():
                break
            now = np.where(alive, now + generator.random(rows) * self.waits[k], now)
        columns = np.stack(starts, 1), np.stack(ends, 1), np.stack(stains, 1)
        return Lives(*columns, attempts, final, now, np.full(rows, success))

    def _hopes(self, success: bool) -> list[Floats]:
        """hopes[k][state]: P(the wanted end | attempt k + 1 starts in that state)."""
        hopes = [np.zeros(len(self.masses))]
        for k in range(self.most):
            hopes.append(self._moves(hopes[-1], success, last=k == 0).sum(axis=1))
        return hopes[::-1]

    def _moves(self, following: Floats, success: bool, *, last: bool) -> Floats:
        """Per state and event, P(the event and then the wanted end)."""
        stop = np.ones_like(self.again) if last else ~self.again
        ends_well = np.zeros(EVENTS)
        ends_well[WON] = 1.0
        wanted = ends_well if success else 1.0 - ends_well
        return np.asarray(self.masses * np.where(stop, wanted, following[self.next]))

    def _events(
        self,
        state: Ints,
        hope: Floats,
        following: Floats,
        generator: np.random.Generator,
        *,
        success: bool,
        last: bool,
    ) -> Ints:
        moves = self._moves(following, success, last=last)
        shares = np.cumsum(moves / np.where(hope > 0, hope, 1.0)[:, None], axis=1)
        rows = len(state)
        strata = (generator.permutation(rows) + generator.random(rows)) / rows
        return np.asarray((strata[:, None] > shares[state]).sum(axis=1).clip(0, EVENTS - 1))

    def _durations(self, state: Ints, event: Ints, generator: np.random.Generator) -> Floats:
        rows = len(state)
        strata = (generator.permutation(rows) + generator.random(rows)) / rows
        took = np.full(rows, self.timeout_s)
        for number, regime in enumerate(self.forecast.regimes):
            for latency, kind in ((regime.latency, event == WON), (regime.failure_latency, event < LOST)):
                here = (state // 2 == number) & kind
                if here.any():
                    level = strata[here] * (1 - latency.survival(self.timeout_s))
                    took[here] = latency.median_s * np.exp(latency.sigma * heights_at(latency.shape, level))
        return np.asarray(np.minimum(took, self.timeout_s))
