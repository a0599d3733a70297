"""How a running saga or case will end, given what has happened so far: whether well, in time, and when.

`LiveRisk` is a part of a bundle: named texts and back. It answers from one of three sources, whichever was
the best on a later slice of history: a model of prefixes (`case_outcome`), the rates by steps done
(`live_risk_rates`), or the base rate of the saga type. A saga that training has never seen gets the rates
whatever the source, for a model would only guess, and its evidence is 0.

P(within the deadline) = P(success) x P(done by then | success): a run that is undone in time has not met its
deadline. A run is *hopeless* at a threshold if its calibrated P(success) is at or below it and at least
`EVIDENCE_MIN` runs were seen from where it stands: what nobody knows is not hopeless. As far as forecasts are
calibrated, at most about one in ten of the runs that are called hopeless at 0.1 would have succeeded; what to
do about them is for their owner to say, and nothing here acts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sagacity_data.event_log import AttributeValue, CaseEvent
from sagacity_models.case_outcome import CaseOutcomeModel
from sagacity_models.live_risk_events import saga_of, standing_of
from sagacity_models.live_risk_rates import LiveRates
from sagacity_models.live_risk_remaining import RemainingLaw, RemainingTime
from sagacity_models.prefix_features import PrefixFold
from sagacity_models.prefix_vocabulary import step_of

EVIDENCE_MIN: Final = 20
"""Runs seen from where a run stands before it may be called hopeless."""

FORMAT_VERSION: Final = 1
_HEAD, _OUTCOME, _RATES = "live_risk.json", "outcome/", "rates.json"
_REMAINING, _REMAINING_GOOD = "remaining/", "remaining_good/"
_SECOND_US: Final = 1_000_000


class Confidence(StrEnum):
    """How far P(success) tells this run from others."""

    LOW = "low"  # Not at all, or hardly any run was seen from where it stands.
    FAIR = "fair"  # It was shown, on later history, to be better than the base rate.


class LiveSource(StrEnum):
    """What P(success) comes from."""

    BASE = "base"  # The base rate of the saga type: nothing told more.
    RATES = "rates"  # The rate of runs that stood where this one stands.
    MODEL = "model"  # A model of everything that happened so far.


@dataclass(frozen=True, slots=True)
class LiveForecast:
    """What is to be expected of a run, or case, as of one moment.

    `within_deadline` is None where there is no deadline, and the laws are None where training saw no ends.
    `evidence` is how many runs training saw from where this one stands (event logs: cases in all).
    """

    success: float
    evidence: int
    source: LiveSource
    within_deadline: float | None = None
    remaining: RemainingLaw | None = None
    since_s: float = 0.0
    """Seconds since the latest event."""

    def remaining_s(self, p: float) -> float | None:
        """Seconds from now until the end, good or bad, that a share `p` of such runs stays below."""
        return None if self.remaining is None else self.remaining.quantile_s(p, self.since_s)

    @property
    def confidence(self) -> Confidence:
        """Low where it is but the base rate, or rests on fewer than `EVIDENCE_MIN` runs."""
        known = self.source is not LiveSource.BASE and self.evidence >= EVIDENCE_MIN
        return Confidence.FAIR if known else Confidence.LOW

    def hopeless(self, threshold: float) -> bool:
        """Whether P(success) is at most `threshold`, and enough was seen from there to say so."""
        return self.success <= threshold and self.evidence >= EVIDENCE_MIN


class LiveRisk:
    """Forecasts for growing cases. `rates` is for sagas only; the laws of time may be missing."""

    def __init__(
        self,
        outcome: CaseOutcomeModel,
        source: LiveSource,
        *,
        rates: LiveRates | None = None,
        remaining: RemainingTime | None = None,
        remaining_good: RemainingTime | None = None,
        cases: int = 0,
    ) -> None:
        if source is LiveSource.RATES and rates is None:
            raise ValueError("live risk from rates needs rates")
        self.outcome = outcome
        self.source = source
        self.rates = rates
        self.remaining = remaining
        self.remaining_good = remaining_good
        self.cases = cases

    def start(self, attributes: Mapping[str, AttributeValue]) -> LiveCase:
        """A case that has begun, of which only its attributes are known so far."""
        return LiveCase(self, attributes)

    def texts(self) -> dict[str, str]:
        """The whole part as named texts, the same for the same part; `from_texts` reads them back."""
        head: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "source": self.source.value,
            "cases": self.cases,
        }
        texts = {_HEAD: json.dumps(head, sort_keys=True)}
        if self.rates is not None:
            texts[_RATES] = json.dumps(self.rates.as_json(), ensure_ascii=False, sort_keys=True)
        for prefix, part in (
            (_OUTCOME, self.outcome.artifacts()),
            (_REMAINING, self.remaining.texts() if self.remaining is not None else {}),
            (_REMAINING_GOOD, self.remaining_good.texts() if self.remaining_good is not None else {}),
        ):
            texts |= {prefix + name: text for name, text in part.items()}
        return texts

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> LiveRisk:
        """The part that `texts` wrote. Raises `ValueError`, or `CaseModelRefused`, for anything else."""
        try:
            head = json.loads(texts[_HEAD])
            if head["format_version"] != FORMAT_VERSION:
                raise ValueError(f"live risk format {head['format_version']!r} is not {FORMAT_VERSION}")
            source, cases = LiveSource(head["source"]), int(head["cases"])
            rates = LiveRates.from_json(json.loads(texts[_RATES])) if _RATES in texts else None
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no live risk ({type(error).__name__}: {error}): train it again") from None
        return cls(
            CaseOutcomeModel.from_artifacts(_below(texts, _OUTCOME)),
            source,
            rates=rates,
            remaining=_remaining(texts, _REMAINING),
            remaining_good=_remaining(texts, _REMAINING_GOOD),
            cases=cases,
        )


class LiveCase:
    """One running case, event by event; every event and every forecast costs the same, however long it is."""

    def __init__(self, risk: LiveRisk, attributes: Mapping[str, AttributeValue]) -> None:
        self._risk = risk
        self._fold: PrefixFold = risk.outcome.layout.start(attributes)
        self._first: CaseEvent | None = None
        self._last: CaseEvent | None = None
        self._latest_us = 0

    def add(self, event: CaseEvent) -> None:
        """Something has happened. Events must come in the order in which they were known."""
        self._fold.add(event)
        self._first = self._first or event
        self._last = event
        self._latest_us = max(self._latest_us, event.at_us)

    @property
    def begun_at(self) -> float:
        """When the first event was, in seconds since 1970. Raises `ValueError` before it."""
        return self._ends()[0].at_us / _SECOND_US

    @property
    def latest(self) -> CaseEvent:
        """The last event. Raises `ValueError` before the first."""
        return self._ends()[1]

    def forecast(self, at: float, deadline_s: float | None = None) -> LiveForecast:
        """What is to be expected as of `at` (seconds since 1970); `deadline_s` counts from the first event.

        Raises `ValueError` before the first event.
        """
        first, last = self._ends()
        risk, row = self._risk, self._fold.row
        since_s = max(at - self._latest_us / _SECOND_US, 0.0)
        success, evidence, source = self._success(first, last)
        step = step_of(last)
        within = None
        if deadline_s is not None and risk.remaining_good is not None:
            left_s = deadline_s - (at - first.at_us / _SECOND_US)
            within = success * risk.remaining_good.law(row, step).done_by(left_s, since_s)
        remaining = risk.remaining.law(row, step) if risk.remaining is not None else None
        return LiveForecast(success, evidence, source, within, remaining, since_s)

    def _ends(self) -> tuple[CaseEvent, CaseEvent]:
        if self._first is None or self._last is None:
            raise ValueError("nothing has happened yet: add an event first")
        return self._first, self._last

    def _success(self, first: CaseEvent, last: CaseEvent) -> tuple[float, int, LiveSource]:
        risk = self._risk
        evidence = risk.cases
        if risk.rates is not None:
            ends = (first, last)
            rate = risk.rates.of(saga := saga_of(ends), standing_of(ends))
            of_saga = risk.rates.of_saga(saga)
            evidence = rate.evidence
            if risk.source is LiveSource.BASE:
                return of_saga.probability, of_saga.evidence, risk.source
            if risk.source is LiveSource.RATES or not of_saga.evidence:
                return rate.probability, evidence, LiveSource.RATES
        source = LiveSource.BASE if risk.source is LiveSource.BASE else LiveSource.MODEL
        return float(risk.outcome.probabilities(self._fold.row[None, :])[0]), evidence, source


def _below(texts: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): text for name, text in texts.items() if name.startswith(prefix)}


def _remaining(texts: Mapping[str, str], prefix: str) -> RemainingTime | None:
    held = _below(texts, prefix)
    return RemainingTime.from_texts(held) if held else None
