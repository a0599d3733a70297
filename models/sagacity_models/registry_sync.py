"""From the registry to the bundle directory of a service: what `sagacity models sync` does at each look.

The registry is MLflow, which no service should ask; the directory is files, which any can read. What goes
over was verified against the trusted keys, is young enough, and was tried in a child process; else nothing
changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from sagacity_models.bundle import KIND, opened, too_old
from sagacity_models.bundle_directory import KEPT, BundleDirectory
from sagacity_models.bundle_files import SealedFolder
from sagacity_models.manifest import refuse
from sagacity_models.probe import ProbeLimits
from sagacity_models.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What is followed: an alias of a model; `age_max_s` is None where age does not matter."""

    model: str
    alias: str
    age_max_s: float | None = None
    kept: int = KEPT


@dataclass(frozen=True, slots=True)
class Synced:
    """The registry's number, the bundle's version, and whether the directory was changed to it."""

    number: str
    version: str
    changed: bool


def sync(
    registry: Registry, directory: BundleDirectory, followed: Followed, *, now: float, known: str = ""
) -> Synced | None:
    """Bring the directory to what the alias names. None where that is still the number `known`.

    Raises `RegistryRefused` and `BundleRefused`, and `OSError` where the directory cannot be written; then it
    is as it was.
    """
    number = registry.find(followed.alias, model=followed.model).version
    if number == known:
        return None
    sealed = registry.sealed(number, model=followed.model)
    tried(sealed, age_max_s=followed.age_max_s, now=now)
    changed = directory.publish(sealed, registry.trusted(), kept=followed.kept)
    return Synced(number, sealed.version, changed)


def tried(sealed: SealedFolder, *, age_max_s: float | None = None, now: float | None = None) -> None:
    """Read and use a verified model in a child process; raises `BundleRefused`.

    Models of other kinds than steps have no golden rows; of those nothing is tried but their age.
    """
    if sealed.manifest.get("kind") == KIND:
        opened(sealed, age_max_s=age_max_s, now=now, probe=ProbeLimits())
    elif age_max_s is not None and now is not None and (breach := too_old(sealed.manifest, age_max_s, now)):
        refuse(sealed.folder, breach)
