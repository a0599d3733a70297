"""Models judged by the plans they cause: on held-out runs, in the owner's unit.

For each sampled run three plans: the *author's*, the *static* one (the optimizer fed with mean rates) and the
*advised* one (the optimizer fed with the forecasts that are judged). Each is priced twice:

- *promised*: the expectation under the forecasts themselves. Always kind to the advised plan, which is chosen
  by it; that it comes true is what calibration is for.
- *realised*: what the run's own attempts would have cost under the plan (`realised`). No forecast has a say
  in it, but for steps that the run never reached, which are priced at mean rates.

Differences are paired by run, with intervals over blocks of time. What this cannot see: how plans change the
load that others meet, what waiting changes about an outage, and steps that the logged plan never tried. What
advice earned in truth is told by the permanent holdout alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga
from sagacity_models.forecast import SagaForecast
from sagacity_optimizer.evaluate import is_sequential, judge
from sagacity_optimizer.priced import unpriced
from sagacity_optimizer.problem import Problem
from sagacity_optimizer.propose import optimize
from sagacity_training.judging.blocks import Blocks, Interval
from sagacity_training.judging.realised import SeenCall, realised_cost

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

RUNS_MIN: Final = 20
"""Fewer runs are not reported: their mean would say nothing."""
POLICIES: Final = ("author", "static", "advised")


@dataclass(frozen=True, slots=True)
class HeldOutRun:
    """One run: its saga, both forecasts of it as of its launch, and what its attempts came to, by step."""

    saga: Saga
    advised: SagaForecast
    static: SagaForecast
    seen: Mapping[str, Sequence[SeenCall]]
    run_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Mean costs by policy, and what the advised plans save against the others (positive is cheaper).

    `changed` is the share of runs whose advised plan is not the author's. `skipped` says why there are no
    figures, else it is empty; `left_out` counts runs that could not be priced, by reason.
    """

    runs: int = 0
    changed: float = 0.0
    promised: Mapping[str, float] | None = None
    realised: Mapping[str, float] | None = None
    saved_author: Interval | None = None
    saved_static: Interval | None = None
    left_out: Mapping[str, int] | None = None
    skipped: str = ""

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "runs": self.runs,
            "changed": self.changed,
            "promised": dict(self.promised) if self.promised else None,
            "realised": dict(self.realised) if self.realised else None,
            "saved_against_author": self.saved_author.as_json() if self.saved_author else None,
            "saved_against_static": self.saved_static.as_json() if self.saved_static else None,
            "left_out": dict(self.left_out or {}),
            "skipped": self.skipped,
        }


def judge_decisions(
    runs: Iterable[HeldOutRun], *, seed: int, draws: int, clock: Callable[[], float], budget_s: float
) -> Decisions:
    """The figures over `runs`, in time order, until `budget_s` seconds of `clock` are over."""
    import numpy as np

    begun = clock()
    rows, left_out, changed = list[tuple[float, ...]](), Counter[str](), 0
    for run in runs:
        if clock() - begun > budget_s:
            left_out["the time for judging plans was over"] += 1
            continue
        priced = _priced(run)
        if isinstance(priced, str):
            left_out[priced] += 1
            continue
        costs, moved = priced
        rows.append(costs)
        changed += moved
    if len(rows) < RUNS_MIN:
        most = f" ({left_out.most_common(1)[0][0]})" if left_out else ""
        why = f"{len(rows)} held-out runs could be priced, fewer than {RUNS_MIN}{most}"
        return Decisions(skipped=why, left_out=left_out)
    told = np.array(rows)
    blocks = Blocks(np.arange(len(rows)), 30)
    drawn = blocks.draws(draws, seed)
    means = [float(mean) for mean in told.mean(axis=0)]
    return Decisions(
        runs=len(rows),
        changed=changed / len(rows),
        promised=dict(zip(POLICIES, means[:3], strict=True)),
        realised=dict(zip(POLICIES, means[3:], strict=True)),
        saved_author=blocks.interval(told[:, 3] - told[:, 5], drawn),
        saved_static=blocks.interval(told[:, 4] - told[:, 5], drawn),
        left_out=left_out,
    )


def _priced(run: HeldOutRun) -> tuple[tuple[float, ...], bool] | str:
    """Promised and realised costs by policy, and whether advice changed the plan; or why there are none."""
    if unpriced(run.saga):
        return "the saga holds a part that has no price yet"
    author = author_plan(run.saga)
    if not is_sequential(author):
        return "the author's plan runs steps side by side"
    advised, usual = Problem(run.saga, run.advised), Problem(run.saga, run.static)
    plans = (author, optimize(run.saga, run.static).plan, optimize(run.saga, run.advised).plan)
    promised = tuple(judge(plan, advised).expected_cost for plan in plans)
    realised = tuple(realised_cost(plan, usual, run.seen) for plan in plans)
    return (*promised, *realised), plans[2] != author
