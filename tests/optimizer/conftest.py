"""Random sagas and forecasts, and a simulator written from the engine's rules alone."""

import heapq
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from sagacity_engine.errors import FailureClass
from sagacity_engine.parts import Compensation, CostPolicy, Kind, SagaFreedom, StepFreedom
from sagacity_engine.plan import Plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_models.forecast import (
    Latency,
    Regime,
    SagaForecast,
    StepForecast,
    UndoForecast,
)
from sagacity_models.health import HealthLaw

HIDDEN = "timed out"
ALL_FREEDOMS = SagaFreedom(reorder=True, timeouts=True, retries=True, compensation=True)


@dataclass(frozen=True)
class Case:
    """A saga and a forecast for it."""

    saga: Saga
    forecast: SagaForecast


@dataclass(frozen=True)
class RunResult:
    """What one simulated run came to."""

    cost: float
    end: str
    seconds: float
    wasted: float
    undo_cost: float
    late: bool


@pytest.fixture(scope="session")
def random_case() -> Callable[..., Case]:
    """Builds a random legal saga with every kind of step, and a forecast, from a seed."""
    return _case


@pytest.fixture(scope="session")
def plain_case() -> Callable[..., Case]:
    """Builds a saga of compensatable one-attempt steps from (cost, failure, undo cost, after) rows."""
    return _plain


@pytest.fixture(scope="session")
def simulate() -> Callable[..., list[RunResult]]:
    """Runs a plan many times, attempt by attempt, from a seed."""

    def runs(case: Case, plan: Plan, count: int, seed: int) -> list[RunResult]:
        generator = random.Random(seed)
        return [_Simulation(case, plan, generator).run() for _ in range(count)]

    return runs


def _case(
    seed: int,
    *,
    steps: tuple[int, int] = (2, 7),
    density: float = 0.25,
    pivot: bool | None = None,
    optional: float = 0.15,
    deadline: bool = False,
    freedom: SagaFreedom = ALL_FREEDOMS,
) -> Case:
    generator = random.Random(seed)
    count = generator.randint(*steps)
    has_pivot = generator.random() < 0.7 if pivot is None else pivot
    place = count * 2 // 3 if has_pivot else count
    built = tuple(_step(generator, i, place, density, optional) for i in range(count))
    saga = Saga(
        name="random",
        steps=built,
        freedom=freedom,
        deadline_s=generator.uniform(3, 20) if deadline else None,
        policy=CostPolicy(
            latency_cost_per_s=generator.choice([0.0, 0.05, 0.3]), failure_penalty=generator.uniform(0, 40)
        ),
    )
    return Case(saga, SagaForecast(steps={s.name: _forecast(generator) for s in built}, model_version="test"))


def _step(generator: random.Random, i: int, pivot: int, density: float, optional: float) -> Step:
    if i > pivot:
        kind = Kind.RETRIABLE
    elif i == pivot:
        kind = Kind.PIVOT
    else:
        kind = generator.choice([Kind.COMPENSATABLE] * 5 + [Kind.READ_ONLY, Kind.RETRIABLE])
    undone = kind is Kind.COMPENSATABLE or (kind is Kind.RETRIABLE and i < pivot)
    undo = Compensation(
        cost=generator.uniform(0.5, 6),
        start_to_close_timeout_s=generator.choice([5.0, 10.0]),
        retry=RetryPolicy(maximum_attempts=generator.choice([1, 2, 10])),
    )
    return Step(
        name=f"s{i}",
        kind=kind,
        after=tuple(f"s{j}" for j in range(i) if generator.random() < density),
        cost=generator.uniform(0.1, 4),
        idempotent=generator.random() < 0.7,
        optional=kind is Kind.COMPENSATABLE and generator.random() < optional,
        compensation=undo if undone else None,
        start_to_close_timeout_s=generator.choice([4.0, 8.0, 10.0]),
        retry=RetryPolicy(maximum_attempts=generator.choice([1, 2, 3, 4])),
        freedom=StepFreedom(start_to_close_timeout_s=(1.0, 30.0), maximum_attempts=(1, 6)),
    )


def _forecast(generator: random.Random) -> StepForecast:
    """A service that is ill or well, with refusals of every class, and requests that may be hopeless."""
    seen = [[generator.random() for _ in FailureClass] for _ in range(2)]
    ill_seen, well_seen = (
        {c: w / sum(weights) for c, w in zip(FailureClass, weights, strict=True)} for weights in seen
    )
    law = HealthLaw(generator.uniform(0.5, 0.95), generator.uniform(0, 0.1), 0.1, ill_seen, well_seen)
    latency = Latency(generator.uniform(0.3, 3), generator.uniform(0.2, 0.9))
    failure_latency = Latency(generator.uniform(0.1, 2), generator.uniform(0.2, 0.9))
    return StepForecast(
        regimes=law.regimes(generator.uniform(0, 0.3), generator.random(), latency, failure_latency),
        undo=UndoForecast(generator.uniform(0, 0.3), Latency(generator.uniform(0.3, 3), 0.6)),
    )


