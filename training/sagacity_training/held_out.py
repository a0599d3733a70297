"""Held-out runs of a dataset, for judging the plans that forecasts cause.

The model that is served has seen the whole history. So another one is fitted here, on what was known when the
held-out stretch began and by the same seed; it forecasts a sample of the later runs, as of their launches. It
is the served model's twin of some weeks earlier: what its plans earn is what training at that time earned.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from sagacity_data.inferred import infer_sagas, with_definitions
from sagacity_data.labels import label
from sagacity_data.replay import LaunchReplayed, launches
from sagacity_data.rows import AttemptOutcome, AttemptRow, Row, StepFeatures
from sagacity_data.signals import launch_times
from sagacity_engine import Direction, FailureClass, Saga
from sagacity_models.base_rate_forecaster import BaseRateForecaster
from sagacity_models.bundle import Bundle
from sagacity_models.forecaster import BundleForecaster
from sagacity_training.failure_class_value import ClassValue, Stakes, class_value
from sagacity_training.judging.decisions import HeldOutRun
from sagacity_training.judging.realised import SeenCall

ATTEMPTS_MAX: Final = 200_000
"""Of larger datasets no twin is fitted: it would take as long as the training itself."""
FAILURES_MIN: Final = 20
PASSES: Final = 0.5
RECOVERY_S: Final = 60.0
"""What is supposed of retries, and of how long a cascading failure lasts, where history tells of none."""


@dataclass(frozen=True, slots=True)
class _Launch:
    """The features of one launch, as a forecaster asks for them."""

    told: Mapping[str, StepFeatures]

    def features(
        self, saga: Saga, context: Mapping[str, str | float | bool], at: float
    ) -> Mapping[str, StepFeatures]:
        """Those of this launch, whatever is asked."""
        del saga, context, at
        return self.told


class HeldOut:
    """Runs launched from `cut` on, forecast by a `twin` that was fitted on what was known before.

    `definitions` are by hash; runs of sagas without one get an inferred one. `most` runs are sampled, evenly
    over time.
    """

    def __init__(
        self, rows: Sequence[Row], definitions: Mapping[str, Saga], twin: Bundle, *, cut: float, most: int
    ) -> None:
        inferred = infer_sagas(rows)
        self._rows = with_definitions(rows, inferred)
        self._sagas = {**definitions, **{saga.definition_hash: saga for saga in inferred.values()}}
        self._twin, self._cut = twin, cut
        self._attempts = _forward(self._rows)
        self.sampled = self._sample(most)

    def runs(self) -> Iterator[HeldOutRun]:
        """The sampled runs in time order, one at a time."""
        usual = BaseRateForecaster(self._twin.base)
        for launch, saga, context in self._launches():
            advised = BundleForecaster(self._twin, _Launch(launch.features))
            yield HeldOutRun(
                run_id=launch.run_id,
                saga=saga,
                advised=advised.forecast(saga, context, launch.at),
                static=usual.forecast(saga, context, launch.at),
                seen={
                    step: told
                    for step, rows in self._attempts[launch.run_id].items()
                    if (told := calls_of(rows))
                },
            )

    def classes(self) -> ClassValue | None:
        """What the class of a failure is worth, and what the twin's class shares capture of that.

        Blind decisions know how frequent classes were before the cut. None with fewer than `FAILURES_MIN`
        held-out failures whose class hindsight, or somebody, can tell.
        """
        earlier = [row for row in self._rows if isinstance(row, AttemptRow) and _before(row, self._cut)]
        shares = _shares(earlier)
        passes, recovery_s = _passing(earlier)
        truth = {
            (told.run_id, told.step): told.failure_class
            for told in label(self._rows)
            if told.failure_class is not FailureClass.UNKNOWN
        }
        truths, forecasts, stakes = list[FailureClass](), list[Mapping[FailureClass, float]](), list[Stakes]()
        for launch, run in zip(self._launches(), self.runs(), strict=True):
            for step in run.saga.names:
                found = truth.get((launch[0].run_id, step))
                if found is None:
                    continue
                truths.append(found)
                forecasts.append(run.advised.steps[step].class_shares)
                stakes.append(_stakes(run.saga, step, passes, recovery_s))
        return class_value(truths, forecasts, stakes, shares) if len(truths) >= FAILURES_MIN else None

    def _launches(self) -> Iterator[tuple[LaunchReplayed, Saga, Mapping[str, str | float | bool]]]:
        for launch in launches(self._rows, self._sagas, self.sampled):
            first = next(iter(self._attempts[launch.run_id].values()))[0]
            yield launch, self._sagas[first.definition_hash], first.context

    def _sample(self, most: int) -> frozenset[str]:
        times = launch_times(self._rows)
        held = sorted(
            (at, run_id)
            for run_id, at in times.items()
            if at >= self._cut
            and (steps := self._attempts.get(run_id))
            and next(iter(steps.values()))[0].definition_hash in self._sagas
        )
        step = max(1, -(-len(held) // most)) if most else len(held) + 1
        return frozenset(run_id for _, run_id in held[::step])


def calls_of(rows: Sequence[AttemptRow]) -> list[SeenCall]:
    """What the attempts of one step, in their order, came to; those that tell nothing are passed over."""
    return [_call(row) for row in rows if row.outcome.tells]


def _call(row: AttemptRow) -> SeenCall:
    seconds = row.duration_s or 0.0
    match row.outcome:
        case AttemptOutcome.SUCCEEDED:
            return SeenCall(succeeded=True, failure_class=None, seconds=seconds)
        case AttemptOutcome.FAILED:
            return SeenCall(
                succeeded=False, failure_class=row.failure_class or FailureClass.UNKNOWN, seconds=seconds
            )
        case _:
            lasted = row.timeout_s if row.outcome is AttemptOutcome.TIMED_OUT else seconds
            return SeenCall(succeeded=False, failure_class=None, seconds=lasted or seconds, known=False)


def _forward(rows: Sequence[Row]) -> dict[str, dict[str, list[AttemptRow]]]:
    """Forward attempts by run and step, in their order."""
    told: dict[str, dict[str, list[AttemptRow]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if isinstance(row, AttemptRow) and row.direction is Direction.FORWARD:
            told[row.run_id][row.step].append(row)
    for steps in told.values():
        for attempts in steps.values():
            attempts.sort(key=lambda row: row.attempt)
    return told


def _before(row: AttemptRow, cut: float) -> bool:
    return row.ended_at is not None and row.ended_at < cut


def _shares(earlier: Sequence[AttemptRow]) -> dict[FailureClass, float]:
    """How frequent each class was among failures whose class could be told."""
    counts = Counter(
        told.failure_class for told in label(earlier) if told.failure_class is not FailureClass.UNKNOWN
    )
    return {each: count / counts.total() for each, count in counts.items()}


def _passing(earlier: Sequence[AttemptRow]) -> tuple[float, float]:
    """P(a retry passes), permanent failures apart, and the mean seconds until a cascading one has passed."""
    classes = {(told.run_id, told.step): told.failure_class for told in label(earlier)}
    retries = [
        row.outcome is AttemptOutcome.SUCCEEDED
        for row in earlier
        if row.direction is Direction.FORWARD
        and row.attempt > 1
        and row.outcome.tells
        and classes.get((row.run_id, row.step)) is not FailureClass.PERMANENT
    ]
    lasted: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in earlier:
        key = row.run_id, row.step
        if classes.get(key) is FailureClass.CASCADING and None not in (row.started_at, row.ended_at):
            lasted[key] += [at for at in (row.started_at, row.ended_at) if at is not None]
    spans = [max(times) - min(times) for times in lasted.values()]
    passes = fmean(retries) if retries else PASSES
    return min(max(passes, 0.01), 0.99), max(fmean(spans), 1.0) if spans else RECOVERY_S


def _stakes(saga: Saga, step: str, passes: float, recovery_s: float) -> Stakes:
    """What a failure of `step` is about, in the author's order: before it all is done, after it nothing."""
    place = saga.names.index(step)
    undos = sum(each.compensation.cost for each in saga.steps[:place] if each.compensation is not None)
    return Stakes(
        retry=saga.by_name[step].cost,
        latency_per_s=saga.policy.latency_cost_per_s,
        onward=sum(each.cost for each in saga.steps[place + 1 :]),
        abort=undos + saga.policy.failure_penalty,
        passes=passes,
        recovery_s=recovery_s,
    )
