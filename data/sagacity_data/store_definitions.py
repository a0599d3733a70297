"""The definitions behind a dataset's rows: `definitions/HASH.json`, each the document of one saga.

Features can be replayed only with the definition that a run was pinned to. A document is written once, whole
or not at all, and refused when it no longer has the hash that its name says.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sagacity_data.errors import DatasetRefused
from sagacity_engine import Saga, SagaRefused
from sagacity_engine.document import read_saga, saga_document

FOLDER: Final = "definitions"
BYTES_MAX: Final = 4 * 1024 * 1024
"""The largest document that is read."""

_HASH: Final = re.compile(r"[0-9a-f]{64}")


def write_definitions(store: Path, sagas: Iterable[Saga]) -> None:
    """Keeps the definitions that are not there yet. Raises `OSError` when the disk refuses."""
    folder = store / FOLDER
    for saga in {each.definition_hash: each for each in sagas}.values():
        path = folder / f"{saga.definition_hash}.json"
        if path.is_file():
            continue
        folder.mkdir(exist_ok=True)
        draft = folder / f".{path.name}-{os.getpid()}"
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.write(json.dumps(saga_document(saga), indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def read_definitions(store: Path) -> dict[str, Saga]:
    """The definitions by their hash. Raises `DatasetRefused` for one that is damaged or was altered."""
    return {path.stem: read_definition(path) for path in definition_files(store)}


def definition_files(store: Path) -> list[Path]:
    """The documents of a dataset, by hash."""
    return sorted(path for path in (store / FOLDER).glob("*.json") if _HASH.fullmatch(path.stem))


def read_definition(path: Path) -> Saga:
    """One definition; refuses as `read_definitions`."""
    try:
        if path.stat().st_size > BYTES_MAX:
            raise ValueError(f"larger than {BYTES_MAX} bytes")
        saga = read_saga(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, RecursionError, SagaRefused) as problem:
        told = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise DatasetRefused(f"{path} is no definition ({told}); restore it or remove it") from None
    if saga.definition_hash != path.stem:
        raise DatasetRefused(
            f"{path} was altered: it has the hash {saga.definition_hash}; restore it or remove it"
        )
    return saga
