from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagacity_data import AttemptOutcome, AttemptRow, DatasetRefused, DatasetStore, RunRow, row_tables
from sagacity_data.row_tables import rows_of, table_of
from sagacity_data.sinks import Buffer
from sagacity_data.store_where import Where
from sagacity_engine import Direction, Status

Make = Callable[..., AttemptRow]
DAY = 86_400.0


def run_row(run_id: str, status: Status = Status.COMPLETED, **changes: Any) -> RunRow:
    row = RunRow(
        run_id=run_id,
        saga="trip",
        definition_hash="0" * 64,
        launch_at=100.0,
        ended_at=110.0,
        status=status,
        reason="",
        arm="author",
        propensity=1.0,
        fallback=False,
        advice_id="",
        model_version="",
        cost=None,
        wasted_cost=None,
        latency_s=10.0,
        context={},
    )
    return replace(row, **changes)


def parts_of(folder: Path, day: str) -> Path:
    (part,) = (folder / "attempts" / f"day={day}").glob("*.parquet")
    return part


def test_other_days_are_not_touched(tmp_path: Path, attempt_row: Make) -> None:
    """A damaged file of another day is no hindrance, because it is not opened; asked for, it is refused."""
    store = DatasetStore(tmp_path)
    store.append(attempt_row(run_id=f"r{n}", launch_at=n * DAY) for n in range(3))
    parts_of(tmp_path, "1970-01-02").write_bytes(b"damaged")
    assert [row.run_id for row in store.read_attempts(until=DAY)] == ["r0"]
    assert [row.run_id for row in store.read_attempts(since=2 * DAY)] == ["r2"]
    with pytest.raises(DatasetRefused, match="1970-01-02"):
        store.read_attempts()


def damage_column(part: Path, group: int, name: str) -> None:
    """Overwrites the end of one column's pages in one row group."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(part) as file:
        place = file.schema_arrow.get_field_index(name)
        chunk = file.metadata.row_group(group).column(place)
        end = chunk.data_page_offset + chunk.total_compressed_size
        if chunk.has_dictionary_page:
            end = chunk.dictionary_page_offset + chunk.total_compressed_size
    content = bytearray(part.read_bytes())
    content[end - 3 : end] = bytes(byte ^ 0xFF for byte in content[end - 3 : end])
    part.write_bytes(bytes(content))


def test_row_groups_that_cannot_answer_are_passed_over(
    tmp_path: Path, attempt_row: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of a saga or tenant lie together, so that damage to other rows of the same file is not met."""
    monkeypatch.setattr(row_tables, "ROWS_PER_GROUP", 50)
    store = DatasetStore(tmp_path)
    store.append(
        attempt_row(run_id=f"{saga}{n}", saga=saga, tenant=f"of {saga}", error_message=f"{saga} {n}")
        for n in range(50)
        for saga in ("a", "b")
    )
    damage_column(parts_of(tmp_path, "1970-01-01"), group=1, name="error_message")
    assert len(store.read_attempts(saga="a")) == 50
    assert len(store.read_attempts(tenant="of a")) == 50
    with pytest.raises(DatasetRefused):
        store.read_attempts(saga="b")


def test_columns_that_nobody_asked_for_are_not_read(tmp_path: Path, attempt_row: Make) -> None:
    """History without features does not meet damaged features; the whole rows do."""
    store = DatasetStore(tmp_path)
    store.append(attempt_row(run_id=f"r{n}", features={"x": n / 7}) for n in range(50))
    damage_column(parts_of(tmp_path, "1970-01-01"), group=0, name="features")
    assert len(store.read_history()) == 50
    batches = list(store.scan(AttemptRow, ["step", "ended_at"]))
    assert [batch.schema.names for batch in batches] == [["step", "ended_at"]]
    with pytest.raises(DatasetRefused, match="damaged"):
        store.read_attempts()


@pytest.mark.parametrize(
    ("asked", "runs"),
    [
        ({"saga": "trip"}, ["r1", "r2", "r3"]),
        ({"saga": "loan"}, ["r4"]),
        ({"tenant": "acme"}, ["r2", "r3"]),
        ({"service": "bank"}, ["r3"]),
        ({"run_id": "r1"}, ["r1"]),
        ({"tenant": "acme", "service": "hotels", "until": DAY}, ["r2"]),
        ({"saga": "none"}, []),
    ],
)
def test_rows_are_chosen(tmp_path: Path, attempt_row: Make, asked: dict[str, Any], runs: list[str]) -> None:
    """Everything that is given has to apply; reading and scanning choose alike."""
    store = DatasetStore(tmp_path)
    store.append(
        [
            attempt_row(run_id="r1"),
            attempt_row(run_id="r2", tenant="acme"),
            attempt_row(run_id="r3", tenant="acme", service="bank", launch_at=DAY),
            attempt_row(run_id="r4", saga="loan"),
        ]
    )
    assert [row.run_id for row in store.read_attempts(**asked)] == runs
    scanned = store.scan_rows(AttemptRow, Where(**asked))
    assert sorted(row.run_id for row in scanned) == runs
    assert [row.run_id for row in store.read_attempts() if Where(**asked).answers(row)] == runs


