"""A bundle: everything a forecast needs, as values, and how it becomes a folder and comes back.

A bundle is made of the parts of `bundle_parts`, each of which is a few named texts. `save_bundle` adds golden
rows, a manifest and a signature. `load_bundle` takes the same way back, and refuses at the first doubt, in
this order: signature and hashes before anything is parsed; schema, version and age; a probe in a process of
its own, where one is asked for; the parts; whether the parts fit together. So a bundle that loads can
forecast.

Every bundle is signed. Given no key, `save_bundle` signs with one that it forgets at once: that proves that
the folder is as it was saved, but nobody can be asked to trust it. Given no keys to verify with,
`load_bundle` accepts any signature. Whoever names keys gets what those have signed, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sagacity_data import SCHEMA_VERSION as DATASET_SCHEMA_VERSION
from sagacity_models.base_rates import BaseRates
from sagacity_models.bundle_files import SealedFolder, read_folder, write_folder
from sagacity_models.bundle_parts import PARTS, read_parts, texts_of
from sagacity_models.calibration import Calibration
from sagacity_models.durations import DurationModel
from sagacity_models.encoding import FeatureEncoding
from sagacity_models.errors import BundleRefused
from sagacity_models.golden import GOLDEN, golden_text
from sagacity_models.manifest import WRITTEN, refuse, version_of
from sagacity_models.signing import Signer, SigningKey, TrustedKeys
from sagacity_models.step_models import Cause, Recipe, RefusalModel

if TYPE_CHECKING:
    from sagacity_models.failure_classifier import FailureClassifier
    from sagacity_models.live_risk import LiveRisk
    from sagacity_models.probe import ProbeLimits
    from sagacity_models.tabular import TabularForecaster

KIND: Final = "steps"
"""What the manifest of such a bundle says it is."""
_ADDED = WRITTEN | {"kind", "features", "feature_schema_sha256", "recipes", "dataset_schema_version"}
"""What saving adds to the facts of a manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The models, part by part. `facts` is what the manifest tells besides them and their files.

    Of the facts, `data_sha256`, `trained_until` (the data cut, in seconds since 1970 or ISO 8601), `metrics`,
    `seed` and `libraries` (versions by name) have a meaning to others; any JSON value may be told.
    """

    base: BaseRates
    encoding: FeatureEncoding
    service: RefusalModel = field(default_factory=lambda: RefusalModel(cause=Cause.SERVICE))
    request: RefusalModel = field(default_factory=lambda: RefusalModel(cause=Cause.REQUEST))
    durations: DurationModel = field(default_factory=DurationModel)
    tabular: Mapping[str, TabularForecaster] = field(default_factory=dict)
    """By task."""
    failure_classes: FailureClassifier | None = None
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    """By saga type: what corrects P(success) of a whole run."""
    live_risk: LiveRisk | None = None
    """How running sagas will end."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    created_at: str = ""


def save_bundle(
    bundle: Bundle, folder: str | os.PathLike[str], *, created_at: str, key: Signer | None = None
) -> str:
    """Write the bundle to `folder`, whole or not at all, signed with `key`, and return its version.

    Without a key it is signed with one that is forgotten. `created_at` is ISO 8601 with an offset. Raises
    `BundleRefused` where its parts do not fit together, or the folder already holds something else.
    """
    signer = SigningKey.fresh() if key is None else key
    return write_folder(Path(folder), _texts(bundle), _facts(bundle), created_at, signer=signer)


def stamped(bundle: Bundle) -> Bundle:
    """The bundle with the version under which it will be saved."""
    return replace(bundle, version=version_of(_texts(bundle), _facts(bundle)))


def load_bundle(
    folder: str | os.PathLike[str],
    *,
    verify: TrustedKeys | None = None,
    age_max_s: float | None = None,
    now: float | None = None,
    probe: ProbeLimits | None = None,
) -> Bundle:
    """The bundle that was saved to `folder`, verified. Raises `BundleRefused` with one line that says why.

    It must be signed by a key of `verify`, where given, and be at most `age_max_s` old at `now` (seconds
    since 1970). With `probe` a child process within these limits has to read and use it first.
    """
    sealed = read_folder(Path(folder), verify)
    return opened(sealed, age_max_s=age_max_s, now=now, probe=probe)


def opened(
    sealed: SealedFolder,
    *,
    age_max_s: float | None = None,
    now: float | None = None,
    probe: ProbeLimits | None = None,
) -> Bundle:
    """The bundle in a folder whose signature and hashes were verified; see `load_bundle`."""
    folder, manifest = sealed.folder, sealed.manifest
    if age_max_s is not None:
        if now is None:
            raise ValueError("an age is told by a clock; give `now` with `age_max_s`")
        if breach := too_old(manifest, age_max_s, now):
            refuse(folder, breach)
    if breach := _unreadable(manifest, sealed.texts):
        refuse(folder, breach)
    if probe is not None:
        from sagacity_models.probe import probe_texts

        probe_texts(sealed, probe)
    return assembled(folder, manifest, sealed.texts)


