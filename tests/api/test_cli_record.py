"""`sagacity record`: a journal's ended runs become rows, once, whatever is asked how often."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from sagacity_api.cli import main, record_command
from sagacity_data import DatasetStore
from sagacity_engine import (
    BoundSaga,
    Call,
    Engine,
    FailureClass,
    Kind,
    RetryPolicy,
    SqliteJournal,
    StepError,
    define,
)


def bound() -> BoundSaga:
    saga = define("trip")

    @saga.step(name="book", compensate=lambda _: None)
    def book(call: Call) -> str:
        return "booked"

    @saga.step(name="pay", after=["book"], kind=Kind.PIVOT, retry=RetryPolicy(maximum_attempts=1))
    def pay(call: Call) -> None:
        if call.input["poor"]:
            raise StepError("Declined", "insufficient funds", FailureClass.PERMANENT)

    return saga.bind()


def run_sagas(journal: Path, *poor: bool) -> None:
    async def live() -> None:
        async with Engine(SqliteJournal(journal), [bound()]) as engine:
            for each in poor:
                await engine.run("trip", {"poor": each})

    asyncio.run(live())


def test_ended_runs_become_rows_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every attempt, undo and run of the journal is told; a second time adds what is new, and no more."""
    journal, dataset = tmp_path / "runs.db", tmp_path / "dataset"
    run_sagas(journal, False, True)
    command = ["record", str(journal), "--into", str(dataset), "--json"]
    assert main.run(command) == 0
    first = json.loads(capsys.readouterr().out)
    rows = DatasetStore(dataset).read()
    assert (first["runs"], first["rows"], first["refused"]) == (2, len(rows), {})
    assert sorted(row.status.value for row in DatasetStore(dataset).read_runs()) == [
        "COMPENSATED",
        "COMPLETED",
    ]
    run_sagas(journal, False)
    assert main.run(command) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 3
    assert main.run(command) == 0
    assert json.loads(capsys.readouterr().out) == {**first, "runs": 0, "rows": 0}
    assert len(DatasetStore(dataset).read()) == len(rows) + 3


def test_following_goes_on_until_interrupted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --follow, runs that end later are told too, also those between the last look and the end."""
    journal, dataset = tmp_path / "runs.db", tmp_path / "dataset"
    run_sagas(journal, False)
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        run_sagas(journal, False)
        if len(waits) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(record_command, "sleep", pause)
    assert main.run(["record", str(journal), "--into", str(dataset), "--follow", "--every", "0.5"]) == 0
    assert waits == [0.5, 0.5]
    assert "9 rows of 3 runs" in capsys.readouterr().out
    assert len(DatasetStore(dataset).read_runs()) == 3


@pytest.mark.parametrize("name", ["none.db", "text.db"])
def test_what_is_no_journal_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A journal that is not there, or is none, ends with 2 in one line, and no dataset is begun."""
    (tmp_path / "text.db").write_text("no database, but long enough to be looked at " * 50, "utf-8")
    dataset = tmp_path / "dataset"
    assert main.run(["record", str(tmp_path / name), "--into", str(dataset)]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert name in told.err
    assert not dataset.exists()


def test_a_folder_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that holds no dataset is left alone, with one line."""
    journal, folder = tmp_path / "runs.db", tmp_path / "other"
    run_sagas(journal, False)
    folder.mkdir()
    (folder / "mine.txt").write_text("mine", "utf-8")
    assert main.run(["record", str(journal), "--into", str(folder)]) == 1
    assert "no dataset.json" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
