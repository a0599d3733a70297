"""How much of what can be known of a step's failure its forecasts know, in worlds whose truth is known.

    python -m benchmarks.step_failure [--attempts 200000] [--tested 60000] [--world NAME] [--json]

Runs are simulated step by step, up to three attempts each, and the chance that a first attempt fails is
written in a law that nothing but this script reads; no service has a hidden state. The models learn from the
first runs as any history would teach them (launch features by replay, `fit_bundle`), and the bundle that
would be served forecasts the first attempts of the runs after those.

    recovered = (loss of constants - loss of the forecasts) / (loss of constants - loss of the true chances)

with log losses; constants are each step's own mean rate in training, which is the stricter choice, for
one rate for all would leave what any table of means recovers to be counted as knowledge. The interval is
that of a bootstrap by runs. ECE is of bins of equal mass; as even true chances have one in a finite
sample, it is printed beside theirs.

| world | what moves the chance of a failure |
|---|---|
| goa | the demo's law without outages: season, weather, party, rush hours |
| payments | amount, tier of the caller, region, hour of the day; additive in the log-odds |
| bent | the same, and what no sum tells: thresholds, and a tier that matters in one region only |
| flat | nothing: each step has a rate, and there is nothing to recover |
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
from benchmarks.classes import BACKOFF_S, BEGIN, SEED, TRIES, WORLDS, attempt_row, simulated
from numpy.typing import NDArray

from sagacity_data.inferred import with_features
from sagacity_data.labels import label
from sagacity_data.rows import AttemptRow, Row
from sagacity_engine import FailureClass
from sagacity_engine.worlds import Trip
from sagacity_engine.worlds.draws import log_normal, uniform
from sagacity_training.judging.reliability import calibration_error
from sagacity_training.step_judged import forecasts_of
from sagacity_training.step_table import StepTable
from sagacity_training.train import fit_bundle

Array = NDArray[np.float64]
Context = Mapping[str, str | float | bool]
Chance = Callable[[Context, float], float]
RESAMPLES = 1_000
PACE_S = {"free": 2.0, "team": 1.0, "firm": 0.7}
DAY_S, HOUR_S = 86_400.0, 3_600.0


@dataclass(frozen=True)
class Figures:
    """One world's figures; `recovered` is None where there is nothing to recover."""

    world: str
    attempts: int
    tested: int
    recipes: dict[str, str]
    constant: float
    forecast: float
    floor: float
    recovered: tuple[float, float, float] | None
    ece: float
    ece_of_truth: float
    seconds: float


@dataclass(frozen=True)
class Past:
    """Simulated attempts in time order of their runs, and the true chance of each first one."""

    rows: list[AttemptRow]
    chances: dict[tuple[str, str, str, int], float]


def figures(world: str, attempts: int, tested: int) -> Figures:
    """Simulates, learns from the first `attempts` and is judged by those of the runs after."""
    began = time.perf_counter()
    past = WORLD[world](attempts + tested)
    runs = list(dict.fromkeys(row.run_id for row in past.rows[:attempts]))
    learnt = frozenset(runs)
    featured = with_features([replace(row, definition_hash="") for row in past.rows], {})
    history: list[Row] = [row for row in featured if row.run_id in learnt]
    later: list[Row] = [row for row in featured if row.run_id not in learnt]
    at = max(row.ended_at or 0.0 for row in past.rows if row.run_id in learnt)
    told = fit_bundle(history, seed=SEED, at=at, parts=False)
    table = StepTable.of(later, label(later))
    true = np.array([past.chances.get(key, math.nan) for key in _firsts(table)])
    kept = (table.launch_at >= at) & ~np.isnan(true)
    held, true = table.where(kept), true[kept]
    outcomes = held.refused.astype(float)
    served = forecasts_of(replace(told.model, created_at="1970-01-01T00:00:00"), held)
    means = _means(StepTable.of(history, label(history)))
    constant = np.array([means[key] for key in held.step_keys()])
    losses = [_losses(outcomes, each) for each in (constant, served, true)]
    cases = np.unique(held.run, return_inverse=True)[1]
    return Figures(
        world=world,
        attempts=len(history),
        tested=len(held),
        recipes={target.name: target.choice.recipe.value for target in told.targets},
        constant=float(losses[0].mean()),
        forecast=float(losses[1].mean()),
        floor=float(losses[2].mean()),
        recovered=None if world == "flat" else _recovered(losses, cases),
        ece=calibration_error(outcomes, served),
        ece_of_truth=calibration_error(outcomes, true),
        seconds=time.perf_counter() - began,
    )


