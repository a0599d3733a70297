"""What the failure classifier is worth in money, in worlds whose truth is known.

    python benchmarks/classes.py [--attempts 200000] [--json]

Trips of the demo's world are run step by step, up to three attempts each. The truth is the world's: permanent
if this input will never be accepted, cascading if the service was down at the failure, else transient. The
classifier learns from the first 70 % of the runs as any history would teach it (`failure_classes`); each
first failure of the rest is decided class-blind (the mix of classes of first failures in training), by the
classifier, and by an oracle that knows the class, and paid for under the truth. Stakes are the saga's own
prices. The exact posterior, of the class given the error and the context, shows what is knowable at all.

| world | services go down | errors |
|---|---|---|
| plain | never: no hidden state | the world's own, each with its declared class |
| some opaque | never | one in ten says and declares nothing ("Http500: upstream error"), whatever the cause |
| half opaque | never | one in two says nothing |
| silent | never | the world's own, but no service ever declares a class |
| outages | 5 % of the time, 20 s at a time, which nobody is told | one in ten says nothing |
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from sagacity_data.failure_kinds import KIND_OF_CLASS, FailureKind, LabelSource
from sagacity_data.rows import AttemptOutcome, AttemptRow
from sagacity_data.taxonomy import default_taxonomy
from sagacity_engine import Direction, FailureClass, Kind
from sagacity_engine.worlds import GOA_LAW, Trip, World, WorldLaw, goa_trip, trips
from sagacity_engine.worlds.draws import log_normal, uniform
from sagacity_engine.worlds.law import ERROR_TYPES
from sagacity_engine.worlds.outages import OutageLaw
from sagacity_models.base_rates import CLASSES
from sagacity_training.failure_class_value import ClassValue, Stakes, class_value
from sagacity_training.failure_classes import learn_failure_classes, taught_failures

BEGIN = 1_760_000_000.0
TRIES, BACKOFF_S, SEED = 3, 1.0, 11
TRAINED = 0.7
MESSAGES = {
    "ConnectionReset": "connection reset by peer after {n} ms",
    "ServiceUnavailable": "{service} is unavailable, try again later (ref {n})",
    "Http500": "upstream error, trace {n}",
}


@dataclass(frozen=True)
class SimulatedWorld:
    """One world: how often an error says nothing, how services go down, whether they declare classes."""

    name: str
    opaque: float
    outages: OutageLaw
    declares: bool = True

    @property
    def law(self) -> WorldLaw:
        """The demo's law with these outages."""
        steps = {name: replace(step, outages=self.outages) for name, step in GOA_LAW.steps.items()}
        return replace(GOA_LAW, steps=steps, trips_per_day=400.0)


NEVER = OutageLaw(0.0, 1.0)
WORLDS = (
    SimulatedWorld("plain", 0.0, NEVER),
    SimulatedWorld("some opaque", 0.1, NEVER),
    SimulatedWorld("half opaque", 0.5, NEVER),
    SimulatedWorld("silent", 0.0, NEVER, declares=False),
    SimulatedWorld("outages", 0.1, OutageLaw(0.05, 20.0)),
)


@dataclass(frozen=True)
class Figures:
    """One world's figures.

    `knowable` is the share captured by the exact posterior of the class given the error and the context (None
    where services go down); `labelled` is the share of training labels that agree with the truth.
    """

    world: str
    attempts: int
    value: ClassValue
    knowable: float | None
    macro_f1: float
    labelled: float
    sources: dict[str, int]
    reason: str
    seconds: float


