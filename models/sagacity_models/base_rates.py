"""Mean rates per step: what a forecast says when it knows nothing about this particular run.

They are the fallback of every learned model, what a model must beat to be used, and the whole knowledge of
the policy that optimises without learning. Few cases are drawn towards what is known more widely:

    a step -> its service, in all saga types -> its saga type -> everything -> a weak stated prior

so that a step seen twice is never called perfect. A step nobody has seen has the rates of its service, else
of its saga type, else of everything, and they say which (`level`) and how much that was (`first_attempts`).
A level that holds nothing but the step itself is passed over: the same evidence must not count twice.

A timed-out attempt counts as not refused: what became of it is unknown, refusals are quick, and its
duration is treated as censored. How far retries help follows from the step's `HealthLaw`. Plans act on the
class that an engine *sees*, so refusals that hindsight knows to be permanent carry how they were seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sagacity_engine.errors import FailureClass
from sagacity_models.censored import Durations, fit_latency
from sagacity_models.forecast import Latency, Regime, UndoForecast
from sagacity_models.health import HealthLaw, Met, fit_health
from sagacity_models.shrinkage import shrunk, shrunk_shares, strength_of

CLASSES: Final = (FailureClass.TRANSIENT, FailureClass.PERMANENT, FailureClass.CASCADING)
"""The classes that hindsight can tell apart."""

PRIOR_REFUSAL: Final = 0.05
PRIOR_UNDO_FAILURE: Final = 0.02
PRIOR_LATENCY: Final = Latency(0.5, 1.0)
PRIOR_CASES: Final = 4.0
"""How many cases, or calls, a prior stated above is worth."""
SHARES_CASES: Final = 10.0
LATENCY_CALLS: Final = 5.0


_AS_PERMANENT: Final = {
    **dict.fromkeys(FailureClass, 0.0),
    FailureClass.PERMANENT: 1.0,
}


def step_key(saga: str, step: str) -> str:
    """One name for a step of a saga; names hold no slash, so keys are unique."""
    return f"{saga}/{step}"


@dataclass(slots=True)
class StepEvidence:
    """Counts of what happened at one step; `training` fills it from the log."""

    first_attempts: int = 0
    first_refusals: int = 0
    classes: Counter[FailureClass] = field(default_factory=Counter)
    permanent_seen: Counter[FailureClass] = field(default_factory=Counter)
    """As which class the engine saw refusals that hindsight calls permanent."""
    met: Counter[Met] = field(default_factory=Counter)
    """What runs met at the step, attempt by attempt."""
    durations: Durations = field(default_factory=Durations)
    refusal_durations: Durations = field(default_factory=Durations)
    undos: int = 0
    undo_failures: int = 0
    undo_durations: Durations = field(default_factory=Durations)

    def __add__(self, other: StepEvidence) -> StepEvidence:
        return StepEvidence(
            *(getattr(self, name) + getattr(other, name) for name in StepEvidence.__dataclass_fields__)
        )


class Level(StrEnum):
    """How widely the cases behind a rate were gathered."""

    STEP = "step"
    SERVICE = "service"
    SAGA = "saga"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRates:
    """The rates of one step, from `first_attempts` cases of it or, if it is unknown, of its `level`."""

    refusal: float
    shares: Mapping[FailureClass, float]
    permanent_seen: Mapping[FailureClass, float]
    health: HealthLaw
    latency: Latency
    refusal_latency: Latency
    undo: UndoForecast
    first_attempts: int = 0
    level: Level = Level.STEP

    def regimes(
        self,
        refusal: float | None = None,
        shares: Mapping[FailureClass, float] | None = None,
        latency: Latency | None = None,
        refusal_latency: Latency | None = None,
    ) -> tuple[Regime, ...]:
        """The regimes of these rates, or of a model's numbers in place of some of them."""
        told = self.shares if shares is None else shares
        return self.health.regimes(
            self.refusal if refusal is None else refusal,
            told.get(FailureClass.PERMANENT, 0.0),
            self.latency if latency is None else latency,
            self.refusal_latency if refusal_latency is None else refusal_latency,
            self.permanent_seen,
        )


