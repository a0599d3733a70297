"""What a bundle says of itself: its files with size and SHA-256, and the facts of its making.

A manifest is JSON in one canonical form that ends with the SHA-256 of itself, so any changed byte shows even
before a signature is looked at. `version` is the hash of everything but the creation time: the same data and
seed give the same version, wherever and whenever they are trained.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from sagacity_models.errors import BundleRefused

SCHEMA_VERSION: Final = 2
"""2: bundles are signed, and hold golden rows."""
MANIFEST: Final = "manifest.json"
MANIFEST_BYTES_MAX: Final = 1024 * 1024
FILES_MAX: Final = 64
FILE_BYTES_MAX: Final = 32 * 1024 * 1024
BYTES_MAX: Final = 256 * 1024 * 1024
"""Of all files together."""
FILE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.]{0,63}")
VERSION: Final = re.compile(r"[0-9a-f]{16}")
WRITTEN: Final = frozenset({"schema_version", "files", "version", "created_at", "manifest_sha256"})
"""What every manifest tells besides the facts that its maker gives."""


def manifest_of(files: Mapping[str, str], facts: Mapping[str, Any], created_at: str) -> dict[str, Any]:
    """The manifest of these texts; `facts` is whatever else it should tell."""
    manifest = {**_content(files, facts), "version": version_of(files, facts), "created_at": created_at}
    return {**manifest, "manifest_sha256": digest(canonical(manifest))}


def version_of(files: Mapping[str, str], facts: Mapping[str, Any]) -> str:
    """The version of these texts: a hash of everything but the creation time."""
    return digest(canonical(_content(files, facts)))[:16]


def read_manifest_text(folder: Path, written: str) -> dict[str, Any]:
    """The manifest with this text, verified against itself and within bounds. Raises `BundleRefused`."""
    manifest = parse(folder, MANIFEST, written)
    if not isinstance(manifest, dict):
        refuse(folder, "has a manifest that is no object")
    _refuse_other_schema(folder, manifest.get("schema_version"))
    sealed = dict(manifest)
    seal = sealed.pop("manifest_sha256", None)
    if canonical(manifest) != written or seal != digest(canonical(sealed)):
        refuse(folder, "has an altered manifest")
    if not VERSION.fullmatch(str(manifest.get("version"))) or not isinstance(manifest.get("created_at"), str):
        refuse(folder, "has a manifest without a version or a time of creation")
    _refuse_other_files(folder, manifest.get("files"))
    return manifest


def canonical(value: Any) -> str:
    """The one way in which bundles write a JSON value."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def parse(folder: Path, name: str, text: str) -> Any:
    """The JSON value in `text`; raises `BundleRefused` on NaN, an infinity or a key that is there twice."""
    try:
        return strict_json(text)
    except (ValueError, RecursionError) as problem:
        refuse(folder, f"has an unreadable {name} ({problem})")


def strict_json(text: str) -> Any:
    """The JSON value in `text`; raises `ValueError` on NaN, an infinity or a key that is there twice."""
    return json.loads(
        text, parse_constant=_not_finite, parse_float=_finite, object_pairs_hook=_without_repeats
    )


def refuse(folder: Path, what: str) -> NoReturn:
    """Raises `BundleRefused`: the bundle in `folder`, what is wrong, and the way out."""
    raise BundleRefused(f"the bundle in {folder} {what}; train again or restore it from the registry")


def digest(text: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def _content(files: Mapping[str, str], facts: Mapping[str, Any]) -> dict[str, Any]:
    listed = {name: {"sha256": digest(text), "size": len(text.encode())} for name, text in files.items()}
    return {**facts, "schema_version": SCHEMA_VERSION, "files": listed}


def _refuse_other_schema(folder: Path, schema: object) -> None:
    if schema == SCHEMA_VERSION and isinstance(schema, int):
        return
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        refuse(
            folder, f"has schema version {schema}, this is a reader of {SCHEMA_VERSION}; upgrade to read it"
        )
    if schema == 1:
        raise BundleRefused(
            f"the bundle in {folder} has schema version 1, from before bundles were signed; train again"
        )
    refuse(folder, "has an altered manifest")


def _refuse_other_files(folder: Path, files: object) -> None:
    if not isinstance(files, dict) or not 0 < len(files) <= FILES_MAX:
        refuse(folder, f"must list between 1 and {FILES_MAX} files")
    if strange := [name for name in files if not FILE_NAME.fullmatch(name) or name.startswith("manifest.")]:
        refuse(folder, f"lists {strange[0]!r}, which is no name for a file of a bundle")
    sizes = [facts.get("size") if isinstance(facts, dict) else None for facts in files.values()]
    for name, size in zip(files, sizes, strict=True):
        if type(size) is not int or not 0 <= size <= FILE_BYTES_MAX:
            refuse(folder, f"lists a {name} of more than {FILE_BYTES_MAX} bytes")
    if sum(size for size in sizes if size) > BYTES_MAX:
        refuse(folder, f"lists more than {BYTES_MAX} bytes")


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
