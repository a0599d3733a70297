"""How long a call of this run takes: its step's base, what trees add to it, and the law of what is left.

    log duration = location + scale * Z

The location and scale of a step are its base latency's, or that moved by two models of boosted trees (for
the median and the 90 % quantile). Whatever the base assumed, what calls *really* did around it is the
residual law of Z: one shape per step, towards the one of all steps where a step has few calls, estimated
with those calls that a timeout cut off (training: `residual_laws`). So stalls, heavy tails and humps are
told, and a step that nobody has seen gets the pooled law. Successes and refusals have laws of their own.
Without any law durations are log-normal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sagacity_models.boosted import BoostedModel
from sagacity_models.censored import SIGMA_MAX, SIGMA_MIN
from sagacity_models.forecast import Latency
from sagacity_models.shape import HEIGHT_MAX, NORMAL, Shape
from sagacity_models.step_models import Recipe, StepRows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Z90: Final = 1.2815515655446004
"""The standard normal's 90 % quantile."""
LOG_STEP_MAX: Final = 4.0
"""A learned duration is at most exp(4), some fifty times, away from the step's base."""
SIGMA_SHARE_MIN: Final = 0.25
"""Trees narrow a step's scale to a quarter of its base's at most: a residual is measured in it."""
_FILE = "durations.json"
_TREES = {"median": "duration_median.lgb.txt", "p90": "duration_p90.lgb.txt"}


@dataclass(frozen=True, slots=True)
class ResidualLaw:
    """The law of (log duration - location) / scale: `offset` is its median, `shape` what it does around it.

    `calls` is how many calls of the step itself told it.
    """

    offset: float = 0.0
    shape: Shape = NORMAL
    calls: float = 0.0

    def around(self, base: Latency) -> Latency:
        """The duration whose location and scale are those of `base` and whose residuals follow this law."""
        return Latency(base.median_s * math.exp(self.offset * base.sigma), base.sigma, self.shape)

    def as_json(self) -> dict[str, Any]:
        """The law as JSON values; `from_json` reads them back."""
        return {"offset": self.offset, "calls": self.calls, "shape": self.shape.as_json()}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> ResidualLaw:
        """The law that `as_json` wrote; raises `ValueError` where that is none."""
        offset, calls = float(written["offset"]), float(written["calls"])
        if not (abs(offset) <= HEIGHT_MAX and 0 <= calls < math.inf):
            raise ValueError(f"offset {offset!r} over {calls!r} calls is no law of durations")
        return cls(offset, Shape.from_json(written["shape"]), calls)


