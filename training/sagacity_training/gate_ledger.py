"""The file of what gatings have spent, kept beside a registry and shared by all who train into it.

It is read, used and written under a lock, so that two trainings at once do not both take the first look.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from sagacity_training.errors import TrainingError
from sagacity_training.judging.ledger import Ledger

FILE: Final = "gate-ledger.json"
_BYTES_MAX: Final = 16 << 20
T = TypeVar("T")


class LedgerRefused(TrainingError):
    """The ledger beside a registry cannot be read or written; the message says what to do."""


def spend(registry: Path, model: str, look: Callable[[Ledger], tuple[T, Ledger]]) -> T:
    """What `look` says, given the ledger of `model`; the one it returns is kept. Raises `LedgerRefused`."""
    path = registry / FILE
    try:
        registry.mkdir(parents=True, exist_ok=True)
        with _locked(registry / f".{FILE}.lock"):
            known = _read(path)
            said, spent = look(_ledger(path, known.get(model, [])))
            if spent.as_json() != known.get(model, []):
                _write(path, {**known, model: spent.as_json()})
            return said
    except OSError as problem:
        raise LedgerRefused(
            f"{path} cannot be used ({problem.strerror}); choose another registry or make room"
        ) from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_BYTES_MAX + 1)
    except FileNotFoundError:
        return {}
    try:
        known = json.loads(content) if len(content) <= _BYTES_MAX else None
    except (ValueError, RecursionError):
        known = None
    if not isinstance(known, dict):
        _damaged(path)
    return known


def _ledger(path: Path, written: Any) -> Ledger:
    try:
        return Ledger.from_json(written)
    except ValueError:
        _damaged(path)


def _damaged(path: Path) -> NoReturn:
    raise LedgerRefused(
        f"{path} is damaged; restore it, or delete it to forgive what earlier gatings have spent"
    )


def _write(path: Path, ledgers: dict[str, Any]) -> None:
    scratch = path.with_name(f".{path.name}.new")
    with scratch.open("w", encoding="utf-8") as file:
        json.dump(ledgers, file, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
