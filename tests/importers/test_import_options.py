"""`sagacity import --taxonomy`, and the values of a table that say how its cases ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sagacity_api.cli import main
from sagacity_data import FailureKind, LabelSource, label
from sagacity_data.store import DatasetStore
from sagacity_data.taxonomy import users_taxonomy
from sagacity_engine import FailureClass, Status

Run = Callable[..., tuple[int, str, str]]

RULES = {"rules": [{"kind": "overload", "on": "text", "match": "^halt"}, {"kind": "unknown", "match": "odd"}]}
TASKS = [("PAY-17", "halted by PAY-17: not found"), ("PAY-17", "odd: not found"), ("X", "not found")]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> tuple[int, str, str]:
        code = main.run([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


def failing(number: int, words: str) -> dict[str, object]:
    task = {"taskType": "SIMPLE", "referenceTaskName": "pay", "status": "FAILED", "startTime": 1_000_000}
    return {
        "workflowId": f"w{number}",
        "workflowName": "order",
        "status": "FAILED",
        "startTime": 1_000_000,
        "tasks": [{**task, "endTime": 2_000_000, "reasonForIncompletion": words}],
    }


def test_rules_of_the_user_decide_before_ours(run: Run, tmp_path: Path) -> None:
    """A rule gives its kind with the user's trust; `unknown` keeps ours from deciding; else ours decide."""
    (tmp_path / "own.json").write_text(json.dumps(RULES), "utf-8")
    runs = [failing(number, words) for number, (_, words) in enumerate(TASKS)]
    (tmp_path / "h.json").write_text(json.dumps(runs), "utf-8")
    code, _, err = run("import", "conductor", "h.json", "--into", "set", "--taxonomy", "own.json")
    assert (code, err) == (0, "")
    rows = DatasetStore(tmp_path / "set").read_attempts()
    assert [(row.failure_kind, row.kind_source, row.failure_class) for row in rows] == [
        (FailureKind.OVERLOAD, LabelSource.USER, FailureClass.CASCADING),
        (FailureKind.UNKNOWN, LabelSource.TAXONOMY, FailureClass.UNKNOWN),
        (FailureKind.BUSINESS, LabelSource.TAXONOMY, FailureClass.PERMANENT),
    ]
    labels = [(told.kind, told.source) for told in label(rows)]
    assert labels == [
        (FailureKind.OVERLOAD, LabelSource.USER),
        (FailureKind.UNKNOWN, LabelSource.HINDSIGHT),
        (FailureKind.BUSINESS, LabelSource.TAXONOMY),
    ]


def test_rules_may_be_yaml(run: Run, tmp_path: Path) -> None:
    """A file that is not called JSON is read as YAML, like every document."""
    (tmp_path / "own.yaml").write_text("rules:\n- {kind: slow, match: not found}\n", "utf-8")
    (tmp_path / "h.json").write_text(json.dumps([failing(1, "not found")]), "utf-8")
    assert run("import", "conductor", "h.json", "--into", "set", "--taxonomy", "own.yaml")[0] == 0
    (row,) = DatasetStore(tmp_path / "set").read_attempts()
    assert (row.failure_kind, row.kind_source) == (FailureKind.SLOW, LabelSource.USER)