def test_a_scan_tells_the_first_of_each_identity(
    tmp_path: Path, attempt_row: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over batches, files and row groups, an identity is told once a day, as it was written first."""
    monkeypatch.setattr(row_tables, "ROWS_PER_GROUP", 3)
    store = DatasetStore(tmp_path)
    for advice in ("first", "second"):
        store.append(
            attempt_row(run_id=f"r{run}", step=step, attempt=attempt, direction=direction, advice_id=advice)
            for run in range(5)
            for step in ("a", "b")
            for attempt in (1, 2)
            for direction in Direction
        )
    told = list(store.scan_rows(AttemptRow))
    assert len(told) == 5 * 2 * 2 * len(Direction)
    assert {row.advice_id for row in told} == {"first"}
    assert {row.key for row in told} == {row.key for row in store.read_attempts()}


def test_a_run_under_two_days_is_told_by_each(tmp_path: Path, attempt_row: Make) -> None:
    """Reading keeps the first of all days; a scan, which is bounded by a day, keeps one for each."""
    store = DatasetStore(tmp_path)
    store.append([attempt_row(launch_at=DAY, advice_id="late day")])
    store.append([attempt_row(launch_at=0.0, advice_id="early day")])
    assert [row.advice_id for row in store.read_attempts()] == ["early day"]
    assert [row.advice_id for row in store.scan_rows(AttemptRow)] == ["early day", "late day"]


def test_buffered_rows_are_read(tmp_path: Path, attempt_row: Make) -> None:
    """Rows that have reached no file yet are read, scanned and counted once, moved meanwhile or not."""
    store = DatasetStore(tmp_path)
    moved, waiting = attempt_row(run_id="moved"), attempt_row(run_id="waiting", features={"x": 1.0})
    store.append([moved])
    buffer = Buffer(tmp_path)
    buffer.write([moved, waiting, run_row("waiting")])
    buffer.close()
    assert store.read_attempts() == [moved, waiting]
    assert store.read_runs() == [run_row("waiting")]
    assert [row.run_id for row in store.scan_rows(AttemptRow)] == ["moved", "waiting"]
    assert store.read_attempts(run_id="waiting") == [waiting]
    assert [row.features for row in store.read_history() if isinstance(row, AttemptRow)] == [{}, {}]
    told = store.describe()
    assert (told.attempts, told.runs, told.buffered, told.files) == (2, 1, 3, 1)


def test_sagas_are_described_with_their_success(tmp_path: Path, attempt_row: Make) -> None:
    """Of each saga: runs, ended and completed ones; one that only attempts tell of has no rate."""
    store = DatasetStore(tmp_path)
    store.append(
        [
            run_row("r1"),
            run_row("r2", Status.COMPENSATED, tenant="acme"),
            run_row("r3", Status.RUNNING, ended_at=None),
            run_row("r4", Status.RUNNING, saga="loan", source="temporal", ended_at=None),
            attempt_row(outcome=AttemptOutcome.FAILED),
            attempt_row(run_id="r9", saga="visa", ended_at=200.0),
        ]
    )
    told = store.describe()
    assert [(each.saga, each.runs, each.ended, each.completed) for each in told.per_saga] == [
        ("loan", 1, 0, 0),
        ("trip", 3, 2, 1),
        ("visa", 0, 0, 0),
    ]
    assert [each.success_rate for each in told.per_saga] == [None, 0.5, None]
    assert told.sources == ("engine", "temporal")
    assert told.tenants == ("", "acme")
    assert told.outcomes == (("failed", 1), ("succeeded", 1))
    assert told.last_ended_at == 200.0


def test_a_damaged_part_cannot_be_described(tmp_path: Path, attempt_row: Make) -> None:
    """Counting refuses a damaged file by its name, and leaves nothing in the scratch folder."""
    store = DatasetStore(tmp_path / "data")
    store.append([attempt_row()])
    (part,) = (tmp_path / "data").rglob("*.parquet")
    part.write_bytes(part.read_bytes()[:100])
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(DatasetRefused, match=part.name):
        store.describe(scratch)
    assert list(scratch.iterdir()) == []


def test_a_folder_with_a_pattern_for_a_name_is_read(tmp_path: Path, attempt_row: Make) -> None:
    """Nothing in a path is taken for a wildcard."""
    store = DatasetStore(tmp_path / "data[1]*?")
    store.append([attempt_row()])
    assert len(store.read_attempts()) == 1
    assert store.describe().attempts == 1


def test_texts_and_numbers_that_no_file_can_hold(tmp_path: Path, attempt_row: Make) -> None:
    """Half a surrogate becomes U+FFFD; a number too large for its column is missing."""
    store = DatasetStore(tmp_path)
    store.append([attempt_row(error_type="a\ud800b", input_bytes=2**64, timeout_s=10**400)])
    (back,) = store.read_attempts()
    assert (back.error_type, back.input_bytes, back.timeout_s) == ("a\ufffd\ufffd\ufffdb", None, None)


def test_rows_of_a_run_share_their_context(attempt_row: Make) -> None:
    """A text that many rows have is decoded once: their contexts are one object, not equal copies."""
    rows = [attempt_row(run_id=f"r{n}", context={"season": "high"}) for n in range(3)]
    back = rows_of(AttemptRow, table_of(AttemptRow, rows))
    assert back == rows
    assert back[0].context is back[2].context
