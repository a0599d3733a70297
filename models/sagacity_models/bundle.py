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

from sagacity_models.base_rates import CLASSES, BaseRates
from sagacity_models.boosted import BoostedModel
from sagacity_models.bundle_files import canonical, parse, read_folder, refuse, version_of, write_folder
from sagacity_models.calibration import read_calibration
from sagacity_models.encoding import FeatureEncoding
from sagacity_models.linear import LinearModel
from sagacity_models.step_models import ClassModel, DurationModel, Recipe, RefusalModel

_JSON_FILES = ("base_rates.json", "encoding.json", "refusal.json", "classes.json", "durations.json")
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
    refusal: RefusalModel = field(default_factory=RefusalModel)
    classes: ClassModel = field(default_factory=ClassModel)
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
            "refusal": bundle.refusal.recipe,
            "classes": bundle.classes.recipe,
            "durations": bundle.durations.recipe,
        },
    }


def _texts(bundle: Bundle) -> dict[str, str]:
    refusal, classes, durations = bundle.refusal, bundle.classes, bundle.durations
    texts = {
        "base_rates.json": canonical(bundle.base.as_json()),
        "encoding.json": canonical(bundle.encoding.as_json()),
        "refusal.json": canonical(
            {
                "recipe": refusal.recipe,
                "calibration": refusal.calibration.as_json(),
                "pooled": refusal.pooled.as_json() if refusal.pooled else None,
                "linear": {key: model.as_json() for key, model in refusal.linear.items()},
            }
        ),
        "classes.json": canonical(
            {
                "recipe": classes.recipe,
                "sharpness": classes.sharpness,
                "linear": classes.linear.as_json() if classes.linear else None,
            }
        ),
        "durations.json": canonical({"recipe": durations.recipe}),
    }
    boosters = {
        "refusal.lgb.txt": refusal.boosted,
        "classes.lgb.txt": classes.boosted,
        "duration_median.lgb.txt": durations.median,
        "duration_p90.lgb.txt": durations.p90,
    }
    return texts | {name: booster.text for name, booster in boosters.items() if booster is not None}


def _assembled(folder: Path, manifest: Mapping[str, Any], texts: Mapping[str, str]) -> Bundle:
    base, encoding, refusal, classes, durations = (parse(folder, name, texts[name]) for name in _JSON_FILES)

    def booster(name: str) -> BoostedModel | None:
        return BoostedModel(texts[name]) if name in texts else None

    return Bundle(
        base=BaseRates.from_json(base),
        encoding=FeatureEncoding.from_json(encoding),
        refusal=RefusalModel(
            recipe=Recipe(refusal["recipe"]),
            linear={key: LinearModel.from_json(model) for key, model in refusal["linear"].items()},
            pooled=LinearModel.from_json(refusal["pooled"]) if refusal["pooled"] else None,
            boosted=booster("refusal.lgb.txt"),
            calibration=read_calibration(refusal["calibration"]),
        ),
        classes=ClassModel(
            recipe=Recipe(classes["recipe"]),
            linear=LinearModel.from_json(classes["linear"]) if classes["linear"] else None,
            boosted=booster("classes.lgb.txt"),
            sharpness=float(classes["sharpness"]),
        ),
        durations=DurationModel(
            recipe=Recipe(durations["recipe"]),
            median=booster("duration_median.lgb.txt"),
            p90=booster("duration_p90.lgb.txt"),
        ),
        facts={name: fact for name, fact in manifest.items() if name not in _WRITTEN},
        version=str(manifest["version"]),
        created_at=str(manifest["created_at"]),
    )


def _misfit(bundle: Bundle, manifest: Mapping[str, Any]) -> str:
    """Why the parts do not belong together; empty when they do."""
    encoding, refusal, classes, durations = bundle.encoding, bundle.refusal, bundle.classes, bundle.durations
    if manifest.get("feature_schema_sha256") != encoding.schema_hash:
        return "was made for other features than its encoding lists"
    linear = [*refusal.linear.values(), refusal.pooled, classes.linear]
    if any(model is not None and model.columns != len(encoding.design_names) for model in linear):
        return "has a linear model for other features than its encoding lists"
    boosters = [refusal.boosted, classes.boosted, durations.median, durations.p90]
    if any(model is not None and model.columns != len(encoding.names) for model in boosters):
        return "has trees for other features than its encoding lists"
    needed = {
        "refusal": refusal.recipe in (Recipe.BOOSTED, Recipe.MEAN) and refusal.boosted is None,
        "classes": (classes.recipe is Recipe.LINEAR and classes.linear is None)
        or (classes.recipe is Recipe.BOOSTED and classes.boosted is None)
        or classes.recipe is Recipe.MEAN,
        "durations": (durations.recipe is Recipe.BOOSTED and None in (durations.median, durations.p90))
        or durations.recipe in (Recipe.LINEAR, Recipe.MEAN),
    }
    if lacking := [target for target, lacks in needed.items() if lacks]:
        return f"lacks the model that its recipe for {lacking[0]} needs"
    outputs = [
        (classes.boosted.outputs if classes.boosted else len(CLASSES)) == len(CLASSES),
        (len(classes.linear.intercepts) if classes.linear else len(CLASSES)) == len(CLASSES),
        all(
            model is None or model.outputs == 1
            for model in (refusal.boosted, durations.median, durations.p90)
        ),
    ]
    return "" if all(outputs) else "has a model with the wrong number of outputs"
