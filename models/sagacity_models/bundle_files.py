"""A bundle on disk: a folder of text files, the manifest that says exactly what they are, and its signature.

Nothing is parsed before the signature over the manifest and the hash of every file were verified: any changed
byte of any file, a file too many or one too few is a refusal. That matters because an altered LightGBM text
crashes the process instead of raising. No link is followed, and no file is read further than the manifest
says it goes. What the signature proves is told in `signing`.

A folder is written beside its place and renamed, so it is there whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagacity_models.errors import BundleRefused
from sagacity_models.manifest import (
    FILE_BYTES_MAX,
    FILE_NAME,
    FILES_MAX,
    MANIFEST,
    MANIFEST_BYTES_MAX,
    canonical,
    digest,
    manifest_of,
    parse,
    read_manifest_text,
    refuse,
)
from sagacity_models.signing import (
    SIGNATURE,
    SIGNATURE_BYTES_MAX,
    Signer,
    TrustedKeys,
    signature_text,
    verified_key,
)


@dataclass(frozen=True, slots=True)
class SealedFolder:
    """A folder's content, all of it verified; `key` is the public key that signed it."""

    folder: Path
    manifest: Mapping[str, Any]
    texts: Mapping[str, str]
    manifest_text: str
    signature: str
    key: bytes

    @property
    def version(self) -> str:
        """What its content is called."""
        return str(self.manifest["version"])


def write_folder(
    folder: Path, files: Mapping[str, str], facts: Mapping[str, Any], created_at: str, *, signer: Signer
) -> str:
    """Write files, manifest and signature into `folder`, whole or not at all, and return the version.

    `facts` is whatever else the manifest should tell. A folder that is already there is replaced only if it
    holds the same version; raises `BundleRefused` otherwise.
    """
    manifest = manifest_of(files, facts, created_at)
    text = canonical(manifest)
    sealed = {**files, MANIFEST: text, SIGNATURE: signature_text(text.encode(), signer)}
    version: str = manifest["version"]
    try:
        place_folder(folder, sealed)
    except FileExistsError:
        if read_manifest(folder)["version"] != version:
            raise BundleRefused(f"{folder} holds another bundle; save to a folder of its own") from None
    return version


def place_folder(folder: Path, texts: Mapping[str, str]) -> None:
    """Write these files into a new `folder`, whole or not at all; raises `FileExistsError` if it is there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, text in texts.items():
            _write_durably(draft / name, text)
        draft.chmod(0o755)
        try:
            draft.rename(folder)
        except OSError as problem:
            if folder.exists():
                raise FileExistsError(f"{folder} exists") from None
            raise problem from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def read_folder(folder: Path, trusted: TrustedKeys | None = None) -> SealedFolder:
    """Everything in the folder, verified. Raises `BundleRefused`, naming what is wrong.

    It must be signed; by one of the `trusted` keys, where those are given.
    """
    written = _read(folder, MANIFEST, MANIFEST_BYTES_MAX)
    if not (folder / SIGNATURE).exists():
        read_manifest_text(folder, written)  # A folder that is too old has more to say than this one.
        refuse(folder, "is not signed")
    signature = _read(folder, SIGNATURE, SIGNATURE_BYTES_MAX)
    try:
        key = verified_key(written.encode(), signature, trusted)
    except ValueError as problem:
        refuse(folder, str(problem))
    manifest = read_manifest_text(folder, written)
    listed: dict[str, Any] = manifest["files"]
    _refuse_strays(folder, listed)
    texts = {name: _verified(folder, name, facts) for name, facts in sorted(listed.items())}
    return SealedFolder(folder, manifest, texts, written, signature, key)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, verified against itself only. Raises `BundleRefused`."""
    return read_manifest_text(folder, _read(folder, MANIFEST, MANIFEST_BYTES_MAX))


def seal_folder(folder: Path, signer: Signer, *, facts: Mapping[str, Any], created_at: str) -> SealedFolder:
    """Vouch for a folder in place: sign its manifest, or first write one where it has none.

    A manifest that is there must fit its files. Raises `BundleRefused`.
    """
    if not (folder / MANIFEST).exists():
        names = sorted(entry.name for entry in os.scandir(folder))
        if not 0 < len(names) <= FILES_MAX or not all(map(FILE_NAME.fullmatch, names)):
            raise BundleRefused(f"{folder} holds no files that a bundle can have; they are {names[:5]}")
        files = {name: _read(folder, name, FILE_BYTES_MAX) for name in names}
        _replace(folder / MANIFEST, canonical(manifest_of(files, facts, created_at)))
    written = _read(folder, MANIFEST, MANIFEST_BYTES_MAX)
    read_manifest_text(folder, written)
    _replace(folder / SIGNATURE, signature_text(written.encode(), signer))
    return read_folder(folder, TrustedKeys(frozenset({signer.public_key})))


def _refuse_strays(folder: Path, listed: Mapping[str, Any]) -> None:
    try:
        found = {entry.name for entry in os.scandir(folder)}
    except OSError as problem:
        refuse(folder, f"cannot be listed ({problem.strerror})")
    if extra := sorted(found - set(listed) - {MANIFEST, SIGNATURE}):
        refuse(folder, f"holds {extra[0]!r}, which its manifest does not list")
    if missing := sorted(set(listed) - found):
        refuse(folder, f"lacks {missing[0]!r}, which its manifest lists")


def _verified(folder: Path, name: str, facts: Mapping[str, Any]) -> str:
    text = _read(folder, name, facts["size"])
    if digest(text) != facts.get("sha256"):
        refuse(folder, f"has an altered {name}")
    return text


def _read(folder: Path, name: str, bytes_max: int) -> str:
    """The file as text; never more than `bytes_max` are read, no link is followed, no pipe waited for."""
    try:
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                refuse(folder, f"lacks the file {name}")
            content = stream.read(bytes_max + 1)
        if len(content) > bytes_max:
            refuse(folder, f"has a {name} that is longer than {bytes_max} bytes")
        return content.decode()
    except FileNotFoundError:
        refuse(folder, f"lacks the file {name}")
    except OSError as problem:
        refuse(folder, f"has an unreadable {name} ({problem.strerror})")
    except UnicodeDecodeError:
        refuse(folder, f"has an altered {name}")


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}-draft")
    _write_durably(draft, text)
    draft.replace(path)


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


__all__ = [
    "MANIFEST",
    "SealedFolder",
    "canonical",
    "parse",
    "place_folder",
    "read_folder",
    "read_manifest",
    "refuse",
    "seal_folder",
    "write_folder",
]
