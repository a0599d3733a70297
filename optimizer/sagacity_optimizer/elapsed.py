"""The law of elapsed time on a grid, and one step carried over it attempt by attempt.

Each attempt and each wait is one convolution, per regime and per "an UNKNOWN attempt happened". Durations
are rounded to the nearest cell; what passes the last cell has passed the deadline.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from sagacity_engine.parts import Kind
from sagacity_engine.plan import StepPlan
from sagacity_models.forecast import Latency
from sagacity_optimizer.outcomes import UNKNOWN, AttemptLaw, attempt_laws, half_ceilings_s, retry_rules
from sagacity_optimizer.problem import Floats, Problem

Transformed = npt.NDArray[np.complex128]
CELLS = 512
FORGOTTEN = 1e-15  # probability below which an attempt is not followed further


class Grid:
    """Cells of elapsed time before the deadline, and convolutions on them."""

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.cell_s = deadline_s / CELLS
        self.edges = (np.arange(CELLS) + 0.5) * self.cell_s

    def spread(self, masses: Floats, kernel: Transformed) -> Floats:
        """Each row of `masses` after a delay with the row's law; what passes the end is dropped."""
        moved = np.fft.irfft(np.fft.rfft(masses, 2 * CELLS, axis=-1) * kernel, 2 * CELLS, axis=-1)
        return np.asarray(np.maximum(moved[..., :CELLS], 0.0))

    def latency(self, latency: Latency, timeout_s: float) -> Transformed:
        """The transformed law of a duration given that it is at most `timeout_s`."""
        seen = 1 - latency.survival(timeout_s)
        below = [1 - latency.survival(min(t, timeout_s)) for t in self.edges.tolist()]
        return self._transformed(np.array(below) / seen if seen > 0 else np.zeros(CELLS))

    def wait(self, ceiling_s: float) -> Transformed:
        """The transformed law of a wait uniform in [0, ceiling_s]."""
        return self._transformed(np.minimum(1.0, self.edges / ceiling_s) if ceiling_s > 0 else np.ones(CELLS))

    def fixed(self, seconds: float) -> Transformed:
        """The transformed law of a fixed delay, shared between its two nearest cells."""
        law = np.zeros(CELLS)
        low = math.floor(seconds / self.cell_s)
        share = seconds / self.cell_s - low
        for cell, part in ((low, 1 - share), (low + 1, share)):
            if cell < CELLS:
                law[cell] = part
        return np.asarray(np.fft.rfft(law, 2 * CELLS))

    def cut_wait_s(self, masses: Floats, ceiling_s: float) -> float:
        """Expected seconds of waits that the deadline may cut short."""
        left = self.deadline_s - np.arange(CELLS) * self.cell_s
        cut = np.where(left >= ceiling_s, ceiling_s / 2, left - left**2 / (2 * max(ceiling_s, 1e-300)))
        return float((masses * cut).sum())

    @staticmethod
    def _transformed(below: Floats) -> Transformed:
        return np.asarray(np.fft.rfft(np.diff(below, prepend=0.0), 2 * CELLS))


