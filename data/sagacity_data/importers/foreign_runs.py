"""A run of another engine, as its importer understood it, and the dataset rows that it becomes.

An importer says what it read, in the order in which attempts started, and leaves None whatever its history
does not tell: a masked or missing time is never guessed. What follows from the whole run is worked out here,
the same for every format: which place a step and an attempt have, how many steps were done, what kind of
failure an error's words tell of. A foreign run has no plan of ours, no advice and no price.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from sagacity_data.failure_kinds import FailureKind, LabelSource
from sagacity_data.importers import storable
from sagacity_data.rows import NO_CONTEXT, NO_FEATURES, AttemptOutcome, AttemptRow, ContextValues, Row, RunRow
from sagacity_data.taxonomy import Taxonomy
from sagacity_engine import Direction, Kind, Status

ARM = "foreign"
"""The policy arm of runs that no policy of ours was asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignAttempt:
    """One attempt of one step; of an undo, `step` is the step that it undoes. Times in s since 1970 UTC."""

    step: str
    outcome: AttemptOutcome
    direction: Direction = Direction.FORWARD
    attempt: int = 1  # From 1 in each direction.
    scheduled_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    error_type: str = ""
    message: str = ""  # The error's words, as they stand.
    service: str = ""  # Whose health the step shares; the step's own name where the history names none.
    region: str = ""
    timeout_s: float | None = None  # Start to close.
    maximum_attempts: int | None = None
    input_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRun:
    """One run; `attempts` in the order in which they started. `saga` is the type of the run."""

    run_id: str
    saga: str
    status: Status
    attempts: tuple[ForeignAttempt, ...] = ()
    version: str = ""
    tenant: str = ""
    launch_at: float | None = None
    ended_at: float | None = None  # None: still open when the history was written, or its end is masked.
    reason: str = ""
    parent: str = ""
    input_bytes: int | None = None
    context: ContextValues = field(default_factory=lambda: NO_CONTEXT)


def rows_of(run: ForeignRun, source: str, taxonomy: Taxonomy) -> list[Row]:
    """The run's rows, its own last; `source` is the importer's format.

    What the dataset cannot hold (a time beyond the calendar, a text that is none) is cut to what it can.
    """
    held = _storable(run)
    return [*_attempt_rows(held, source, taxonomy), _run_row(held, source)]


def _storable(run: ForeignRun) -> ForeignRun:
    return replace(
        run,
        run_id=storable.name(run.run_id),
        saga=storable.name(run.saga),
        version=storable.name(run.version),
        tenant=storable.name(run.tenant),
        launch_at=storable.instant(run.launch_at),
        ended_at=storable.instant(run.ended_at),
        reason=storable.words(run.reason),
        parent=storable.name(run.parent),
        input_bytes=storable.whole(run.input_bytes),
        context=storable.context(run.context),
        attempts=tuple(_told_apart(run.attempts)),
    )


def _told_apart(attempts: Iterable[ForeignAttempt]) -> Iterator[ForeignAttempt]:
    """The attempts with names and numbers that can be stored; where two steps get one name, numbered on."""
    highest: dict[tuple[str, Direction], int] = {}
    taken: set[tuple[str, Direction, int]] = set()
    for tried in attempts:
        step, number = storable.name(tried.step), storable.whole(tried.attempt) or 1
        key = (step, tried.direction)
        if (*key, number) in taken:
            number = highest[key] + 1
        taken.add((*key, number))
        highest[key] = max(number, highest.get(key, 0))
        yield (
            tried
            if (step, number) == (tried.step, tried.attempt)
            else replace(tried, step=step, attempt=number)
        )


