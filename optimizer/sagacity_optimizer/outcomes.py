"""What one step does under one choice of timeout, attempts and strategies: closed forms, no simulation.

A step is a mixture of regimes (`sagacity_models.forecast`); within a regime attempts are independent. One
attempt succeeds, is refused with a class, or ends UNKNOWN because its duration (of a success or of a
refusal) exceeds the timeout. While attempts are left it is tried again, after a wait uniform in [0,
ceiling], if its class retries; an UNKNOWN outcome also needs an idempotent or read-only step. Let `clean`
be the probability that attempt k starts and no earlier one was UNKNOWN, `tainted` that it starts after an
UNKNOWN one:

    clean_(k+1)   = clean_k * (definite mass that retries)
    tainted_(k+1) = tainted_k * (mass that retries once tainted) + clean_k * (unknown mass that retries)

Then E[attempts] = sum_k (clean_k + tainted_k), P(success) = success mass * E[attempts], the k-th wait is
half its ceiling times the mass that gets that far, and a class that retries ends the step at attempt m
only, one that does not at every attempt. All averaged over the regimes. A tainted pivot retries whatever
its strategies say, for nothing else can settle it; a read-only step leaves no effect, so it is never
tainted.

`non_retryable_error_types` are ignored: they name error types, and forecasts know only failure classes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from sagacity_engine.errors import FailureClass
from sagacity_engine.parts import Compensation, Kind
from sagacity_engine.plan import StepPlan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Step
from sagacity_engine.strategy import OnFailure
from sagacity_models.forecast import Latency, StepForecast, UndoForecast

CLASSES = tuple(FailureClass)
"""The order of every per-class tuple here."""

UNKNOWN = CLASSES.index(FailureClass.UNKNOWN)
ByClass = tuple[float, float, float, float]
Flags = tuple[bool, bool, bool, bool]
_NEGLIGIBLE = 1e-18


class AttemptLaw(NamedTuple):
    """One attempt within one regime under a timeout; the probabilities sum to 1."""

    weight: float  # of the regime
    success: float
    refused: ByClass
    unknown: float
    seconds: float  # expected, cut at the timeout


class StepLaw(NamedTuple):
    """One step from its start to its final outcome. Probabilities sum to 1; times in seconds."""

    success: float
    attempts: float
    seconds: float
    money: float
    refused: ByClass  # final failure by class of the last attempt, no attempt UNKNOWN
    tainted: ByClass  # the same with at least one UNKNOWN attempt: the effect may have happened
    worst_s: float

    @property
    def failure(self) -> float:
        """P(the step finally fails)."""
        return sum(self.refused) + sum(self.tainted)


class UndoLaw(NamedTuple):
    """One compensation from its start to success or exhaustion."""

    failure: float  # P(its attempts are exhausted)
    attempts: float
    seconds: float
    money: float
    worst_s: float


NO_UNDO = UndoLaw(0.0, 0.0, 0.0, 0.0, 0.0)


class Cuts:
    """P(duration > timeout) and E[min(duration, timeout)], each computed once per latency and timeout."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, float], tuple[float, float]] = {}
        self._kept: list[Latency] = []  # alive, so that no identity is used twice

    def __call__(self, latency: Latency, timeout_s: float) -> tuple[float, float]:
        """(survival, mean in seconds) at `timeout_s`."""
        key = id(latency), timeout_s
        values = self._known.get(key)
        if values is None:
            values = self._known[key] = (latency.survival(timeout_s), latency.mean_until(timeout_s))
            self._kept.append(latency)
        return values


def step_law(step: Step, step_plan: StepPlan, forecast: StepForecast, cuts: Cuts | None = None) -> StepLaw:
    """The law of `step` when it is run as `step_plan` says."""
    attempts = attempt_laws(forecast, step_plan.start_to_close_timeout_s, cuts)
    rules = retry_rules(step.kind, step.idempotent, step_plan.on_failure)
    return law_of_attempts(attempts, rules, step_plan.retry, step_plan.start_to_close_timeout_s, step.cost)


class RetryRules(NamedTuple):
    """What is tried again while attempts are left, per class, before and after an UNKNOWN attempt."""

    clean: Flags
    tainted: Flags
    unknown: bool  # after an UNKNOWN outcome of a clean step
    unknown_again: bool  # after an UNKNOWN outcome of a tainted step
    taints: bool  # whether an UNKNOWN outcome may have left an effect


@lru_cache(maxsize=4096)
def retry_rules(kind: Kind, idempotent: bool, on_failure: OnFailure) -> RetryRules:
    """The engine's rules for one step (`sagacity_engine.machine.verdict`) as flags."""
    a, b, c, d = (on_failure.of(failure_class).retries for failure_class in CLASSES)
    clean = (a, b, c, d)
    if kind is Kind.READ_ONLY:
        return RetryRules(clean, clean, clean[UNKNOWN], clean[UNKNOWN], taints=False)
    if kind is Kind.PIVOT:
        return RetryRules(clean, (True, True, True, True), idempotent, idempotent, taints=True)
    again = idempotent and clean[UNKNOWN]
    return RetryRules(clean, clean, again, again, taints=True)


