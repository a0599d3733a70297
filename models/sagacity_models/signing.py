"""Who vouches for a bundle: Ed25519 signatures over its manifest, and the keys that are trusted.

The manifest holds the SHA-256 of every file, so one signature over its bytes covers the whole bundle, its
creation time and its data cut. The signature stands beside it in a file of its own, `manifest.sig`, together
with the public key that it was made with: a fixed line, the key and the signature, both in lower-case hex, so
that no byte of it can change unnoticed.

Which key it *must* be is never read from the bundle. `TrustedKeys` comes from configuration, apart from it,
and may hold several keys while one replaces another. Without any, a signature proves that a bundle is as it
was saved, and nothing about who saved it.

A private key is a file that only its owner may read; it is never printed, logged or copied. Whoever keeps
keys in an HSM or a signing service gives `save_bundle` any object with the two members of `Signer`.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from sagacity_models.errors import KeyRefused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE: Final = "manifest.sig"
PRIVATE_KEY: Final = "signing-key.pem"
PUBLIC_KEY: Final = "verify-key.pem"
_HEAD: Final = "sagacity-manifest-ed25519-v1"
_CONTEXT: Final = b"sagacity bundle manifest v1\n"
"""Goes before the signed bytes, so that a signature made for anything else can never be taken for one."""
_WRITTEN = re.compile(rf"{_HEAD}\n([0-9a-f]{{64}})\n([0-9a-f]{{128}})\n")
SIGNATURE_BYTES_MAX: Final = 512
_KEY_BYTES_MAX: Final = 16 * 1024


class Signer(Protocol):
    """What signs: a key file, or whatever stands before an HSM."""

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the Ed25519 public key."""
        ...

    def sign(self, content: bytes) -> bytes:
        """The 64 bytes of the Ed25519 signature of `content`."""
        ...


class SigningKey:
    """A private key in memory. It has no text form: it cannot be printed or logged by accident."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def fresh(cls) -> SigningKey:
        """A new key, kept nowhere."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> SigningKey:
        """The private key in a PEM file; raises `KeyRefused`, also if others than the owner may read it."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        content = _key_file(Path(path), private=True)
        try:
            key = load_pem_private_key(content, None)
        except (ValueError, TypeError):
            key = None
        except Exception as problem:  # noqa: BLE001  an algorithm that this library does not know, by any name
            raise KeyRefused(f"{path} holds no key that can be read ({type(problem).__name__})") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyRefused(
                f"{path} holds no unencrypted Ed25519 private key in PEM; "
                "make one with `sagacity models keygen`"
            )
        return cls(key)

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of its public half."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, content: bytes) -> bytes:
        """The signature of `content`."""
        return self._key.sign(content)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write both halves to new files in `folder` and return the paths: private (mode 0600), public.

        Raises `KeyRefused` where a key is there already: none is ever overwritten.
        """
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
            PublicFormat,
        )

        private, public = folder / PRIVATE_KEY, folder / PUBLIC_KEY
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if public.exists():
                raise FileExistsError
            secret = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            told = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            _write_new(private, secret, 0o600)
            _write_new(public, told, 0o644)
        except FileExistsError:
            raise KeyRefused(f"{folder} holds a key already; choose another folder") from None
        except OSError as problem:
            raise KeyRefused(f"no key can be written to {folder} ({problem.strerror})") from None
        return private, public


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The public keys, 32 bytes each, of which one must have signed a bundle. At least one."""

    keys: frozenset[bytes]

    def __post_init__(self) -> None:
        if not self.keys:
            raise ValueError("no key at all is trusted; leave verification out instead")

    @classmethod
    def read(cls, paths: Iterable[str | os.PathLike[str]]) -> TrustedKeys:
        """The public keys in these PEM files; raises `KeyRefused`."""
        return cls(frozenset(read_public_key(path) for path in paths))

    @property
    def ids(self) -> str:
        """The names of the keys, for a message."""
        return ", ".join(sorted(map(key_id, self.keys)))


def read_public_key(path: str | os.PathLike[str]) -> bytes:
    """The 32 bytes of the Ed25519 public key in a PEM file; raises `KeyRefused`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    content = _key_file(Path(path), private=False)
    try:
        key = load_pem_public_key(content)
    except Exception:  # noqa: BLE001  nothing that a file holds may be more than "no key"
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyRefused(
            f"{path} holds no Ed25519 public key in PEM; give the {PUBLIC_KEY} that `sagacity models keygen` "
            "wrote"
        )
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(public_key: bytes) -> str:
    """A short name for a public key: the first half of its SHA-256's 32 hex digits.

    >>> key_id(bytes(32))
    '66687aadf862bd77'
    """
    return hashlib.sha256(public_key).hexdigest()[:16]


def signature_text(manifest: bytes, signer: Signer) -> str:
    """What `manifest.sig` holds for these bytes of a manifest."""
    return f"{_HEAD}\n{signer.public_key.hex()}\n{signer.sign(_CONTEXT + manifest).hex()}\n"


def verified_key(manifest: bytes, written: str, trusted: TrustedKeys | None) -> bytes:
    """The key that signed these bytes; raises `ValueError`, with what is wrong, unless it may and did."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    found = _WRITTEN.fullmatch(written)
    if found is None:
        raise ValueError("has an altered signature")
    key, signature = bytes.fromhex(found[1]), bytes.fromhex(found[2])
    if trusted is not None and key not in trusted.keys:
        raise ValueError(f"is signed by the key {key_id(key)}, which is not trusted (trusted: {trusted.ids})")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, _CONTEXT + manifest)
    except (InvalidSignature, ValueError):
        raise ValueError("was altered after it was signed") from None
    return key


def own_key(folder: Path) -> SigningKey:
    """The key of a folder that signs for itself, made when it is first asked for. Raises `KeyRefused`."""
    path = folder / PRIVATE_KEY
    if not path.exists():
        with suppress(KeyRefused):  # Another process was faster; whatever else is wrong, reading tells.
            SigningKey.fresh().write(folder)
    return SigningKey.read(path)


def _key_file(path: Path, *, private: bool) -> bytes:
    """The content of a key file, never much of it."""
    kind = "private" if private else "public"
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyRefused(f"{path} is no file with a {kind} key")
            if private and status.st_mode & 0o077:
                raise KeyRefused(
                    f"{path} holds a private key that others may read; run: chmod 600 {path}, "
                    "and replace the key if anybody did"
                )
            return stream.read(_KEY_BYTES_MAX)
    except OSError as problem:
        raise KeyRefused(f"the {kind} key {path} cannot be read ({problem.strerror})") from None


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is not there yet, whole or not at all; raises `FileExistsError` where it is."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # Only its owner may read it.
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(draft).chmod(mode)
        os.link(draft, path)
    finally:
        Path(draft).unlink()
