"""Moving rows from the buffer into the files of their days: when, and that no row is lost or read twice."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sagacity_data import DatasetRefused, DatasetStore, Row
from sagacity_data.sinks import Buffer, CompactionPolicy, DatasetSink, buffered_rows, compact
from sagacity_data.sinks.compaction import move, move_all

MakeRows = Callable[..., list[Row]]
DAY_S = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def places(folder: Path) -> tuple[int, int]:
    """Rows in the buffer, and Parquet files."""
    with closing(Buffer(folder)) as buffer:
        waiting = buffer.count()
    return waiting, len(list(folder.rglob("part-*.parquet")))


def test_rows_move_to_the_day_of_their_launch(tmp_path: Path, make_rows: MakeRows) -> None:
    """`compact` empties the buffer and puts each row under its UTC day; reading gives what it gave before."""
    with closing(DatasetSink(tmp_path, CompactionPolicy(rows=None, age_s=None))) as sink:
        sink.write([*make_rows("r1", launch_at=100.0), *make_rows("r2", launch_at=DAY_S + 1)])
    before = DatasetStore(tmp_path).read()
    assert compact(tmp_path) == 6
    assert buffered_rows(tmp_path) == []
    days = {path.parent.name for path in tmp_path.rglob("part-*.parquet")}
    assert days == {"day=1970-01-01", "day=1970-01-02"}
    assert DatasetStore(tmp_path).read() == before
    assert compact(tmp_path) == 0


def test_many_rows_are_due(tmp_path: Path, make_rows: MakeRows) -> None:
    """The write that brings the buffer to the policy's number of rows moves them; the next begin anew."""
    with closing(DatasetSink(tmp_path, CompactionPolicy(rows=6, age_s=None))) as sink:
        sink.write(make_rows("r1"))
        assert places(tmp_path) == (3, 0)
        sink.write(make_rows("r2"))
        assert places(tmp_path)[0] == 0
        sink.write(make_rows("r3"))
        assert places(tmp_path)[0] == 3
    assert len(DatasetStore(tmp_path).read()) == 9


def test_old_rows_are_due(tmp_path: Path, make_rows: MakeRows) -> None:
    """The first write after the oldest row's hour moves it, also when a former process wrote that row."""
    clock = Clock()
    with closing(DatasetSink(tmp_path, CompactionPolicy(rows=None, age_s=60.0), clock=clock)) as sink:
        sink.write(make_rows("r1"))
        clock.now += 59
        sink.write(make_rows("r2"))
        assert places(tmp_path)[0] == 6
    clock.now += 1
    with closing(DatasetSink(tmp_path, CompactionPolicy(rows=None, age_s=60.0), clock=clock)) as sink:
        sink.write(make_rows("r3"))
        assert places(tmp_path)[0] == 0