def figures(world: SimulatedWorld, attempts: int, seed: int = SEED) -> Figures:
    """Simulates, learns and decides."""
    began = time.perf_counter()
    rows, truths = simulated(world, attempts, seed)
    runs = list(dict.fromkeys(row.run_id for row in rows))
    earlier = set(runs[: int(TRAINED * len(runs))])
    past = [row for row in rows if row.run_id in earlier]
    learnt = learn_failure_classes(past, seed=seed)
    firsts = [row for row in rows if row.run_id not in earlier and row.attempt == 1 and _failed(row)]
    taught = taught_failures(past)
    agreed = [truths[each.row.key] is each.failure_class for each in taught]
    mix = Counter(each.failure_class for each in taught if each.row.attempt == 1)
    shares = {each: mix[each] / mix.total() for each in CLASSES}
    prices = {row.step: stakes(row.step, world) for row in firsts}
    true, priced = [truths[row.key] for row in firsts], [prices[row.step] for row in firsts]
    told = learnt.classifier.posteriors([(row, None) for row in firsts])
    value = class_value(true, told, priced, shares)
    knowable = None
    if world.outages.share == 0:
        exact = [_posterior(world.law, row) for row in firsts]
        knowable = class_value(true, exact, priced, shares).captured
    return Figures(
        world.name,
        len(rows),
        value,
        knowable,
        learnt.macro_f1,
        sum(agreed) / len(agreed),
        {source.value: count for source, count in sorted(learnt.sources.items())},
        learnt.learnt.reason,
        time.perf_counter() - began,
    )


def simulated(
    world: SimulatedWorld, attempts: int, seed: int
) -> tuple[list[AttemptRow], dict[tuple[str, str, str, int], FailureClass]]:
    """About so many attempts in time order of their runs, and the true class of each that failed."""
    law = world.law
    count = attempts // (len(law.steps) - 3)  # More than enough: not every trip gets to its end.
    told = trips(law, seed=seed, label="past", begin=BEGIN, count=count)
    span_s = told[-1].at - BEGIN + 86_400.0
    live = World(law, seed=seed, begin=BEGIN, span_s=span_s)
    rows: list[AttemptRow] = []
    truths: dict[tuple[str, str, str, int], FailureClass] = {}
    for trip in told:
        for row, truth in _run(world, live, trip, seed):
            rows.append(row)
            if truth is not None:
                truths[row.key] = truth
        if len(rows) >= attempts:
            break
    return rows, truths


def stakes(step: str, world: SimulatedWorld) -> Stakes:
    """The prices of the saga as its author wrote them, if the steps before it are done."""
    saga = goa_trip()
    place = saga.names.index(step)
    done, left = saga.steps[:place], saga.steps[place + 1 :]
    undos = sum(each.compensation.cost for each in done if each.compensation is not None)
    return Stakes(
        retry=saga.steps[place].cost,
        latency_per_s=saga.policy.latency_cost_per_s,
        onward=sum(each.cost for each in left),
        abort=undos + saga.policy.failure_penalty,
        passes=0.95,
        recovery_s=world.outages.mean_down_s,
    )


def _posterior(law: WorldLaw, row: AttemptRow) -> dict[FailureClass, float]:
    """P(class | the error, the context) where services never go down, by Bayes' rule."""
    step = law.steps[row.step]
    assert row.started_at is not None, "simulated attempts have a start"
    hopeless = step.permanent(row.context)
    failing = step.attempt(at=row.started_at, load=0.0, down=False).service_failure
    if row.error_type == step.refusal:
        hopeless = 1.0
    elif row.error_type == "Http500":
        hopeless /= failing + (1 - failing) * hopeless
    return {FailureClass.PERMANENT: hopeless, FailureClass.TRANSIENT: 1 - hopeless}


def _failed(row: AttemptRow) -> bool:
    return row.outcome is AttemptOutcome.FAILED


