"""Which rows are asked for, as a value: told of a row, of an Arrow batch, and to Parquet as a filter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sagacity_data.rows import AttemptRow, RunRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which rows are asked for: all by default, else those to which everything that is given applies.

    `since` and `until` bound the launch, [since, until) in s since 1970 UTC; a row without a launch is read
    only when neither is given. `service` is asked of attempts alone; `run_ids` asks for any of several runs.
    """

    since: float | None = None
    until: float | None = None
    saga: str | None = None
    tenant: str | None = None
    service: str | None = None
    run_id: str | None = None
    run_ids: frozenset[str] | None = None

    def answers(self, row: AttemptRow | RunRow) -> bool:
        """Whether a row is asked for."""
        if not self._spans(row.launch_at) or not (self.run_ids is None or row.run_id in self.run_ids):
            return False
        if self.service is not None and isinstance(row, AttemptRow) and row.service != self.service:
            return False
        return all(
            wanted is None or getattr(row, name) == wanted
            for name, wanted in (("saga", self.saga), ("tenant", self.tenant), ("run_id", self.run_id))
        )

    def _spans(self, at: float | None) -> bool:
        if at is None:
            return self.since is None and self.until is None
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


EVERYTHING: Final = Where()


def matching(kind: type[Any], batch: Any, where: Where) -> Any:
    """One truth value per row of the batch: whether it answers. Never null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    mask = pa.array([True] * batch.num_rows)
    for name, compare, wanted in _asked(kind, where):
        mask = pc.call_function(
            "and", [mask, getattr(pc, compare)(batch.column(name), wanted).fill_null(False)]
        )
    if where.run_ids is not None:
        these = pc.SetLookupOptions(pa.array(sorted(where.run_ids), pa.string()))
        one_of = pc.call_function("is_in", [batch.column("run_id")], these)
        mask = pc.call_function("and", [mask, one_of])
    return mask


def _asked(kind: type[Any], where: Where) -> Iterator[tuple[str, str, Any]]:
    """The comparisons that make up what is asked: column, Arrow's name of the comparison, value."""
    if where.since is not None:
        yield "launch_at", "greater_equal", where.since
    if where.until is not None:
        yield "launch_at", "less", where.until
    for name in ("saga", "tenant", "run_id", *(("service",) if kind is AttemptRow else ())):
        if getattr(where, name) is not None:
            yield name, "equal", getattr(where, name)


def expression(kind: type[Any], where: Where) -> Any:
    """What Arrow compares with each row group's range of values, and then with each row."""
    import pyarrow.compute as pc

    whole = None
    if where.run_ids is not None:
        whole = pc.field("run_id").isin(sorted(where.run_ids))
    for name, compare, wanted in _asked(kind, where):
        one = getattr(pc, compare)(pc.field(name), pc.scalar(wanted))
        whole = one if whole is None else whole & one
    return whole
