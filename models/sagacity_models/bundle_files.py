"""A bundle on disk: a folder of text files and the manifest that says exactly what they are.

The manifest lists every file with its size and SHA-256, and ends with the SHA-256 of itself, written in one
canonical form; so any changed byte of any file, a file too many or one too few, is seen before a single
file is parsed. That matters because an altered LightGBM text crashes the process instead of raising.
`version` is the hash of everything but the creation time: the same data and seed give the same version.

What this proves is that the folder is what was saved, not who saved it: the folder must be as trusted as the
code, or be compared with a version that is known from elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from sagacity_models.errors import BundleRefused

SCHEMA_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
FILES_MAX: Final = 16
FILE_BYTES_MAX: Final = 32 * 1024 * 1024
MANIFEST_BYTES_MAX: Final = 1024 * 1024
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9_.]{0,63}")


def write_folder(folder: Path, files: Mapping[str, str], facts: Mapping[str, Any], created_at: str) -> str:
    """Write files and manifest into `folder`, whole or not at all, and return the version.

    `facts` is whatever else the manifest should tell. A folder that is already there is replaced only if it
    holds the same version; raises `BundleRefused` otherwise.
    """
    manifest = _manifest(files, facts, created_at)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, text in {**files, MANIFEST: canonical(manifest)}.items():
            _write_durably(draft / name, text)
        draft.chmod(0o755)
        try:
            draft.rename(folder)
        except OSError:
            if read_manifest(folder)["version"] != manifest["version"]:
                raise BundleRefused(f"{folder} holds another bundle; save to a folder of its own") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    version: str = manifest["version"]
    return version


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The manifest and the text of every file, all verified. Raises `BundleRefused`, naming what is wrong."""
    manifest = read_manifest(folder)
    listed: dict[str, Any] = manifest["files"]
    try:
        found = {entry.name: entry for entry in os.scandir(folder)}
    except OSError as problem:
        refuse(folder, f"cannot be listed ({problem.strerror})")
    if extra := sorted(set(found) - set(listed) - {MANIFEST}):
        refuse(folder, f"holds {extra[0]!r}, which its manifest does not list")
    if missing := sorted(set(listed) - set(found)):
        refuse(folder, f"lacks {missing[0]!r}, which its manifest lists")
    return manifest, {name: _verified(folder, name, facts) for name, facts in sorted(listed.items())}


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, verified against itself only. Raises `BundleRefused`."""
    written = _read(folder, MANIFEST, MANIFEST_BYTES_MAX)
    manifest = parse(folder, MANIFEST, written)
    if not isinstance(manifest, dict):
        refuse(folder, "has a manifest that is no object")
    schema = manifest.get("schema_version")
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        refuse(
            folder, f"has schema version {schema}, this is a reader of {SCHEMA_VERSION}; upgrade to read it"
        )
    sealed = dict(manifest)
    seal = sealed.pop("manifest_sha256", None)
    if canonical(manifest) != written or seal != _digest(canonical(sealed)) or schema != SCHEMA_VERSION:
        refuse(folder, "has an altered manifest")
    files = manifest.get("files")
    if not isinstance(files, dict) or not 0 < len(files) <= FILES_MAX:
        refuse(folder, f"must list between 1 and {FILES_MAX} files")
    if strange := [name for name in files if not _FILE_NAME.fullmatch(name) or name == MANIFEST]:
        refuse(folder, f"lists {strange[0]!r}, which is no name for a file of a bundle")
    return manifest


def parse(folder: Path, name: str, text: str) -> Any:
    """The JSON value in `text`; raises `BundleRefused` on NaN, an infinity or a key that is there twice."""
    try:
        return json.loads(
            text, parse_constant=_not_finite, parse_float=_finite, object_pairs_hook=_without_repeats
        )
    except (ValueError, RecursionError) as problem:
        refuse(folder, f"has an unreadable {name} ({problem})")


def canonical(value: Any) -> str:
    """The one way in which bundles write a JSON value."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def refuse(folder: Path, what: str) -> NoReturn:
    """Raises `BundleRefused`: the bundle in `folder`, what is wrong, and the way out."""
    raise BundleRefused(f"the bundle in {folder} {what}; train again or restore it from the registry")


def version_of(files: Mapping[str, str], facts: Mapping[str, Any]) -> str:
    """The version that `write_folder` gives: a hash of everything but the creation time."""
    return _digest(canonical(_content(files, facts)))[:16]


def _manifest(files: Mapping[str, str], facts: Mapping[str, Any], created_at: str) -> dict[str, Any]:
    manifest = {**_content(files, facts), "version": version_of(files, facts), "created_at": created_at}
    return {**manifest, "manifest_sha256": _digest(canonical(manifest))}


def _content(files: Mapping[str, str], facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **facts,
        "schema_version": SCHEMA_VERSION,
        "files": {
            name: {"sha256": _digest(text), "size": len(text.encode())} for name, text in files.items()
        },
    }


def _verified(folder: Path, name: str, facts: object) -> str:
    size = facts.get("size") if isinstance(facts, dict) else None
    digest = facts.get("sha256") if isinstance(facts, dict) else None
    if not isinstance(size, int) or size > FILE_BYTES_MAX:
        refuse(folder, f"has a {name} of more than {FILE_BYTES_MAX} bytes")
    text = _read(folder, name, size)
    if _digest(text) != digest:
        refuse(folder, f"has an altered {name}")
    return text


def _read(folder: Path, name: str, bytes_max: int) -> str:
    """The file as text; never more than `bytes_max` are read, and no link is followed."""
    path = folder / name
    try:
        if path.is_symlink() or not path.is_file():
            refuse(folder, f"lacks the file {name}")
        with path.open("rb") as stream:
            content = stream.read(bytes_max + 1)
        if len(content) > bytes_max:
            refuse(folder, f"has a {name} that is longer than {bytes_max} bytes")
        return content.decode()
    except OSError as problem:
        refuse(folder, f"has an unreadable {name} ({problem.strerror})")
    except UnicodeDecodeError:
        refuse(folder, f"has an altered {name}")


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _not_finite(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it holds {text}, which is not finite")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) != len(pairs):
        raise ValueError("it holds a key twice")
    return told