def _run(
    world: SimulatedWorld, live: World, trip: Trip, seed: int
) -> Iterator[tuple[AttemptRow, FailureClass | None]]:
    at = trip.at
    for position, (step, law) in enumerate(live.law.steps.items()):
        hopeless = uniform(seed, trip.trip_id, step, "permanent") < law.permanent(trip.context)
        for number in range(1, TRIES + 1):
            down = live.outages[law.service].down(at)
            now = law.attempt(at=at, load=0.0, down=down)
            draw = [
                uniform(seed, trip.trip_id, step, number, what) for what in ("time", "service", "word", "say")
            ]
            ended = at + log_normal(now.median_s, now.sigma, draw[0])
            error = ""
            if draw[1] < now.service_failure:
                error = "ServiceUnavailable" if draw[2] < now.unavailable_share else "ConnectionReset"
            elif hopeless:
                error = law.refusal
            truth = FailureClass.CASCADING if down else FailureClass.TRANSIENT
            truth = FailureClass.PERMANENT if hopeless else truth
            declared = ERROR_TYPES.get(error, FailureClass.PERMANENT)
            if error and draw[3] < world.opaque:
                error, declared = "Http500", FailureClass.UNKNOWN
            if not world.declares:
                declared = FailureClass.UNKNOWN
            row = attempt_row(trip, step, (number, position, at, ended), law.service, (error, declared))
            yield row, truth if error else None
            at = ended + BACKOFF_S * 2 ** (number - 1)
            if error and declared is FailureClass.PERMANENT:
                return  # No engine retries what was declared hopeless.
            if not error:
                break
        else:
            return


def attempt_row(
    trip: Trip,
    step: str,
    told: tuple[int, int, float, float],
    service: str,
    refusal: tuple[str, FailureClass],
) -> AttemptRow:
    """An attempt: `told` is its number, the step's place, its start and end; `refusal` the error, if any."""
    (number, position, at, ended), (error, declared) = told, refusal
    words = MESSAGES.get(error, "no more for these dates").format(n=int(at) % 10_000, service=service)
    taxonomy = default_taxonomy()
    kind = taxonomy.kind_of(error, words) if error else None
    source = None if kind in (None, FailureKind.UNKNOWN) else LabelSource.TAXONOMY
    if error and declared is not FailureClass.UNKNOWN:
        kind, source = KIND_OF_CLASS[declared], LabelSource.DECLARED
    return AttemptRow(
        run_id=trip.trip_id,
        saga="goa-trip",
        definition_hash="h",
        step=step,
        service=service,
        region="",
        kind=Kind.COMPENSATABLE,
        direction=Direction.FORWARD,
        attempt=number,
        position=position,
        steps_done=position,
        in_flight=None,
        scheduled_at=at,
        started_at=at,
        timeout_s=None,
        maximum_attempts=TRIES,
        ended_at=ended,
        outcome=AttemptOutcome.FAILED if error else AttemptOutcome.SUCCEEDED,
        error_type=error,
        error_message=taxonomy.templated(words) if error else "",
        failure_class=declared if error else None,
        failure_kind=kind,
        kind_source=source,
        kind_known_at=None if source is None else ended,
        launch_at=trip.at,
        arm="author",
        propensity=1.0,
        fallback=False,
        advice_id="",
        model_version="",
        context=trip.context,
        features={},
    )


def _limit(found: Figures) -> str:
    return "" if found.knowable is None else f" (the exact posterior: {found.knowable:.1%})"


def main() -> None:
    """Prints one line a world."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--attempts", type=int, default=200_000)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    for world in WORLDS:
        found = figures(world, told.attempts)
        if told.json:
            captured: dict[str, Any] = {**asdict(found), "captured": found.value.captured}
            print(json.dumps(captured))
            continue
        print(_line(found), flush=True)


def _line(found: Figures) -> str:
    value = found.value
    return (
        f"{found.world:11} {found.attempts} attempts, {value.failures} first failures held out: "
        f"blind {value.blind:.3f}, classifier {value.forecast:.3f}, oracle {value.oracle:.3f} a failure; "
        f"captured {value.captured:.1%}{_limit(found)}; macro-F1 {found.macro_f1:.3f} against its labels, "
        f"of which {found.labelled:.1%} are true ({found.sources}); {found.reason}; {found.seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