@dataclass(frozen=True, slots=True)
class ResidualLaws:
    """Laws by step key, and that of a step with too few calls for one of its own."""

    steps: Mapping[str, ResidualLaw] = field(default_factory=dict)
    pooled: ResidualLaw = field(default_factory=ResidualLaw)

    def of(self, key: str) -> ResidualLaw:
        """The step's law, or the pooled one."""
        return self.steps.get(key, self.pooled)

    def as_json(self) -> dict[str, Any]:
        """The laws as JSON values; `from_json` reads them back."""
        return {
            "pooled": self.pooled.as_json(),
            "steps": {key: law.as_json() for key, law in sorted(self.steps.items())},
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> ResidualLaws:
        """The laws that `as_json` wrote."""
        laws = {str(key): ResidualLaw.from_json(law) for key, law in written["steps"].items()}
        return cls(laws, ResidualLaw.from_json(written["pooled"]))


@dataclass(frozen=True, slots=True)
class DurationModel:
    """The durations of success and of refusal. `refusals_follow` says that trees move both."""

    recipe: Recipe = Recipe.BASE
    median: BoostedModel | None = None
    p90: BoostedModel | None = None
    successes: ResidualLaws = field(default_factory=ResidualLaws)
    refusals: ResidualLaws = field(default_factory=ResidualLaws)
    refusals_follow: bool = False

    def latencies(self, rows: StepRows) -> list[Latency]:
        """How long success takes, one latency per step."""
        return [success for success, _ in self.pairs(rows)]

    def refusal_latencies(self, rows: StepRows) -> list[Latency]:
        """How long a refusal takes, one latency per step."""
        return [refusal for _, refusal in self.pairs(rows)]

    def pairs(self, rows: StepRows) -> list[tuple[Latency, Latency]]:
        """How long success and refusal take, one pair per step, with one call of each model."""
        success = [rates.latency for rates in rows.rates]
        refusal = [rates.refusal_latency for rates in rows.rates]
        added = None if self.recipe is Recipe.BASE else self._added(rows)
        ones = _around(success, self.successes, rows.keys, added)
        return list(
            zip(
                ones,
                _around(refusal, self.refusals, rows.keys, added if self.refusals_follow else None),
                strict=True,
            )
        )

    def p_done_by(self, rows: StepRows, t_s: float) -> list[float]:
        """P(a call that succeeds is done within `t_s` seconds), one per step, timeouts apart."""
        return [latency.done_by(t_s) for latency in self.latencies(rows)]

    def _added(self, rows: StepRows) -> tuple[Array, Array]:
        assert self.median is not None  # a bundle with this recipe was refused without its boosters
        assert self.p90 is not None
        return self.median.matrix(rows.trees)[:, 0], self.p90.matrix(rows.trees)[:, 0]

    def texts(self) -> dict[str, str]:
        """The model as named texts: JSON, and LightGBM's own for the trees. `from_texts` reads them back."""
        told = {
            "recipe": self.recipe,
            "refusals_follow": self.refusals_follow,
            "successes": self.successes.as_json(),
            "refusals": self.refusals.as_json(),
        }
        boosters = {"median": self.median, "p90": self.p90}
        trees = {_TREES[name]: model.text for name, model in boosters.items() if model is not None}
        return {_FILE: json.dumps(told, indent=1, sort_keys=True, allow_nan=False) + "\n", **trees}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> DurationModel:
        """The model that `texts` wrote, among whatever else is there. Raises `ValueError` where it is none.

        What was written before there were residual laws is read as log-normal.
        """
        if _FILE not in texts:
            raise ValueError(f"there is no {_FILE}")
        trees = {name: BoostedModel(texts[file]) for name, file in _TREES.items() if file in texts}
        try:
            told = json.loads(texts[_FILE])
            recipe = Recipe(told["recipe"])
            laws = {
                name: ResidualLaws.from_json(told[name]) if name in told else ResidualLaws()
                for name in ("successes", "refusals")
            }
            follow = bool(told.get("refusals_follow", False))
        except (AttributeError, KeyError, RecursionError, TypeError) as problem:
            raise ValueError(f"{_FILE} is no model of durations ({problem!r})") from None
        if recipe not in (Recipe.BASE, Recipe.BOOSTED) or (recipe is Recipe.BOOSTED and len(trees) < 2):
            raise ValueError(f"durations lack the trees that the recipe {recipe!r} needs, or know no such")
        return cls(recipe, trees.get("median"), trees.get("p90"), **laws, refusals_follow=follow)


def _around(
    bases: Sequence[Latency], laws: ResidualLaws, keys: Sequence[str], added: tuple[Array, Array] | None
) -> list[Latency]:
    """The base latencies, moved by what is added to log-median and log-p90 within bounds, and their laws."""
    import numpy as np

    own = [laws.of(key) for key in keys]
    medians, sigmas = (np.array([getattr(base, name) for base in bases]) for name in ("median_s", "sigma"))
    if added is not None:
        medians, sigmas = moved(medians, sigmas, *added)
    medians = medians * np.exp(np.array([law.offset for law in own]) * sigmas)
    pairs = zip(medians.tolist(), sigmas.tolist(), own, strict=True)
    return [Latency(median, sigma, law.shape) for median, sigma, law in pairs]


def moved(medians: Array, sigmas: Array, median: Array, p90: Array) -> tuple[Array, Array]:
    """Medians and scales of log-normals whose log-median and log-p90 are those given plus two numbers each,
    within bounds.
    """
    import numpy as np

    low, high = (np.clip(each, -LOG_STEP_MAX, LOG_STEP_MAX) for each in (median, p90))
    lowest = np.maximum(SIGMA_MIN, SIGMA_SHARE_MIN * sigmas)
    narrowed = np.maximum(sigmas + (high - low) / Z90, lowest)
    return medians * np.exp(low), np.minimum(narrowed, SIGMA_MAX)