def _attempt_rows(run: ForeignRun, source: str, taxonomy: Taxonomy) -> Iterator[AttemptRow]:
    positions: dict[str, int] = {}
    undone: set[str] = set()
    for tried in run.attempts:
        if tried.direction is Direction.FORWARD:
            positions.setdefault(tried.step, len(positions))
        else:
            undone.add(tried.step)
    ends = _first_successes(run.attempts)
    for rank, tried in enumerate(run.attempts):
        kind = Kind.COMPENSATABLE if tried.step in undone else Kind.RETRIABLE
        # Steps that had succeeded at the start; of equal times, those that come earlier in the history.
        done = None if tried.started_at is None else bisect_left(ends, (tried.started_at, rank))
        position = positions.get(tried.step)
        yield _attempt_row(run, source, taxonomy, tried, kind=kind, position=position, rank=rank, done=done)


def _first_successes(attempts: tuple[ForeignAttempt, ...]) -> list[tuple[float, int]]:
    """When each step first succeeded, with the rank of that attempt, in order."""
    first: dict[str, tuple[float, int]] = {}
    for rank, tried in enumerate(attempts):
        if (
            tried.direction is Direction.FORWARD
            and tried.outcome is AttemptOutcome.SUCCEEDED
            and tried.ended_at is not None
        ):
            end = (tried.ended_at, rank)
            first[tried.step] = min(end, first.get(tried.step, end))
    return sorted(first.values())


def _attempt_row(
    run: ForeignRun,
    source: str,
    taxonomy: Taxonomy,
    tried: ForeignAttempt,
    *,
    kind: Kind,
    position: int | None,
    rank: int,
    done: int | None,
) -> AttemptRow:
    failure, says = _told(tried, taxonomy)
    return AttemptRow(
        run_id=run.run_id,
        saga=run.saga,
        definition_hash="",
        step=tried.step,
        service=storable.name(tried.service or tried.step),
        region=storable.name(tried.region),
        kind=kind,
        direction=tried.direction,
        attempt=tried.attempt,
        position=position,
        steps_done=done,
        in_flight=None,
        scheduled_at=storable.instant(tried.scheduled_at),
        started_at=storable.instant(tried.started_at),
        timeout_s=storable.seconds(tried.timeout_s),
        maximum_attempts=storable.whole(tried.maximum_attempts),
        ended_at=storable.instant(tried.ended_at),
        outcome=tried.outcome,
        error_type=storable.name(tried.error_type),
        failure_class=failure.failure_class if failure and tried.outcome is AttemptOutcome.FAILED else None,
        launch_at=run.launch_at,
        arm=ARM,
        propensity=1.0,
        fallback=False,
        advice_id="",
        model_version="",
        context=run.context,
        features=NO_FEATURES,
        tenant=run.tenant,
        version=run.version,
        source=source,
        rank=rank,
        input_bytes=storable.whole(tried.input_bytes),
        error_message=storable.words(taxonomy.templated(tried.message)),
        failure_kind=failure,
        kind_source=says,
        kind_known_at=None if failure is None else storable.instant(tried.ended_at),
    )


def _told(tried: ForeignAttempt, taxonomy: Taxonomy) -> tuple[FailureKind, LabelSource] | tuple[None, None]:
    """What the error's words tell, by whose rules; nothing for an attempt that did not fail."""
    if tried.outcome is AttemptOutcome.SUCCEEDED or not tried.outcome.tells:
        return None, None
    return taxonomy.told(tried.error_type, tried.message, timed_out=tried.outcome is AttemptOutcome.TIMED_OUT)


def _run_row(run: ForeignRun, source: str) -> RunRow:
    latency_s = None
    if run.launch_at is not None and run.ended_at is not None:
        latency_s = run.ended_at - run.launch_at
    return RunRow(
        run_id=run.run_id,
        saga=run.saga,
        definition_hash="",
        launch_at=run.launch_at,
        ended_at=run.ended_at,
        status=run.status,
        reason=run.reason,
        arm=ARM,
        propensity=1.0,
        fallback=False,
        advice_id="",
        model_version="",
        cost=None,
        wasted_cost=None,
        latency_s=latency_s,
        context=run.context,
        tenant=run.tenant,
        version=run.version,
        source=source,
        parent=run.parent,
        input_bytes=run.input_bytes,
    )
