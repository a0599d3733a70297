"""How long a case still takes, as a law: quantiles, and the probability that it is done by some time.

log(1 + remaining seconds) = location + residual. The location is 0 (`POOLED`), or what boosted trees say of
the prefix (`TREES`); the residual's law is a quantile function by bucket: one for all, one by last step
(`STAGE`), or one by size of the location. So the spread is learnt where it differs and cases still open count
as censored (the laws are Kaplan and Meier's, fitted in training). Where a bucket has no law, that of all
counts.

A law is about the time since the latest event. Where that has been a while, and the case has not ended, the
time is conditioned on: P(R <= s + t | R > s) = (F(s+t) - F(s)) / (1 - F(s)). Where hardly any case was seen
to wait as long (less than one in all that ended is expected to), the law has nothing to say; the rest is then
taken to be about as long as the wait: P(R <= s + t | R > s) = t / (s + t), whose median is s. That is the
Pareto law with exponent 1; it neither promises an end at once nor gives the case up.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import expm1, log1p
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import lightgbm as lgb
    import numpy as np
    from numpy.typing import NDArray

PROBABILITIES: Final = (0.0, 0.01, 0.025, *(n / 20 for n in range(1, 20)), 0.975, 0.99, 1.0)
"""At which probabilities the quantile function of a residual is kept; straight lines between."""

_LOCATION_MAX: Final = 40.0
_LEFT_MIN: Final = 1e-9
_HEAD, _TREES = "remaining.json", "remaining.lgb.txt"


class RemainingKind(StrEnum):
    """What the law of the remaining time depends on."""

    POOLED = "pooled"  # On nothing: the base law.
    STAGE = "stage"  # On the last step.
    TREES = "trees"  # On the whole prefix, through boosted trees.


@dataclass(frozen=True, slots=True)
class ResidualLaw:
    """The quantile function of a residual at `PROBABILITIES`, never falling, and the number of its rows."""

    knots: tuple[float, ...]
    evidence: int

    def __post_init__(self) -> None:
        if len(self.knots) != len(PROBABILITIES) or any(low > high for low, high in pairwise(self.knots)):
            raise ValueError(f"a residual law needs {len(PROBABILITIES)} knots that never fall")

    def quantile(self, p: float) -> float:
        """The residual that a share `p` stays below."""
        return _straight(p, PROBABILITIES, self.knots)

    def below(self, residual: float) -> float:
        """The share that stays at or below `residual`."""
        return _straight(residual, self.knots, PROBABILITIES)


@dataclass(frozen=True, slots=True)
class RemainingLaw:
    """The remaining time of one case, from its latest event on."""

    location: float
    residual: ResidualLaw

    def quantile_s(self, p: float, since_s: float = 0.0) -> float:
        """Seconds from now until a share `p` of such cases is done; the event was `since_s` seconds ago."""
        before = self._done(since_s)
        if self._unheard_of(before):
            return since_s * p / max(1 - p, _LEFT_MIN)
        whole_s = expm1(min(self.location + self.residual.quantile(before + p * (1 - before)), _LOCATION_MAX))
        return max(whole_s - since_s, 0.0)

    def done_by(self, t_s: float, since_s: float = 0.0) -> float:
        """The probability that the case is done within `t_s` seconds from now; 0 for a time that is over."""
        if t_s <= 0:
            return 0.0
        before = self._done(since_s)
        if self._unheard_of(before):
            return t_s / (since_s + t_s)
        return min(max((self._done(since_s + t_s) - before) / (1 - before), 0.0), 1.0)

    def _unheard_of(self, before: float) -> bool:
        return before >= 1 - 1 / (self.residual.evidence + 1)

    def _done(self, t_s: float) -> float:
        return self.residual.below(log1p(t_s) - self.location) if t_s > 0 else 0.0


class RemainingTime:
    """The law of the remaining time for each prefix.

    `laws` are by bucket (`bucket`); `edges` part locations into buckets, and `trees` is LightGBM's own text,
    both for `TREES` only.
    """

    def __init__(
        self,
        kind: RemainingKind,
        pooled: ResidualLaw,
        laws: Mapping[str, ResidualLaw],
        *,
        edges: Sequence[float] = (),
        trees: str | None = None,
    ) -> None:
        if (kind is RemainingKind.TREES) is not (trees is not None):
            raise ValueError(f"a law of kind {kind} {'needs' if trees is None else 'has no'} trees")
        self.kind = kind
        self.pooled = pooled
        self.laws = dict(laws)
        self.edges = tuple(edges)
        self._text = trees
        self._booster: lgb.Booster | None = None

    def law(self, row: NDArray[np.float32], step: str) -> RemainingLaw:
        """The law after a prefix with these features, whose last step is `step`."""
        location = float(self.locations(row[None, :])[0]) if self.kind is RemainingKind.TREES else 0.0
        return self.law_at(location, step)

    def law_at(self, location: float, step: str) -> RemainingLaw:
        """The law at a location that `locations` gave."""
        return RemainingLaw(location, self.laws.get(self.bucket(location, step), self.pooled))

    def locations(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """The location of each feature row."""
        import numpy as np

        if self._text is None:
            return np.zeros(len(rows))
        if self._booster is None:
            import lightgbm

            self._booster = lightgbm.Booster(model_str=self._text)
        return np.asarray(self._booster.predict(rows, num_threads=1), dtype=np.float64)

    def bucket(self, location: float, step: str) -> str:
        """Which residual law counts."""
        if self.kind is RemainingKind.STAGE:
            return step
        return str(bisect_right(self.edges, location)) if self.kind is RemainingKind.TREES else ""

    def texts(self) -> dict[str, str]:
        """The whole part as named texts; `from_texts` reads them back."""
        head: dict[str, Any] = {
            "kind": self.kind.value,
            "pooled": _written(self.pooled),
            "laws": {bucket: _written(law) for bucket, law in sorted(self.laws.items())},
            "edges": list(self.edges),
        }
        texts = {_HEAD: json.dumps(head, ensure_ascii=False, sort_keys=True)}
        return texts if self._text is None else {**texts, _TREES: self._text}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> RemainingTime:
        """The part that `texts` wrote. Raises `ValueError` for anything else."""
        try:
            head = json.loads(texts[_HEAD])
            return cls(
                RemainingKind(head["kind"]),
                _read(head["pooled"]),
                {bucket: _read(law) for bucket, law in head["laws"].items()},
                edges=tuple(map(float, head["edges"])),
                trees=texts.get(_TREES),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no law of remaining time ({type(error).__name__}: {error})") from None


def _straight(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """The value at `x` on straight lines between points; of several points at one place the last."""
    above = bisect_right(xs, x)
    if above == 0:
        return ys[0]
    if above == len(xs):
        return ys[-1]
    left, right = xs[above - 1], xs[above]
    return ys[above - 1] + (ys[above] - ys[above - 1]) * (x - left) / (right - left)


def _written(law: ResidualLaw) -> list[Any]:
    return [law.evidence, *law.knots]


def _read(written: Any) -> ResidualLaw:
    evidence, *knots = written
    return ResidualLaw(tuple(map(float, knots)), int(evidence))
