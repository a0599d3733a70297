"""An imported event log on disk, opened for reading: a folder that is either whole or not there.

    dataset.json              kind "event_log", schema version, outcome rule, sources with sha256, counts
    cases.parquet             one row a case: when it started and ended, and what became of it
    events/part-NNNNN.parquet one row an event: cases one after the other, events in the order of their file

The outcome of a case is decided at import and stored, so everything that needs no events (the split by time,
counts) is answered by the small table. Cases come back one at a time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sagacity_data.case_tables import (
    CASE_COLUMNS,
    EVENT_COLUMNS,
    CaseSummary,
    attributes_of,
    event_of,
    rows_of,
    summary_of,
)
from sagacity_data.errors import DatasetRefused
from sagacity_data.event_log import Case, CaseEvent
from sagacity_data.outcomes import OutcomeRule, rule_from_json

KIND: Final = "event_log"
SCHEMA_VERSION: Final = 1
DESCRIPTION_FILE, CASES_FILE, EVENTS_FOLDER = "dataset.json", "cases.parquet", "events"


@dataclass(frozen=True, slots=True)
class EventLogDataset:
    """A whole dataset, opened. `description` is the content of dataset.json."""

    path: Path
    description: Mapping[str, Any]
    rule: OutcomeRule

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> EventLogDataset:
        """The dataset in the folder `path`. Raises `DatasetRefused` if it holds none that fits."""
        folder = Path(path)
        description = description_of(folder)
        if description is None:
            raise DatasetRefused(f"{folder} holds no dataset; import a log into it first")
        if description.get("kind") != KIND:
            raise DatasetRefused(
                f"{folder} holds a dataset of kind {description.get('kind')!r}, not {KIND!r}"
            )
        if description.get("schema_version") != SCHEMA_VERSION:
            found = description.get("schema_version")
            raise DatasetRefused(
                f"{folder} has schema version {found!r}, not {SCHEMA_VERSION}; import it again"
            )
        return cls(folder, description, rule_from_json(description.get("rule", {})))

    def summaries(self) -> list[CaseSummary]:
        """All cases by number. Raises `DatasetRefused` if the table is damaged."""
        return [summary_of(row) for row in rows_of(self.path / CASES_FILE, CASE_COLUMNS)]

    def cases(self, numbers: Container[int]) -> Iterator[tuple[int, Case]]:
        """The cases with these numbers, ascending, each with all its events in file order; one at a time.

        Raises `DatasetRefused` while iterating if a table is damaged or the two tables disagree.
        """
        events = self._events_by_case(numbers)
        for number, case_id, attributes in rows_of(self.path / CASES_FILE, _HEADS):
            if number not in numbers:
                continue
            found, held = next(events, (None, []))
            if found != number:
                raise DatasetRefused(
                    f"{self.path} lacks the events of case {case_id!r}; import the log again"
                )
            yield number, Case(case_id, tuple(held), attributes_of(attributes))

    def _events_by_case(self, numbers: Container[int]) -> Iterator[tuple[int, list[CaseEvent]]]:
        number, events = -1, list[CaseEvent]()
        for part in sorted((self.path / EVENTS_FOLDER).glob("part-*.parquet")):
            for row in rows_of(part, EVENT_COLUMNS):
                if row[0] != number:
                    if events:
                        yield number, events
                    number, events = row[0], []
                if number in numbers:
                    events.append(event_of(row))
        if events:
            yield number, events


def description_of(folder: Path) -> dict[str, Any] | None:
    """The content of a folder's dataset.json, None where there is none. Raises `DatasetRefused`."""
    path = folder / DESCRIPTION_FILE
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        read = None
    if not isinstance(read, dict):
        raise DatasetRefused(f"{path} cannot be read; remove the folder and import again")
    return read


_HEADS: Final = {name: CASE_COLUMNS[name] for name in ("case", "case_id", "attributes")}
