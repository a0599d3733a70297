"""Features of many attempts become the same columns however they come."""

import json

import pyarrow as pa
import pytest

from sagacity_models.feature_columns import UNNAMED, FeatureColumn, Features
from sagacity_training import feature_table
from sagacity_training.feature_table import FeatureTable

ROWS: list[Features] = [
    {"load": 1.5, "region": "north", "first": True},
    {"load": None, "region": "south", "first": False, "streak": 3},
    {"load": 2, "streak": 4.0},
    {},
]


def values(column: FeatureColumn) -> list[str | None]:
    """The column as texts, so that numbers, texts and what is missing can be compared."""
    codes, names = column.as_levels()
    return [names[code] if code >= 0 else None for code in codes.tolist()]


def told(table: FeatureTable) -> dict[str, list[str | None]]:
    """Every column of the table as texts."""
    return {name: values(column) for name, column in table.columns().items()}


def texts(rows: list[Features]) -> pa.Array:
    """The rows as a dataset stores them."""
    return pa.array([json.dumps(dict(row)) for row in rows], pa.string())


def test_mappings_and_stored_texts_give_the_same_columns() -> None:
    """Numbers, texts, truth values and gaps come out alike from mappings and from JSON."""
    mapped, stored = FeatureTable(), FeatureTable()
    mapped.add(ROWS)
    stored.add_texts(texts(ROWS))
    assert told(mapped) == told(stored)
    assert told(mapped)["load"] == ["1.5", None, "2.0", None]
    assert told(mapped)["first"] == ["1.0", "0.0", None, None]
    assert told(mapped)["region"] == ["north", "south", None, None]


def test_pieces_join_in_order() -> None:
    """Rows added in pieces are the rows added at once; a feature of one piece is missing in the others."""
    whole, pieces = FeatureTable(), FeatureTable()
    whole.add([*ROWS, *ROWS[::-1]])
    pieces.add(ROWS[:1])
    pieces.add_texts(texts(ROWS[1:]))
    pieces.add_texts(texts(ROWS[::-1]))
    assert len(pieces) == 2 * len(ROWS)
    assert told(whole) == told(pieces)


@pytest.mark.parametrize(
    "rows",
    [
        [{"a": 1.0}, {"a": "x"}],
        [{"day": "2026-01-02"}, {"day": "2026-01-03 10:00:00"}],
        [{"a": float("inf")}, {"a": 2.0}],
        [{"note": "two\nlines"}, {"note": "\u2028"}],
    ],
)
def test_what_arrow_reads_otherwise_is_read_as_mappings(rows: list[Features]) -> None:
    """Mixed types, texts that look like dates, infinities and odd texts come out as from mappings."""
    mapped, stored = FeatureTable(), FeatureTable()
    mapped.add(rows)
    stored.add_texts(texts(rows))
    assert told(mapped) == told(stored)


def test_texts_without_end_take_no_room_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the most names a text is no level, and not missing either."""
    monkeypatch.setattr(feature_table, "NAMES_MAX", 2)
    table = FeatureTable()
    table.add([{"user": name} for name in "abc"])
    column = table.columns()["user"]
    assert column.names == ("a", "b")
    assert column.codes is not None
    assert column.codes.tolist() == [0, 1, UNNAMED]
