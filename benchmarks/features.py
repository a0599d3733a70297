"""How fast launch features are replayed from a long history, and made for one launch.

    python benchmarks/features.py [--attempts 1000000] [--json]

The replay: runs of five steps over 20 services and five saga types, seeded, rows in no order of time;
features are made at every launch, as training does. Floors: going through the same rows' times once in order,
and making dictionaries of the same size from values that are there already. Times are processor seconds of
this process, which uses one core; memory is the most that was resident, the rows themselves included.

The launch: a saga of 20 steps, each of another service, after 20,000 calls, at a new time each time.
"""

import argparse
import gc
import json
import random
import resource
import time
from collections.abc import Iterator
from typing import Any

from sagacity_data import (
    FEATURE_NAMES,
    AttemptOutcome,
    AttemptRow,
    CallEnded,
    CallStarted,
    LaunchFeatures,
    Row,
    RunRow,
)
from sagacity_data.replay import launches
from sagacity_engine import Compensation, Direction, FailureClass, Kind, Saga, Status, Step

BEGIN = 1_760_000_000.0
SERVICES, SAGAS, STEPS = 20, 5, 5
EVERY_S = 20.0
"""Mean time between launches: 200,000 runs last about 46 days."""

OUTCOMES = (
    *[(AttemptOutcome.SUCCEEDED, None)] * 18,
    (AttemptOutcome.FAILED, FailureClass.TRANSIENT),
    (AttemptOutcome.TIMED_OUT, None),
)


def sagas() -> list[Saga]:
    """Five saga types that share 20 services."""
    return [
        Saga(
            name=f"saga{number}",
            steps=tuple(
                Step(
                    name=f"step{step}",
                    service=f"service{(4 * number + step) % SERVICES}",
                    compensation=Compensation(cost=1.0),
                )
                for step in range(STEPS)
            ),
        )
        for number in range(SAGAS)
    ]


def history(attempts: int, types: list[Saga]) -> Iterator[Row]:
    """The rows of as many runs as it takes, launched in order, overlapping each other."""
    draw, at = random.Random(7), BEGIN
    for number in range(attempts // STEPS):
        at += draw.expovariate(1 / EVERY_S)
        yield from run(f"run{number}", draw.choice(types), at, draw)


def run(run_id: str, saga: Saga, launch_at: float, draw: random.Random) -> Iterator[Row]:
    """Five attempts, one after the other, and the run."""
    now = launch_at + 0.01
    context = {"season": draw.choice(("low", "high")), "party": draw.randint(1, 6)}
    told: dict[str, Any] = {
        "run_id": run_id, "saga": saga.name, "definition_hash": saga.definition_hash, "launch_at": launch_at,
        "arm": "author", "propensity": 1.0, "fallback": True, "advice_id": "", "model_version": "",
        "context": context,
    }  # fmt: skip
    for position, step in enumerate(saga.steps):
        outcome, failure_class = draw.choice(OUTCOMES)
        ended_at = now + draw.expovariate(1 / 20.0)
        yield AttemptRow(
            **told, step=step.name, service=step.service, region="", kind=Kind.COMPENSATABLE,
            direction=Direction.FORWARD, attempt=1, position=position, steps_done=position, in_flight=0,
            scheduled_at=now, started_at=now, timeout_s=10.0, maximum_attempts=3, ended_at=ended_at,
            outcome=outcome, error_type="", failure_class=failure_class, features={},
        )  # fmt: skip
        now = ended_at + 0.01
    status = Status.COMPLETED if draw.random() < 0.8 else Status.COMPENSATED
    yield RunRow(
        **told, ended_at=now, status=status, reason="", cost=1.0, wasted_cost=0.0, latency_s=now - launch_at
    )


def replay(attempts: int) -> dict[str, float]:
    """Seconds and memory of the replay, and of its floors."""
    types = sagas()
    rows = list(history(attempts, types))
    random.Random(8).shuffle(rows)
    gc.freeze()  # The rows are there to stay; nothing is won by looking through them again.
    before_mib = peak_mib()
    by_hash = {saga.definition_hash: saga for saga in types}
    began, runs, values = time.process_time(), 0, 0
    for launch in launches(rows, by_hash):
        runs += 1
        values += sum(len(of_step) for of_step in launch.features.values())
    took = time.process_time() - began
    return {
        "attempts": len(rows) - runs,
        "launches": runs,
        "values": values,
        "replay_s": took,
        "attempts_per_s": attempts / took,
        "rows_mib": before_mib,
        "peak_mib": peak_mib(),
        "floor_sorted_times_s": sorted_times(rows),
        "floor_dictionaries_s": dictionaries(runs * STEPS),
    }


def sorted_times(rows: list[Row]) -> float:
    """Seconds to go through every start and end in the order of time, doing nothing with it."""
    began = time.process_time()
    times = [row.launch_at for row in rows] + [row.ended_at for row in rows]
    for _ in sorted(at for at in times if at is not None):
        pass
    return time.process_time() - began


def dictionaries(count: int) -> float:
    """Seconds to put values that are there into so many dictionaries of features."""
    values = [float(number) for number in range(len(FEATURE_NAMES))]
    began = time.process_time()
    for _ in range(count):
        dict(zip(FEATURE_NAMES, values, strict=True))
    return time.process_time() - began


def peak_mib() -> float:
    """The most memory that was resident in this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def serve(launches_made: int = 5_000) -> dict[str, float]:
    """Median and 99th percentile of one launch's features, in milliseconds."""
    saga = Saga(name="big", steps=tuple(Step(name=f"step{n}", service=f"service{n}") for n in range(20)))
    features, draw, at = LaunchFeatures(), random.Random(9), BEGIN
    for number in range(20_000):
        at += draw.expovariate(0.3)
        warm(features, number % 20, at, draw)
    took = []
    for _ in range(launches_made):
        at += 1.37
        began = time.perf_counter_ns()
        features.features(saga, {"season": "high", "party": 3}, at)
        took.append(time.perf_counter_ns() - began)
    took.sort()
    floor = dictionaries(20 * 1_000) / 1_000
    return {
        "serving_ms_median": took[len(took) // 2] / 1e6,
        "serving_ms_p99": took[len(took) * 99 // 100] / 1e6,
        "floor_dictionaries_ms": floor * 1e3,
    }


def warm(features: LaunchFeatures, number: int, at: float, draw: random.Random) -> None:
    """One call of one service, started and ended."""
    outcome, failure_class = draw.choice(OUTCOMES)
    call: dict[str, Any] = {
        "run_id": f"run{at}", "saga": "big", "step": f"step{number}", "service": f"service{number}",
        "direction": Direction.FORWARD, "attempt": 1,
    }  # fmt: skip
    features.observe(CallStarted(at=at, **call))
    features.observe(
        CallEnded(at=at + 1.0, **call, outcome=outcome, failure_class=failure_class, duration_s=1.0)
    )


def main() -> None:
    """Measures, and prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--attempts", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    measured = {**serve(), **replay(asked.attempts)}
    if asked.json:
        print(json.dumps(measured))
        return
    for name, value in measured.items():
        print(f"{name:26} {value:14,.3f}")


if __name__ == "__main__":
    main()