def _means(table: StepTable) -> dict[str, float]:
    seen: dict[str, list[float]] = {}
    for key, refused in zip(table.step_keys(), table.refused.tolist(), strict=True):
        seen.setdefault(key, []).append(float(refused))
    return {key: sum(told) / len(told) for key, told in seen.items()}


def _firsts(table: StepTable) -> list[tuple[str, str, str, int]]:
    """The identity of each row's first attempt."""
    steps = [key.partition("/")[2] for key in table.step_keys()]
    return [(run, step, "forward", 1) for run, step in zip(table.run_ids(), steps, strict=True)]


def _losses(outcomes: Array, told: Array) -> Array:
    clipped = np.clip(told, 1e-12, 1 - 1e-12)
    return -(outcomes * np.log(clipped) + (1 - outcomes) * np.log1p(-clipped))


def _recovered(losses: list[Array], cases: NDArray[np.int64]) -> tuple[float, float, float]:
    """The share and its 95 % interval, by a bootstrap of runs."""
    sums = np.array([np.bincount(cases, weights=each) for each in losses])
    rng = np.random.default_rng(SEED)
    shares = []
    for _ in range(RESAMPLES):
        constant, forecast, floor = sums @ rng.multinomial(sums.shape[1], [1 / sums.shape[1]] * sums.shape[1])
        shares.append((constant - forecast) / (constant - floor))
    constant, forecast, floor = sums.sum(axis=1)
    low, high = np.quantile(shares, (0.025, 0.975))
    return (constant - forecast) / (constant - floor), float(low), float(high)


def goa(count: int) -> Past:
    """The demo's world, where no service is ever down."""
    plain = WORLDS[0]
    rows, _ = simulated(plain, count, SEED)
    chances = {}
    for row in rows:
        if row.attempt > 1 or row.started_at is None:
            continue
        step = plain.law.steps[row.step]
        failing = step.attempt(at=row.started_at, load=0.0, down=False).service_failure
        chances[row.key] = failing + (1 - failing) * step.permanent(row.context)
    return Past(rows, chances)


def _additive(base: float, amount: float, tier: float, region: float, hour: float) -> Chance:
    def chance(context: Context, at: float) -> float:
        odds = base + amount * (math.log(float(context["amount"])) - 4.0)
        odds += tier * (context["tier"] == "free") + region * (context["region"] == "south")
        odds += hour * math.sin(2 * math.pi * (at % DAY_S) / DAY_S)
        return 1 / (1 + math.exp(-odds))

    return chance


def bent(base: float, above: float, night: float, both: float) -> Chance:
    """P(an attempt fails) by thresholds: large amounts, nights, and free callers in the south."""

    def chance(context: Context, at: float) -> float:
        hour = (at % DAY_S) / HOUR_S
        odds = base + above * (float(context["amount"]) > 120.0) + night * (hour < 5)
        odds += both * (context["tier"] == "free" and context["region"] == "south")
        return 1 / (1 + math.exp(-odds))

    return chance


