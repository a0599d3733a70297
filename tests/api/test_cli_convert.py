"""`sagacity convert`: what it prints, where it writes, and how it ends."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagacity_api.cli import main
from sagacity_api.cli.convert_command import yaml_of
from sagacity_api.cli.yaml_text import read_yaml
from sagacity_api.exit_codes import ExitCode
from sagacity_engine import Kind, read_saga

Ended = tuple[int, str, str]
Run = Callable[..., Ended]

RETRIED: dict[str, Any] = {"retryCount": 2, "responseTimeoutSeconds": 5, "retryDelaySeconds": 1}
ORDER = {
    "name": "order",
    "failureWorkflow": "order_undo",
    "tasks": [
        {"name": "charge_card", "taskReferenceName": "charge_card", "taskDefinition": RETRIED},
        {"name": "ship_parcel", "taskReferenceName": "ship_parcel", "taskDefinition": RETRIED},
    ],
}
UNDO = {
    "name": "order_undo",
    "tasks": [
        {"name": "recall_parcel", "taskReferenceName": "recall_parcel", "taskDefinition": RETRIED},
        {"name": "refund_card", "taskReferenceName": "refund_card", "taskDefinition": RETRIED},
    ],
}
MACHINE = {
    "StartAt": "BookRoom",
    "States": {
        "BookRoom": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "Next": "Pay"},
        "Pay": {
            "Type": "Task",
            "Resource": "arn:aws:states:::sqs:sendMessage",
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "CancelRoom"}],
            "End": True,
        },
        "CancelRoom": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "Next": "Failed"},
        "Failed": {"Type": "Fail"},
    },
}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: its exit code, stdout and stderr."""

    def command(*arguments: object) -> Ended:
        code = main.run([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


@pytest.fixture
def given(tmp_path: Path) -> Callable[..., list[Path]]:
    """Writes documents into files of their own."""

    def files(*documents: Any) -> list[Path]:
        paths = [tmp_path / f"given_{place}.json" for place in range(len(documents))]
        for path, document in zip(paths, documents, strict=True):
            path.write_text(json.dumps(document), encoding="utf-8")
        return paths

    return files


def test_a_workflow_and_its_failure_workflow_become_a_document(run: Run, given: Any) -> None:
    """YAML on stdout that loads as a saga with undos; nothing to look at, so the command is done."""
    code, out, err = run("convert", "conductor", *given(UNDO, ORDER))
    saga = read_saga(read_yaml(out))
    assert (code, err) == (ExitCode.DONE, "")
    assert (saga.name, saga.names) == ("order", ("charge_card", "ship_parcel"))
    assert [step.kind for step in saga.steps] == [Kind.COMPENSATABLE, Kind.COMPENSATABLE]


def test_json_prints_the_document_as_json(run: Run, given: Any) -> None:
    """One JSON document, equal to the YAML one."""
    files = given(ORDER, UNDO)
    code, out, _ = run("convert", "conductor", *files, "--json", "--name", "mine")
    assert (code, json.loads(out)["saga"]) == (0, "mine")
    assert json.loads(out) == read_yaml(run("convert", "conductor", *files, "--name", "mine")[1])


def test_what_was_decided_is_told_and_worth_a_look(run: Run, given: Any) -> None:
    """A failure workflow that is not given is a note on stderr; the exit code says look."""
    code, out, err = run("convert", "conductor", *given(ORDER))
    assert code == ExitCode.LOOK
    assert "note: the failure workflow 'order_undo' is not given" in err
    assert read_saga(read_yaml(out)).names == ("charge_card", "ship_parcel")


def test_a_state_machine_becomes_a_document(run: Run, given: Any) -> None:
    """Named for its file, with the undo that its Catch chain tells."""
    code, out, _ = run("convert", "asl", *given(MACHINE), "--json")
    saga = read_saga(json.loads(out))
    assert (code in (ExitCode.DONE, ExitCode.LOOK), saga.name, saga.names[:2]) == (
        True,
        "given_0",
        ("BookRoom", "Pay"),
    )
    assert saga.by_name["BookRoom"].compensation is not None


@pytest.mark.parametrize("name", ["saga.yaml", "saga.json"])
def test_output_writes_the_whole_document(run: Run, given: Any, tmp_path: Path, name: str) -> None:
    """YAML or JSON by the file's name, in place of what was there; stdout stays empty."""
    target = tmp_path / name
    target.write_text("old", encoding="utf-8")
    code, out, err = run("convert", "conductor", *given(ORDER, UNDO), "--output", target)
    assert (code, out, err) == (0, "", f"{target}: saga order, 2 steps\n")
    assert run("check", target)[0] == 0
    assert target.read_text("utf-8").startswith("{" if name.endswith("json") else "saga: order")
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_output_with_json_tells_what_was_written(run: Run, given: Any, tmp_path: Path) -> None:
    """The document goes into the file, what was done to stdout."""
    target = tmp_path / "saga.yaml"
    code, out, _ = run("convert", "conductor", *given(ORDER, UNDO), "--output", target, "--json")
    assert (code, json.loads(out)) == (0, {"saga": "order", "output": str(target), "notes": []})


def test_a_refused_definition_leaves_the_output_as_it_was(run: Run, given: Any, tmp_path: Path) -> None:
    """Nothing is written unless there is a saga; the one line says which file, why, and what to do."""
    target = tmp_path / "saga.yaml"
    target.write_text("old", encoding="utf-8")
    (file,) = given({"name": "order", "tasks": []})
    code, out, err = run("convert", "conductor", file, "--output", target)
    assert (code, out, target.read_text("utf-8")) == (ExitCode.REFUSED_INPUT, "", "old")
    assert err.startswith(f"sagacity: {file}, workflow 'order': has no task that does work; ")
    assert err.count("\n") == 1


def test_an_output_that_cannot_be_written_is_said(run: Run, given: Any, tmp_path: Path) -> None:
    """A folder that is not there: one line, and the code for what could not be done."""
    code, out, err = run(
        "convert", "conductor", *given(ORDER, UNDO), "--output", tmp_path / "no" / "saga.yaml"
    )
    assert (code, out, err.count("\n")) == (ExitCode.FAILED, "", 1)
    assert "cannot be written" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("asl", "missing.json"), "cannot be read"),
        (("asl", "a.json", "b.json"), "one file"),
        (("conductor",), "FILE"),
        (("bpmn", "a.json"), "bpmn"),
    ],
)
def test_bad_usage_is_told_in_one_line(run: Run, arguments: tuple[str, ...], words: str) -> None:
    """A file that is missing, too many of them, too few, or a format nobody knows."""
    code, out, err = run("convert", *arguments)
    assert (code, out, err.count("\n")) == (ExitCode.REFUSED_INPUT, "", 1)
    assert words in err


