"""`sagacity data` on small datasets: what it says, what it writes, and how it ends."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagacity_api.cli import main
from sagacity_data import AttemptOutcome, AttemptRow, DatasetStore, RunRow
from sagacity_engine import Direction, FailureClass, Kind, Status

Run = Callable[..., tuple[int, str, str]]
DAY = 86_400.0

ATTEMPT = AttemptRow(
    run_id="r1",
    saga="trip",
    definition_hash="",
    step="book",
    service="hotels",
    region="",
    kind=Kind.COMPENSATABLE,
    direction=Direction.FORWARD,
    attempt=1,
    position=0,
    steps_done=0,
    in_flight=0,
    scheduled_at=100.0,
    started_at=100.0,
    timeout_s=10.0,
    maximum_attempts=3,
    ended_at=101.5,
    outcome=AttemptOutcome.SUCCEEDED,
    error_type="",
    failure_class=None,
    launch_at=100.0,
    arm="author",
    propensity=1.0,
    fallback=False,
    advice_id="",
    model_version="",
    context={"season": "high, 'wet'", "party": 2},
    features={},
    tenant="acme",
)
RUN = RunRow(
    run_id="r1",
    saga="trip",
    definition_hash="",
    launch_at=100.0,
    ended_at=110.0,
    status=Status.COMPLETED,
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
    tenant="acme",
)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: object) -> tuple[int, str, str]:
        code = main.run([str(argument) for argument in ("data", *arguments)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Run r1 of acme completed; r2 of zeta, a day later, was compensated after a refusal."""
    folder = tmp_path / "dataset"
    later: dict[str, Any] = {"run_id": "r2", "tenant": "zeta", "launch_at": DAY}
    refused: dict[str, Any] = {
        "outcome": AttemptOutcome.FAILED,
        "error_type": "SoldOut",
        "failure_class": FailureClass.PERMANENT,
    }
    times: dict[str, Any] = {"scheduled_at": DAY, "started_at": DAY, "ended_at": DAY + 2}
    DatasetStore(folder).append(
        [
            ATTEMPT,
            RUN,
            replace(ATTEMPT, **later, **refused, **times),
            replace(RUN, **later, ended_at=DAY + 10, status=Status.COMPENSATED),
        ]
    )
    return folder


def document(run: Run, *arguments: object, code: int = 0) -> dict[str, Any]:
    ended, out, err = run(*arguments, "--json")
    assert (ended, err) == (code, "")
    told: dict[str, Any] = json.loads(out)
    return told


def test_a_dataset_is_described(run: Run, dataset: Path) -> None:
    """Runs, attempts, outcomes, sagas with their success, services, tenants and times."""
    told = document(run, "describe", dataset)
    assert told.pop("bytes") > 0
    assert told == {
        "dataset": str(dataset),
        "kind": "attempts",
        "schema_version": 2,
        "runs": 2,
        "attempts": 2,
        "outcomes": {"failed": 1, "succeeded": 1},
        "sagas": [{"saga": "trip", "runs": 2, "ended": 2, "completed": 1, "success_rate": 0.5}],
        "services": ["hotels"],
        "sources": ["engine"],
        "tenants": ["acme", "zeta"],
        "first_launch_at": 100.0,
        "last_launch_at": DAY,
        "last_ended_at": DAY + 10,
        "definitions": 0,
        "buffered": 0,
        "files": 4,
    }
    code, out, _ = run("describe", dataset)
    assert code == 0
    assert "2 runs, 2 attempts; 4 files" in out
    assert "launched 1970-01-01 00:01:40Z to 1970-01-02 00:00:00Z" in out
    assert out.splitlines()[-1].split() == ["trip", "2", "2", "1", "50.0%"]


