"""A bundle: everything a forecast needs, as values, and how it becomes a folder and comes back.

`load_bundle` verifies the whole folder before it parses any of it, and then checks that the parts fit
together (columns, recipes, outputs), so that a bundle that loads can also forecast. Recipes that need no
trees load without LightGBM.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sagacity_models.base_rates import BaseRates
from sagacity_models.boosted import BoostedModel
from sagacity_models.bundle_files import canonical, parse, read_folder, refuse, version_of, write_folder
from sagacity_models.calibration import read_calibration
from sagacity_models.durations import DurationModel
from sagacity_models.encoding import FeatureEncoding
from sagacity_models.linear import LinearModel
from sagacity_models.step_models import Cause, Recipe, RefusalModel

_JSON_FILES = ("base_rates.json", "encoding.json", "service.json", "request.json", "durations.json")
_WRITTEN = frozenset(
    {"schema_version", "files", "version", "created_at", "manifest_sha256"}
    | {"features", "feature_schema_sha256", "recipes"}
)
"""What saving adds to the facts of a manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Base rates, encoding and the three models. `facts` is what the manifest tells besides its files."""

    base: BaseRates
    encoding: FeatureEncoding
    service: RefusalModel = field(default_factory=lambda: RefusalModel(cause=Cause.SERVICE))
    request: RefusalModel = field(default_factory=lambda: RefusalModel(cause=Cause.REQUEST))
    durations: DurationModel = field(default_factory=DurationModel)
    facts: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    created_at: str = ""


def save_bundle(bundle: Bundle, folder: str | os.PathLike[str], *, created_at: str) -> str:
    """Write the bundle to `folder`, whole or not at all, and return its version.

    Raises `BundleRefused` where the folder already holds something else.
    """
    return write_folder(Path(folder), _texts(bundle), _facts(bundle), created_at)


def stamped(bundle: Bundle) -> Bundle:
    """The bundle with the version under which it will be saved."""
    return replace(bundle, version=version_of(_texts(bundle), _facts(bundle)))


def load_bundle(folder: str | os.PathLike[str]) -> Bundle:
    """The bundle that was saved to `folder`, verified. Raises `BundleRefused` with one line that says why."""
    path = Path(folder)
    manifest, texts = read_folder(path)
    try:
        bundle = _assembled(path, manifest, texts)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        refuse(path, f"holds a model that cannot be read ({type(problem).__name__}: {problem})")
    if breach := _misfit(bundle, manifest):
        refuse(path, breach)
    return bundle


def _facts(bundle: Bundle) -> dict[str, Any]:
    return {
        **bundle.facts,
        "features": list(bundle.encoding.names),
        "feature_schema_sha256": bundle.encoding.schema_hash,
        "recipes": {
            "service": bundle.service.recipe,
            "request": bundle.request.recipe,
            "durations": bundle.durations.recipe,
        },
    }


def _texts(bundle: Bundle) -> dict[str, str]:
    texts = {
        "base_rates.json": canonical(bundle.base.as_json()),
        "encoding.json": canonical(bundle.encoding.as_json()),
        **bundle.durations.texts(),
    }
    boosters: dict[str, BoostedModel | None] = {}
    for model in (bundle.service, bundle.request):
        texts[f"{model.cause}.json"] = canonical(_refusal_as_json(model))
        boosters[f"{model.cause}.lgb.txt"] = model.boosted
    return texts | {name: booster.text for name, booster in boosters.items() if booster is not None}


def _refusal_as_json(model: RefusalModel) -> dict[str, Any]:
    return {
        "recipe": model.recipe,
        "calibration": model.calibration.as_json(),
        "pooled": model.pooled.as_json() if model.pooled else None,
        "linear": {key: linear.as_json() for key, linear in model.linear.items()},
    }


def _refusal_from_json(
    cause: Cause, written: Mapping[str, Any], boosted: BoostedModel | None
) -> RefusalModel:
    return RefusalModel(
        recipe=Recipe(written["recipe"]),
        linear={key: LinearModel.from_json(model) for key, model in written["linear"].items()},
        pooled=LinearModel.from_json(written["pooled"]) if written["pooled"] else None,
        boosted=boosted,
        calibration=read_calibration(written["calibration"]),
        cause=cause,
    )


def _assembled(folder: Path, manifest: Mapping[str, Any], texts: Mapping[str, str]) -> Bundle:
    base, encoding, service, request, _ = (parse(folder, name, texts[name]) for name in _JSON_FILES)

    def booster(name: str) -> BoostedModel | None:
        return BoostedModel(texts[name]) if name in texts else None

    return Bundle(
        base=BaseRates.from_json(base),
        encoding=FeatureEncoding.from_json(encoding),
        service=_refusal_from_json(Cause.SERVICE, service, booster("service.lgb.txt")),
        request=_refusal_from_json(Cause.REQUEST, request, booster("request.lgb.txt")),
        durations=DurationModel.from_texts(texts),
        facts={name: fact for name, fact in manifest.items() if name not in _WRITTEN},
        version=str(manifest["version"]),
        created_at=str(manifest["created_at"]),
    )


def _misfit(bundle: Bundle, manifest: Mapping[str, Any]) -> str:
    """Why the parts do not belong together; empty when they do."""
    encoding, causes, durations = bundle.encoding, (bundle.service, bundle.request), bundle.durations
    if manifest.get("feature_schema_sha256") != encoding.schema_hash:
        return "was made for other features than its encoding lists"
    linear = [model for cause in causes for model in (*cause.linear.values(), cause.pooled)]
    if any(model is not None and model.columns != len(encoding.design_names) for model in linear):
        return "has a linear model for other features than its encoding lists"
    boosters = [*(cause.boosted for cause in causes), durations.median, durations.p90]
    if any(model is not None and model.columns != len(encoding.names) for model in boosters):
        return "has trees for other features than its encoding lists"
    needed = {cause.cause.value: _lacks_trees(cause) for cause in causes}
    needed["durations"] = (
        durations.recipe is Recipe.BOOSTED and None in (durations.median, durations.p90)
    ) or (durations.recipe not in (Recipe.BASE, Recipe.BOOSTED))
    if lacking := [target for target, lacks in needed.items() if lacks]:
        return f"lacks the model that its recipe for {lacking[0]} needs"
    single = all(model is None or model.outputs == 1 for model in boosters)
    return "" if single else "has a model with the wrong number of outputs"


def _lacks_trees(model: RefusalModel) -> bool:
    needs = model.recipe in (Recipe.BOOSTED, Recipe.MEAN)
    return (needs and model.boosted is None) or model.recipe is Recipe.CAUSES
