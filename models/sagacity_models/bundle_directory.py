"""A directory of bundles and the pointer to the one in use: what `models sync` writes and a service reads.

    bundles/<version>/    one folder per bundle, placed whole by a rename
    current               the version in use, one line, replaced by a rename

So a reader meets the old bundle or the new one, never half of either. The pointer is not signed: who may
write the directory may choose among the bundles in it, but each of them must be signed by a trusted key, hold
the version that its folder is named for, and be young enough.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from sagacity_models.bundle_files import SealedFolder, place_folder, read_folder
from sagacity_models.errors import BundleRefused
from sagacity_models.manifest import MANIFEST, VERSION
from sagacity_models.signing import SIGNATURE, TrustedKeys

BUNDLES: Final = "bundles"
POINTER: Final = "current"
KEPT: Final = 5
"""Bundles that stay when newer ones are published."""


class BundleDirectory:
    """The bundles below `path`. Reading raises `BundleRefused`, writing also `OSError`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def pointer(self) -> Path:
        """The file that names the version in use."""
        return self.path / POINTER

    def folder(self, version: str) -> Path:
        """Where the bundle of this version is, or would be."""
        return self.path / BUNDLES / version

    def current(self) -> str:
        """The version in use. Raises `BundleRefused` where the pointer is not there or names none."""
        try:
            with self.pointer.open("rb") as stream:
                told = stream.read(64).decode("ascii").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as problem:
            why = getattr(problem, "strerror", None) or "it is no text"
            raise BundleRefused(
                f"the pointer {self.pointer} cannot be read ({why}); run `sagacity models sync`"
            ) from None
        if not VERSION.fullmatch(told):
            raise BundleRefused(
                f"the pointer {self.pointer} names no version of a bundle; run `sagacity models sync`"
            )
        return told

    def read(self, version: str, trusted: TrustedKeys | None = None) -> SealedFolder:
        """The bundle of this version, its signature and hashes verified."""
        folder = self.folder(version)
        sealed = read_folder(folder, trusted)
        if sealed.version != version:
            raise BundleRefused(
                f"the bundle in {folder} is version {sealed.version}, not what its folder is named for; "
                "remove that folder and run `sagacity models sync`"
            )
        return sealed

    def publish(self, sealed: SealedFolder, trusted: TrustedKeys | None = None, *, kept: int = KEPT) -> bool:
        """Put a verified bundle here and point to it; False where it was in use already.

        What is written is what was verified, not the folder again. A folder of this version that was damaged
        is replaced. Of the others the `kept` latest stay.
        """
        with suppress(BundleRefused):
            if self.current() == sealed.version and self._sound(sealed.version, trusted):
                return False
        if not self._sound(sealed.version, trusted):
            shutil.rmtree(self.folder(sealed.version), ignore_errors=True)
            with suppress(FileExistsError):  # Another process was faster with the same.
                place_folder(
                    self.folder(sealed.version),
                    {**sealed.texts, MANIFEST: sealed.manifest_text, SIGNATURE: sealed.signature},
                )
        os.utime(self.folder(sealed.version))
        self._point(sealed.version)
        self._prune(sealed.version, kept)
        return True

    def _sound(self, version: str, trusted: TrustedKeys | None) -> bool:
        try:
            self.read(version, trusted)
        except BundleRefused:
            return False
        return True

    def _point(self, version: str) -> None:
        handle, draft = tempfile.mkstemp(dir=self.path, prefix=f".{POINTER}-")
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(version + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        Path(draft).chmod(0o644)
        Path(draft).replace(self.pointer)

    def _prune(self, version: str, kept: int) -> None:
        named = [each for each in (self.path / BUNDLES).iterdir() if VERSION.fullmatch(each.name)]
        others = [each for each in named if each.name != version]
        others.sort(key=lambda each: each.stat().st_mtime, reverse=True)
        for old in others[max(0, kept - 1) :]:
            shutil.rmtree(old, ignore_errors=True)
