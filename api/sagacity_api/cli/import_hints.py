"""What the user says of a history beyond its files: options, a mapping file that says the same, and rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagacity_api.cli.document_file import read_document
from sagacity_api.cli.errors import BadInput

if TYPE_CHECKING:
    from sagacity_data.importers import Hints
    from sagacity_data.taxonomy import Taxonomy

MAPPINGS = ("undoes", "services", "columns")
KEYS = (*MAPPINGS, "tenant")
ENTRIES_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The options as they were given."""

    undo: Sequence[str] = ()
    service: Sequence[str] = ()
    column: Sequence[str] = ()
    failed_when: Sequence[str] = ()
    completed_when: Sequence[str] = ()
    tenant: str | None = None
    mapping: Path | None = None
    taxonomy: Path | None = None
    unused: tuple[str, ...] = field(default=())  # Keys of a mapping file that the format has no use for.

    @property
    def options(self) -> list[str]:
        """The options that were given, by name."""
        names = ("undo", "service", "column", "tenant", "mapping", "taxonomy")
        return [f"--{name}" for name in names if getattr(self, name)]


def hints_of(said: Said) -> Hints:
    """The options over what the mapping file says; raises `BadInput`."""
    from sagacity_data.importers import Hints

    told = _mapping_file(said.mapping, said.unused) if said.mapping is not None else {}
    return Hints(
        undoes={**told.get("undoes", {}), **_pairs("--undo", "UNDO=STEP", said.undo)},
        services={**told.get("services", {}), **_pairs("--service", "STEP=SERVICE", said.service)},
        columns={**told.get("columns", {}), **_pairs("--column", "FIELD=COLUMN", said.column)},
        tenant=told.get("tenant", "") if said.tenant is None else said.tenant,
        failed_when=_cells("--failed-when", said.failed_when),
        completed_when=_cells("--completed-when", said.completed_when),
    )


def taxonomy_of(said: Said) -> Taxonomy:
    """The user's rules before ours; raises `BadInput` for a file that holds anything else."""
    from sagacity_data.errors import TaxonomyRefused
    from sagacity_data.taxonomy import default_taxonomy, users_taxonomy

    path = said.taxonomy
    if path is None:
        return default_taxonomy()
    if not path.is_file():
        raise BadInput(f"{path}: is no file; give --taxonomy a JSON or YAML file with rules")
    try:
        return users_taxonomy(read_document(str(path)))
    except TaxonomyRefused as refusal:
        raise BadInput(f"{path}: {refusal}") from None


def _cells(option: str, given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Columns with a value that one of their cells may have; a column may be given with several."""
    cells = []
    for text in given:
        column, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and column and value):
            raise BadInput(
                f"{option} {text!r} is not COLUMN=VALUE; write for example {option} Status=Declined"
            )
        cells.append((column, value))
    return tuple(cells)


def _pairs(option: str, form: str, given: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in given:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and key and value):
            raise BadInput(f"{option} {text!r} is not {form}; write for example {option} {form}")
        if pairs.setdefault(key, value) != value:
            raise BadInput(f"{option} gives {key!r} twice; keep one of them")
    return pairs


def _mapping_file(path: Path, unused: tuple[str, ...]) -> dict[str, Any]:
    if not path.is_file():
        raise BadInput(f"{path}: is no file; give --mapping a small JSON or YAML file")
    told = read_document(str(path))
    if not isinstance(told, dict):
        raise BadInput(f"{path}: holds no mapping; its keys are {', '.join(KEYS)}")
    for key, value in told.items():
        if key not in KEYS or key in unused:
            known = ", ".join(each for each in KEYS if each not in unused)
            raise BadInput(f"{path}: has the key {str(key)[:60]!r}, which is not used here; use {known}")
        if key in MAPPINGS:
            _require_texts(path, key, value)
        elif not isinstance(value, str):
            raise BadInput(f"{path}: the tenant is no text; put it in quotes")
    return told


def _require_texts(path: Path, key: str, value: object) -> None:
    if not isinstance(value, Mapping) or len(value) > ENTRIES_MAX:
        raise BadInput(f"{path}: {key!r} is no mapping of at most {ENTRIES_MAX:,} entries; write name: name")
    for name, other in value.items():
        if not (isinstance(name, str) and isinstance(other, str) and name and other):
            raise BadInput(f"{path}: {key!r} maps {str(name)[:60]!r} to what is no name; put it in quotes")
