"""Outcome probabilities of all choices of all steps at once: the closed forms of `outcomes` with numpy.

Rows are (step, timeout) pairs, then regimes, combinations of strategies and numbers of attempts. "Kept"
classes retry under a combination, "cut" ones stop at their first failure. A test holds every entry to the
scalar formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from sagacity_engine.parts import Kind
from sagacity_engine.retry import RetryPolicy
from sagacity_models.forecast import Regime, StepForecast
from sagacity_optimizer.outcomes import CLASSES, UNKNOWN, Flags, half_ceilings_s
from sagacity_optimizer.problem import Floats, Problem

FIELDS = ("success", "tries", "seconds", "kept_clean", "kept_tainted", "cut_clean", "cut_tainted")
"""Of a choice: P(success), attempts, seconds, final failures by kept or cut class, clean or tainted."""


class Masses:
    """Outcome probabilities of all choices: arrays over (step, timeout) rows, combinations, attempts."""

    def __init__(
        self,
        problem: Problem,
        timeouts: Sequence[tuple[float, ...]],
        attempts: Sequence[tuple[int, ...]],
        combos: Sequence[Flags],
    ) -> None:
        self.timeouts, self.attempts, self.combos = timeouts, attempts, combos
        self.owners = [i for i, choices in enumerate(timeouts) for _ in choices]
        self.levels = sorted({m for choices in attempts for m in choices})
        self._attempt_arrays(problem)
        self._chains(problem)

    def of_step(self, i: int) -> dict[str, Floats]:
        """Arrays over (timeout, combo, attempts) of step i, flattened; and its choices."""
        rows = [row for row, owner in enumerate(self.owners) if owner == i]
        columns = [self.levels.index(m) for m in self.attempts[i]]
        block = self.values[:, rows[0] : rows[-1] + 1][:, :, :, columns]
        flat = block.reshape(block.shape[0], -1)
        return dict(zip(FIELDS, flat, strict=True))

    def _attempt_arrays(self, problem: Problem) -> None:
        """Success, refusals by class, unknown, seconds of one attempt, by row and regime."""
        forecasts = [problem.forecast.steps[step.name] for step in problem.steps]
        width = max(len(f.regimes) for f in forecasts)
        masses = [
            [_by_class(regime) for regime in f.regimes] + [_NOTHING] * (width - len(f.regimes))
            for f in forecasts
        ]
        weights = [[r.weight for r in f.regimes] + [0.0] * (width - len(f.regimes)) for f in forecasts]
        cuts = [
            _cut_regimes(problem, forecast, timeout_s, width)
            for forecast, choices in zip(forecasts, self.timeouts, strict=True)
            for timeout_s in choices
        ]
        late, win_s, late_refusal, refusal_s = np.array(cuts).transpose(2, 0, 1)
        mine = np.array(masses)[self.owners]
        fails = mine.sum(axis=2)
        wins = np.maximum(0.0, 1.0 - fails)
        self.weight = np.array(weights)[self.owners]
        self.win = wins * (1 - late)
        self.refused = mine * (1 - late_refusal)[:, :, None]
        self.unknown = wins * late + fails * late_refusal
        self.attempt_s = wins * win_s + fails * refusal_s

    def _chains(self, problem: Problem) -> None:
        """The recursion over attempts of `outcomes`, for every row, regime and combo at once."""
        steps = [problem.steps[i] for i in self.owners]
        idempotent = np.array([step.idempotent for step in steps], dtype=float)[:, None, None]
        read_only = np.array([step.kind is Kind.READ_ONLY for step in steps], dtype=float)[:, None, None]
        pivot = np.array([step.kind is Kind.PIVOT for step in steps], dtype=float)[:, None, None]
        flags = np.array(self.combos, dtype=float).T  # (class, combo)
        unknown = self.unknown[:, :, None]
        # Refused with a class that retries: (row, regime, combo). No matrix product: BLAS threads would
        # fight over the cores for a few microseconds' work.
        kept = np.einsum("qrk,kc->qrc", self.refused, flags, optimize=False)
        cut = self.refused.sum(axis=2)[:, :, None] - kept
        ask = flags[UNKNOWN]
        stains = unknown * idempotent * np.maximum(ask, pivot) * (1 - read_only)
        again = kept + unknown * read_only * ask
        again_tainted = kept + stains + pivot * cut
        retried = (stains > 0) | (read_only * ask > 0)  # UNKNOWN then ends the step at the last attempt only
        lost_last, lost_any = np.where(retried, unknown, 0.0), np.where(retried, 0.0, unknown)
        cut_last, cut_any = cut * pivot, cut * (1 - pivot)  # once tainted, a pivot is cut at the last only
        half = np.array([_half_s(step.retry, self.levels[-1]) for step in steps]).T[:, :, None, None]
        clean = np.broadcast_to(self.weight[:, :, None], kept.shape).copy()
        starts, tainted, stained, waits = clean, np.zeros_like(clean), np.zeros_like(clean), 0.0 * clean
        win, attempt_s = self.win[:, :, None], self.attempt_s[:, :, None]
        unknown_clean, unknown_kept = read_only[:, 0], ask[None, :]
        values = np.zeros((len(FIELDS), len(steps), len(self.combos), len(self.levels)))
        for k in range(1, self.levels[-1] + 1):
            if k > 1:
                clean, tainted = clean * again, tainted * again_tainted + clean * stains
                starts, stained = starts + clean, stained + tainted
                waits = waits + (clean + tainted) * half[k - 2]
            if k not in self.levels:
                continue
            total = starts + stained
            lost = (lost_last * (clean + tainted) + lost_any * total).sum(axis=1)
            values[:, :, :, self.levels.index(k)] = (
                (win * total).sum(axis=1),
                total.sum(axis=1),
                (attempt_s * total + waits).sum(axis=1),
                (kept * clean).sum(axis=1) + lost * unknown_clean * unknown_kept,
                (kept * tainted).sum(axis=1) + lost * (1 - unknown_clean) * unknown_kept,
                (cut * starts).sum(axis=1) + lost * unknown_clean * (1 - unknown_kept),
                (cut_last * tainted + cut_any * stained).sum(axis=1)
                + lost * (1 - unknown_clean) * (1 - unknown_kept),
            )
        self.values = values


@lru_cache(maxsize=4096)
def _half_s(retry: RetryPolicy, most: int) -> Floats:
    """Mean waits after attempt 1, 2, ..., whatever number of attempts is chosen in the end."""
    return np.array(half_ceilings_s(replace(retry, maximum_attempts=most)))


_NOTHING = (0.0, 0.0, 0.0, 0.0)


def _by_class(regime: Regime) -> tuple[float, ...]:
    return tuple(regime.failures.get(failure_class, 0.0) for failure_class in CLASSES)


def _cut_regimes(
    problem: Problem, forecast: StepForecast, timeout_s: float, width: int
) -> list[tuple[float, ...]]:
    """Per regime, survival and mean of its success and of its failure latency at the timeout, padded."""
    known: dict[tuple[int, int], tuple[float, ...]] = {}  # regimes mostly share their latencies
    cuts = []
    for regime in forecast.regimes:
        key = id(regime.latency), id(regime.failure_latency)
        if key not in known:
            known[key] = problem.cuts(regime.latency, timeout_s) + problem.cuts(
                regime.failure_latency, timeout_s
            )
        cuts.append(known[key])
    return cuts + [_NOTHING] * (width - len(cuts))
