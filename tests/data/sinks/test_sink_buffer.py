"""The SQLite buffer: whose file it is, what survives, and what is forgotten for good."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagacity_data import AttemptRow, DatasetRefused, Row
from sagacity_data.sinks import Buffer, RowRefused, buffered_rows, forget_buffered
from sagacity_data.sinks.row_texts import read_row, row_text

MakeRows = Callable[..., list[Row]]


def test_a_commit_is_flushed_before_write_returns(tmp_path: Path, make_rows: MakeRows) -> None:
    """The file is in WAL mode with synchronous=FULL (2), and overwrites what is deleted."""
    with closing(Buffer(tmp_path)) as buffer:
        buffer.write(make_rows())
        with buffer.changing() as connection:
            told = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS]
    assert told == ["wal", 2, 1]


PRAGMAS = ("journal_mode", "synchronous", "secure_delete")


def test_a_folder_without_a_buffer_has_no_rows(tmp_path: Path) -> None:
    """Reading and forgetting where there is no buffer makes none."""
    assert buffered_rows(tmp_path) == []
    assert forget_buffered(tmp_path, run_ids=["r1"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_rows_come_in_the_order_they_were_written(tmp_path: Path, make_rows: MakeRows) -> None:
    """The oldest come first, whatever their keys."""
    with closing(Buffer(tmp_path)) as buffer:
        buffer.write(make_rows("r2"))
        buffer.write(make_rows("r1"))
        assert [row.run_id for row in buffer.rows()] == ["r2"] * 3 + ["r1"] * 3
        assert buffer.count() == 6
        assert buffer.ended_runs() == {"r1", "r2"}


def test_a_foreign_file_is_refused_and_left_as_it_was(tmp_path: Path, make_rows: MakeRows) -> None:
    """A database of somebody else is named, and not one byte of it changes."""
    path = tmp_path / "buffer.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE rows (theirs TEXT)")
        theirs.commit()
    before = path.read_bytes()
    with (
        closing(Buffer(tmp_path)) as buffer,
        pytest.raises(DatasetRefused, match=r"buffer\.db is no buffer of a dataset"),
    ):
        buffer.write(make_rows())
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "damage", [b"not a database at all, not by far" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_damaged_file_is_refused_in_words(tmp_path: Path, damage: bytes) -> None:
    """What SQLite says of it is passed on with the file and the way out."""
    (tmp_path / "buffer.db").write_bytes(damage)
    with pytest.raises(DatasetRefused, match=r"buffer\.db: .*; .*(restore|free)"):
        buffered_rows(tmp_path)


def test_another_schema_version_is_refused(tmp_path: Path, make_rows: MakeRows) -> None:
    """Rows of a version that this program does not know are not misread."""
    with closing(Buffer(tmp_path)) as buffer:
        buffer.write(make_rows())
    with closing(sqlite3.connect(tmp_path / "buffer.db")) as file:
        file.execute("PRAGMA user_version = 99")
    with pytest.raises(DatasetRefused, match="schema version 99"):
        buffered_rows(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        "3",
        "null",
        '["r1"]',
        "[" + "3," * 39 + "3]",
        "[" + "null," * 39 + "null]",
        "[" * 5000,
    ],
)
def test_a_text_that_is_no_row_is_refused(tmp_path: Path, make_rows: MakeRows, text: str) -> None:
    """A row that was altered is refused with the file's name, never misread and never a traceback."""
    with closing(Buffer(tmp_path)) as buffer:
        buffer.write(make_rows())
        with buffer.changing() as connection:
            connection.execute("UPDATE rows SET text = ?", (text,))
    with pytest.raises(DatasetRefused, match=r"buffer\.db: .*restore the file"):
        buffered_rows(tmp_path)


def test_a_failing_write_keeps_nothing(tmp_path: Path, make_rows: MakeRows) -> None:
    """A row that no JSON can say is named, and the others of the same write are not kept either."""
    first, *others = make_rows()
    assert isinstance(first, AttemptRow)
    odd = replace(first, features={"rate": math.nan})
    with closing(Buffer(tmp_path)) as buffer:
        with pytest.raises(RowRefused, match="a row of run 'r1' cannot be written") as refused:
            buffer.write([*others, odd])
        assert refused.value.row is odd
        assert buffer.rows() == []


def test_writers_that_begin_together_take_turns(tmp_path: Path, make_rows: MakeRows) -> None:
    """Threads with a sink each, all of which make the same buffer at once, lose none of their rows."""
    for number in range(20):
        folder, ready = tmp_path / str(number), threading.Barrier(4)
        folder.mkdir()

        def write(name: str, folder: Path = folder, ready: threading.Barrier = ready) -> None:
            with closing(Buffer(folder)) as buffer:
                ready.wait()
                buffer.write(make_rows(f"{name}1"))
                buffer.write(make_rows(f"{name}2"))

        threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(buffered_rows(folder)) == 4 * 2 * 3


def test_forgotten_rows_leave_no_bytes(tmp_path: Path, make_rows: MakeRows) -> None:
    """A run and a tenant that are forgotten are found in no file of the folder any more; the others stay."""
    with closing(Buffer(tmp_path)) as buffer:
        for run_id, tenant in (("run-secret", "t1"), ("r2", "tenant-secret"), ("r3", "t1")):
            buffer.write(make_rows(run_id, tenant))
    assert forget_buffered(tmp_path, run_ids=["run-secret"], tenant="tenant-secret") == 6
    assert [row.run_id for row in buffered_rows(tmp_path)] == ["r3"] * 3
    for path in tmp_path.iterdir():
        assert b"secret" not in path.read_bytes()


SCALARS = st.one_of(
    st.text(max_size=5), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # a fixture without a state
@given(
    context=st.dictionaries(st.text(max_size=5), SCALARS, max_size=4),
    message=st.text(max_size=20),
    started_at=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    position=st.none() | st.integers(0, 9),
)
def test_any_row_is_read_as_it_was(
    attempt_row: Callable[..., AttemptRow],
    context: dict[str, str | float | bool],
    message: str,
    started_at: float | None,
    position: int | None,
) -> None:
    """A row's text gives back an equal row, its scalars of the same type."""
    row = attempt_row(context=context, error_message=message, started_at=started_at, position=position)
    again = read_row("attempts", row_text(row, {}))
    assert again == row
    assert [type(value) for value in again.context.values()] == [type(value) for value in context.values()]