@pytest.mark.parametrize(
    "text",
    [
        *(
            "no",
            "on",
            "Yes",
            "true",
            "NULL",
            "~",
            "",
            "12",
            "08",
            "1e5",
            "-1.5",
            "0x10",
            "1_000",
            "12:30",
            "2020-01-01",
        ),
        *(
            ".inf",
            ".nan",
            "a: b",
            "a #b",
            "- a",
            "&a",
            "*a",
            "!a",
            "@a",
            "%a",
            "'",
            '"',
            "a\nb",
            " a",
            "a:",
            "ü",
            "|",
            "{",
        ),
    ],
)
def test_texts_stay_texts_in_yaml(text: str) -> None:
    """Whatever a text looks like, it is read back as it was, as a value and as a key."""
    document = {"a": text, "b": [text, text], "c": {text: 1, "deep": {"list": [1, 2.5, True, None, []]}}}
    assert read_yaml(yaml_of(document)) == document


def test_the_real_sagas_convert(run: Run, shared: Path, tmp_path: Path) -> None:
    """Three state machines and a workflow with its failure workflow: each becomes a document that checks."""
    target = tmp_path / "saga.yaml"
    machines = sorted((shared / "stepfunctions" / "definitions").rglob("*.json"))
    workflows = sorted((shared / "conductor" / "definitions").glob("*.json"))
    for arguments in (*(("asl", machine) for machine in machines), ("conductor", *workflows)):
        assert run("convert", *arguments, "--output", target)[0] in (ExitCode.DONE, ExitCode.LOOK)
        assert run("check", target)[0] == ExitCode.DONE
    assert len(machines) == 3


@pytest.fixture
def shared() -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real definitions is not on this machine")
    return folder