def test_a_users_rule_is_told_from_ours() -> None:
    """`told` says whose rule it was; what no rule knows is nobody's, and slow where it timed out."""
    taxonomy = users_taxonomy({"rules": [{"kind": "transient", "on": "type", "match": "^SoldOut$"}]})
    assert taxonomy.told("SoldOut", "") == (FailureKind.TRANSIENT, LabelSource.USER)
    assert taxonomy.told("Http404", "") == (FailureKind.BUSINESS, LabelSource.TAXONOMY)
    assert taxonomy.told("", "", timed_out=True) == (FailureKind.SLOW, LabelSource.TAXONOMY)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("none.json", None, "none.json: is no file; give --taxonomy"),
        (
            "bad.json",
            '{"rules": [{"kind": "slow", "match": "x"}, {"kind": "odd", "match": "x"}]}',
            "rule 2: kind 'odd'",
        ),
        ("bad.json", '{"rules": [{"kind": "slow", "match": "("}]}', "rule 1: '(' is no pattern"),
        ("bad.json", '["rules"]', 'a taxonomy is {"rules"'),
        ("bad.json", '{"rules": ', "bad.json"),
    ],
)
def test_bad_rules_exit_2_and_write_nothing(
    run: Run, tmp_path: Path, name: str, text: str | None, expected: str
) -> None:
    """A file that cannot be used is told in one line with its name, the rule and what is allowed."""
    if text is not None:
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "h.json").write_text(json.dumps([failing(1, "x")]), "utf-8")
    code, out, err = run("import", "conductor", "h.json", "--into", "set", "--taxonomy", name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert expected in err
    assert name in err
    assert not (tmp_path / "set").exists()


TABLE = """case,activity,timestamp,Status,Code
c1,ask,2024-01-01T10:00:00Z,,
c1,decide,2024-01-01T11:00:00Z,Declined,1
c2,ask,2024-01-02T10:00:00Z,Declined,
c2,decide,2024-01-02T11:00:00Z,Paid,2
c3,ask,2024-01-03T10:00:00Z,,
c4,decide,2024-01-04T11:00:00Z, Lost ,
c4,ask,2024-01-04T10:00:00Z,Paid,
c5,ask,,Lost,
c5,decide,,Paid,
"""
FAILED, COMPLETED, RUNNING = Status.NEEDS_ATTENTION, Status.COMPLETED, Status.RUNNING


@pytest.mark.parametrize(
    ("options", "statuses"),
    [
        ([], [COMPLETED] * 5),
        (["--failed-when", "Status=Declined"], [FAILED, FAILED, COMPLETED, COMPLETED, COMPLETED]),
        (["--completed-when", "Status=Paid"], [FAILED, COMPLETED, FAILED, COMPLETED, COMPLETED]),
        (
            [
                "--failed-when",
                "Status=Declined",
                "--failed-when",
                "status=Lost",
                "--completed-when",
                "Status=Paid",
            ],
            [FAILED, COMPLETED, RUNNING, FAILED, COMPLETED],
        ),
        (["--failed-when", "activity=decide"], [FAILED, FAILED, COMPLETED, FAILED, FAILED]),
        (
            ["--failed-when", "Code=1", "--completed-when", "Status=Declined"],
            [FAILED, COMPLETED, *[RUNNING] * 3],
        ),
    ],
)
def test_rows_tell_how_their_case_ended(
    run: Run, tmp_path: Path, options: list[str], statuses: list[Status]
) -> None:
    """The last row that tells counts, by time, else by place; a case without one is what was not named."""
    (tmp_path / "t.csv").write_text(TABLE, "utf-8")
    assert run("import", "csv", "t.csv", "--into", "set", *options)[0] == 0
    runs = sorted(DatasetStore(tmp_path / "set").read_runs(), key=lambda row: row.run_id)
    assert [row.status for row in runs] == statuses
    for row in runs:
        assert (row.ended_at is None) is (row.status is RUNNING or row.run_id.startswith("c5"))


def test_the_reason_is_what_the_user_named(run: Run, tmp_path: Path) -> None:
    """A failed case says by which value; a value that no row has is noted."""
    (tmp_path / "t.csv").write_text(TABLE, "utf-8")
    options = ["--failed-when", "Code=1", "--failed-when", "Code=7"]
    code, _, err = run("import", "csv", "t.csv", "--into", "set", *options)
    assert code == 0
    assert "note: 1 value in no row that counts: Code=7" in err
    reasons = sorted(row.reason for row in DatasetStore(tmp_path / "set").read_runs())
    assert reasons == ["", "", "", "", "failed: Code=1"]


def test_work_under_way_is_no_end(run: Run, tmp_path: Path) -> None:
    """A case in which work was started and not ended is open, whatever its rows say."""
    rows = "case,activity,timestamp,lifecycle,Status\nc1,pay,2024-01-01T10:00:00Z,start,Paid\n"
    (tmp_path / "t.csv").write_text(rows, "utf-8")
    assert run("import", "csv", "t.csv", "--into", "set", "--completed-when", "Status=Paid")[0] == 0
    (row,) = DatasetStore(tmp_path / "set").read_runs()
    assert row.status is RUNNING


@pytest.mark.parametrize(
    ("option", "code", "expected"),
    [("Status", 2, "--failed-when 'Status' is not COLUMN=VALUE"), ("Stat=x", 1, "has no column 'Stat'")],
)
def test_what_cannot_tell_is_refused(run: Run, tmp_path: Path, option: str, code: int, expected: str) -> None:
    """An option of another form is a usage error; a column that a table lacks refuses the table."""
    (tmp_path / "t.csv").write_text(TABLE, "utf-8")
    ended, out, err = run("import", "csv", "t.csv", "--into", "set", "--failed-when", option)
    assert (ended, out) == (code, "")
    assert expected in err
    assert not (tmp_path / "set").exists()