PAYMENTS: dict[str, tuple[Chance, float]] = {
    "reserve": (_additive(-2.6, 0.2, 0.3, 0.9, 0.5), 0.0),
    "score": (_additive(-3.4, 0.7, 1.1, 0.0, 0.0), 0.8),
    "charge": (_additive(-2.2, 0.5, 0.8, -0.6, 0.7), 0.6),
    "notify": (_additive(-3.0, 0.0, 0.0, 0.4, 1.0), 0.0),
    "ship": (_additive(-2.4, -0.3, 0.2, 0.8, -0.5), 0.2),
}
BENT: dict[str, tuple[Chance, float]] = {
    "reserve": (bent(-2.8, 0.0, 1.2, 1.5), 0.0),
    "score": (bent(-3.2, 1.6, 0.0, 1.3), 0.8),
    "charge": (bent(-2.4, 1.3, 0.9, 0.0), 0.6),
    "notify": (bent(-3.0, 0.0, 1.8, 0.0), 0.0),
    "ship": (bent(-2.6, -1.0, 0.0, 1.9), 0.2),
}
FLAT: dict[str, tuple[Chance, float]] = {
    name: (bent(base, 0.0, 0.0, 0.0), 0.3) for name, base in (("a", -3.0), ("b", -2.0), ("c", -2.5))
}
"""Per step: the chance that an attempt fails, and the share of such failures that no retry mends."""


def drawn(steps: Mapping[str, tuple[Chance, float]]) -> Callable[[int], Past]:
    """A world of these steps: 600 runs a day, amounts log-normal about 55, three tiers and two regions."""

    def past(count: int) -> Past:
        found = Past([], {})
        at = BEGIN
        number = 0
        while len(found.rows) < count:
            at -= math.log(1 - uniform(SEED, number, "gap")) * DAY_S / 600
            context: dict[str, str | float | bool] = {
                "amount": round(log_normal(55.0, 0.8, uniform(SEED, number, "amount")), 2),
                "tier": ("free", "team", "firm")[int(3 * uniform(SEED, number, "tier"))],
                "region": ("north", "south")[int(2 * uniform(SEED, number, "region"))],
            }
            for row, chance in _run(steps, Trip(f"run-{number}", at, context)):
                found.rows.append(row)
                if row.attempt == 1:
                    found.chances[row.key] = chance
            number += 1
        return found

    return past


def _run(steps: Mapping[str, tuple[Chance, float]], trip: Trip) -> Iterator[tuple[AttemptRow, float]]:
    """The chance is of the run's launch, which is when the forecast is made."""
    at = trip.at
    for position, (step, (law, final)) in enumerate(steps.items()):
        chance = law(trip.context, trip.at)
        for number in range(1, TRIES + 1):
            draws = [uniform(SEED, trip.trip_id, step, number, what) for what in ("time", "fail", "kind")]
            ended = at + log_normal(PACE_S[str(trip.context["tier"])], 0.5, draws[0])
            error, declared = "", FailureClass.UNKNOWN
            if draws[1] < chance:
                lost = draws[2] < final
                error = "Declined" if lost else "ConnectionReset"
                declared = FailureClass.PERMANENT if lost else FailureClass.TRANSIENT
            yield attempt_row(trip, step, (number, position, at, ended), step, (error, declared)), chance
            at = ended + BACKOFF_S * 2 ** (number - 1)
            if declared is FailureClass.PERMANENT:
                return
            if not error:
                break
        else:
            return


WORLD: dict[str, Callable[[int], Past]] = {
    "goa": goa,
    "payments": drawn(PAYMENTS),
    "bent": drawn(BENT),
    "flat": drawn(FLAT),
}


def main() -> None:
    """Prints one line a world."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--attempts", type=int, default=200_000)
    parser.add_argument("--tested", type=int, default=60_000)
    parser.add_argument("--world", choices=sorted(WORLD), action="append")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    for world in told.world or WORLD:
        found = figures(world, told.attempts, told.tested)
        print(json.dumps(asdict(found)) if told.json else _line(found), flush=True)


def _line(found: Figures) -> str:
    share = "nothing to recover"
    if found.recovered is not None:
        share = "recovered {:.1%} [{:.1%}, {:.1%}]".format(*found.recovered)
    return (
        f"{found.world:9} {found.attempts} attempts learnt, {found.tested} judged: log loss "
        f"of rates {found.constant:.5f}, forecasts {found.forecast:.5f}, truth {found.floor:.5f}; {share}; "
        f"ECE {found.ece:.4f} (of the truth {found.ece_of_truth:.4f}); {found.recipes}; {found.seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
