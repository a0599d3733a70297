"""Days with few rows that lie together under their month: what readers, deletion and validation see of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sagacity_data import AttemptRow, DatasetStore, store_days
from sagacity_data.erasure import erase
from sagacity_data.store_days import day_start, day_within, lies_under
from sagacity_data.store_where import Where
from sagacity_data.validation import validate
from sagacity_data.validation_findings import Check

Make = Callable[..., AttemptRow]
DAY = 86_400.0


def at(month: int, day: int) -> float:
    return datetime(2026, month, day, 12, tzinfo=UTC).timestamp()


def days_in(folder: Path) -> list[str]:
    return sorted(path.name.removeprefix("day=") for path in (folder / "attempts").iterdir())


def kept(folder: Path, rows: list[AttemptRow]) -> DatasetStore:
    store = DatasetStore(folder)
    with store.adding(by_month=True) as draft:
        draft.add(rows)
        draft.keep()
    return store


@pytest.fixture
def sparse(attempt_row: Make) -> list[AttemptRow]:
    """Two days of January, two of February, and a launch that nobody knows."""
    launches = [at(1, 3), at(1, 30), at(2, 1), at(2, 28), None]
    return [attempt_row(run_id=f"r{number}", launch_at=launch) for number, launch in enumerate(launches)]


def test_days_with_few_rows_lie_under_their_month(tmp_path: Path, sparse: list[AttemptRow]) -> None:
    """Each month has one file, what has no launch one of its own; all rows are read, by launch."""
    store = kept(tmp_path, sparse)
    assert days_in(tmp_path) == ["2026-01", "2026-02", "unknown"]
    assert len(list(tmp_path.rglob("*.parquet"))) == 3
    assert [row.run_id for row in store.read_attempts()] == ["r4", "r0", "r1", "r2", "r3"]


def test_a_day_with_many_rows_or_alone_keeps_files_of_its_own(
    tmp_path: Path, attempt_row: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third has as many rows as lie apart; of the rest of January there are two days, of February one."""
    monkeypatch.setattr(store_days, "APART_MIN", 3)
    days = [(1, 3), (1, 3), (1, 3), (1, 4), (1, 5), (2, 7)]
    rows = [attempt_row(run_id=f"r{n}", launch_at=at(*day)) for n, day in enumerate(days)]
    store = kept(tmp_path, rows)
    assert days_in(tmp_path) == ["2026-01", "2026-01-03", "2026-02-07"]
    assert len(store.read_attempts()) == 6


def test_others_write_by_day(tmp_path: Path, sparse: list[AttemptRow]) -> None:
    """Whoever does not ask for months, as recorders do not, writes a file for each day."""
    DatasetStore(tmp_path).append(sparse)
    assert days_in(tmp_path) == ["2026-01-03", "2026-01-30", "2026-02-01", "2026-02-28", "unknown"]


def test_a_month_is_opened_only_if_it_can_answer(tmp_path: Path, sparse: list[AttemptRow]) -> None:
    """Reading February does not miss January's file, and rows of other days in a file do not answer."""
    store = kept(tmp_path, sparse)
    (january,) = (tmp_path / "attempts" / "day=2026-01").iterdir()
    january.unlink()
    assert [row.run_id for row in store.read_attempts(at(2, 1), at(3, 1))] == ["r2", "r3"]
    assert [row.run_id for row in store.read_attempts(since=at(2, 2))] == ["r3"]


@pytest.mark.parametrize("month_first", [True, False])
def test_one_run_under_day_and_month_is_told_once(
    tmp_path: Path, sparse: list[AttemptRow], month_first: bool
) -> None:
    """Of rows alike the one written first is read, whether it lies under the day or the month."""
    store = DatasetStore(tmp_path)
    again = [replace(row, advice_id="again") for row in sparse]
    if month_first:
        kept(tmp_path, sparse)
        store.append(again)
    else:
        store.append(sparse)
        kept(tmp_path, again)
    assert {row.advice_id for row in store.read_attempts()} == {sparse[0].advice_id}
    told = [row for batch in store.scan(AttemptRow, ["run_id"]) for row in batch.column("run_id").to_pylist()]
    assert sorted(told) == ["r0", "r1", "r2", "r3", "r4"]
    assert len(list(store.scan_rows(AttemptRow))) == 5
    assert store.describe().attempts == 5


def test_deletion_takes_days_out_of_a_month(tmp_path: Path, sparse: list[AttemptRow]) -> None:
    """What is older than a day goes, and the rest of its month stays."""
    store = kept(tmp_path, sparse)
    done = erase(store, Where(until=at(1, 15)))
    assert (done.attempts, done.files_rewritten, done.files_removed) == (1, 1, 0)
    assert [row.run_id for row in store.read_attempts()] == ["r4", "r1", "r2", "r3"]
    assert days_in(tmp_path) == ["2026-01", "2026-02", "unknown"]


def test_validation_knows_months(tmp_path: Path, sparse: list[AttemptRow]) -> None:
    """Rows under their month lie where they belong; under another month they do not."""
    store = kept(tmp_path / "good", [row for row in sparse if row.launch_at is not None])
    found = validate(store, now=at(12, 1)).findings
    assert Check.DAY not in {each.check for each in found}
    assert lies_under(at(1, 3), "2026-01")
    assert not lies_under(at(1, 3), "2026-02")
    assert not lies_under(None, "2026-01")


@pytest.mark.parametrize(
    ("day", "last"), [("2026-01", "2026-01-31"), ("2024-02", "2024-02-29"), ("9999-12", "9999-12-31")]
)
def test_a_month_holds_its_days(day: str, last: str) -> None:
    """A month begins with its first day and ends with its last, leap years and the last year included."""
    assert day_start(day) == day_start(f"{day}-01")
    assert day_within(day, day_start(last) + DAY - 1, None)
    assert not day_within(day, day_start(last) + DAY, None)
    assert not day_within(day, None, day_start(day))
