"""How likely a call that gave no clear answer had its effect all the same.

A timeout, a lost reply and a crash leave open whether the hotel was booked; what such a doubt costs depends
on how often it was. Few things ever tell; the first of these that does is taken.

| what tells | the effect |
|---|---|
| a probe's answer (`answers`) | as it says |
| the next attempt was refused because it is "already" done | happened |
| the next attempt passed, at a step that is known to say "already" | did not happen |
| its undo, with no attempt in between, was refused as there is nothing to undo | did not happen |
| such an undo passed, at a step that is known to say that there is nothing | happened |

A next attempt that passed tells nothing where repeating is harmless, nor does an undo that would pass in
vain: hence only steps that were seen, by the cut, to tell the difference.
The rate is a beta-binomial of the way in which the answer was lost -> saga type -> service -> step, with the
cases it rests on: services differ most in when they answer, and ways of losing it in how far the call got.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from sagacity_data.rows import AttemptOutcome, AttemptRow, Row
from sagacity_engine import Direction
from sagacity_models.base_rates import step_key
from sagacity_models.feature_columns import Features, columns_of
from sagacity_models.tabular import BINARY, TabularForecaster
from sagacity_models.tabular_rates import ShrunkRates
from sagacity_training.learners_fits import fit_rates

AttemptKey = tuple[str, str, str, int]
"""`AttemptRow.key`: run, step, direction, number."""

IN_DOUBT: Final = (
    AttemptOutcome.TIMED_OUT,
    AttemptOutcome.LOST_REPLY,
    AttemptOutcome.CRASHED,
    AttemptOutcome.UNKNOWN,
    AttemptOutcome.CANCELLED,
)
"""The ends after which the effect may be there or not."""
LEVELS: Final = ("lost", "saga", "service", "step")
PRIOR: Final = (0.5, 0.5)
PRIOR_CASES: Final = 2.0
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ALREADY: Final = re.compile(
    r"\balready\b|\bduplicate|\b(?:entity|resource|order|booking) exists\b", re.IGNORECASE
)
_NOTHING: Final = re.compile(
    r"\bnot[ _-]?found\b|\bno such\b|\bnothing to\b|\bdoes(?: not|n't) exist\b|(?m:^404$)"
    r"|\bunknown (?:id|order|booking)\b",
    re.IGNORECASE,
)


class EffectSource(StrEnum):
    """What told whether the effect was there."""

    PROBE = "probe"  # It was asked.
    RETRY = "retry"  # The next attempt met it, or did not.
    UNDO = "undo"  # The undo met it, or did not.


@dataclass(frozen=True, slots=True)
class TaughtEffect:
    """A call in doubt, whether its effect was there, who told, and since when (s since 1970)."""

    row: AttemptRow
    happened: bool
    source: EffectSource
    known_at: float


@dataclass(frozen=True, slots=True)
class LearntEffects:
    """P(the effect is there) by `effect_features`, cases by what told, and how many calls were in doubt."""

    forecaster: TabularForecaster
    sources: Mapping[EffectSource, int]
    in_doubt: int


def learn_effects(
    rows: Iterable[Row],
    answers: Mapping[AttemptKey, tuple[bool, float]] | None = None,
    cut: float = float("inf"),
) -> LearntEffects:
    """The rates from what was known by `cut`; without any case, those of the prior, with evidence 0.

    `answers` is what probes said of attempts, and when.
    """
    import numpy as np

    attempts = [row for row in rows if isinstance(row, AttemptRow) and not _after(row, cut)]
    taught = [each for each in taught_effects(attempts, answers or {}) if each.known_at <= cut]
    doubts = [row for row in attempts if _is_in_doubt(row)]
    rates = ShrunkRates(PRIOR, PRIOR_CASES, (0.0, 0.0))
    if taught:
        told = [_features(each.row) for each in taught]
        codes = np.array([int(each.happened) for each in taught])
        everything = np.arange(len(codes))
        rates = fit_rates(columns_of(told), codes, everything, PRIOR, PRIOR_CASES, levels=LEVELS)
    forecaster = TabularForecaster(classes=BINARY, evidence=len(taught), rates=rates)
    return LearntEffects(forecaster, Counter(each.source for each in taught), len(doubts))


def effect_features(lost: AttemptOutcome, saga: str, service: str, step: str) -> Features:
    """The row of which the rates tell: each level within the way in which the answer was lost."""
    way = lost.value
    return {
        "lost": way,
        "saga": f"{way} {saga}",
        "service": f"{way} {service}",
        "step": f"{way} {step_key(saga, step)}",
    }


def taught_effects(
    attempts: Iterable[AttemptRow], answers: Mapping[AttemptKey, tuple[bool, float]]
) -> list[TaughtEffect]:
    """Every call in doubt of which something tells, by run, step and number."""
    steps: dict[tuple[str, str], list[AttemptRow]] = defaultdict(list)
    for row in attempts:
        steps[row.run_id, row.step].append(row)
    stories = [_Story.of(steps[key]) for key in sorted(steps)]
    says = {
        _step_of(row)
        for story in stories
        for doubt, row in story.retries
        if _says(row, _ALREADY) and _is_in_doubt(doubt)
    }
    finds = {_step_of(row) for story in stories for _, row in story.undos if _says(row, _NOTHING)}
    taught: list[TaughtEffect] = []
    for story in stories:
        retries, undos = dict(_keyed(story.retries)), dict(_keyed(story.undos))
        for row in story.doubts:
            answer = answers.get(row.key)
            if answer is not None:
                taught.append(TaughtEffect(row, answer[0], EffectSource.PROBE, answer[1]))
                continue
            met = _met(retries.get(row.key), _step_of(row) in says, _ALREADY)
            if met is not None:
                taught.append(TaughtEffect(row, met[0], EffectSource.RETRY, met[1]))
                continue
            missed = _met(undos.get(row.key), _step_of(row) in finds, _NOTHING)
            if missed is not None:
                taught.append(TaughtEffect(row, not missed[0], EffectSource.UNDO, missed[1]))
    return taught


@dataclass(frozen=True, slots=True)
class _Story:
    """One step of one run: its calls in doubt, the first with the next attempt or else with its undo."""

    doubts: Sequence[AttemptRow]
    retries: Sequence[tuple[AttemptRow, AttemptRow]]
    undos: Sequence[tuple[AttemptRow, AttemptRow]]

    @classmethod
    def of(cls, rows: Sequence[AttemptRow]) -> _Story:
        forward = sorted((r for r in rows if r.direction is Direction.FORWARD), key=lambda row: row.attempt)
        undos = sorted((r for r in rows if r.direction is Direction.UNDO), key=lambda row: row.attempt)
        doubts = [row for row in forward if _is_in_doubt(row)]
        # With an earlier call in doubt as well, nobody could say whose effect the next one met.
        retries = [
            (row, after)
            for row, after in pairwise(forward)
            if row in doubts[:1] and after.attempt == row.attempt + 1
        ]
        alone = len(doubts) == 1 and forward[-1] is doubts[0]
        return cls(doubts, retries, [(doubts[0], undos[0])] if alone and undos else [])


def _met(after: AttemptRow | None, tells: bool, words: re.Pattern[str]) -> tuple[bool, float] | None:
    """Whether the call met what `words` say, and when; None where it does not tell."""
    if after is None or after.ended_at is None:
        return None
    if _says(after, words):
        return True, after.ended_at
    return (False, after.ended_at) if tells and after.outcome is AttemptOutcome.SUCCEEDED else None


def _says(row: AttemptRow, words: re.Pattern[str]) -> bool:
    if row.outcome is not AttemptOutcome.FAILED:
        return False
    told = f"{_HUMP.sub(' ', row.error_type)}\n{row.error_message}"
    return words.search(told) is not None


def _keyed(pairs: Sequence[tuple[AttemptRow, AttemptRow]]) -> Iterable[tuple[AttemptKey, AttemptRow]]:
    return ((row.key, after) for row, after in pairs)


def _features(row: AttemptRow) -> Features:
    return effect_features(row.outcome, row.saga, row.service, row.step)


def _step_of(row: AttemptRow) -> str:
    return step_key(row.saga, row.step)


def _is_in_doubt(row: AttemptRow) -> bool:
    return row.direction is Direction.FORWARD and row.outcome in IN_DOUBT


def _after(row: AttemptRow, cut: float) -> bool:
    return row.ended_at is not None and row.ended_at > cut
