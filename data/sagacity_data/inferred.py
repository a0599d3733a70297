"""Definitions of sagas that nobody gave, inferred from history, so that imported runs can be learnt from.

An inferred definition says what was seen, and errs on the side of more order: a step comes after another
unless some run shows that it need not (`saga_evidence`), so a plan made from it never starts side by side
what history always did in turn. Steps are listed in the order of their mean place. A step that some run undid
is compensatable; any other is retriable, for nobody is known to take it back. Services, timeouts and the
number of attempts are the most frequent ones seen; where a history tells no timeout, ours would have cut off
no attempt that succeeded. All versions of a saga type share one definition.

Names of histories may hold any text, and those of a definition may not: `with_definitions` gives rows the
names that the definition has.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Final, TypeVar

from sagacity_data.replay import launches
from sagacity_data.rows import NO_FEATURES, AttemptRow, Row
from sagacity_data.saga_evidence import CallEvidence, SagaEvidence, StepEvidence
from sagacity_engine import Compensation, Kind, RetryPolicy, Saga, Step

STEPS_MAX: Final = 500
"""Steps of a definition: those of the most runs."""

ARCS_MAX: Final = 5_000
"""Dependencies of a definition; where there were more, each step comes after the one listed before it."""

ATTEMPTS_MAX: Final = 1_000
SECONDS_MAX: Final = 10 * 366 * 86_400.0
TIMEOUT_S: Final = 10.0

_LEGAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_OTHER: Final = re.compile(r"[^A-Za-z0-9_.-]+")

T = TypeVar("T", int, float, str)


def infer_sagas(rows: Iterable[Row]) -> dict[str, Saga]:
    """A definition for each saga type, by its name in the rows, from attempts in any order.

    Rows that have a definition are passed over, and so are saga types without any attempt.
    """
    runs: dict[str, list[AttemptRow]] = {}
    for row in rows:
        if isinstance(row, AttemptRow) and not row.definition_hash:
            runs.setdefault(row.run_id, []).append(row)
    evidence = SagaEvidence()
    for attempts in runs.values():
        attempts.sort(key=_start_order)
        evidence.add(attempts)
    return sagas_of(evidence)


def with_definitions(rows: Iterable[Row], sagas: Mapping[str, Saga]) -> list[Row]:
    """The rows, in their order; those of a saga type in `sagas` belong to its definition, by all their names.

    Rows that have a definition, and attempts of steps that the definition lacks, stay as they are.
    """
    return [
        row if row.definition_hash or row.saga not in sagas else _defined(row, sagas[row.saga])
        for row in rows
    ]


def with_features(
    rows: Iterable[Row], definitions: Mapping[str, Saga], only: Collection[str] | None = None
) -> list[Row]:
    """The rows, in their order, ready to learn from: launches without features get those that history gives.

    `definitions` are those that rows are pinned to, by hash; rows without one get an inferred one, and with
    it its names. A definition inferred from all rows knows the steps of later ones; no other feature does.
    Give it all rows, of runs as well, for they are the history; features take far more room than rows, so
    where there are very many, name in `only` the runs to give them to.
    """
    listed = list(rows)
    inferred = infer_sagas(listed)
    defined = with_definitions(listed, inferred)
    bare = {row.run_id for row in defined if isinstance(row, AttemptRow) and not row.features}
    wanted = bare if only is None else bare.intersection(only)
    if not wanted:
        return defined
    known = {**definitions, **{saga.definition_hash: saga for saga in inferred.values()}}
    steps: dict[str, set[str]] = {run_id: set() for run_id in wanted}
    for row in defined:
        if isinstance(row, AttemptRow) and row.run_id in wanted:
            steps[row.run_id].add(row.step)
    given = {
        launch.run_id: {
            step: launch.features[step] for step in steps[launch.run_id] if step in launch.features
        }
        for launch in launches(defined, known, wanted)
    }
    return [
        replace(row, features=given.get(row.run_id, {}).get(row.step, NO_FEATURES))
        if isinstance(row, AttemptRow) and not row.features
        else row
        for row in defined
    ]


def sagas_of(evidence: SagaEvidence) -> dict[str, Saga]:
    """The definition that the evidence gives for each saga type, by its name in the rows."""
    names = _legal_names(evidence.sagas)
    return {
        saga: _saga(names[saga], steps, evidence.bits[saga], evidence.versions[saga])
        for saga, steps in evidence.sagas.items()
    }


def _defined(row: Row, saga: Saga) -> Row:
    if not isinstance(row, AttemptRow):
        return replace(row, saga=saga.name, definition_hash=saga.definition_hash)
    step = next((saga.by_name[name] for name in _candidates(row.step) if name in saga.by_name), None)
    if step is None:
        return row
    return replace(row, saga=saga.name, step=step.name, kind=step.kind, definition_hash=saga.definition_hash)


def _start_order(row: AttemptRow) -> tuple[bool, float, float]:
    """By rank where there is one, else by time."""
    started_at = row.scheduled_at if row.started_at is None else row.started_at
    return row.rank is None, row.rank or 0, started_at or 0.0


def _saga(
    name: str, steps: Mapping[str, StepEvidence], bits: Mapping[str, int], versions: Counter[str]
) -> Saga:
    kept = sorted(steps, key=lambda step: (-steps[step].runs, -steps[step].undos, step))[:STEPS_MAX]
    listed, after = _listing({step: steps[step] for step in kept}, bits)
    names = _legal_names(kept)
    return Saga(
        name=name,
        version=_mode(versions) or "1",
        steps=tuple(
            _step(names[step], steps[step], tuple(names[before] for before in after[step])) for step in listed
        ),
    )


def _step(name: str, seen: StepEvidence, after: tuple[str, ...]) -> Step:
    undo = None
    if seen.undos:
        timeout_s, retry = _calls(seen.undo)
        undo = Compensation(start_to_close_timeout_s=timeout_s, retry=retry)
    timeout_s, retry = _calls(seen.work)
    return Step(
        name=name,
        service=_mode(seen.services) or "",
        region=_mode(seen.regions) or "",
        kind=Kind.RETRIABLE if undo is None else Kind.COMPENSATABLE,
        after=after,
        start_to_close_timeout_s=timeout_s,
        retry=retry,
        compensation=undo,
    )


def _calls(seen: CallEvidence) -> tuple[float, RetryPolicy]:
    """The timeout, and how many attempts: those told, or as many as were made."""
    timeout_s = _mode(seen.timeouts_s) or max(TIMEOUT_S, seen.longest_s)
    attempts = _mode(seen.attempts_allowed) or seen.attempts
    return min(timeout_s, SECONDS_MAX), RetryPolicy(maximum_attempts=min(max(attempts, 1), ATTEMPTS_MAX))


def _mode(counts: Counter[T]) -> T | None:
    """The most frequent value; of several the smallest, so that no order of the rows decides."""
    return min(counts, key=lambda value: (-counts[value], value), default=None)


def _listing(
    steps: Mapping[str, StepEvidence], bits: Mapping[str, int]
) -> tuple[list[str], dict[str, list[str]]]:
    """The steps in order, and for each what it comes directly after.

    Runs that never met may contradict each other in a circle; then the earlier mean place goes first, and
    what it would have come after is forgotten.
    """
    waiting = sorted(steps, key=lambda step: (_mean_place(steps[step]), step))
    listed: list[str] = []
    left = sum(1 << bits[step] for step in steps)
    after: dict[str, list[str]] = {}
    above: dict[str, int] = {}
    while waiting:
        step = next((each for each in waiting if not steps[each].before & left), waiting[0])
        after[step] = _direct(step, listed, steps, bits, above)
        waiting.remove(step)
        listed.append(step)
        left &= ~(1 << bits[step])
    if sum(map(len, after.values())) > ARCS_MAX:
        after = {step: listed[max(number - 1, 0) : number] for number, step in enumerate(listed)}
    return listed, after


def _direct(
    step: str,
    listed: list[str],
    steps: Mapping[str, StepEvidence],
    bits: Mapping[str, int],
    above: dict[str, int],
) -> list[str]:
    """Which listed steps it comes after and no other of them does; notes in `above` all it comes after."""
    direct: list[str] = []
    covered = 0
    for earlier in reversed(listed):
        bit = 1 << bits[earlier]
        if steps[step].before & bit and not covered & bit:
            direct.append(earlier)
            covered |= bit | above[earlier]
    above[step] = covered
    return direct[::-1]


def _mean_place(step: StepEvidence) -> float:
    return step.places / step.runs if step.runs else 0.0


def _legal_names(names: Iterable[str]) -> dict[str, str]:
    """For each name one that a definition may have: itself, or a plain form of it that is still its own."""
    listed = list(names)
    taken = Counter(_plain(name) for name in listed)
    return {
        name: name if _legal(name) else _marked(name) if taken[_plain(name)] > 1 else _plain(name)
        for name in listed
    }


def _candidates(name: str) -> tuple[str, ...]:
    return (name,) if _legal(name) else (_marked(name), _plain(name))


def _legal(name: str) -> bool:
    return _LEGAL.fullmatch(name) is not None


def _plain(name: str) -> str:
    """The name with what may not be in it replaced.

    >>> _plain("Create Fine")
    'Create_Fine'
    """
    return _OTHER.sub("_", name).lstrip("_.-")[:128] or "unnamed"


def _marked(name: str) -> str:
    """The same with a mark that only this name has."""
    return f"{_plain(name)[:115]}-{sha256(name.encode()).hexdigest()[:12]}"