def law_of_attempts(
    regimes: tuple[AttemptLaw, ...], rules: RetryRules, retry: RetryPolicy, timeout_s: float, cost: float
) -> StepLaw:
    """The closed forms of the module docstring, for attempts whose law is already known."""
    success = tries = seconds = 0.0
    refused, tainted = [0.0] * 4, [0.0] * 4
    for weight, wins, refusals, unknown, attempt_s in regimes:
        starts, stained, last, stained_last, waits = _chains(refusals, unknown, rules, retry)
        total = starts + stained
        success += weight * wins * total
        tries += weight * total
        seconds += weight * (total * attempt_s + waits)
        for c, mass in enumerate(refusals):
            if mass > 0.0:
                refused[c] += weight * mass * (last if rules.clean[c] else starts)
                tainted[c] += weight * mass * (stained_last if rules.tainted[c] else stained)
        lost = unknown * (last if rules.unknown else starts)
        lost += unknown * (stained_last if rules.unknown_again else stained)
        (tainted if rules.taints else refused)[UNKNOWN] += weight * lost
    return StepLaw(
        success,
        tries,
        seconds,
        tries * cost,
        (refused[0], refused[1], refused[2], refused[3]),
        (tainted[0], tainted[1], tainted[2], tainted[3]),
        retry.maximum_attempts * timeout_s + worst_waits_s(retry),
    )


def undo_law(compensation: Compensation | None, forecast: UndoForecast) -> UndoLaw:
    """The law of a compensation: a timeout counts as a failed attempt and is retried."""
    if compensation is None:
        return NO_UNDO
    timeout_s, retry = compensation.start_to_close_timeout_s, compensation.retry
    fails = 1.0 - (1.0 - forecast.failure_probability) * (1.0 - forecast.latency.survival(timeout_s))
    tries, last, waits = _powers(fails, retry)
    return UndoLaw(
        fails * last,
        tries,
        tries * forecast.latency.mean_until(timeout_s) + waits,
        tries * compensation.cost,
        retry.maximum_attempts * timeout_s + worst_waits_s(retry),
    )


def attempt_laws(
    forecast: StepForecast, timeout_s: float, cuts: Cuts | None = None
) -> tuple[AttemptLaw, ...]:
    """One attempt per regime under `timeout_s`."""
    cut = cuts or Cuts()
    laws = []
    for regime in forecast.regimes:
        late, win_s = cut(regime.latency, timeout_s)
        late_refusal, refusal_s = cut(regime.failure_latency, timeout_s)
        masses = [regime.failures.get(c, 0.0) for c in CLASSES]
        fails = sum(masses)
        wins = max(0.0, 1.0 - fails)
        seen = 1.0 - late_refusal
        laws.append(
            AttemptLaw(
                regime.weight,
                wins * (1.0 - late),
                (masses[0] * seen, masses[1] * seen, masses[2] * seen, masses[3] * seen),
                wins * late + fails * late_refusal,
                wins * win_s + fails * refusal_s,
            )
        )
    return tuple(laws)


@lru_cache(maxsize=1024)
def parallel_flags(on_failure: OnFailure) -> Flags:
    """Per class, whether a final failure of that class undoes side by side."""
    a, b, c, d = (on_failure.of(failure_class).undoes_in_parallel for failure_class in CLASSES)
    return a, b, c, d


@lru_cache(maxsize=4096)
def worst_waits_s(retry: RetryPolicy) -> float:
    """The longest all waits between the attempts can take, in seconds."""
    return sum(retry.ceiling_s(k) for k in range(1, retry.maximum_attempts))


@lru_cache(maxsize=4096)
def half_ceilings_s(retry: RetryPolicy) -> tuple[float, ...]:
    """The mean wait after failed attempt 1, 2, ..., in seconds."""
    return tuple(retry.ceiling_s(k) / 2 for k in range(1, retry.maximum_attempts))


def _chains(
    refusals: ByClass, unknown: float, rules: RetryRules, retry: RetryPolicy
) -> tuple[float, float, float, float, float]:
    """(sum of clean_k, sum of tainted_k, clean_m, tainted_m, expected waits in seconds) for m attempts."""
    definite = sum(mass for mass, again in zip(refusals, rules.clean, strict=True) if again)
    stains = unknown if rules.unknown else 0.0
    if not rules.taints or stains == 0.0:
        starts, last, waits = _powers(definite + stains, retry)
        return starts, 0.0, last, 0.0, waits
    again = sum(mass for mass, flag in zip(refusals, rules.tainted, strict=True) if flag)
    again += unknown if rules.unknown_again else 0.0
    clean, stained, starts, stained_starts, waits = 1.0, 0.0, 1.0, 0.0, 0.0
    for half_s in half_ceilings_s(retry):
        clean, stained = clean * definite, stained * again + clean * stains
        starts += clean
        stained_starts += stained
        waits += (clean + stained) * half_s
        if clean + stained < _NEGLIGIBLE:
            return starts, stained_starts, 0.0, 0.0, waits
    return starts, stained_starts, clean, stained, waits


def _powers(again: float, retry: RetryPolicy) -> tuple[float, float, float]:
    """(sum of again^k over k < m, again^(m-1), expected waits in seconds) for m attempts."""
    if again <= 0.0 or retry.maximum_attempts == 1:
        return 1.0, float(retry.maximum_attempts == 1), 0.0
    total, live, waits = 1.0, 1.0, 0.0
    for half_s in half_ceilings_s(retry):
        live *= again
        total += live
        waits += live * half_s
        if live < _NEGLIGIBLE:
            return total, 0.0, waits
    return total, live, waits