def _plain(
    rows: list[tuple[float, float, float, tuple[int, ...]]], *, penalty: float = 0.0, pivot: int | None = None
) -> Case:
    steps, forecasts = [], {}
    never = UndoForecast(0.0, Latency(0.001, 0.0))
    for i, (cost, failure, undo_cost, after) in enumerate(rows):
        name = f"s{i}"
        step_kind = Kind.PIVOT if i == pivot else Kind.COMPENSATABLE
        steps.append(
            Step(
                name=name,
                kind=step_kind,
                cost=cost,
                after=tuple(f"s{j}" for j in after),
                retry=RetryPolicy(maximum_attempts=1),
                compensation=None if i == pivot else Compensation(cost=undo_cost),
            )
        )
        quick = Latency(0.001, 0.0)
        regime = Regime(1.0, {FailureClass.TRANSIENT: failure}, quick, quick)
        forecasts[name] = StepForecast(regimes=(regime,), undo=never)
    saga = Saga(
        name="plain",
        steps=tuple(steps),
        freedom=ALL_FREEDOMS,
        policy=CostPolicy(failure_penalty=penalty),
    )
    return Case(saga, SagaForecast(steps=forecasts))


class _Simulation:
    """One run, event by event, straight from the engine's rules; it shares no formula with the optimizer."""

    def __init__(self, case: Case, plan: Plan, generator: random.Random) -> None:
        self.saga, self.plan, self.generator = case.saga, plan, generator
        self.forecasts = case.forecast.steps
        self.regime = {
            n: generator.choices(f.regimes, [r.weight for r in f.regimes])[0]
            for n, f in self.forecasts.items()
        }
        names = case.saga.names
        self.phase = dict.fromkeys(names, "pending")
        self.attempts, self.failed, self.undos = (dict.fromkeys(names, 0) for _ in range(3))
        self.tainted = dict.fromkeys(names, False)
        self.rank: dict[str, int] = {}
        self.queue: list[tuple[float, int, str, str]] = []
        self.events = 0
        self.now = self.cost = self.undo_cost = 0.0
        self.turned = self.attention = self.late = False
        self.parallel = True

    def run(self) -> RunResult:
        if self.saga.deadline_s is not None:
            self._at(self.saga.deadline_s, "deadline", "")
        self._proceed()
        while any(p in ("running", "backing off", "undoing", "undo off") for p in self.phase.values()):
            self.now, _, what, name = heapq.heappop(self.queue)
            self._happen(what, name)
            self._proceed()
        return self._result()

    def _result(self) -> RunResult:
        stands = self._aborting() and any(
            phase in ("succeeded", "uncertain") and self.saga.by_name[n].kind is not Kind.READ_ONLY
            for n, phase in self.phase.items()
        )
        if self.attention or stands or "undo failed" in self.phase.values():
            end = "attention"
        else:
            end = "compensated" if self._aborting() else "completed"
        steps = self.saga.by_name
        wasted = self.undo_cost + sum(
            steps[n].cost * (self.attempts[n] if self.undos[n] else self.failed[n]) for n in steps
        )
        policy = self.saga.policy
        penalty = 0.0 if end == "completed" else policy.failure_penalty
        cost = self.cost + policy.latency_cost_per_s * self.now + penalty
        return RunResult(cost, end, self.now, wasted, self.undo_cost, self.late and self._aborting())

    def _at(self, when: float, what: str, name: str) -> None:
        self.events += 1
        heapq.heappush(self.queue, (when, self.events, what, name))

    def _duration(self, latency: Latency) -> float:
        if not latency.shape.is_normal:
            return latency.quantile(1 - self.generator.random())
        return latency.median_s * math.exp(latency.sigma * self.generator.gauss(0, 1))

    def _committed(self) -> bool:
        return self.saga.pivot is not None and self.phase[self.saga.pivot.name] == "succeeded"

    def _aborting(self) -> bool:
        return self.turned and not self._committed()

    def _start(self, name: str) -> None:
        self.phase[name] = "running"
        self.attempts[name] += 1
        self.rank.setdefault(name, len(self.rank))
        self.cost += self.saga.by_name[name].cost
        regime, draw, refused = self.regime[name], self.generator.random(), None
        for failure_class, probability in regime.failures.items():
            if 0 <= draw < probability:
                refused = failure_class
            draw -= probability
        took = self._duration(regime.failure_latency if refused else regime.latency)
        timeout_s = self.plan.by_name[name].start_to_close_timeout_s
        if took > timeout_s:
            self._at(self.now + timeout_s, HIDDEN, name)
        else:
            self._at(self.now + took, refused.value if refused else "succeeded", name)

    def _start_undo(self, name: str) -> None:
        undo, forecast = self.saga.by_name[name].compensation, self.forecasts[name].undo
        assert undo is not None
        self.phase[name] = "undoing"
        self.undos[name] += 1
        self.cost += undo.cost
        self.undo_cost += undo.cost
        took = self._duration(forecast.latency)
        fails = self.generator.random() < forecast.failure_probability
        if took > undo.start_to_close_timeout_s:
            took, fails = undo.start_to_close_timeout_s, True
        self._at(self.now + took, "undo lost" if fails else "undone", name)

    def _happen(self, what: str, name: str) -> None:
        if what == "deadline":
            self.late = not self._committed() and not self.turned
            self._turn_back(parallel=True)
        elif what in ("succeeded", "undone"):
            self.phase[name] = what
        elif what == "again":
            if self.phase[name] == "backing off":
                self._start(name)
        elif what == "undo again":
            self._start_undo(name)
        elif what == "undo lost":
            self._lose_undo(name)
        else:
            self._fail(name, what)

    def _lose_undo(self, name: str) -> None:
        undo = self.saga.by_name[name].compensation
        assert undo is not None
        if self.undos[name] < undo.retry.maximum_attempts:
            self.phase[name] = "undo off"
            wait = self.generator.random() * undo.retry.ceiling_s(self.undos[name])
            self._at(self.now + wait, "undo again", name)
        else:
            self.phase[name] = "undo failed"

    def _fail(self, name: str, what: str) -> None:
        """`what` is the class of a refusal, or says that a timeout hid the outcome."""
        step, plan = self.saga.by_name[name], self.plan.by_name[name]
        hidden = what == HIDDEN
        self.failed[name] += 1
        read_only = step.kind is Kind.READ_ONLY
        self.tainted[name] |= hidden and not read_only
        strategy = plan.on_failure.of(FailureClass.UNKNOWN if hidden else FailureClass(what))
        owed = step.kind is Kind.PIVOT and self.tainted[name]
        may = not hidden or step.idempotent or read_only
        left = self.attempts[name] < plan.retry.maximum_attempts
        if may and left and (owed or (strategy.retries and not self._aborting())):
            self.phase[name] = "backing off"
            wait = self.generator.random() * plan.retry.ceiling_s(self.attempts[name])
            self._at(self.now + wait, "again", name)
            return
        self.phase[name] = "uncertain" if self.tainted[name] else "skipped" if step.optional else "failed"
        if step.optional:
            return
        if owed or self._committed():
            self.attention = True
        else:
            self._turn_back(parallel=strategy.undoes_in_parallel)

    def _turn_back(self, *, parallel: bool) -> None:
        if self._committed() or self.turned:
            return
        self.turned, self.parallel = True, parallel
        for name, phase in self.phase.items():
            if phase == "backing off":
                if not self.tainted[name]:
                    self.phase[name] = "failed"
                elif self.saga.by_name[name].kind is not Kind.PIVOT:
                    self.phase[name] = "uncertain"

    def _owed(self, name: str) -> bool:
        return self.saga.by_name[name].compensation is not None and self.phase[name] in (
            "succeeded",
            "uncertain",
            "undoing",
            "undo off",
        )

    def _settled(self, name: str) -> bool:
        if self.phase[name] in ("succeeded", "skipped"):
            return True
        return self.saga.by_name[name].optional and self.phase[name] in ("undone", "undo failed")

    def _proceed(self) -> None:
        if not self._aborting():
            for name in self.saga.names:
                if self.phase[name] == "pending" and all(
                    self._settled(b) for b in self.plan.by_name[name].after
                ):
                    self._start(name)
            for name in self.saga.names:
                step = self.saga.by_name[name]
                if self.phase[name] == "uncertain" and step.optional and self._owed(name):
                    self._start_undo(name)
            return
        if self.attention or any(p in ("running", "backing off") for p in self.phase.values()):
            return
        for name in list(self._next_undos()):
            self._start_undo(name)

    def _next_undos(self) -> Iterator[str]:
        owed = [n for n in self.saga.names if self._owed(n)]
        if not self.parallel and owed:
            owed = [max(owed, key=lambda n: self.rank[n])]
        for name in owed:
            waits = any(self._owed(later) for later in self.saga.dependants[name])
            if self.phase[name] not in ("undoing", "undo off") and not waits:
                yield name
