"""The keys of a registry: what it signs with, and whose signatures it accepts.

A configured key wins. Where none is, the registry makes a pair of its own at the first training, in a folder
of its own that only its owner may enter. It then vouches for itself: whoever may read that folder may sign,
which is what development needs, and less than production should ask for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sagacity_models.bundle_files import read_folder
from sagacity_models.errors import BundleRefused, KeyRefused
from sagacity_models.signing import PUBLIC_KEY, SigningKey, TrustedKeys, own_key, read_public_key


@dataclass(frozen=True, slots=True)
class RegistryKeys:
    """`folder` is where the registry's own pair is, or will be; the others are files. Raises `KeyRefused`."""

    folder: Path
    signing: Path | None = None
    verifying: tuple[Path, ...] = ()

    def signer(self) -> SigningKey:
        """What it signs with; its own pair is made when it is first needed."""
        return own_key(self.folder) if self.signing is None else SigningKey.read(self.signing)

    def vouch_for(self, folder: Path) -> bool:
        """Whether the folder is what one of the trusted keys signed."""
        if not self.known():
            return False
        try:
            read_folder(folder, self.trusted())
        except BundleRefused:
            return False
        return True

    def known(self) -> bool:
        """Whether any key is there to verify with."""
        return bool(self.verifying) or self.signing is not None or (self.folder / PUBLIC_KEY).exists()

    def trusted(self) -> TrustedKeys:
        """Whose signatures count: the configured keys', else that of the one it signs with or its own."""
        if self.verifying:
            return TrustedKeys.read(self.verifying)
        keys: set[bytes] = set()
        if self.signing is not None:
            keys.add(SigningKey.read(self.signing).public_key)
        if (self.folder / PUBLIC_KEY).exists():
            keys.add(read_public_key(self.folder / PUBLIC_KEY))
        if not keys:
            raise KeyRefused(
                f"there is no key to verify with in {self.folder}; train again, which makes one, "
                "or set SAGACITY_VERIFY_KEY"
            )
        return TrustedKeys(frozenset(keys))
