"""`sagacity models`: what was trained, what is used, and what should be.

Looking is in this file and `models_show`; what changes something is in `models_changes` and `models_sync`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sagacity_api.cli.errors import BadInput
from sagacity_api.cli.models_changes import promote, rollback
from sagacity_api.cli.models_registry import STEPS, ModelOption, RegistryOption, opened
from sagacity_api.cli.models_show import compare, show
from sagacity_api.cli.models_sync import sync
from sagacity_api.cli.output import put, put_json, say, table
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.exit_codes import ExitCode

if TYPE_CHECKING:
    from sagacity_models.registry import ModelVersion

models = typer.Typer(no_args_is_help=True, help="Look at trained models, and say which one is used.")


@models.command("list")
def list_models(
    *, registry: RegistryOption = None, model: ModelOption = STEPS, as_json: AsJson = False
) -> int:
    """List the versions of a model, the latest first."""
    with opened(registry) as opened_registry:
        found = opened_registry.versions(model=model)
    if as_json:
        put_json({"model": model, "versions": [version_as_json(each) for each in found]})
    elif found:
        put(table([["version", "alias", "logged", "judged", "bundle"], *map(_row, found)]))
    else:
        say(f"no version of {model} yet; `sagacity train` logs one")
    return ExitCode.DONE


@models.command("keygen")
def keygen(
    *,
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Where the two new files go.")],
    as_json: AsJson = False,
) -> int:
    """Make a key pair that models are signed and verified with."""
    from sagacity_models.errors import KeyRefused
    from sagacity_models.signing import SigningKey, key_id

    key = SigningKey.fresh()
    try:
        private, public = key.write(into)
    except KeyRefused as refusal:
        raise BadInput(str(refusal)) from None
    name = key_id(key.public_key)
    if as_json:
        put_json({"key": name, "signing_key": str(private), "verify_key": str(public)})
    else:
        put(
            [
                f"key {name}",
                f"private, where models are trained:  SAGACITY_SIGNING_KEY={private}",
                f"public, where models are used:      SAGACITY_VERIFY_KEY={public}",
            ]
        )
    return ExitCode.DONE


models.command("show")(show)
models.command("compare")(compare)
models.command("promote")(promote)
models.command("rollback")(rollback)
models.command("sync")(sync)


def version_as_json(version: ModelVersion) -> dict[str, Any]:
    """A version as JSON values."""
    return {
        "version": version.version,
        "aliases": list(version.aliases),
        "logged_at": version.created_at,
        "better": version.better,
        "run": version.run_id,
        "tags": dict(sorted(version.tags.items())),
        "params": dict(sorted(version.params.items())),
        "metrics": dict(sorted(version.metrics.items())),
    }


def _row(version: ModelVersion) -> list[str]:
    logged = datetime.fromtimestamp(version.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    judged = {True: "better", False: "not better", None: "-"}[version.better]
    bundle = version.params.get("bundle", "-")
    return [version.version, ", ".join(version.aliases) or "-", logged, judged, bundle]
