"""What live risk says of a run without a model: the share that succeeded from where it stands.

Rates are by saga type and steps done (or that the run has turned back), shrunk to those of the saga type, and
these to the whole. The evidence is how many different runs were seen there, so that one run retried often is
one run, and an answer about a saga that nobody has seen carries evidence 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from sagacity_models.shrinkage import STRENGTH_DEFAULT, shrunk


@dataclass(frozen=True, slots=True)
class Rate:
    """A probability of success, and how many runs it rests on."""

    probability: float
    evidence: int


@dataclass(frozen=True, slots=True)
class Travelled:
    """One run that has ended: how many of its rows lay at each standing, and what became of it."""

    saga: str
    rows: Mapping[str, int]
    success: bool


@dataclass(frozen=True, slots=True)
class LiveRates:
    """Rates by where runs stand (`live_risk_events.standing_of`), by saga type, and of all."""

    whole: Rate
    sagas: Mapping[str, Rate]
    standings: Mapping[str, Rate]

    def of(self, saga: str, standing: str) -> Rate:
        """The rate where a run stands; its saga's, with evidence 0, where no run was seen to stand there."""
        told = self.standings.get(standing)
        return told if told is not None else Rate(self.of_saga(saga).probability, 0)

    def of_saga(self, saga: str) -> Rate:
        """The saga's rate; that of the whole, with evidence 0, where nobody has seen it."""
        return self.sagas.get(saga, Rate(self.whole.probability, 0))

    @classmethod
    def estimate(cls, runs: Iterable[Travelled], towards: float = 0.5, cases: float = 1.0) -> Self:
        """The shrunk rates; the whole is drawn towards the rate `towards`, as if `cases` runs had shown it.

        The rate at a place is over rows, because forecasts are asked for at every row; its weight against
        what it is drawn towards is the number of runs.
        """
        whole, sagas, standings = _Sums(), dict[str, _Sums](), dict[str, dict[str, _Sums]]()
        for run in runs:
            rows = sum(run.rows.values())
            whole.add(rows, run.success)
            sagas.setdefault(run.saga, _Sums()).add(rows, run.success)
            for standing, there in run.rows.items():
                standings.setdefault(run.saga, {}).setdefault(standing, _Sums()).add(there, run.success)
        every = whole.rate(towards, cases)
        by_saga = {saga: sums.rate(every.probability) for saga, sums in sorted(sagas.items())}
        return cls(
            every,
            by_saga,
            {
                standing: sums.rate(by_saga[saga].probability)
                for saga, told in sorted(standings.items())
                for standing, sums in sorted(told.items())
            },
        )

    def as_json(self) -> dict[str, Any]:
        """The rates as JSON values; `from_json` reads them back."""
        return {
            "whole": [self.whole.probability, self.whole.evidence],
            "sagas": {key: [rate.probability, rate.evidence] for key, rate in self.sagas.items()},
            "standings": {key: [rate.probability, rate.evidence] for key, rate in self.standings.items()},
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Self:
        """The rates that `as_json` wrote. Raises `ValueError` for what is no rate."""
        return cls(
            _read(written["whole"]),
            {str(key): _read(rate) for key, rate in written["sagas"].items()},
            {str(key): _read(rate) for key, rate in written["standings"].items()},
        )


@dataclass(slots=True)
class _Sums:
    good: int = 0
    rows: int = 0
    runs: int = 0

    def add(self, rows: int, success: bool) -> None:
        self.good += rows * success
        self.rows += rows
        self.runs += 1

    def rate(self, towards: float, strength: float = STRENGTH_DEFAULT) -> Rate:
        share = self.good / self.rows if self.rows else towards
        return Rate(shrunk(share * self.runs, self.runs, towards, strength), self.runs)


def _read(written: Any) -> Rate:
    probability, evidence = written
    if not 0 < float(probability) < 1 or int(evidence) < 0:
        raise ValueError(f"{written!r} is no rate")
    return Rate(float(probability), int(evidence))
