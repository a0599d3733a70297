"""What was trained, with which figures, and which bundle is the champion: MLflow, kept behind this one file.

By default the tracking store and the registry are one SQLite file, `mlflow.db`, at an absolute address, with
the artifacts in a folder beside it; so a registry is a folder that can be copied. With a `uri` they are any
server or database that MLflow knows, and the folder keeps keys and what was fetched. Nothing is pickled and
no model is ever deserialised by MLflow: a model version is a name for a folder of text files.

Logging a model is vouching for it: what is kept is signed, with the configured key or else with the
registry's own, which is made at the first training in `keys/`, outside every bundle. A folder that another
key signed is kept with our signature. Asking for a bundle verifies it against the configured keys, or else
the registry's own.

MLflow takes seconds to import and its first use seconds more to lay out the database, so both happen when
the first call needs them (`registry_process` does both elsewhere while training computes). It is told to
keep quiet: no telemetry, no log lines on the user's terminal. A lock file makes the layout safe when
several processes find an empty folder at once.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlparse

from sagacity_models.bundle_files import SealedFolder, read_folder, seal_folder
from sagacity_models.errors import BundleRefused, KeyRefused, RegistryRefused, RegistryUnreachable
from sagacity_models.promotions import (
    CHALLENGER,
    CHAMPION,
    Change,
    ModelVersion,
    line_tag,
    promoted,
    read_line,
    verdict_tags,
    written_line,
)
from sagacity_models.registry_keys import RegistryKeys

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from sagacity_models.signing import TrustedKeys

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "DATABASE",
    "STEP_MODELS",
    "Logged",
    "ModelVersion",
    "Registry",
    "champion_bundle",
]

STEP_MODELS: Final = "sagacity-steps"
DATABASE: Final = "mlflow.db"
_ARTIFACTS: Final = "artifacts"
_FETCHED: Final = "fetched"
_LAYOUT_LOCK: Final = ".layout.lock"
_PROMOTION_LOCK: Final = ".promotion.lock"
_PARAMETER_CHARS_MAX: Final = 500
_PAGE: Final = 200
_ABSENT: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True, slots=True)
class Logged:
    """One finished training in the registry. `version` is empty where no model was registered."""

    run_id: str
    version: str
    folder: Path


class Registry:
    """The registry in `folder`, which is made when first used. Safe for several processes at once.

    `uri` names another tracking store; `signing_key` and `verify_keys` are key files, `clock` tells seconds
    since 1970. Every method raises `RegistryRefused` where the registry cannot be used or holds something
    else, and `RegistryUnreachable`, which is one, where a server does not answer.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        uri: str = "",
        signing_key: str | os.PathLike[str] | None = None,
        verify_keys: Iterable[str | os.PathLike[str]] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.uri = _checked_uri(uri)
        self.keys = RegistryKeys(
            self.folder / "keys",
            signing=None if signing_key is None else Path(signing_key).absolute(),
            verifying=tuple(Path(path).absolute() for path in verify_keys),
        )
        self._clock = clock
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
        better: bool | None = None,
        reasons: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
    ) -> Logged:
        """One finished training: parameters, figures and files; as a new version of `model`, if one is named.

        `artifacts` maps a folder inside the run to a file or folder to copy there; `model_artifact` is the
        one of them that holds the model, of which a signed copy is kept. `better` and `reasons` are what the
        training judged, without which `sagacity models promote` asks for --force. `tags` go to the version.
        """
        with ExitStack() as stack:
            kept = stack.enter_context(self._vouched(artifacts, model_artifact)) if model else artifacts
            client = stack.enter_context(self._quietly())
            run = client.create_run(self._experiment(client, experiment))
            run_id = run.info.run_id
            try:
                _write(client, run_id, params, metrics, kept)
                version = ""
                if model:
                    source = f"{run.info.artifact_uri}/{model_artifact}"
                    _create_model(client, model)
                    told = {**(tags or {}), **verdict_tags(better, reasons)}
                    version = str(client.create_model_version(model, source, run_id, told).version)
            except BaseException:
                client.set_terminated(run_id, "FAILED")
                raise
            client.set_terminated(run_id)
            return Logged(run_id, version, _path_of(f"{run.info.artifact_uri}/{model_artifact}"))

    def promote(
        self,
        version: str,
        *,
        model: str = STEP_MODELS,
        alias: str = CHAMPION,
        reason: str = "",
        by: str = "training",
        forced: bool = False,
    ) -> None:
        """Let `alias` name this version of `model` from now on; who, when and why is kept as tags."""
        change = Change(at=self._clock(), by=by, reason=reason, forced=forced)
        with self._quietly() as client, self._promoting():
            client.get_model_version(model, version)
            before = self._named(client, alias, model)
            line = promoted(self._line(client, alias, model, before), version)
            self._move(client, (model, alias), (before, version), line, change)

    def rollback(
        self, *, model: str = STEP_MODELS, alias: str = CHAMPION, reason: str = "", by: str = ""
    ) -> tuple[str, str]:
        """Let `alias` name the version before again; returns (the version until now, the one from now on)."""
        change = Change(at=self._clock(), by=by, reason=reason)
        with self._quietly() as client, self._promoting():
            present, before = self._steps_back(client, alias, model)
            line = self._line(client, alias, model, present)[:-1]
            self._move(client, (model, alias), (present, before), line, change)
            return present, before

    def rollback_target(self, *, model: str = STEP_MODELS, alias: str = CHAMPION) -> tuple[str, str]:
        """What `rollback` would return, without doing it."""
        with self._reading() as client:
            return self._steps_back(client, alias, model)

    def version(self, alias: str = CHAMPION, *, model: str = STEP_MODELS) -> str | None:
        """The version that `alias` names; None where it names none."""
        with self._quietly() as client:
            return self._named(client, alias, model)

    def versions(self, *, model: str = STEP_MODELS) -> list[ModelVersion]:
        """Every version of `model`, the latest first."""
        with self._reading() as client:
            page = client.search_model_versions(f"name='{model}'", _PAGE)
            found = list(page)
            while page.token:
                page = client.search_model_versions(f"name='{model}'", _PAGE, page_token=page.token)
                found += page
            found.sort(key=lambda each: int(each.version), reverse=True)
            return [self._told(client, each, model) for each in found]

    def find(self, name: str, *, model: str = STEP_MODELS) -> ModelVersion:
        """The version with this number, or the one that this alias names."""
        with self._reading() as client:
            return self._told(client, self._wanted(client, name, model), model)

    def sealed(self, name: str = CHAMPION, *, model: str = STEP_MODELS) -> SealedFolder:
        """The model's folder, by version or alias, read and verified; raises `BundleRefused` where it is not
        what a trusted key signed.
        """
        return read_folder(self._folder_of(name, model), self.trusted())

    def bundle_folder(self, alias: str = CHAMPION, *, model: str = STEP_MODELS) -> Path:
        """Where the bundle is that `alias` (or a number) names; raises `RegistryRefused` where there is none.

        Nothing in it was verified; `verified_folder` is for who means to use it.
        """
        return self._folder_of(alias, model)

    def verified_folder(self, alias: str = CHAMPION, *, model: str = STEP_MODELS) -> Path:
        """The same, once it is what a trusted key signed; raises `RegistryRefused` where it is not."""
        folder = self._folder_of(alias, model)
        try:
            read_folder(folder, self.trusted())
        except BundleRefused as refusal:
            raise RegistryRefused(str(refusal)) from None
        return folder

    def trusted(self) -> TrustedKeys:
        """The keys that what is asked for must be signed with."""
        try:
            return self.keys.trusted()
        except KeyRefused as refusal:
            raise RegistryRefused(str(refusal)) from None

    @property
    def _database(self) -> Path:
        return self.folder / DATABASE

    @contextmanager
    def _vouched(self, artifacts: Mapping[str, Path], model_artifact: str) -> Iterator[Mapping[str, Path]]:
        """The same artifacts, the model's folder signed: as it is, or else in a copy that is signed here."""
        folder = artifacts[model_artifact]
        if not folder.is_dir():
            raise RegistryRefused(f"{folder} is no folder with a model; give the folder that holds its texts")
        with tempfile.TemporaryDirectory() as scratch:
            try:
                if self.keys.vouch_for(folder):
                    yield artifacts
                    return
                copy = Path(shutil.copytree(folder, Path(scratch, "model"), symlinks=True))
                made = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
                seal_folder(copy, self.keys.signer(), facts={"kind": "texts"}, created_at=made)
            except (BundleRefused, KeyRefused) as refusal:
                raise RegistryRefused(str(refusal)) from None
            yield {**artifacts, model_artifact: copy}

    def _folder_of(self, name: str, model: str) -> Path:
        with self._reading() as client:
            found = self._wanted(client, name, model)
            source = str(found.source)
            if urlparse(source).scheme in ("", "file"):
                return self._moved(_path_of(source))
            return self._fetched(client, found, model)

    def _fetched(self, client: MlflowClient, found: Any, model: str) -> Path:
        """A copy of a folder that a server keeps; fetched anew each time, for it is verified afterwards."""
        run = client.get_run(str(found.run_id))
        relative = str(found.source).removeprefix(str(run.info.artifact_uri)).strip("/")
        into = self.folder / _FETCHED / model / str(found.version)
        into.mkdir(parents=True, exist_ok=True)
        return Path(client.download_artifacts(str(found.run_id), relative, str(into)))

    def _moved(self, folder: Path) -> Path:
        """The artifact folder, also where the whole registry was copied elsewhere since it was logged."""
        if folder.is_dir() or _ARTIFACTS not in folder.parts:
            return folder
        start = len(folder.parts) - folder.parts[::-1].index(_ARTIFACTS) - 1
        if _ARTIFACTS in folder.parts[:start]:  # MLflow has a folder of that name in each run, too.
            start = folder.parts.index(_ARTIFACTS)
        return self.folder.joinpath(*folder.parts[start:])

    def _wanted(self, client: MlflowClient, name: str, model: str) -> Any:
        from mlflow.exceptions import MlflowException

        if not name.isdecimal():
            found = self._found(client, name, model)
            if found is None:
                raise RegistryRefused(
                    f"the registry in {self.folder} has no {name} of {model}; train with --registry "
                    f"{self.folder} first"
                )
            return found
        try:
            return client.get_model_version(model, name)
        except MlflowException as problem:
            if problem.error_code not in _ABSENT:
                raise
            raise RegistryRefused(
                f"the registry in {self.folder} has no version {name} of {model}; see `sagacity models list`"
            ) from None

    def _found(self, client: MlflowClient, alias: str, model: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return client.get_model_version_by_alias(model, alias)
        except MlflowException as problem:
            if problem.error_code in _ABSENT:
                return None
            raise

    def _named(self, client: MlflowClient, alias: str, model: str) -> str | None:
        found = self._found(client, alias, model)
        return None if found is None else str(found.version)

    def _line(self, client: MlflowClient, alias: str, model: str, present: str | None) -> tuple[str, ...]:
        tags = client.get_registered_model(model).tags
        return read_line(str(tags.get(line_tag(alias), "")), present)

    def _steps_back(self, client: MlflowClient, alias: str, model: str) -> tuple[str, str]:
        present = self._named(client, alias, model)
        line = () if present is None else self._line(client, alias, model, present)
        if len(line) < 2:
            raise RegistryRefused(
                f"{model} had no {alias} before; promote the version that you want, "
                "see `sagacity models list`"
            )
        return line[-1], line[-2]

    def _move(
        self,
        client: MlflowClient,
        of: tuple[str, str],
        move: tuple[str | None, str],
        line: Sequence[str],
        change: Change,
    ) -> None:
        """Move the alias first: whatever happens then, it names what was asked for, and the notes follow."""
        (model, alias), (before, version) = of, move
        client.set_registered_model_alias(model, alias, version)
        client.set_registered_model_tag(model, line_tag(alias), written_line(line))
        for key, value in change.promotion(alias).items():
            client.set_model_version_tag(model, version, key, value)
        if before is not None and before != version:
            for key, value in change.demotion(alias).items():
                client.set_model_version_tag(model, before, key, value)

    def _told(self, client: MlflowClient, found: Any, model: str) -> ModelVersion:
        run = client.get_run(str(found.run_id)) if found.run_id else None
        whole = client.get_registered_model(model)
        aliases = [alias for alias, version in whole.aliases.items() if str(version) == str(found.version)]
        return ModelVersion(
            version=str(found.version),
            model=model,
            run_id=str(found.run_id),
            created_at=float(found.creation_timestamp) / 1000,
            source=str(found.source),
            aliases=tuple(sorted(aliases)),
            tags=dict(found.tags),
            params=dict(run.data.params) if run else {},
            metrics=dict(run.data.metrics) if run else {},
        )

    def _experiment(self, client: MlflowClient, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(name)
        if found is None:
            place = None if self.uri.startswith("http") else (self.folder / _ARTIFACTS / name).as_uri()
            try:
                return str(client.create_experiment(name, place))
            except MlflowException:  # Another process was faster.
                found = client.get_experiment_by_name(name)
        assert found is not None  # it was there, or has just been made
        return str(found.experiment_id)

    @contextmanager
    def _reading(self) -> Iterator[MlflowClient]:
        """The client for what makes no registry by asking."""
        if not self.uri and not self._database.exists():
            raise RegistryRefused(
                f"{self.folder} holds no registry; train with --registry {self.folder} first"
            )
        with self._quietly() as client:
            yield client

    @contextmanager
    def _promoting(self) -> Iterator[None]:
        """One promotion at a time among the processes that share this folder."""
        with (self.folder / _PROMOTION_LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

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
                raise self._refusal(problem) from None

    def _refusal(self, problem: Exception) -> RegistryRefused:
        """The error in one line of ours, without the password that an address may hold."""
        told = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        userinfo = urlparse(self.uri).netloc.rpartition("@")[0]
        if userinfo:
            told = told.replace(f"{userinfo}@", "").replace(userinfo, "...")
        if self.uri.startswith("http") and "API request to" in told:
            return RegistryUnreachable(
                f"the registry at {urlparse(self.uri).hostname} does not answer; see that it runs, "
                "or change SAGACITY_MLFLOW_URI"
            )
        return RegistryRefused(
            f"the registry in {self.folder} cannot be used ({told[:300]}); "
            "check the folder, or choose another"
        )

    def _connected(self) -> MlflowClient:
        from mlflow import MlflowClient

        if self._client is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            uri = self.uri or f"sqlite:///{self._database}"
            with (self.folder / _LAYOUT_LOCK).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                client = MlflowClient(tracking_uri=uri, registry_uri=uri)
                client.search_registered_models(max_results=1)
            self._client = client
        return self._client


def champion_bundle(store: str | os.PathLike[str]) -> Path:
    """The verified folder of the champion's bundle in the registry `store`; raises `RegistryRefused`."""
    return Registry(store).verified_folder()


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
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_module("mlflow")  # Its own logging is set up on import, so it is quietened after.
    for name in ("mlflow", "mlflow.store.db.utils", "alembic", "alembic.runtime.migration"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _checked_uri(uri: str) -> str:
    if uri.startswith("sqlite:") and not uri.startswith("sqlite:////"):
        raise RegistryRefused(
            f"the address {uri} depends on the directory that a program was started in; "
            "give an absolute one, as in sqlite:////srv/mlflow.db"
        )
    if uri and not urlparse(uri).scheme:
        raise RegistryRefused("the address of the registry names no scheme; give one, as in http://host:5000")
    return uri


def _path_of(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))
