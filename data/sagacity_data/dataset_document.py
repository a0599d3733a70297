"""docs/DATASET.md, made from the code that it describes: columns, outcomes, features, layout.

    python -m sagacity_data.dataset_document > docs/DATASET.md

Meanings of columns are their metadata, meanings of an enumeration's values the comments beside them, and the
layout is the store's own theory: there is no second place in which any of it could be told otherwise.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from enum import StrEnum
from typing import Any, Final, get_args, get_origin, get_type_hints

from sagacity_data import erasure, redaction, store
from sagacity_data.failure_kinds import FailureKind, LabelSource
from sagacity_data.feature_catalogue import ATTEMPT_FEATURES, FEATURES, Feature
from sagacity_data.rows import SCHEMA_VERSION, AttemptOutcome, AttemptRow, Known, RunRow
from sagacity_data.validation_findings import Check
from sagacity_engine import Direction, FailureClass, Kind, Status

COMMAND: Final = "python -m sagacity_data.dataset_document > docs/DATASET.md"


def document() -> str:
    """The whole document, as text that ends in a line break."""
    return "\n".join([*_head(), *_tables(), *_words(), *_features(), *_layout()]) + "\n"


def _head() -> Iterator[str]:
    yield from (*_HEAD.format(command=COMMAND, version=SCHEMA_VERSION).splitlines(), "")
    yield from (*_table(("known", "means"), _members(Known)), "", *_VERSION.splitlines())


_HEAD: Final = """\
# The execution dataset

<!-- Made from the code: {command} -->

Schema version {version}. One row per attempt, forward or undo, and one per run: of runs of our own engine,
and of imported histories of other engines. A value that a history does not tell is missing, never guessed: a
missing time gives order at best, never a duration. Times are seconds since 1970 in UTC. A `?` after a type
marks a column that may be missing.

*Known* says from when on a value is known, and so who may use it:"""

_VERSION: Final = """\
The version is raised whenever a column is added, dropped or changes its meaning. A program reads datasets of
its own version and refuses others in words."""


def _tables() -> Iterator[str]:
    for title, kind in (("Attempts", AttemptRow), ("Runs", RunRow)):
        yield from ("", f"## {title}", "", _flat(inspect.getdoc(kind)), "")
        yield from _table(("column", "type", "unit", "known", "meaning"), _columns(kind))


def _columns(kind: type[Any]) -> Iterator[Sequence[str]]:
    hints = get_type_hints(kind)
    for field in fields(kind):
        told = field.metadata
        yield (f"`{field.name}`", _type_name(hints[field.name]), told["unit"], told["known"], told["meaning"])


def _type_name(hint: Any) -> str:
    """A column's type in words; `?` marks one whose value may be missing."""
    if get_origin(hint) is types.UnionType:
        (inner,) = (option for option in get_args(hint) if option is not types.NoneType)
        return f"{_type_name(inner)}?"
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return f"one of `{hint.__name__}`"
    return _PLAIN_NAMES.get(hint, "mapping, as JSON text")


_PLAIN_NAMES: Final = {str: "text", int: "whole number", float: "number", bool: "truth value"}


def _words() -> Iterator[str]:
    for title, kind in (
        ("Kinds of step (`Kind`)", Kind),
        ("Directions (`Direction`)", Direction),
        ("Outcomes of attempts (`AttemptOutcome`)", AttemptOutcome),
        ("Statuses of runs (`Status`)", Status),
        ("Classes of failure (`FailureClass`)", FailureClass),
        ("Kinds of failure (`FailureKind`)", FailureKind),
        ("Who says so (`LabelSource`)", LabelSource),
    ):
        yield from ("", f"## {title}", "", _flat(inspect.getdoc(kind)), "")
        yield from _table(("value", "means"), _members(kind))


def _features() -> Iterator[str]:
    yield from _FEATURES.splitlines()
    for listed in (FEATURES, ATTEMPT_FEATURES):
        yield ""
        yield from _table(("feature", "type", "unit", "known", "meaning"), map(_feature, listed))


_FEATURES: Final = """\

## Features

The column `features` holds what was known of the step at the launch, computed from what had happened strictly
before it by the one fold that serves live as well; `context.KEY` is what the caller said. The features of
the second table are known only when an attempt starts: they are computed when needed and never stored."""


def _feature(feature: Feature) -> Sequence[str]:
    kind = "text" if feature.text else "number"
    return (f"`{feature.name}`", kind, feature.unit, feature.known.value, feature.meaning)


def _layout() -> Iterator[str]:
    for title, theory, more in (
        ("On disk", store, ""),
        ("Deletion and retention", erasure, _PRUNING),
        ("What never gets here", redaction, ""),
    ):
        yield from ("", f"## {title}", "", *(inspect.getdoc(theory) or "").splitlines())
        yield from more.splitlines()
    yield from (*_VALIDATION.splitlines(), "", *_table(("check", "means"), _members(Check)))


_PRUNING: Final = """\

`sagacity data prune` deletes what is older than a date, one tenant or one run. How often that happened is
kept in `erased.json`, of whom is not. Copies that you made, and backups, are yours to delete from."""

_VALIDATION: Final = """\

## Validation

`sagacity data validate` reads every file against its checksum, holds every row to the rules below, and
replays stored features from the history before each launch. A replay needs the history as the recorder knew
it: where rows were erased, only what needs no history is compared; and histories that are imported into a
dataset after runs were recorded into it make those runs' features look wrong, so import first."""


def _members(kind: type[StrEnum]) -> Iterator[Sequence[str]]:
    """Each value of an enumeration with the comment beside it."""
    told = dict(_MEMBER.findall(inspect.getsource(kind)))
    for member in kind:
        yield (f"`{member.value}`", told[member.name])


_MEMBER: Final = re.compile(r"^ +(\w+) = \"[^\"]+\"  # (.+)$", re.MULTILINE)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _flat(text: str | None) -> str:
    """A docstring's first paragraphs up to its examples, as one line."""
    return " ".join((text or "").partition(">>>")[0].split())


if __name__ == "__main__":
    sys.stdout.write(document())
