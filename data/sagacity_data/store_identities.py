"""The first row of each identity, told from those that come after it.

An identity is remembered as one number of eight bytes, made from a number for its run and one for its place
in the run, so that as many of them fit into memory as a day has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

from sagacity_data.row_tables import ROWS_PER_GROUP, table_of
from sagacity_data.rows import AttemptRow, RunRow

R = TypeVar("R", AttemptRow, RunRow)

KEYS: Final[dict[type, tuple[str, ...]]] = {
    AttemptRow: ("run_id", "step", "direction", "attempt"),
    RunRow: ("run_id",),
}


class Firsts:
    """Tells the first row of each identity from those that come after it."""

    def __init__(self, keys: Sequence[str]) -> None:
        import numpy as np

        self._keys = keys
        self._runs: dict[str | None, int] = {}
        self._places: dict[tuple[Any, ...], int] = {}
        self._seen = np.empty(0, np.int64)

    def of(self, batch: Any) -> Any:
        """The rows of the batch whose identity neither came before nor stands further up in it."""
        import numpy as np
        import pyarrow as pa

        codes = self._codes(batch)
        new, places = np.unique(codes, return_index=True)
        if len(self._seen):
            at = np.minimum(np.searchsorted(self._seen, new), len(self._seen) - 1)
            fresh = self._seen[at] != new
            new, places = new[fresh], places[fresh]
        self._seen = np.sort(np.concatenate((self._seen, new)), kind="stable")
        return batch if len(places) == len(codes) else batch.take(pa.array(np.sort(places)))

    def _codes(self, batch: Any) -> Any:
        """One number per row: its run's in the upper half, and in the lower that of its place in the run."""
        import numpy as np

        run = _numbered(batch.column("run_id"), self._runs)
        if len(self._keys) == 1:
            return run
        rest = [batch.column(name).dictionary_encode() for name in self._keys[1:]]
        places, which = np.unique(
            np.stack([each.indices.fill_null(-1).to_numpy(zero_copy_only=False) for each in rest]),
            axis=1,
            return_inverse=True,
        )
        words = [[*each.dictionary.to_pylist(), None] for each in rest]
        known = [
            self._places.setdefault(
                tuple(told[at] for told, at in zip(words, place, strict=True)), len(self._places)
            )
            for place in places.T.tolist()
        ]
        return (run << 32) | np.array(known, np.int64)[which.reshape(-1)]


class Late:
    """Rows that wait in a sink's buffer: those of them that no part turns out to have come last."""

    def __init__(self, kind: type[R], rows: Sequence[R]) -> None:
        self._kind: type[Any] = kind
        self._rows: dict[Any, Any] = {}
        for row in rows:
            self._rows.setdefault(row.key, row)
        self._runs = sorted({row.run_id for row in rows})

    def meet(self, batch: Any) -> None:
        """Takes out the rows that the batch has."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self._rows:
            return
        ours = pc.SetLookupOptions(pa.array(self._runs, pa.string()))
        same = batch.filter(pc.call_function("is_in", [batch.column("run_id")], ours))
        for key in zip(*(same.column(name).to_pylist() for name in KEYS[self._kind]), strict=True):
            self._rows.pop(key, None)

    def left(self) -> Iterator[Any]:
        """The others, in the order of writing."""
        if self._rows:
            yield from table_of(self._kind, list(self._rows.values())).to_batches(ROWS_PER_GROUP)


def _numbered(column: Any, known: dict[str | None, int]) -> Any:
    import numpy as np

    encoded = column.dictionary_encode()
    words = [*encoded.dictionary.to_pylist(), None]
    numbers = np.array([known.setdefault(word, len(known)) for word in words], np.int64)
    return numbers[encoded.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)]