def assembled(folder: Path, manifest: Mapping[str, Any], texts: Mapping[str, str]) -> Bundle:
    """The bundle of these texts, whose parts fit together. Raises `BundleRefused`.

    LightGBM does not check its own text and may end the process: the probe does this in a child.
    """
    try:
        parts = read_parts({name: text for name, text in texts.items() if name != GOLDEN})
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as problem:
        refuse(folder, f"holds a model that cannot be read ({type(problem).__name__}: {problem})")
    bundle = Bundle(
        **parts,
        facts={name: fact for name, fact in manifest.items() if name not in _ADDED},
        version=str(manifest["version"]),
        created_at=str(manifest["created_at"]),
    )
    if manifest.get("feature_schema_sha256") != bundle.encoding.schema_hash:
        refuse(folder, "was made for other features than its encoding lists")
    if breach := _misfit(bundle):
        refuse(folder, breach)
    return bundle


def too_old(manifest: Mapping[str, Any], age_max_s: float, now: float) -> str:
    """Why a manifest tells too great an age, or none; empty where it does not.

    A bundle is as old as the data that it learnt from, where it tells until when that went, and never
    younger than the time it was made.
    """
    made, until = moment(manifest["created_at"]), manifest.get("trained_until")
    cut = made if until is None else moment(until)
    if made is None or cut is None:
        return "does not tell how old it is"
    age_s = now - min(made, cut)
    return f"is {age_s / 3600:.1f} h old, more than {age_max_s / 3600:.1f} h" if age_s > age_max_s else ""


def moment(told: object) -> float | None:
    """Seconds since 1970 of a number or an ISO 8601 time with an offset; None for anything else.

    >>> moment("1970-01-02T00:00:00+00:00")
    86400.0
    """
    if isinstance(told, (int, float)) and not isinstance(told, bool):
        return float(told)
    try:
        at = datetime.fromisoformat(str(told))
    except ValueError:
        return None
    return None if at.tzinfo is None else at.timestamp()


def _facts(bundle: Bundle) -> dict[str, Any]:
    return {
        "dataset_schema_version": DATASET_SCHEMA_VERSION,
        **bundle.facts,
        "kind": KIND,
        "features": list(bundle.encoding.names),
        "feature_schema_sha256": bundle.encoding.schema_hash,
        "recipes": {
            "service": bundle.service.recipe,
            "request": bundle.request.recipe,
            "durations": bundle.durations.recipe,
            **{f"tabular.{task}": model.recipe for task, model in sorted(bundle.tabular.items())},
            **({} if bundle.live_risk is None else {"live_risk": bundle.live_risk.source}),
        },
    }


def _texts(bundle: Bundle) -> dict[str, str]:
    if breach := _misfit(bundle):
        raise BundleRefused(f"a bundle that {breach} is not saved: it could not forecast")
    texts = texts_of({name: getattr(bundle, name) for name in PARTS})
    return {**texts, GOLDEN: golden_text(bundle)}


def _unreadable(manifest: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    """Why this program cannot read such a bundle; empty where it can."""
    if manifest.get("kind") != KIND:
        return f"is of kind {manifest.get('kind')!r}, not {KIND!r}"
    if (schema := manifest.get("dataset_schema_version")) != DATASET_SCHEMA_VERSION:
        return f"learnt from rows of schema version {schema!r}, this program makes {DATASET_SCHEMA_VERSION}"
    if GOLDEN not in texts:
        return "has no golden rows"
    told = manifest.get("libraries")
    wrote = str(told.get("lightgbm", "")) if isinstance(told, dict) else ""
    if wrote and any(name.endswith(".lgb.txt") for name in texts):
        try:
            ours = version("lightgbm")
        except PackageNotFoundError:
            return "has trees, and LightGBM is not installed here"
        if _major(wrote) > _major(ours):
            return f"has trees of LightGBM {wrote}, which {ours} may not read"
    return ""


def _major(told: str) -> int:
    first = told.partition(".")[0]
    return int(first) if first.isdecimal() else 0


def _misfit(bundle: Bundle) -> str:
    """Why the parts do not belong together; empty when they do."""
    encoding, causes, durations = bundle.encoding, (bundle.service, bundle.request), bundle.durations
    linear = [model for cause in causes for model in (*cause.linear.values(), cause.pooled)]
    if any(model is not None and model.columns != len(encoding.design_names) for model in linear):
        return "has a linear model for other features than its encoding lists"
    boosters = [*(cause.boosted for cause in causes), durations.median, durations.p90]
    if any(model is not None and model.columns != len(encoding.names) for model in boosters):
        return "has trees for other features than its encoding lists"
    if lacking := [cause.cause.value for cause in causes if _lacks_trees(cause)]:
        return f"lacks the model that its recipe for {lacking[0]} needs"
    single = all(model is None or model.outputs == 1 for model in boosters)
    return "" if single else "has a model with the wrong number of outputs"


def _lacks_trees(model: RefusalModel) -> bool:
    needs = model.recipe in (Recipe.BOOSTED, Recipe.MEAN)
    return (needs and model.boosted is None) or model.recipe is Recipe.CAUSES
