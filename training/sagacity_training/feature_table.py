"""The launch features of very many attempts as columns, gathered piece by piece in bounded room.

A mapping of features per attempt takes some kilobytes, a row of columns four bytes a feature. Pieces come as
mappings, or as the JSON texts that a dataset stores, which Arrow reads without making objects of them. Where
Arrow cannot (a feature that is a number here and a text there, a date that it takes for an instant), the
piece is read as mappings. Numbers are kept in single precision: trees only compare them.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sagacity_models.feature_columns import (
    MISSING,
    UNNAMED,
    FeatureColumn,
    Features,
    columns_of,
    feature_column,
    finite,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAMES_MAX: Final = 10_000
"""The texts of one feature that are told apart; later ones are `UNNAMED`."""


class FeatureTable:
    """Rows of features that grow; `columns` gives them whole."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[int, FeatureColumn]]] = defaultdict(list)
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, rows: Sequence[Features]) -> None:
        """Rows given as mappings."""
        if rows:
            self._add({name: feature_column(values) for name, values in columns_of(rows).items()}, len(rows))

    def add_texts(self, texts: Any) -> None:
        """Rows given as an Arrow array of JSON objects. Raises `ValueError` for a text that is none."""
        columns = _parsed(texts)
        if columns is None:
            self.add([json.loads(text) for text in texts.to_pylist()])
        else:
            self._add(columns, len(texts))

    def columns(self) -> dict[str, FeatureColumn]:
        """Every feature of all rows; missing where a row did not have it."""
        return {name: _joined(self._parts[name], self._rows) for name in sorted(self._parts)}

    def _add(self, columns: dict[str, FeatureColumn], rows: int) -> None:
        for name, column in columns.items():
            self._parts[name].append((self._rows, _single(column)))
        self._rows += rows


def _single(column: FeatureColumn) -> FeatureColumn:
    import numpy as np

    if column.numbers is None:
        return column
    with np.errstate(over="ignore"):
        numbers = finite(column.numbers.astype(np.float32))
    return FeatureColumn(numbers, column.codes, column.names)


def _parsed(texts: Any) -> dict[str, FeatureColumn] | None:
    """The columns of JSON objects; None where Arrow does not read them as we would."""
    import pyarrow as pa
    from pyarrow import json as arrow_json

    lines = "\n".join(texts.to_pylist()).encode()
    try:
        table = arrow_json.read_json(
            io.BytesIO(lines),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != len(texts):
        return None
    columns = {name: _from_arrow(table.column(name)) for name in table.column_names}
    found = {name: column for name, column in columns.items() if column is not None}
    return found if len(found) == len(columns) else None


def _from_arrow(column: Any) -> FeatureColumn | None:
    """None for what is neither number, truth value nor text."""
    import numpy as np
    from pyarrow import types

    kind = column.type
    if types.is_string(kind):
        coded = column.combine_chunks().dictionary_encode()
        codes = coded.indices.fill_null(MISSING).to_numpy(zero_copy_only=False).astype(np.int32)
        return FeatureColumn(None, codes, tuple(coded.dictionary.to_pylist()))
    if types.is_null(kind):
        return FeatureColumn(np.full(len(column), np.nan))
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return FeatureColumn(finite(column.cast("float64", safe=False).to_numpy().copy()))
    return None


def _joined(parts: Sequence[tuple[int, FeatureColumn]], rows: int) -> FeatureColumn:
    import numpy as np

    numbers: NDArray[np.float32] | None = None
    codes: NDArray[np.int32] | None = None
    places: dict[str, int] = {}
    for start, part in parts:
        own = slice(start, start + len(part))
        if part.numbers is not None:
            numbers = np.full(rows, np.nan, np.float32) if numbers is None else numbers
            numbers[own] = part.numbers
        if part.codes is not None:
            codes = np.full(rows, MISSING, np.int32) if codes is None else codes
            # The last two places are those of the codes UNNAMED and MISSING.
            known = [*(_place(places, name) for name in part.names), UNNAMED, MISSING]
            codes[own] = np.array(known, np.int32)[part.codes]
    return FeatureColumn(numbers, codes, tuple(places))


def _place(places: dict[str, int], name: str) -> int:
    if name not in places and len(places) >= NAMES_MAX:
        return UNNAMED
    return places.setdefault(name, len(places))
