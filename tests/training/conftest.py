"""Histories whose true laws are known, made by the same fold of features that serves."""

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from sagacity_data import AttemptOutcome, AttemptRow, LaunchFeatures, Row, RunRow, signals
from sagacity_data.signals import order
from sagacity_engine import Direction, FailureClass, Kind, Saga, Status, Step

START = 1_760_000_000.0
CONTEXT_SEASONS = ("low", "high")
REGIONS = ("north", "south", "east")


@dataclass
class History:
    """Rows, the saga they are of, and the true P(first attempt refused) of each (run, step)."""

    saga: Saga
    rows: list[Row] = field(default_factory=list)
    truth: dict[tuple[str, str], float] = field(default_factory=dict)
    outage: dict[tuple[str, str], bool] = field(default_factory=dict)
    features: LaunchFeatures = field(default_factory=LaunchFeatures)
    end: float = START
    pending: list[Any] = field(default_factory=list)

    def catch_up(self, at: float) -> None:
        """Runs overlap: fold what had happened before `at`, and nothing later."""
        while self.pending and self.pending[0][1].at < at:
            self.features.observe(heapq.heappop(self.pending)[1])

    @property
    def attempts(self) -> list[AttemptRow]:
        return [row for row in self.rows if isinstance(row, AttemptRow)]


MakeHistory = Callable[..., History]


@pytest.fixture(scope="session")
def make_history() -> MakeHistory:
    """Return a maker of histories: (runs, seed, signal, outages, steps) -> History."""
    return simulate


def simulate(
    runs: int,
    *,
    seed: int = 1,
    signal: float = 1.0,
    outages: bool = False,
    steps: int = 8,
    timeout_s: float = 8.0,
) -> History:
    saga = Saga(
        name="trip",
        steps=tuple(
            Step(
                name=f"step{n}",
                service=f"service{n}",
                region=REGIONS[n % 3],
                start_to_close_timeout_s=timeout_s,
            )
            for n in range(steps)
        ),
    )
    history = History(saga)
    draw = random.Random(seed)
    down_until = dict.fromkeys(saga.names, -1.0)
    at = START
    for number in range(runs):
        at += draw.expovariate(1 / 300.0)
        for name in saga.names:
            if outages and at > down_until[name] and draw.random() < 0.004:
                down_until[name] = at + draw.expovariate(1 / 5_400.0)
        context: dict[str, str | float | bool] = {
            "season": draw.choice(CONTEXT_SEASONS),
            "region": draw.choice(REGIONS),
            "party": float(draw.randint(1, 6)),
            "noise": draw.gauss(0, 1),
        }
        _run(
            history,
            f"run{number:06d}",
            at,
            context,
            draw,
            down_until=down_until,
            signal=signal,
            timeout_s=timeout_s,
        )
    history.end = at + 10_000.0
    history.catch_up(history.end)
    return history


def true_logit(number: int, context: dict[str, str | float | bool], signal: float) -> float:
    """The planted law: a number, a category, and an interaction of both with the step."""
    season, party = context["season"] == "high", float(context["party"])
    moved = 0.35 * (party - 3.5)
    if season and number % 2 == 0:
        moved += 1.6
    if season and context["region"] == "south" and number in (1, 4):
        moved += 1.4
    return -3.2 + 0.15 * number + signal * moved


def _run(
    history: History,
    run_id: str,
    at: float,
    context: dict[str, str | float | bool],
    draw: random.Random,
    *,
    down_until: dict[str, float],
    signal: float,
    timeout_s: float,
) -> None:
    saga, now, rows = history.saga, at, list[Row]()
    history.catch_up(at)
    features = history.features.features(saga, context, at)
    status = Status.COMPLETED
    for number, step in enumerate(saga.steps):
        logit = true_logit(number, context, signal)
        down = now < down_until[step.name]
        history.outage[run_id, step.name] = down
        p = 1 / (1 + math.exp(-logit))
        p = 0.7 if down else p
        history.truth[run_id, step.name] = p
        repeat, failure_class = p, FailureClass.UNKNOWN
        for attempt in (1, 2, 3):
            refused = draw.random() < repeat
            if refused and failure_class is FailureClass.UNKNOWN:
                permanent = 0.5 + signal * (0.25 if context["season"] == "high" else -0.3)
                failure_class = (
                    FailureClass.PERMANENT if draw.random() < permanent else FailureClass.TRANSIENT
                )
                failure_class = FailureClass.CASCADING if down else failure_class
                repeat = {"permanent": 1.0, "transient": 0.1, "cascading": 0.7}[failure_class.value]
            slow = 0.5 if context["region"] == "south" else 0.0
            took = draw.lognormvariate(-0.5 + 0.1 * number + signal * slow, 0.6)
            took = draw.lognormvariate(-1.5, 0.4) if refused else took
            outcome = AttemptOutcome.FAILED if refused else AttemptOutcome.SUCCEEDED
            if took > timeout_s and not refused:
                outcome, took = AttemptOutcome.TIMED_OUT, timeout_s
            rows.append(
                AttemptRow(
                    run_id=run_id, saga=saga.name, definition_hash=saga.definition_hash, step=step.name,
                    service=step.service, region=step.region, kind=Kind.COMPENSATABLE,
                    direction=Direction.FORWARD, attempt=attempt, position=number, steps_done=number,
                    in_flight=0, scheduled_at=now, started_at=now, timeout_s=timeout_s, maximum_attempts=3,
                    ended_at=now + took, outcome=outcome, error_type="Refused" if refused else "",
                    failure_class=failure_class if refused else None, launch_at=at, arm="author",
                    propensity=1.0, fallback=True, advice_id="", model_version="", context=context,
                    features=features[step.name],
                )
            )  # fmt: skip
            now += took + 0.5
            if outcome is AttemptOutcome.SUCCEEDED:
                break
        if outcome is not AttemptOutcome.SUCCEEDED:
            status = Status.COMPENSATED
            break
    rows.append(
        RunRow(
            run_id=run_id, saga=saga.name, definition_hash=saga.definition_hash, launch_at=at, ended_at=now,
            status=status, reason="", arm="author", propensity=1.0, fallback=True, advice_id="",
            model_version="", cost=0.0, wasted_cost=0.0, latency_s=now - at, context=context,
        )
    )  # fmt: skip
    history.rows += rows
    for each in signals(rows):
        heapq.heappush(history.pending, (order(each), each))