def test_a_failing_move_fails_no_write(
    tmp_path: Path, make_rows: MakeRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that cannot be moved stay in the buffer, the sink says why, and tries again after a while."""
    clock = Clock()

    def refuse(store: DatasetStore, rows: list[Row]) -> None:
        raise DatasetRefused("the disk is full")

    with closing(DatasetSink(tmp_path, CompactionPolicy(rows=1), clock=clock)) as sink:
        with monkeypatch.context() as patched:
            patched.setattr(DatasetStore, "append", refuse)
            sink.write(make_rows("r1"))
        assert sink.move_refusal == "the disk is full"
        sink.write(make_rows("r2"))
        assert places(tmp_path) == (6, 0)
        clock.now += 60
        sink.write(make_rows("r3"))
        assert sink.move_refusal == ""
        assert places(tmp_path)[0] == 0


def test_a_small_limit_moves_everything_in_turns(tmp_path: Path, make_rows: MakeRows) -> None:
    """Moving two rows at a time moves the oldest two; rows of one run may part for a moment."""
    with closing(Buffer(tmp_path / "d")) as buffer:
        store = DatasetStore(tmp_path / "d")
        store.create()
        buffer.write(make_rows("r1"))
        assert move(buffer, store, 2) == 2
        assert [type(row).__name__ for row in buffer.rows()] == ["RunRow"]
        assert move_all(buffer, store) == 1
        assert len(store.read()) == 3


class Killed(BaseException):
    """Stands for the end of the process."""


class Failpoints:
    """Ends the work before the n-th statement or file operation."""

    def __init__(self, last: int) -> None:
        self.last, self.passed = last, 0

    def __call__(self, *_: object) -> None:
        self.passed += 1
        if self.passed > self.last:
            raise Killed


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, last: int) -> Iterator[Failpoints]:
    """Every SQL statement, and every flush, rename and new folder, is a point to be killed at."""
    point = Failpoints(last)

    class Connection(sqlite3.Connection):
        def execute(self, *given: Any) -> Any:
            point()
            return super().execute(*given)

        def executemany(self, *given: Any) -> Any:
            point()
            return super().executemany(*given)

    connect = sqlite3.connect

    def connecting(*given: Any, **named: Any) -> sqlite3.Connection:
        return connect(*given, **named, factory=Connection)

    def pointed(original: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            point()
            return original(*given, **named)

        return called

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", connecting)
        patched.setattr("os.fsync", pointed(__import__("os").fsync))
        patched.setattr(Path, "replace", pointed(Path.replace))
        patched.setattr(Path, "mkdir", pointed(Path.mkdir))
        yield point


def test_killed_at_any_point_no_row_is_lost_or_read_twice(
    tmp_path: Path, make_rows: MakeRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever operation a move ends before, reading gives all rows once, then and after the next move."""
    rows = [*make_rows("r1"), *make_rows("r2", launch_at=DAY_S)]
    points = 0
    while True:
        folder = tmp_path / str(points)
        with closing(DatasetSink(folder, CompactionPolicy(rows=None, age_s=None))) as sink:
            sink.write(rows)
        whole = DatasetStore(folder).read()
        with failing(monkeypatch, points) as point:
            try:
                compact(folder)
                done = True
            except Killed:
                done = False
        assert DatasetStore(folder).read() == whole
        compact(folder)
        assert DatasetStore(folder).read() == whole
        assert buffered_rows(folder) == []
        if done:
            break
        points += 1
    assert point.passed == points
    assert points > 10


WRITER = """
import itertools, sys
from pathlib import Path
from sagacity_data.sinks import CompactionPolicy, DatasetSink
from sagacity_data.sinks.row_texts import read_row
folder, texts = sys.argv[1], Path(sys.argv[2]).read_text().splitlines()
sink = DatasetSink(folder, CompactionPolicy(rows=40))
for number in itertools.count(int(sys.argv[3])):
    rows = [read_row(*text.replace("run-name", f"r{number}").split(" ", 1)) for text in texts]
    sink.write(rows)
    print(number, flush=True)
"""


@pytest.mark.slow
def test_processes_killed_at_random_lose_nothing_they_acknowledged(
    tmp_path: Path, make_rows: MakeRows
) -> None:
    """After kills at random moments every run whose write had returned is there whole, once."""
    from sagacity_data.sinks.row_texts import TABLE_OF, row_text

    rows, draw = make_rows("run-name"), random.Random(7)
    texts = tmp_path / "texts"
    texts.write_text("\n".join(f"{TABLE_OF[type(row)]} {row_text(row, {})}" for row in rows))
    folder, next_number, acknowledged = tmp_path / "dataset", 0, set[str]()
    for _ in range(6):
        command = [sys.executable, "-c", WRITER, str(folder), str(texts), str(next_number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            time.sleep(draw.uniform(0.0, 0.4))
            process.send_signal(signal.SIGKILL)
            numbers = [first, *process.stdout]
        acknowledged |= {f"r{line.strip()}" for line in numbers if line.endswith("\n")}
        next_number = max(int(name[1:]) for name in acknowledged) + 2
        store = DatasetStore(folder)
        keys = [row.key for row in store.read()]
        assert len(keys) == len(set(keys))
        assert acknowledged <= {run.run_id for run in store.read_runs()}
        tries = [row.run_id for row in store.read_attempts()]
        assert all(tries.count(run_id) == 2 for run_id in acknowledged)
    assert len(acknowledged) > 12
