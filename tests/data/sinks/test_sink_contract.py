"""What every sink promises, asked of each of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from sagacity_data import AttemptRow, DatasetRefused, DatasetStore, Row
from sagacity_data.sinks import Buffer, CompactionPolicy, DatasetSink, MemorySink, PostgresSink, RowSink

MakeRows = Callable[..., list[Row]]
SCHEMAS = itertools.count()


class Bench(Protocol):
    """A place for rows, the sinks that write there, and what is read there."""

    def sink(self) -> RowSink: ...
    def broken(self) -> RowSink:
        """A sink whose place refuses."""
        ...

    def read(self) -> list[Row]: ...


def unordered(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (type(row).__name__, row.key))


class RowSinkContract:
    """Inherited by the tests of every implementation, each with a `bench` of its own."""

    def test_rows_come_back_equal(self, bench: Bench, make_rows: MakeRows) -> None:
        """What is read equals what was written: every column, its type, empty ones and odd texts."""
        rows = make_rows()
        sink = bench.sink()
        sink.write(rows)
        sink.close()
        assert unordered(bench.read()) == unordered(rows)
        told = {row.key: row for row in bench.read()}
        for row in rows:
            assert [type(value) for value in told[row.key].context.values()] == [
                type(row.context[key]) for key in told[row.key].context
            ]

    def test_writing_twice_keeps_the_first(self, bench: Bench, make_rows: MakeRows) -> None:
        """A row whose identity is there changes nothing, in the same write, a later one or another sink's."""
        first, second, run = make_rows()
        assert isinstance(first, AttemptRow)
        sink, other = bench.sink(), bench.sink()
        sink.write([first, replace(first, error_type="Later"), second])
        sink.write([replace(first, error_type="Later still"), run])
        other.write([replace(first, error_type="Elsewhere"), second, run])
        sink.close()
        other.close()
        assert unordered(bench.read()) == unordered([first, second, run])

    def test_rows_are_there_when_write_returns(self, bench: Bench, make_rows: MakeRows) -> None:
        """Another reader sees the rows before the sink is closed."""
        sink = bench.sink()
        sink.write(make_rows("r1"))
        assert len(bench.read()) == 3
        sink.write(make_rows("r2"))
        assert len(bench.read()) == 6
        sink.close()

    def test_nothing_is_nothing(self, bench: Bench) -> None:
        """Writing no rows is allowed and adds none."""
        sink = bench.sink()
        sink.write([])
        sink.close()
        assert bench.read() == []

    def test_a_closed_sink_closes_again_and_writes_again(self, bench: Bench, make_rows: MakeRows) -> None:
        """A second close does nothing, and a write after it opens the place again."""
        sink = bench.sink()
        sink.write(make_rows("r1"))
        sink.close()
        sink.close()
        sink.write(make_rows("r2"))
        sink.close()
        assert {row.run_id for row in bench.read()} == {"r1", "r2"}

    def test_what_refuses_is_refused_in_words(self, bench: Bench, make_rows: MakeRows) -> None:
        """A place that cannot be written raises `DatasetRefused`, and no row is half there."""
        sink = bench.broken()
        with pytest.raises(DatasetRefused):
            sink.write(make_rows())
        sink.close()
        assert bench.read() == []


class TestMemorySink(RowSinkContract):
    @pytest.fixture
    def bench(self) -> Bench:
        class InMemory:
            def __init__(self) -> None:
                self._sink = MemorySink()

            def sink(self) -> RowSink:
                return self._sink

            def broken(self) -> RowSink:
                self._sink.refusal = DatasetRefused("the memory is full; forget something")
                return self._sink

            def read(self) -> list[Row]:
                return self._sink.rows

        return InMemory()


class TestBuffer(RowSinkContract):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> Bench:
        class InBuffer:
            def sink(self) -> RowSink:
                return Buffer(tmp_path)

            def broken(self) -> RowSink:
                return Buffer(tmp_path / "is not there")

            def read(self) -> list[Row]:
                buffer = Buffer(tmp_path)
                try:
                    return buffer.rows()
                finally:
                    buffer.close()

        return InBuffer()


class InDataset:
    def __init__(self, folder: Path, policy: CompactionPolicy) -> None:
        self._folder, self._policy = folder / "dataset", policy
        self._file = folder / "file"

    def sink(self) -> RowSink:
        return DatasetSink(self._folder, self._policy)

    def broken(self) -> RowSink:
        self._file.write_text("no folder")
        return DatasetSink(self._file / "dataset", self._policy)

    def read(self) -> list[Row]:
        return DatasetStore(self._folder).read()


class TestDatasetSinkThatBuffers(RowSinkContract):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> Bench:
        return InDataset(tmp_path, CompactionPolicy(rows=None, age_s=None))


class TestDatasetSinkThatMovesAtOnce(RowSinkContract):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> Bench:
        return InDataset(tmp_path, CompactionPolicy(rows=1))


@pytest.mark.slow
class TestPostgresSink(RowSinkContract):
    @pytest.fixture
    def bench(self, postgres_folder: Path) -> Iterator[Bench]:
        schema = f"contract_{next(SCHEMAS)}"
        place = f"host={postgres_folder} user=postgres dbname=postgres"
        with psycopg.connect(place, autocommit=True) as server:
            server.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))

            class InPostgres:
                def sink(self) -> Any:
                    return PostgresSink(f"{place} options='-c search_path={schema}'")

                def broken(self) -> RowSink:
                    return PostgresSink(f"host={postgres_folder} port=1 user=postgres dbname=postgres")

                def read(self) -> list[Row]:
                    sink = self.sink()
                    try:
                        found: list[Row] = sink.read()
                        return found
                    finally:
                        sink.close()

            yield InPostgres()
            server.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(schema)))
