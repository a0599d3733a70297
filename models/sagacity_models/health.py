"""Whether a step's service is well or ill, as a two-state law learnt from what retries met.

A refused attempt says little by itself: a hiccup passes, an outage does not, and no error type tells them
apart for sure. But attempts of one run come close together, so they share the service's state, and how often
a retry is refused *as well* separates the two. Each step gets a mixture of two laws over its runs' attempts

    P(f refused, s answered) = w ill^f (1-ill)^s + (1-w) well^f (1-well)^s

times, in each state, how refusals look there, fitted by EM with a weak prior, so that a step that was never
retried keeps a stated belief. "Answered" is a success or a permanent refusal: either way the service did its
part. A forecast of the refusal rate of *this* launch then says how likely the service is ill now, and with
that how likely retries are to help.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sagacity_engine.errors import FailureClass
from sagacity_models.forecast import Latency, Regime

PRIOR_ILL: Final = 0.8
PRIOR_WELL: Final = 0.03
PRIOR_ILL_SHARE: Final = 0.05
PRIOR_ATTEMPTS: Final = 8.0
"""How many attempts each prior rate is worth."""
PRIOR_RUNS: Final = 4.0
ROUNDS_MAX: Final = 200
CLOSE: Final = 1e-9

Met = tuple[tuple[tuple[FailureClass, int], ...], int]
"""What one run met at a step: refusals of the service by the class seen, sorted, and answers."""


@dataclass(frozen=True, slots=True)
class HealthLaw:
    """P(an attempt is refused by an ill, by a well service), and as which class the engine sees it.

    `ill_share` is the share of runs that met an ill service.
    """

    ill: float = PRIOR_ILL
    well: float = PRIOR_WELL
    ill_share: float = PRIOR_ILL_SHARE
    ill_seen: Mapping[FailureClass, float] | None = None
    well_seen: Mapping[FailureClass, float] | None = None

    def regimes(
        self,
        refusal: float,
        permanent_share: float,
        latency: Latency,
        failure_latency: Latency,
        permanent_seen: Mapping[FailureClass, float] | None = None,
    ) -> tuple[Regime, ...]:
        """The mixture of regimes in which a first attempt is refused with probability `refusal`.

        Of those refusals a share `permanent_share` is the input's fault. With h = refusal * (1 - that share)
        the service fails first; the input is hopeless with probability (refusal - h) / (1 - h); and h itself
        is ill_weight * ill + (1 - ill_weight) * well, which gives the weight of being ill now.
        `permanent_seen` says as which classes the engine sees a hopeless input's refusals.
        """
        health = refusal * (1 - permanent_share)
        hopeless = min(1.0, (refusal - health) / (1 - health)) if health < 1 else 0.0
        ill_weight, ill, well = self._weighed(health)
        regimes: list[Regime] = []
        for weight, rate, seen in (
            (ill_weight, ill, self.ill_seen),
            (1 - ill_weight, well, self.well_seen),
        ):
            failures = {each: share * rate for each, share in (seen or _UNSEEN).items()}
            if weight * (1 - hopeless) > 0:
                regimes.append(Regime(weight * (1 - hopeless), failures, latency, failure_latency))
            if weight * hopeless > 0:
                refused = dict(failures)
                for each, share in (permanent_seen or _PERMANENT).items():
                    if share <= 0:
                        continue
                    refused[each] = refused.get(each, 0.0) + (1 - rate) * share
                regimes.append(Regime(weight * hopeless, refused, latency, failure_latency))
        return tuple(regimes)

    def _weighed(self, health: float) -> tuple[float, float, float]:
        """The weight of being ill, and both rates, moved outwards where `health` lies outside them."""
        if health >= self.ill:
            return 1.0, health, self.well
        if health <= self.well:
            return 0.0, self.ill, health
        return (health - self.well) / (self.ill - self.well), self.ill, self.well

    def as_json(self) -> dict[str, Any]:
        """The law as JSON values; `from_json` reads them back."""
        return {
            "ill": self.ill,
            "well": self.well,
            "ill_share": self.ill_share,
            "ill_seen": {each.value: share for each, share in (self.ill_seen or _UNSEEN).items()},
            "well_seen": {each.value: share for each, share in (self.well_seen or _UNSEEN).items()},
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> HealthLaw:
        """The law that `as_json` wrote."""

        def shares(key: str) -> dict[FailureClass, float]:
            return {FailureClass(each): float(share) for each, share in written[key].items()}

        return cls(
            float(written["ill"]),
            float(written["well"]),
            float(written["ill_share"]),
            shares("ill_seen"),
            shares("well_seen"),
        )


_UNSEEN: Final[Mapping[FailureClass, float]] = {FailureClass.UNKNOWN: 1.0}
"""As what refusals are seen where none was: nobody can say."""
_PERMANENT: Final[Mapping[FailureClass, float]] = {FailureClass.PERMANENT: 1.0}


def met(refusals: Counter[FailureClass], answers: int) -> Met:
    """What one run met, in the form in which it is counted."""
    return tuple(sorted(refusals.items())), answers


def fit_health(counts: Mapping[Met, int], prior: HealthLaw | None = None) -> HealthLaw:
    """The law that makes what runs met most likely, given the prior (by default the stated one)."""
    belief = prior or HealthLaw()
    kinds = sorted({each for seen, _ in counts for each, _ in seen})
    even = dict.fromkeys(kinds, 1 / len(kinds)) if kinds else dict(_UNSEEN)
    law = replace(belief, ill_seen=belief.ill_seen or even, well_seen=belief.well_seen or even)
    start = law
    for _ in range(ROUNDS_MAX):
        was = law
        law = _maximised(counts, start, was)
        if abs(law.ill - was.ill) + abs(law.well - was.well) + abs(law.ill_share - was.ill_share) < CLOSE:
            break
    # The states are named by their rates; a fit that crossed over would swap their meaning.
    if law.ill < law.well:
        law = HealthLaw(law.well, law.ill, 1 - law.ill_share, law.well_seen, law.ill_seen)
    return law


@dataclass(slots=True)
class _Tally:
    """Expected refusals by class, attempts and runs in one state, beginning with the prior's."""

    refusals: dict[FailureClass, float]
    attempts: float
    runs: float

    @classmethod
    def of(cls, rate: float, seen: Mapping[FailureClass, float] | None, share: float) -> _Tally:
        expected = {each: part * rate * PRIOR_ATTEMPTS for each, part in (seen or _UNSEEN).items()}
        return cls(expected, PRIOR_ATTEMPTS, share * PRIOR_RUNS)

    def add(self, weight: float, seen: tuple[tuple[FailureClass, int], ...], answers: int) -> None:
        self.runs += weight
        self.attempts += weight * (answers + sum(n for _, n in seen))
        for each, n in seen:
            self.refusals[each] = self.refusals.get(each, 0.0) + weight * n

    @property
    def rate(self) -> float:
        return sum(self.refusals.values()) / self.attempts

    @property
    def seen(self) -> dict[FailureClass, float]:
        total = sum(self.refusals.values())
        return {each: n / total for each, n in sorted(self.refusals.items())}


