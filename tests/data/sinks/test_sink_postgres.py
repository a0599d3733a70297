"""The dataset in PostgreSQL: its tables, what it refuses, and what its messages keep to themselves."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from sagacity_data import AttemptRow, DatasetRefused, Row
from sagacity_data.sinks import PostgresSink, RowRefused

pytestmark = pytest.mark.slow
MakeRows = Callable[..., list[Row]]
SCHEMAS = itertools.count()


@dataclass
class Database:
    place: str
    connection: psycopg.Connection[Any]

    def sink(self) -> PostgresSink:
        return PostgresSink(self.place)

    def ask(self, query: Any) -> list[Any]:
        return self.connection.execute(query).fetchall()


@pytest.fixture
def database(postgres_folder: Path) -> Iterator[Database]:
    schema = f"sinks_{next(SCHEMAS)}"
    place = f"host={postgres_folder} user=postgres dbname=postgres options='-c search_path={schema}'"
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))
        yield Database(place, connection)
        connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(schema)))


def test_columns_have_proper_types(database: Database, make_rows: MakeRows) -> None:
    """Numbers, truth values and JSON are columns of those types, and can be asked for in SQL."""
    sink = database.sink()
    sink.write(make_rows())
    sink.close()
    asked = "SELECT pg_typeof(attempt), pg_typeof(ended_at), pg_typeof(fallback), pg_typeof(features) "
    assert database.ask(asked + "FROM sagacity_attempts LIMIT 1") == [
        ("bigint", "double precision", "boolean", "jsonb")
    ]
    sql = "SELECT context->>'season', (features->'rate')::float8 FROM sagacity_attempts WHERE attempt = 1"
    assert database.ask(sql) == [("höch", 0.25)]
    assert database.ask("SELECT cost, wasted_cost, parent FROM sagacity_runs") == [(12.5, None, "outer")]


def test_reading_is_by_launch_then_run_then_start(database: Database, make_rows: MakeRows) -> None:
    """Bounds are [since, until); without bounds rows without a launch come first."""
    sink = database.sink()
    for run_id, launch_at in (("r3", 200.0), ("r2", 100.0), ("r1", 100.0), ("r0", None)):
        sink.write(make_rows(run_id, launch_at=launch_at))
    assert [run.run_id for run in sink.read_runs()] == ["r0", "r1", "r2", "r3"]
    assert [run.run_id for run in sink.read_runs(100.0, 200.0)] == ["r1", "r2"]
    assert [(row.run_id, row.attempt) for row in sink.read_attempts(since=150.0)] == [("r3", 2), ("r3", 1)]
    assert sink.recorded() == {"r0", "r1", "r2", "r3"}
    sink.close()


def test_runs_and_tenants_are_forgotten(database: Database, make_rows: MakeRows) -> None:
    """Deleting counts the rows of both tables; a tenant's rows and the named runs go, others stay."""
    sink = database.sink()
    for run_id, tenant in (("r1", "t1"), ("r2", "t2"), ("r3", "t1"), ("r4", "")):
        sink.write(make_rows(run_id, tenant))
    assert sink.forget(run_ids=["r2"], tenant="t1") == 9
    assert {row.run_id for row in sink.read()} == {"r4"}
    assert sink.forget(run_ids=["r2"]) == 0
    sink.close()


def test_what_postgres_cannot_hold_is_replaced(
    database: Database, attempt_row: Callable[..., AttemptRow]
) -> None:
    """The character 0 and half characters, in texts, keys and values, become U+FFFD and a question mark."""
    sink = database.sink()
    sink.write([attempt_row(error_message="a\0b\ud800", context={"k\0": "v\0", "big": 1e22})])
    (row,) = sink.read_attempts()
    sink.close()
    assert (row.error_message, row.context) == ("a\ufffdb?", {"k\ufffd": "v\ufffd", "big": 1e22})
    assert isinstance(row.context["big"], float)


def test_a_row_that_fits_no_column_is_named(
    database: Database, attempt_row: Callable[..., AttemptRow]
) -> None:
    """A number beyond every column is the row's fault, and nothing of the write is kept."""
    sink = database.sink()
    odd = attempt_row(attempt=2**63)
    with pytest.raises(RowRefused) as refused:
        sink.write([attempt_row(), odd])
    assert refused.value.row is odd
    assert sink.read() == []
    sink.close()


@pytest.mark.parametrize(
    "theirs",
    [
        "CREATE TABLE sagacity_runs (run_id text, theirs text)",
        "CREATE TABLE sagacity_attempts (run_id uuid PRIMARY KEY)",
        "CREATE VIEW sagacity_runs AS SELECT 1 AS run_id",
    ],
)
def test_a_table_of_something_else_is_refused(database: Database, make_rows: MakeRows, theirs: str) -> None:
    """A table with our name and other columns is neither changed nor written."""
    database.connection.execute(theirs.encode())
    sink = database.sink()
    with pytest.raises(DatasetRefused, match="PostgreSQL"):
        sink.write(make_rows())
    sink.close()


def test_a_lost_connection_is_refused_once_and_made_again(database: Database, make_rows: MakeRows) -> None:
    """A server that ends the connection costs one refusal; the next write finds its way back."""
    sink = database.sink()
    sink.write(make_rows("r1"))
    database.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(DatasetRefused, match="look at the server"):
        sink.write(make_rows("r2"))
    sink.write(make_rows("r2"))
    assert sink.recorded() == {"r1", "r2"}
    sink.close()


@pytest.mark.parametrize(
    "conninfo",
    [
        "host={folder} port=1 user=ann password=hunter2 dbname=d",
        "postgresql://ann:hunter2@localhost:1/d?connect_timeout=2",
        "host={folder} user=nobody_here password=hunter2 dbname=not_there",
        "password=hunter2 hunter2",
        "postgresql://ann:hunter2@localhost:hunter2/d",
    ],
)
def test_no_password_is_in_any_message(postgres_folder: Path, make_rows: MakeRows, conninfo: str) -> None:
    """A server that is not there, a wrong user and an unreadable string are refused without the password."""
    with pytest.raises(DatasetRefused) as refused:
        PostgresSink(conninfo.format(folder=postgres_folder)).write(make_rows())
    told = str(refused.value)
    assert "hunter2" not in told
    assert "PostgreSQL" in told
    assert refused.value.__cause__ is None


def test_sinks_that_start_together_share_their_tables(database: Database, make_rows: MakeRows) -> None:
    """Several sinks that make the tables at once and write the same runs keep one row of each identity."""
    problems: list[Exception] = []

    def write(name: str) -> None:
        sink = database.sink()
        try:
            for number in range(10):
                rows = [replace(row, arm=name) for row in make_rows(f"r{number}")]
                sink.write(rows)
        except DatasetRefused as problem:
            problems.append(problem)
        finally:
            sink.close()

    threads = [threading.Thread(target=write, args=(f"arm-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    sink = database.sink()
    assert len(sink.read()) == 30
    sink.close()