def test_an_event_log_is_described_in_words(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dataset of the other kind is told for what it is, and refused where attempts are needed."""
    log = tmp_path / "log.xes"
    log.write_text(
        '<log><trace><string key="concept:name" value="c1"/>'
        '<event><string key="concept:name" value="ask"/>'
        '<date key="time:timestamp" value="1970-01-01T00:00:01Z"/></event>'
        '<event><string key="concept:name" value="grant"/>'
        '<date key="time:timestamp" value="1970-01-01T00:00:03Z"/></event></trace></log>',
        encoding="utf-8",
    )
    into = tmp_path / "cases"
    imported = main.run(["import", "xes", str(log), "--into", str(into), "--success-contains", "grant"])
    capsys.readouterr()
    assert imported == 0
    told = document(run, "describe", into)
    assert (told["kind"], told["cases"], told["events"], told["successes"]) == ("event_log", 1, 2, 1)
    assert (told["first_at"], told["last_at"]) == (1.0, 3.0)
    code, out, _ = run("describe", into)
    assert code == 0
    assert "an imported event log of 1 cases and 2 events" in out
    for verb in (["validate"], ["prune", "--run", "c1"], ["export", "--output", str(tmp_path / "x")]):
        code, out, err = run(verb[0], into, *verb[1:])
        assert (code, out) == (2, "")
        assert "kind 'event_log'" in err


@pytest.mark.parametrize(
    "verb", [["describe"], ["validate"], ["prune", "--run", "x"], ["export", "--output", "file.parquet"]]
)
def test_a_folder_without_a_dataset_is_refused(run: Run, tmp_path: Path, verb: list[str]) -> None:
    """A missing folder is bad input: one line, exit 2, and nothing is made."""
    code, out, err = run(verb[0], tmp_path / "none", *verb[1:])
    assert (code, out) == (2, "")
    assert err == (
        f"sagacity: {tmp_path / 'none'} holds no dataset; "
        "give the folder that a recorder or an import wrote to\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_dataset_fails(run: Run, dataset: Path, tmp_path: Path) -> None:
    """Whatever reads the damaged file ends with 1 and its name, and validate tells it in its document."""
    part = next((dataset / "attempts").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:50])
    for verb in (["describe"], ["export", "--output", str(tmp_path / "x")], ["prune", "--tenant", "acme"]):
        code, out, err = run(verb[0], dataset, *verb[1:])
        assert (code, out) == (1, "")
        assert part.name in err
        assert len(err.splitlines()) == 1
    told = document(run, "validate", dataset, code=1)
    assert [each["path"] for each in told["damaged"]] == [part.relative_to(dataset).as_posix()]


def test_a_sound_dataset_validates(run: Run, dataset: Path) -> None:
    """Nothing wrong ends with 0 and says so."""
    told = document(run, "validate", dataset)
    assert (told["sound"], told["runs"], told["attempts"], told["findings"]) == (True, 2, 2, [])
    code, out, _ = run("validate", dataset, "--sample", 1)
    assert code == 0
    assert out.splitlines()[-1].startswith(f"{dataset}: sound; 2 runs and 2 attempts in 4 files")


def test_findings_end_with_3(run: Run, dataset: Path) -> None:
    """What lies later than the time that is given as now is told by run, step and file."""
    told = document(run, "validate", dataset, "--now", "1970-01-02T00:00:01Z", code=3)
    assert told["counts"] == {"later_than_now": 2}
    (of_run, of_attempt) = told["findings"]
    assert (of_run["run_id"], of_run["step"]) == ("r2", "")
    assert (of_attempt["run_id"], of_attempt["step"], of_attempt["attempt"]) == ("r2", "book", 1)
    assert of_attempt["path"].startswith("attempts/day=1970-01-02/part-")
    code, out, _ = run("validate", dataset, "--now", "86401")
    assert code == 3
    assert "later_than_now: run r2 book forward attempt 1 in attempts/day=1970-01-02/" in out


@pytest.mark.parametrize("text", ["yesterday", "nan", "2026-13-01", "inf"])
def test_a_time_that_is_none_is_refused(run: Run, dataset: Path, text: str) -> None:
    """A text that names no time is bad input, and the message says how to give one."""
    code, _, err = run("validate", dataset, "--now", text)
    assert code == 2
    assert f"--now {text!r} is no time; give a date such as 2026-01-31" in err


def test_rows_are_exported_as_json_lines(run: Run, dataset: Path, tmp_path: Path) -> None:
    """One object a row, mappings as objects, missing values as null."""
    into = tmp_path / "rows.jsonl"
    told = document(run, "export", dataset, "--format", "jsonl", "--output", into)
    assert told == {
        "path": str(into),
        "rows": 2,
        "bytes": into.stat().st_size,
        "format": "jsonl",
        "table": "attempts",
    }
    first, second = (json.loads(line) for line in into.read_text("utf-8").splitlines())
    assert first["context"] == {"season": "high, 'wet'", "party": 2}
    assert (first["run_id"], first["failure_class"], first["started_at"]) == ("r1", None, 100.0)
    assert (second["run_id"], second["failure_class"], second["error_type"]) == ("r2", "permanent", "SoldOut")


def test_rows_are_exported_as_csv(run: Run, dataset: Path, tmp_path: Path) -> None:
    """A table that any reader of CSV reads: texts quoted, mappings as JSON text, missing values empty."""
    into = tmp_path / "runs.csv"
    code, out, _ = run("export", dataset, "--format", "csv", "--table", "runs", "--output", into)
    assert (code, out) == (0, f"{into}: 2 runs, {into.stat().st_size} bytes of csv\n")
    with into.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run_id"], row["status"], row["cost"]) for row in rows] == [
        ("r1", "COMPLETED", ""),
        ("r2", "COMPENSATED", ""),
    ]
    assert rows[0]["context"] == "{}"


def test_rows_are_exported_as_parquet(run: Run, dataset: Path, tmp_path: Path) -> None:
    """The columns are the dataset's own, and rows are chosen by saga, tenant and launch."""
    import pyarrow.parquet as pq

    into = tmp_path / "rows.parquet"
    for options, runs in (
        (["--tenant", "zeta"], ["r2"]),
        (["--until", "1970-01-02"], ["r1"]),
        (["--since", "1970-01-02"], ["r2"]),
        (["--saga", "loan"], []),
        ([], ["r1", "r2"]),
    ):
        code, _, _ = run("export", dataset, "--output", into, "--force", *options)
        assert code == 0
        assert pq.read_table(into)["run_id"].to_pylist() == runs
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "rows.parquet"]


