"""`sagacity models sync`: brings the registry's champion to the bundle directory that a service reads.

It is a process of its own, so that no service has MLflow in it, or a password of its server. One that keeps
going says what it could not bring over and looks again; the directory stays as it was.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.cli.models_registry import (
    STEPS,
    AliasOption,
    ModelOption,
    RegistryOption,
    checked_alias,
    opened,
)
from sagacity_api.cli.output import put, put_json, say
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.cli.stopping import until_stopped
from sagacity_api.environment import read_environment
from sagacity_api.exit_codes import ExitCode

if TYPE_CHECKING:
    from sagacity_models.bundle_directory import BundleDirectory
    from sagacity_models.registry import Registry
    from sagacity_models.registry_sync import Followed, Synced


def sync(
    *,
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="The bundle directory to write.")],
    every: Annotated[
        float | None,
        typer.Option("--every", metavar="SECONDS", min=0.1, help="Keep looking, this often, until stopped."),
    ] = None,
    alias: AliasOption = "champion",
    keep: Annotated[int, typer.Option("--keep", min=1, max=1000, help="How many bundles stay.")] = 5,
    registry: RegistryOption = None,
    model: ModelOption = STEPS,
    as_json: AsJson = False,
) -> int:
    """Bring a verified bundle to a directory, and point to it."""
    from sagacity_models.bundle_directory import BundleDirectory
    from sagacity_models.registry_sync import Followed

    followed = Followed(
        model=model,
        alias=checked_alias(alias),
        age_max_s=read_environment().bundle_age_max_s,
        kept=keep,
    )
    directory = BundleDirectory(into)
    if every is None:
        with opened(registry) as opened_registry:
            synced = _look(opened_registry, directory, followed, "")
        assert synced is not None  # nothing was known before
        put_json(_as_json(synced)) if as_json else put([_words(synced, into)])
        return ExitCode.DONE
    with until_stopped() as stopped:
        _keep_looking(registry, directory, followed, (every, stopped), as_json=as_json)
    return ExitCode.DONE


def _keep_looking(
    registry: Path | None,
    directory: BundleDirectory,
    followed: Followed,
    pace: tuple[float, threading.Event],
    *,
    as_json: bool,
) -> None:
    """Look again and again; what is refused is said once, and tried again at each look."""
    (every_s, stopped), known, said = pace, "", ""
    while True:
        try:
            with opened(registry) as opened_registry:
                while True:
                    synced = _look(opened_registry, directory, followed, known)
                    said = ""
                    if synced is not None:
                        known = synced.number
                        put([json.dumps(_as_json(synced))] if as_json else [_words(synced, directory.path)])
                        sys.stdout.flush()
                    if stopped.wait(every_s):
                        return
        except CommandError as refusal:
            if str(refusal) != said:
                said = str(refusal)
                say(f"sagacity: {said}")
            if stopped.wait(every_s):
                return


def _look(registry: Registry, directory: BundleDirectory, followed: Followed, known: str) -> Synced | None:
    from sagacity_models.registry_sync import sync as bring

    try:
        return bring(registry, directory, followed, now=time.time(), known=known)
    except OSError as problem:
        raise BadInput(
            f"{directory.path} cannot be written ({problem.strerror}); choose another directory or make room"
        ) from None


def _as_json(synced: Synced) -> dict[str, str | bool]:
    return {"version": synced.number, "bundle": synced.version, "changed": synced.changed}


def _words(synced: Synced, into: Path) -> str:
    what = "points to" if synced.changed else "already points to"
    return f"{into} {what} bundle {synced.version}, version {synced.number}"