class StepOnGrid:
    """One step carried through its attempts; masses are probabilities of the whole run."""

    def __init__(self, problem: Problem, i: int, plan: StepPlan, elapsed: Floats, grid: Grid) -> None:
        step = problem.steps[i]
        forecast = problem.forecast.steps[step.name]
        self.grid, self.pivot = grid, step.kind is Kind.PIVOT
        self.laws: tuple[AttemptLaw, ...] = attempt_laws(forecast, plan.start_to_close_timeout_s)
        self.rules = retry_rules(step.kind, step.idempotent, plan.on_failure)
        self.won = np.zeros(CELLS)  # succeeded in time, by elapsed time
        self.refused, self.tainted = np.zeros((4, CELLS)), np.zeros((4, CELLS))  # finally failed in time
        self.late_won = self.late_clean = self.late_tainted = 0.0  # the deadline came first
        self.attempts = self.seconds = self.successes = 0.0
        self._asked_late = np.zeros(len(self.laws))  # a tainted pivot's attempts after the deadline
        timeout_s = plan.start_to_close_timeout_s
        wins = np.stack([grid.latency(r.latency, timeout_s) for r in forecast.regimes])
        refusals = np.stack([grid.latency(r.failure_latency, timeout_s) for r in forecast.regimes])
        self.kernels = wins, refusals, grid.fixed(timeout_s)
        weights = np.array([law.weight for law in self.laws])[:, None]
        live = [weights * elapsed, np.zeros((len(self.laws), CELLS))]  # clean, tainted
        half = half_ceilings_s(plan.retry)
        for k in range(plan.retry.maximum_attempts):
            again = self._attempt(live, last=k == len(half))
            if k == len(half):
                break
            live = self._wait(again, 2 * half[k])
            self._ask_late()
            if sum(float(part.sum()) for part in live) + self._asked_late.sum() < FORGOTTEN:
                break
        self.late_tainted += float(self._asked_late.sum())

    def _attempt(self, live: list[Floats], *, last: bool) -> list[Floats]:
        """Plays one attempt; returns what will try again, clean and tainted, by regime and elapsed time."""
        wins, refusals, lost = self.kernels
        again = [np.zeros_like(live[0]), np.zeros_like(live[1])]
        for stained, start in enumerate(live):
            total = start.sum(axis=1)
            if total.sum() <= 0:
                continue
            self.attempts += float(total.sum())
            self.seconds += float(sum(m * law.seconds for m, law in zip(total, self.laws, strict=True)))
            in_time = (
                self.grid.spread(start, wins),
                self.grid.spread(start, refusals),
                self.grid.spread(start, lost),
            )
            for r, law in enumerate(self.laws):
                won = in_time[0][r] * law.success
                self.won += won
                self.late_won += max(0.0, float(total[r] * law.success - won.sum()))
                self.successes += float(total[r] * law.success)
                flags = self.rules.tainted if stained else self.rules.clean
                for c, mass in enumerate(law.refused):
                    self._lose(
                        again,
                        (r, c, stained),
                        in_time[1][r] * mass,
                        float(total[r] * mass),
                        retried=flags[c] and not last,
                    )
                asks = self.rules.unknown_again if stained else self.rules.unknown
                self._lose(
                    again,
                    (r, UNKNOWN, int(stained or self.rules.taints)),
                    in_time[2][r] * law.unknown,
                    float(total[r] * law.unknown),
                    retried=asks and not last,
                )
        return again

    def _lose(
        self,
        again: list[Floats],
        where: tuple[int, int, int],
        in_time: Floats,
        total: float,
        *,
        retried: bool,
    ) -> None:
        """Books an attempt without success: tried again, finally failed, or overtaken by the deadline."""
        regime, failure_class, stained = where
        if retried:
            again[stained][regime] += in_time
        else:
            (self.tainted if stained else self.refused)[failure_class] += in_time
        late = max(0.0, total - float(in_time.sum()))
        if not stained:
            self.late_clean += late
        elif self.pivot and retried:
            self._asked_late[regime] += late
        else:
            self.late_tainted += late

    def _wait(self, again: list[Floats], ceiling_s: float) -> list[Floats]:
        """Lets the waits pass; what is still waiting at the deadline gives up, but for an uncertain pivot."""
        kernel = self.grid.wait(ceiling_s)
        self.seconds += float(self._asked_late.sum()) * ceiling_s / 2
        live = []
        for stained, masses in enumerate(again):
            after = self.grid.spread(masses, kernel)
            given_up = np.maximum(0.0, masses.sum(axis=1) - after.sum(axis=1))
            if stained and self.pivot:
                self._asked_late += given_up
                self.seconds += float(masses.sum()) * ceiling_s / 2
            else:
                self.seconds += self.grid.cut_wait_s(masses, ceiling_s)
                if stained:
                    self.late_tainted += float(given_up.sum())
                else:
                    self.late_clean += float(given_up.sum())
            live.append(after)
        return live

    def _ask_late(self) -> None:
        """One more attempt of a pivot whose outcome is uncertain, after the deadline."""
        for r, law in enumerate(self.laws):
            mass = float(self._asked_late[r])
            self.attempts += mass
            self.seconds += mass * law.seconds
            self.late_won += mass * law.success
            self.successes += mass * law.success
            self._asked_late[r] = mass * (1 - law.success)