@dataclass(frozen=True, slots=True)
class BaseRates:
    """Rates by step key, by service and by saga type, and those of a step of which nothing is known."""

    steps: Mapping[str, StepRates]
    pooled: StepRates
    services: Mapping[str, StepRates] = field(default_factory=dict)
    sagas: Mapping[str, StepRates] = field(default_factory=dict)

    def of(self, saga: str, step: str, service: str = "") -> StepRates:
        """The step's rates, or the nearest that are known."""
        return self.of_key(step_key(saga, step), service)

    def of_key(self, key: str, service: str = "") -> StepRates:
        """The same by the step's key."""
        return (
            self.steps.get(key) or self.services.get(service) or self.sagas.get(saga_of(key)) or self.pooled
        )

    @classmethod
    def estimate(
        cls, evidence: Mapping[str, StepEvidence], services: Mapping[str, str] | None = None
    ) -> BaseRates:
        """The shrunk rates of steps, by `step_key`; `services` tells whose service each step calls."""
        told = services or {}
        strengths = (
            strength_of([(each.first_refusals, each.first_attempts) for each in evidence.values()]),
            strength_of([(each.undo_failures, each.undos) for each in evidence.values()]),
        )
        pooled = _pooled(_sum(evidence, evidence))
        by_saga, by_service = grouped(evidence, saga_of), grouped(evidence, lambda key: told.get(key, ""))
        sagas = {
            saga: _rates(_sum(evidence, keys), pooled, *strengths, level=Level.SAGA)
            for saga, keys in by_saga.items()
        }
        owned = {
            service: _rates(_sum(evidence, keys), pooled, *strengths, level=Level.SERVICE)
            for service, keys in by_service.items()
        }
        steps: dict[str, StepRates] = {}
        for key in sorted(evidence):
            parent, alike = pooled, by_saga[saga_of(key)]
            if 1 < len(alike) < len(evidence):
                parent = sagas[saga_of(key)]
            served = by_service.get(told.get(key, ""), ())
            if 1 < len(served) < len(evidence):
                parent = _rates(_sum(evidence, served), parent, *strengths)
            steps[key] = _rates(evidence[key], parent, *strengths)
        return cls(steps, pooled, owned, sagas)

    def as_json(self) -> dict[str, Any]:
        """The rates as JSON values; `from_json` reads them back."""
        return {
            "pooled": _rates_as_json(self.pooled),
            **{
                level: {key: _rates_as_json(rates) for key, rates in known.items()}
                for level, known in zip(_LEVELS, (self.steps, self.services, self.sagas), strict=True)
            },
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> BaseRates:
        """The rates that `as_json` wrote."""
        steps, services, sagas = (
            {str(key): _rates_from_json(rates) for key, rates in written[level].items()} for level in _LEVELS
        )
        return cls(steps, _rates_from_json(written["pooled"]), services, sagas)


_LEVELS: Final = ("steps", "services", "sagas")


def saga_of(key: str) -> str:
    """The saga type in a step's key."""
    return key.partition("/")[0]


def grouped(keys: Iterable[str], group: Callable[[str], str]) -> dict[str, list[str]]:
    """The keys of each group, sorted; those of no group ("") are left out."""
    groups: dict[str, list[str]] = {}
    for key in sorted(keys):
        if name := group(key):
            groups.setdefault(name, []).append(key)
    return groups


def _sum(evidence: Mapping[str, StepEvidence], keys: Iterable[str]) -> StepEvidence:
    return sum((evidence[key] for key in sorted(keys)), StepEvidence())


def _pooled(whole: StepEvidence) -> StepRates:
    latency = fit_latency(whole.durations, PRIOR_LATENCY, PRIOR_CASES)
    return StepRates(
        refusal=shrunk(whole.first_refusals, whole.first_attempts, PRIOR_REFUSAL, PRIOR_CASES),
        shares=_shares(whole),
        permanent_seen=shrunk_shares(whole.permanent_seen, _AS_PERMANENT, 1.0),
        health=fit_health(whole.met),
        latency=latency,
        refusal_latency=fit_latency(whole.refusal_durations, latency, LATENCY_CALLS),
        undo=UndoForecast(
            shrunk(whole.undo_failures, whole.undos, PRIOR_UNDO_FAILURE, PRIOR_CASES),
            fit_latency(whole.undo_durations, latency, LATENCY_CALLS),
        ),
        first_attempts=whole.first_attempts,
        level=Level.ALL,
    )


def _shares(whole: StepEvidence) -> dict[FailureClass, float]:
    """Shares of the classes that hindsight told; all unknown where it told none."""
    told = sum(whole.classes[each] for each in CLASSES)
    if told == 0 and whole.first_refusals:
        return {FailureClass.UNKNOWN: 1.0}
    return shrunk_shares(whole.classes, dict.fromkeys(CLASSES, 1 / len(CLASSES)), PRIOR_CASES)


def _rates(
    evidence: StepEvidence,
    pooled: StepRates,
    refusals: float,
    undos: float,
    *,
    level: Level = Level.STEP,
) -> StepRates:
    return StepRates(
        refusal=shrunk(evidence.first_refusals, evidence.first_attempts, pooled.refusal, refusals),
        shares=shrunk_shares(evidence.classes, pooled.shares, SHARES_CASES),
        permanent_seen=shrunk_shares(evidence.permanent_seen, pooled.permanent_seen, 1.0),
        health=fit_health(evidence.met, pooled.health),
        latency=fit_latency(evidence.durations, pooled.latency, LATENCY_CALLS),
        refusal_latency=fit_latency(evidence.refusal_durations, pooled.refusal_latency, LATENCY_CALLS),
        undo=UndoForecast(
            shrunk(evidence.undo_failures, evidence.undos, pooled.undo.failure_probability, undos),
            fit_latency(evidence.undo_durations, pooled.undo.latency, LATENCY_CALLS),
        ),
        first_attempts=evidence.first_attempts,
        level=level,
    )


def _rates_as_json(rates: StepRates) -> dict[str, Any]:
    return {
        "refusal": rates.refusal,
        "shares": dict(rates.shares),
        "permanent_seen": dict(rates.permanent_seen),
        "health": rates.health.as_json(),
        "latency": _latency_as_json(rates.latency),
        "refusal_latency": _latency_as_json(rates.refusal_latency),
        "undo_failure": rates.undo.failure_probability,
        "undo_latency": _latency_as_json(rates.undo.latency),
        "first_attempts": rates.first_attempts,
        "level": rates.level,
    }


def _rates_from_json(written: Mapping[str, Any]) -> StepRates:
    return StepRates(
        refusal=float(written["refusal"]),
        shares=_by_class(written["shares"]),
        permanent_seen=_by_class(written["permanent_seen"]),
        health=HealthLaw.from_json(written["health"]),
        latency=_latency_from_json(written["latency"]),
        refusal_latency=_latency_from_json(written["refusal_latency"]),
        undo=UndoForecast(float(written["undo_failure"]), _latency_from_json(written["undo_latency"])),
        first_attempts=int(written["first_attempts"]),
        level=Level(written["level"]),
    )


def _by_class(written: Mapping[str, Any]) -> dict[FailureClass, float]:
    return {FailureClass(key): float(value) for key, value in written.items()}


def _latency_as_json(latency: Latency) -> list[float]:
    return [latency.median_s, latency.sigma]


def _latency_from_json(written: Any) -> Latency:
    median_s, sigma = map(float, written)
    if not (median_s > 0 and sigma >= 0):
        raise ValueError(f"[{median_s!r}, {sigma!r}] is no latency")
    return Latency(median_s, sigma)
