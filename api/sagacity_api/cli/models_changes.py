"""`sagacity models promote` and `rollback`: which version is used from now on.

Both verify the version and try it in a child process first, so that no alias ever names what cannot be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sagacity_api.cli.errors import CommandError
from sagacity_api.cli.models_registry import (
    STEPS,
    AliasOption,
    ByOption,
    ModelOption,
    ReasonOption,
    RegistryOption,
    account,
    checked_alias,
    opened,
)
from sagacity_api.cli.output import put, put_json
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.exit_codes import ExitCode

if TYPE_CHECKING:
    from sagacity_models.registry import Registry


def promote(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A number, or the alias challenger.")],
    *,
    alias: AliasOption = "champion",
    reason: ReasonOption = "",
    by: ByOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also if its training did not judge it better; that is recorded.")
    ] = False,
    registry: RegistryOption = None,
    model: ModelOption = STEPS,
    as_json: AsJson = False,
) -> int:
    """Use a version from now on, once it was verified and tried."""
    checked_alias(alias)
    with opened(registry) as opened_registry:
        found = opened_registry.find(version, model=model)
        _try(opened_registry, found.version, model)
        doubt = found.doubt(alias)
        if doubt and not force:
            raise CommandError(
                f"version {found.version} of {model} is not promoted: {doubt}; "
                "add --force and a --reason to promote it all the same",
                ExitCode.GUARDRAIL,
            )
        before = opened_registry.version(alias, model=model)
        told = reason if not (doubt and force) else f"{reason or 'forced'} (overruled: {doubt})"
        opened_registry.promote(
            found.version,
            model=model,
            alias=alias,
            reason=told,
            by=account() if by is None else by,
            forced=bool(doubt),
        )
    _tell(model, alias, before, found.version, as_json=as_json)
    return ExitCode.DONE


def rollback(
    *,
    alias: AliasOption = "champion",
    reason: ReasonOption = "",
    by: ByOption = None,
    registry: RegistryOption = None,
    model: ModelOption = STEPS,
    as_json: AsJson = False,
) -> int:
    """Use the version before again, once it was verified and tried."""
    checked_alias(alias)
    with opened(registry) as opened_registry:
        _, target = opened_registry.rollback_target(model=model, alias=alias)
        _try(opened_registry, target, model)
        present, before = opened_registry.rollback(
            model=model, alias=alias, reason=reason or "rolled back", by=account() if by is None else by
        )
    _tell(model, alias, present, before, as_json=as_json)
    return ExitCode.DONE


def _try(registry: Registry, version: str, model: str) -> None:
    from sagacity_models.registry_sync import tried

    tried(registry.sealed(version, model=model))


def _tell(model: str, alias: str, before: str | None, now: str, *, as_json: bool) -> None:
    if as_json:
        put_json({"model": model, "alias": alias, "before": before, "now": now})
    else:
        put([f"{alias} of {model}: version {now}, before {before or 'none'}"])
