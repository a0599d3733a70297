"""A small bundle with every kind of model in it, trained on planted noise-free laws, and its features."""

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest

from sagacity_engine import FailureClass, Saga, Step
from sagacity_models.base_rates import BaseRates, StepEvidence
from sagacity_models.boosted import BoostedModel
from sagacity_models.bundle import Bundle, save_bundle, stamped
from sagacity_models.bundle_files import MANIFEST, canonical
from sagacity_models.calibration import Platt
from sagacity_models.censored import Durations
from sagacity_models.durations import DurationModel
from sagacity_models.encoding import FeatureEncoding, Features, columns_of
from sagacity_models.linear import LinearModel
from sagacity_models.registry import Registry
from sagacity_models.signing import SIGNATURE, Signer, SigningKey, TrustedKeys, signature_text
from sagacity_models.step_models import Cause, Recipe, RefusalModel


class FixedFeatures:
    """The context, as features of every step."""

    def features(
        self, saga: Saga, context: Mapping[str, str | float | bool], at: float
    ) -> Mapping[str, Features]:
        return {name: {f"context.{key}": value for key, value in context.items()} for name in saga.names}


def boosted(rows: np.ndarray, targets: np.ndarray, **objective: object) -> BoostedModel:
    parameters = {"verbosity": -1, "num_leaves": 4, "min_data_in_leaf": 5, "num_threads": 1, **objective}
    data = lightgbm.Dataset(rows, targets, params=parameters)
    return BoostedModel(lightgbm.train(parameters, data, num_boost_round=8).model_to_string())


@pytest.fixture(scope="session")
def features() -> FixedFeatures:
    return FixedFeatures()


@pytest.fixture(scope="session")
def saga() -> Saga:
    return Saga(name="trip", steps=(Step(name="flight"), Step(name="hotel")))


@pytest.fixture(scope="session")
def rows() -> list[Features]:
    draw = random.Random(5)
    return [
        {
            "context.party": float(draw.randint(1, 6)),
            "context.season": draw.choice(["high", "low"]),
            "step": draw.choice(["trip/flight", "trip/hotel"]),
        }
        for _ in range(400)
    ]


@pytest.fixture(scope="session")
def base() -> BaseRates:
    flight = StepEvidence(first_attempts=900, first_refusals=90, durations=Durations.of([1.0, 2.0, 1.5] * 50))
    flight.classes.update({FailureClass.TRANSIENT: 60, FailureClass.PERMANENT: 25, FailureClass.CASCADING: 5})
    hotel = StepEvidence(first_attempts=900, first_refusals=45, durations=Durations.of([0.5, 0.7, 0.6] * 50))
    hotel.classes.update({FailureClass.TRANSIENT: 10, FailureClass.PERMANENT: 35})
    return BaseRates.estimate({"trip/flight": flight, "trip/hotel": hotel})


@pytest.fixture(scope="session")
def bundle(rows: list[Features], base: BaseRates) -> Bundle:
    encoding = FeatureEncoding.learn(columns_of(rows))
    trees = encoding.tree_rows(columns_of(rows), len(rows))
    party = trees[:, encoding.names.index("context.party")]
    slopes = tuple(0.9 if name == "context.party" else 0.0 for name in encoding.design_names)
    linear = LinearModel((0.0,), (slopes,))
    return stamped(
        Bundle(
            base=base,
            encoding=encoding,
            service=RefusalModel(
                Recipe.MEAN,
                {"trip/flight": linear, "trip/hotel": linear},
                linear,
                boosted(trees, (party > 3).astype(float), objective="binary"),
                Platt(1.0, 0.1),
            ),
            request=RefusalModel(
                Recipe.BOOSTED,
                boosted=boosted(trees, (party > 4).astype(float), objective="binary"),
                cause=Cause.REQUEST,
            ),
            durations=DurationModel(
                Recipe.BOOSTED,
                boosted(trees, party / 10, objective="quantile", alpha=0.5),
                boosted(trees, party / 8, objective="quantile", alpha=0.9),
            ),
            facts={"seed": 5},
        )
    )


CREATED_AT = "2026-01-01T00:00:00+00:00"


@pytest.fixture(scope="session")
def key() -> SigningKey:
    return SigningKey.fresh()


@pytest.fixture(scope="session")
def trusted(key: SigningKey) -> TrustedKeys:
    return TrustedKeys(frozenset({key.public_key}))


@pytest.fixture(scope="session")
def saved(bundle: Bundle, key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, saved and signed once; copies of it are what tests alter."""
    folder = tmp_path_factory.mktemp("saved") / "bundle"
    save_bundle(bundle, folder, created_at=CREATED_AT, key=key)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of the saved bundle."""
    return Path(shutil.copytree(saved, tmp_path / "bundle"))


def sealed_anew(folder: Path, signer: Signer, **changes: Any) -> None:
    """Write a manifest and a signature that fit the files as they are now."""
    manifest = json.loads((folder / MANIFEST).read_text("utf-8")) | changes
    manifest.pop("manifest_sha256")
    for name in manifest["files"]:
        content = (folder / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    manifest["manifest_sha256"] = hashlib.sha256(canonical(manifest).encode()).hexdigest()
    text = canonical(manifest)
    (folder / MANIFEST).write_text(text, "utf-8")
    (folder / SIGNATURE).write_text(signature_text(text.encode(), signer), "utf-8")


@pytest.fixture(scope="session")
def reseal() -> Callable[..., None]:
    """Seals a folder whose files were altered, as a broken trainer or a thief of its key could."""
    return sealed_anew


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a registry that was laid out once: laying it out takes seconds, copying it none."""
    folder = tmp_path_factory.mktemp("registry")
    assert Registry(folder).version() is None
    return folder
