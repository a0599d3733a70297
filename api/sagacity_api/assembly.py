"""Where real objects are put together: bundle, history and forecaster become a counsel.

Nothing else in this package constructs them. Everything is imported where it is used, because a command that
does not need a model must not wait for one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from sagacity_api.answers import Model
from sagacity_api.counsel import Counsel
from sagacity_api.environment import read_environment
from sagacity_engine import Saga

if TYPE_CHECKING:
    from sagacity_data import LaunchFeatures
    from sagacity_models.bundle import Bundle
    from sagacity_models.forecast import SagaForecast
    from sagacity_models.forecaster import BundleForecaster
    from sagacity_models.live_risk import LiveRisk
    from sagacity_models.registry import Registry
    from sagacity_models.signing import TrustedKeys


class SourceRefused(Exception):
    """A bundle, registry or dataset cannot be used; the message names it and the way out."""


def bundle_counsel(bundle_folder: Path, dataset_folder: Path | None) -> Counsel:
    """Answers with a bundle, warmed with the history of a dataset; raises `SourceRefused`."""
    from sagacity_models.base_rate_forecaster import BaseRateForecaster
    from sagacity_models.forecaster import BundleForecaster

    import_module("sagacity_optimizer")  # now, so that the first question does not wait for it
    bundle = _bundle(bundle_folder)
    history = warm_history(dataset_folder)
    return Counsel(
        _InOrder(BundleForecaster(bundle, history, explain=True), history),
        Model(version=bundle.version, kind=bundle_kind(bundle)),
        standby=BaseRateForecaster(bundle.base, bundle.version),
        calibrations=bundle.calibrations,
    )


def live_risk(bundle_folder: Path) -> tuple[LiveRisk, str]:
    """What a bundle knows of running sagas, and the bundle's version; raises `SourceRefused`."""
    bundle = _bundle(bundle_folder)
    if bundle.live_risk is None:
        raise SourceRefused(
            f"the bundle in {bundle_folder} knows nothing of running sagas; train on a dataset with runs "
            "that have ended, and with live_risk.runs_max above 0"
        )
    return bundle.live_risk, bundle.version


def prior_counsel() -> Counsel:
    """Answers without any history: every step at the same stated prior rates. Marked as a fallback."""
    from sagacity_models.base_rate_forecaster import BaseRateForecaster
    from sagacity_models.base_rates import BaseRates

    forecaster = BaseRateForecaster(BaseRates.estimate({}), "priors")
    return Counsel(forecaster, Model(version="priors", kind="priors"), fallback=True)


def champion_folder(registry_folder: Path) -> Path:
    """The folder of the bundle that the registry's champion names; raises `SourceRefused`."""
    from sagacity_models.errors import RegistryRefused

    if not registry_folder.is_dir():
        raise SourceRefused(f"{registry_folder} is no folder; train with --registry {registry_folder} first")
    try:
        return registry_at(registry_folder).verified_folder()
    except RegistryRefused as refusal:
        raise SourceRefused(str(refusal)) from None


def registry_at(folder: Path, signing_key: Path | None = None) -> Registry:
    """The registry in `folder`, with the keys and the address that the environment sets.

    `signing_key` comes before the environment's. Raises `RegistryRefused`.
    """
    from sagacity_models.registry import Registry

    settings = read_environment()
    return Registry(
        folder,
        uri=settings.mlflow_uri or "",
        signing_key=signing_key or settings.signing_key,
        verify_keys=settings.verify_keys,
    )


def vouch(folder: Path, registry: Registry | None) -> None:
    """Sign a model's folder with the configured key, or with the registry's own where there is a registry.

    Without either, a bundle keeps the signature that it was saved with. Raises `KeyRefused`, `BundleRefused`.
    """
    from sagacity_models.bundle_files import MANIFEST, seal_folder
    from sagacity_models.signing import SigningKey

    configured = read_environment().signing_key
    if registry is not None:
        key = registry.keys.signer()
    elif configured:
        key = SigningKey.read(configured)
    elif (folder / MANIFEST).exists():
        return
    else:
        key = SigningKey.fresh()
    made = datetime.now(UTC).isoformat(timespec="seconds")
    seal_folder(folder, key, facts={"kind": "texts"}, created_at=made)


def trusted_keys() -> TrustedKeys | None:
    """The keys that a bundle must be signed with one of; None where none are set. Raises `SourceRefused`."""
    from sagacity_models.errors import KeyRefused
    from sagacity_models.signing import TrustedKeys

    paths = read_environment().verify_keys
    try:
        return TrustedKeys.read(paths) if paths else None
    except KeyRefused as refusal:
        raise SourceRefused(str(refusal)) from None


def warm_history(dataset_folder: Path | None) -> LaunchFeatures:
    """The features' state after everything the dataset tells; empty without one. Raises `SourceRefused`."""
    from sagacity_data import DataError, LaunchFeatures, signals

    history = LaunchFeatures()
    if dataset_folder is None:
        return history
    from sagacity_data.store import DatasetStore

    if not (dataset_folder / "dataset.json").is_file():
        raise SourceRefused(f"{dataset_folder} holds no dataset; give the folder that the recorder writes to")
    try:
        for signal in signals(DatasetStore(dataset_folder).read_history()):
            history.observe(signal)
    except DataError as refusal:
        raise SourceRefused(str(refusal)) from None
    return history


def bundle_kind(bundle: Bundle) -> str:
    """`learned` when any target has a model that beat the mean rates, else `base_rates`."""
    from sagacity_models.step_models import Recipe

    recipes = (bundle.service.recipe, bundle.request.recipe, bundle.durations.recipe)
    return "base_rates" if all(recipe is Recipe.BASE for recipe in recipes) else "learned"


def _bundle(folder: Path) -> Bundle:
    from sagacity_models.bundle import opened
    from sagacity_models.bundle_directory import BundleDirectory
    from sagacity_models.bundle_files import read_folder
    from sagacity_models.errors import BundleRefused

    if not folder.is_dir():
        raise SourceRefused(f"{folder} is no folder; give the bundle that `sagacity train` wrote")
    trusted, age_max_s = trusted_keys(), read_environment().bundle_age_max_s
    directory = BundleDirectory(folder)
    try:
        if directory.pointer.is_file():
            sealed = directory.read(directory.current(), trusted)
        else:
            sealed = read_folder(folder, trusted)
        return opened(sealed, age_max_s=age_max_s, now=time.time())
    except BundleRefused as refusal:
        raise SourceRefused(str(refusal)) from None


class _InOrder:
    """A forecaster whose history cannot go back: a launch before its latest event counts as just after it."""

    def __init__(self, forecaster: BundleForecaster, history: LaunchFeatures) -> None:
        self._forecaster = forecaster
        self._history = history

    def forecast(self, saga: Saga, context: Mapping[str, str | float | bool], at: float) -> SagaForecast:
        """The forecast at `at`, or at the earliest time that the history can still speak for."""
        return self._forecaster.forecast(saga, context, max(at, self._history.earliest_at))