def test_a_file_that_is_there_stays(run: Run, dataset: Path, tmp_path: Path) -> None:
    """Without --force an existing file is refused, and a folder always."""
    into = tmp_path / "rows.csv"
    into.write_text("mine", "utf-8")
    assert run("export", dataset, "--output", into)[0] == 2
    assert run("export", dataset, "--output", tmp_path, "--force")[0] == 2
    assert into.read_text("utf-8") == "mine"


@pytest.mark.parametrize("options", [["--format", "xml"], ["--table", "cases"]])
def test_an_unknown_format_or_table_is_refused(
    run: Run, dataset: Path, tmp_path: Path, options: list[str]
) -> None:
    """The message lists what there is."""
    code, _, err = run("export", dataset, "--output", tmp_path / "x", *options)
    assert code == 2
    assert f"{options[0]} is {options[1]!r}; give one of" in err


def test_an_export_that_fails_leaves_nothing(run: Run, dataset: Path, tmp_path: Path) -> None:
    """A folder that is not there ends with 1."""
    code, _, err = run("export", dataset, "--output", tmp_path / "none" / "x")
    assert code == 1
    assert "cannot write" in err


def test_a_tenant_is_pruned(run: Run, dataset: Path) -> None:
    """A dry run tells what goes and leaves it; then it goes; then there is nothing to delete."""
    told = document(run, "prune", dataset, "--tenant", "acme", "--dry-run")
    assert (told["dry_run"], told["runs"], told["attempts"]) == (True, 1, 1)
    assert len(DatasetStore(dataset).read()) == 4
    code, out, _ = run("prune", dataset, "--tenant", "acme")
    assert code == 0
    assert out.startswith(f"{dataset}: deleted 1 rows of runs and 1 of attempts, and 0 rows in no file yet\n")
    assert {row.tenant for row in DatasetStore(dataset).read()} == {"zeta"}
    assert run("prune", dataset, "--tenant", "acme")[1] == (
        f"{dataset}: holds no such run; nothing to delete\n"
    )


def test_runs_are_pruned_by_time_and_by_name(run: Run, dataset: Path) -> None:
    """Everything that is given has to apply."""
    assert document(run, "prune", dataset, "--before", "1970-01-02", "--run", "r2")["runs"] == 0
    assert document(run, "prune", dataset, "--before", "1970-01-02")["runs"] == 1
    assert document(run, "prune", dataset, "--run", "r2")["runs"] == 1
    assert DatasetStore(dataset).read() == []


def test_pruning_everything_is_refused(run: Run, dataset: Path) -> None:
    """Without a criterion nothing goes."""
    code, _, err = run("prune", dataset)
    assert (code, err) == (
        2,
        "sagacity: nothing says what to delete; give --before, --tenant or --run\n",
    )
    assert len(DatasetStore(dataset).read()) == 4


def test_foreign_names_do_not_reach_the_terminal(run: Run, tmp_path: Path) -> None:
    """A name with control characters is shown without them."""
    DatasetStore(tmp_path).append([replace(ATTEMPT, run_id="a\x1b[31m", saga="b\x07", attempt=0)])
    for verb in ("describe", "validate"):
        assert not {"\x1b", "\x07"} & set(run(verb, tmp_path)[1])
