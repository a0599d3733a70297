"""What a forecast costs in process: all of one 20-step saga, its risk factors, and loading a bundle.

    python -m benchmarks.serving [--attempts 30000] [--rounds 2000] [--json]

A bundle is trained on a simulated saga of twenty steps whose failures and durations follow the caller's
context by thresholds, so trees are chosen for both causes of failure and for durations (printed, and what was
not chosen is forced, so that every model is asked). Measured is what happens after the features of a launch
are known: encoding, every model, laws and regimes for all steps. Each figure stands beside a floor of the
same run: LightGBM's own `predict` of the same rows by the same models, and nothing else.

| figure | is |
|---|---|
| all forecasts | `BundleForecaster.forecast` of twenty steps |
| with risk factors | the same with `explain`: what moves each step, in words |
| load and probe | `load_bundle` with its signature verified and its golden rows tried in a child process |

Median and 99th percentile over rounds that take turns, so that other load on the machine meets all alike.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.classes import SEED
from benchmarks.step_failure import Chance, bent, drawn

from sagacity_data.inferred import infer_sagas, with_features
from sagacity_data.rows import AttemptRow
from sagacity_engine import Saga
from sagacity_models.bundle import Bundle, load_bundle, save_bundle
from sagacity_models.encoding import Features
from sagacity_models.forecaster import BundleForecaster
from sagacity_models.probe import ProbeLimits
from sagacity_models.signing import SigningKey, TrustedKeys
from sagacity_models.step_models import Recipe
from sagacity_training.train import fit_bundle

STEPS = 20
LOADS = 5
Work = Callable[[], object]


@dataclass(frozen=True)
class Launch:
    """Features that are already known, as a source of them."""

    told: Mapping[str, Features]

    def features(
        self, saga: Saga, context: Mapping[str, str | float | bool], at: float
    ) -> Mapping[str, Features]:
        """Those of this launch."""
        del saga, context, at
        return self.told


def trained(attempts: int) -> tuple[Bundle, Saga, Launch, dict[str, str]]:
    """The bundle with trees for everything, the saga, the features of a late launch, and what was chosen."""
    laws: dict[str, tuple[Chance, float]] = {
        f"step-{n:02d}": (bent(-4.5, 1.4, 0.8, 1.2 * (n % 3)), 0.25 * (n % 4)) for n in range(STEPS)
    }
    plain = [replace(row, definition_hash="") for row in drawn(laws)(attempts).rows]
    (saga,) = infer_sagas(plain).values()
    rows = [row for row in with_features(plain, {}) if isinstance(row, AttemptRow)]
    told = fit_bundle(rows, seed=SEED, at=max(row.ended_at or 0.0 for row in rows))
    chosen = {target.name: target.choice.recipe.value for target in told.targets}
    bundle = told.model
    if any(part.boosted is None for part in (bundle.service, bundle.request)):
        trees = bundle.service.boosted or bundle.request.boosted
        if trees is None:
            raise SystemExit(f"training chose no trees at all ({chosen}); ask for more --attempts")
        bundle = replace(
            bundle,
            service=replace(bundle.service, recipe=Recipe.MEAN, boosted=bundle.service.boosted or trees),
            request=replace(bundle.request, recipe=Recipe.MEAN, boosted=bundle.request.boosted or trees),
        )
    latest = {row.step: row.features for row in rows if row.features}
    return bundle, saga, Launch(latest), chosen


def floor_of(bundle: Bundle, matrix: Any) -> Work:
    """LightGBM's own predictions of the rows by every booster of the bundle."""
    import lightgbm

    models = (bundle.service.boosted, bundle.request.boosted, bundle.durations.median, bundle.durations.p90)
    boosters = [lightgbm.Booster(model_str=model.text) for model in models if model is not None]

    def work() -> object:
        return [booster.predict(matrix, raw_score=True, num_threads=1) for booster in boosters]

    return work


def measured(works: Mapping[str, Work], rounds: int) -> dict[str, dict[str, float]]:
    """Median and p99 in milliseconds of each work, after a tenth of the rounds to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + rounds // 10):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            if number >= rounds // 10:
                taken[name].append(1e3 * (time.perf_counter() - began))
    return {
        name: {"p50_ms": float(np.median(each)), "p99_ms": float(np.quantile(each, 0.99))}
        for name, each in taken.items()
    }


def loading(bundle: Bundle) -> dict[str, float]:
    """Seconds to verify, try in a child process and read the bundle: the median of several times."""
    key = SigningKey.fresh()
    trusted = TrustedKeys(frozenset((key.public_key,)))
    taken: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "bundle")
        save_bundle(bundle, folder, created_at="2026-01-01T00:00:00+00:00", key=key)
        for _ in range(LOADS):
            began = time.perf_counter()
            load_bundle(folder, verify=trusted, probe=ProbeLimits())
            taken.append(time.perf_counter() - began)
        size = sum(file.stat().st_size for file in folder.iterdir())
    return {"median_s": float(np.median(taken)), "slowest_s": max(taken), "kib": size / 1024}


def main() -> None:
    """Prints a line a figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--attempts", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    bundle, saga, launch, chosen = trained(told.attempts)
    forecaster = BundleForecaster(bundle, launch)
    explaining = BundleForecaster(bundle, launch, explain=True)
    matrix = np.array(forecaster.rows(saga, launch.told).trees)
    works: dict[str, Work] = {
        "floor": floor_of(bundle, matrix),
        "all forecasts": lambda: forecaster.forecast(saga, {}, 0.0),
        "with risk factors": lambda: explaining.forecast(saga, {}, 0.0),
    }
    figures = measured(works, told.rounds)
    loads = loading(bundle)
    if told.json:
        print(json.dumps({"chosen": chosen, "serving": figures, "load": loads, "columns": matrix.shape[1]}))
        return
    print(f"{len(saga.steps)} steps, {matrix.shape[1]} columns; chosen by training: {chosen}")
    floor = figures["floor"]["p50_ms"]
    for name, each in figures.items():
        ratio = f"{each['p50_ms'] / floor:.2f} of the floor"
        print(f"{name:18} p50 {each['p50_ms']:.3f} ms, p99 {each['p99_ms']:.3f} ms; {ratio}")
    size = f"{loads['kib']:.0f} KiB"
    print(f"load and probe     {loads['median_s']:.2f} s, slowest {loads['slowest_s']:.2f} s; {size}")


if __name__ == "__main__":
    main()
