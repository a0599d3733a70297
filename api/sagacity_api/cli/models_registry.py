"""What the commands on models share: their options, and the registry with its refusals as exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.cli.train_command import REGISTRY_FOLDER
from sagacity_api.environment import read_environment
from sagacity_api.exit_codes import ExitCode

if TYPE_CHECKING:
    from sagacity_models.registry import Registry

STEPS = "sagacity-steps"

RegistryOption = Annotated[
    Path | None,
    typer.Option(
        "--registry", metavar="DIR", help=f"The registry that models were logged to. [{REGISTRY_FOLDER}]"
    ),
]
ModelOption = Annotated[
    str,
    typer.Option("--model", metavar="NAME", help="Which model; that of event logs is sagacity-cases."),
]
AliasOption = Annotated[
    str, typer.Option("--alias", metavar="NAME", help="champion, which is used, or challenger.")
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the version.")]
ByOption = Annotated[
    str | None, typer.Option("--by", metavar="WHO", help="Who decides; kept with the version. [your account]")
]


@contextmanager
def opened(folder: Path | None) -> Iterator[Registry]:
    """The registry that the option or the environment names; what it refuses ends the command."""
    from sagacity_api.assembly import registry_at
    from sagacity_models.errors import BundleRefused, KeyRefused, RegistryRefused, RegistryUnreachable

    settings = read_environment()
    try:
        yield registry_at(folder or Path(settings.registry or REGISTRY_FOLDER))
    except RegistryUnreachable as refusal:
        raise CommandError(str(refusal), ExitCode.UNREACHABLE) from None
    except (RegistryRefused, KeyRefused) as refusal:
        raise BadInput(str(refusal)) from None
    except BundleRefused as refusal:
        raise CommandError(str(refusal), ExitCode.FAILED) from None


def checked_alias(alias: str) -> str:
    """The alias; raises `BadInput` for one that nothing follows."""
    from sagacity_models.promotions import CHALLENGER, CHAMPION

    if alias not in (CHAMPION, CHALLENGER):
        raise BadInput(f"--alias {alias!r} is not used; give {CHAMPION} or {CHALLENGER}")
    return alias


def account() -> str:
    """The name of the account that this process runs as."""
    import os
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