def _maximised(counts: Mapping[Met, int], prior: HealthLaw, law: HealthLaw) -> HealthLaw:
    """One round of EM: what is expected in each state under `law`, turned back into rates."""
    ill = _Tally.of(prior.ill, prior.ill_seen, prior.ill_share)
    well = _Tally.of(prior.well, prior.well_seen, 1 - prior.ill_share)
    for (seen, answers), count in counts.items():
        weight = _ill_probability(seen, answers, law)
        ill.add(count * weight, seen, answers)
        well.add(count * (1 - weight), seen, answers)
    return HealthLaw(ill.rate, well.rate, ill.runs / (ill.runs + well.runs), ill.seen, well.seen)


def _ill_probability(seen: tuple[tuple[FailureClass, int], ...], answers: int, law: HealthLaw) -> float:
    """P(ill | what one run met); how refusals looked counts as well as how many there were."""
    if_ill = law.ill_share * (1 - law.ill) ** answers
    if_well = (1 - law.ill_share) * (1 - law.well) ** answers
    for each, n in seen:
        if_ill *= (law.ill * (law.ill_seen or {}).get(each, 0.0)) ** n
        if_well *= (law.well * (law.well_seen or {}).get(each, 0.0)) ** n
    return if_ill / (if_ill + if_well) if if_ill + if_well > 0 else law.ill_share
