"""What was trained, with which figures, and which bundle is the champion: MLflow, kept behind this one file.

The tracking store and the registry are one SQLite file, `mlflow.db`, at an absolute address, with the
artifacts in a folder beside it; so a registry is a folder that can be copied. Nothing is pickled and no
model is ever deserialised by MLflow: a model version is a name for a folder of text files, which the bundle
verifies.

MLflow takes seconds to import and its first use seconds more to lay out the database, so both happen when
the first call needs them (`registry_process` does both elsewhere while training computes). It is told to
keep quiet: no telemetry, no log lines on the user's terminal. A lock file makes the layout safe when
several processes find an empty folder at once.
"""

from __future__ import annotations

import fcntl
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlparse

from sagacity_models.errors import RegistryRefused

if TYPE_CHECKING:
    from mlflow import MlflowClient

STEP_MODELS: Final = "sagacity-steps"
CHAMPION: Final = "champion"
DATABASE: Final = "mlflow.db"
_ARTIFACTS: Final = "artifacts"
_LOCK: Final = ".layout.lock"
_PARAMETER_CHARS_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Logged:
    """One finished training in the registry. `version` is empty where no model was registered."""

    run_id: str
    version: str
    folder: Path


class Registry:
    """The registry in `folder`, which is made when first used. Safe for several processes at once.

    Every method raises `RegistryRefused` where the folder cannot be used or holds something else.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).absolute()
        self._client: MlflowClient | None = None

    def log(
        self,
        experiment: str,
        *,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        artifacts: Mapping[str, Path],
        model: str = "",
        model_artifact: str = "",
    ) -> Logged:
        """One finished training: parameters, figures and files; as a new version of `model`, if one is named.

        `artifacts` maps a folder inside the run to a file or folder to copy there; `model_artifact` is the
        one of them that holds the model.
        """
        with self._quietly() as client:
            run = client.create_run(self._experiment(client, experiment))
            run_id = run.info.run_id
            try:
                _write(client, run_id, params, metrics, artifacts)
                version = ""
                if model:
                    source = f"{run.info.artifact_uri}/{model_artifact}"
                    _create_model(client, model)
                    version = str(client.create_model_version(model, source, run_id).version)
            except BaseException:
                client.set_terminated(run_id, "FAILED")
                raise
            client.set_terminated(run_id)
            return Logged(run_id, version, _path_of(f"{run.info.artifact_uri}/{model_artifact}"))

    def promote(self, version: str, *, model: str = STEP_MODELS, alias: str = CHAMPION) -> None:
        """Let `alias` name this version of `model` from now on."""
        with self._quietly() as client:
            client.set_registered_model_alias(model, alias, version)

    def version(self, alias: str = CHAMPION, *, model: str = STEP_MODELS) -> str | None:
        """The version that `alias` names; None where it names none."""
        with self._quietly() as client:
            found = self._found(client, alias, model)
            return None if found is None else str(found.version)

    def bundle_folder(self, alias: str = CHAMPION, *, model: str = STEP_MODELS) -> Path:
        """The folder of the bundle that `alias` names; raises `RegistryRefused` where it names none."""
        if not self._database.exists():
            raise RegistryRefused(
                f"{self.folder} holds no registry; train with --registry {self.folder} first"
            )
        with self._quietly() as client:
            found = self._found(client, alias, model)
            if found is None:
                raise RegistryRefused(
                    f"the registry in {self.folder} has no {alias} of {model}; train with --registry "
                    f"{self.folder} first"
                )
            folder = _path_of(str(found.source))
        return self._moved(folder)

    @property
    def _database(self) -> Path:
        return self.folder / DATABASE

    def _moved(self, folder: Path) -> Path:
        """The artifact folder, also where the whole registry was copied elsewhere since it was logged."""
        if folder.is_dir() or _ARTIFACTS not in folder.parts:
            return folder
        start = len(folder.parts) - folder.parts[::-1].index(_ARTIFACTS) - 1
        if _ARTIFACTS in folder.parts[:start]:  # MLflow has a folder of that name in each run, too.
            start = folder.parts.index(_ARTIFACTS)
        return self.folder.joinpath(*folder.parts[start:])

    def _found(self, client: MlflowClient, alias: str, model: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return client.get_model_version_by_alias(model, alias)
        except MlflowException as problem:
            if problem.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def _experiment(self, client: MlflowClient, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(client.create_experiment(name, (self.folder / _ARTIFACTS / name).as_uri()))
            except MlflowException:  # Another process was faster.
                found = client.get_experiment_by_name(name)
        assert found is not None  # it was there, or has just been made
        return str(found.experiment_id)

    @contextmanager
    def _quietly(self) -> Iterator[MlflowClient]:
        """The client, without a word from MLflow; its errors as ours."""
        _silence()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow.exceptions import MlflowException
            from sqlalchemy.exc import SQLAlchemyError

            try:
                yield self._connected()
            except (MlflowException, SQLAlchemyError, OSError) as problem:
                told = str(problem).strip().splitlines() or [type(problem).__name__]
                raise RegistryRefused(
                    f"the registry in {self.folder} cannot be used ({told[0][:300]}); "
                    "check the folder, or choose another"
                ) from None

    def _connected(self) -> MlflowClient:
        from mlflow import MlflowClient

        if self._client is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{self._database}"
            with (self.folder / _LOCK).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                client = MlflowClient(tracking_uri=uri, registry_uri=uri)
                client.search_registered_models(max_results=1)
            self._client = client
        return self._client


def champion_bundle(store: str | os.PathLike[str]) -> Path:
    """The folder of the champion's bundle in the registry `store`; raises `RegistryRefused` without one."""
    return Registry(store).bundle_folder()


def _write(
    client: MlflowClient,
    run_id: str,
    params: Mapping[str, object],
    metrics: Mapping[str, float],
    artifacts: Mapping[str, Path],
) -> None:
    from mlflow.entities import Metric, Param

    listed = [Param(name, str(value)[:_PARAMETER_CHARS_MAX]) for name, value in sorted(params.items())]
    figures = [Metric(name, float(value), 0, 0) for name, value in sorted(metrics.items())]
    client.log_batch(run_id, figures, listed)
    for name, path in artifacts.items():
        (client.log_artifacts if path.is_dir() else client.log_artifact)(run_id, str(path), name)


def _create_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as problem:
        if problem.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _silence() -> None:
    """No telemetry and no log lines; must come before MLflow is imported."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_module("mlflow")  # Its own logging is set up on import, so it is quietened after.
    for name in ("mlflow", "mlflow.store.db.utils", "alembic", "alembic.runtime.migration"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _path_of(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))
