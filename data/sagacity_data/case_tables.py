"""The tables of an imported event log: which columns they have, and how cases become rows and rows cases.

Instants are whole microseconds since 1970 in UTC. Attributes are one JSON object a row, null where there are
none. A case is known by its number: a case id names a case only within its source, and not always there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sagacity_data.errors import DatasetRefused
from sagacity_data.event_log import NO_ATTRIBUTES, AttributeValue, Case, CaseEvent
from sagacity_data.outcomes import Outcome

CASE_COLUMNS: Final = {
    "case": "int64",
    "case_id": "string",
    "source": "int32",
    "events": "int64",
    "start_us": "int64",
    "end_us": "int64",
    "success": "bool",
    "first_outcome_us": "int64",
    "last_outcome_us": "int64",
    "attributes": "string",
}
EVENT_COLUMNS: Final = {
    "case": "int64",
    "at_us": "int64",
    "activity": "string",
    "lifecycle": "string",
    "resource": "string",
    "attributes": "string",
}
_BATCH_ROWS: Final = 20_000


@dataclass(frozen=True, slots=True)
class CaseSummary:
    """What a dataset says of a case without its events. `outcome` is None where the rule gives none."""

    number: int
    case_id: str
    source: int
    events: int
    start_us: int
    end_us: int
    outcome: Outcome | None


def case_row(number: int, source: int, case: Case, outcome: Outcome | None) -> tuple[Any, ...]:
    """The row of `case` in the order of `CASE_COLUMNS`."""
    told = (None, None, None) if outcome is None else (outcome.success, outcome.first_us, outcome.last_us)
    span = (len(case.events), case.start_us, case.end_us)
    return (number, case.case_id, source, *span, *told, _written(case.attributes))


def event_row(number: int, event: CaseEvent) -> tuple[Any, ...]:
    """The row of an event of case `number` in the order of `EVENT_COLUMNS`."""
    what = (event.activity, event.lifecycle, event.resource)
    return (number, event.at_us, *what, _written(event.attributes))


def summary_of(row: tuple[Any, ...]) -> CaseSummary:
    """The summary that a row of the table of cases holds."""
    number, case_id, source, events, start_us, end_us, success, first_us, last_us, _attributes = row
    outcome = None if success is None else Outcome(success, first_us, last_us)
    return CaseSummary(number, case_id, source, events, start_us, end_us, outcome)


def event_of(row: tuple[Any, ...]) -> CaseEvent:
    """The event that a row of the table of events holds."""
    _number, at_us, activity, lifecycle, resource, attributes = row
    return CaseEvent(activity, at_us, lifecycle, resource, attributes_of(attributes))


def attributes_of(written: str | None) -> Mapping[str, AttributeValue]:
    """The attributes that a row holds as JSON."""
    if written is None:
        return NO_ATTRIBUTES
    read: dict[str, AttributeValue] = json.loads(written)
    return read


def table_of(rows: list[tuple[Any, ...]], columns: Mapping[str, str]) -> Any:
    """An Arrow table of `rows`."""
    import pyarrow as pa

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])
    by_column = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    return pa.table(
        [pa.array(values, field.type) for values, field in zip(by_column, schema, strict=True)], schema=schema
    )


def rows_of(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[Any, ...]]:
    """The rows of a Parquet file, in order, a batch at a time. Raises `DatasetRefused` if it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(_BATCH_ROWS, columns=list(columns)):
                held = batch.to_pydict()
                yield from zip(*(held[name] for name in columns), strict=True)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DatasetRefused(
            f"{path} cannot be read ({type(error).__name__}); import the log again"
        ) from None


def _written(attributes: Mapping[str, AttributeValue]) -> str | None:
    return json.dumps(dict(attributes), ensure_ascii=False, sort_keys=True) if attributes else None
