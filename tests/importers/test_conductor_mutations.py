"""Damaged and hostile files of Conductor: read or refused, and nothing else."""

import copy
import gzip
import json
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.converters import ConvertRefused
from sagacity_data.converters.conductor import convert_conductor
from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.conductor import read_runs
from sagacity_data.importers.foreign_runs import ForeignRun, rows_of
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.taxonomy import default_taxonomy

T0 = 1_700_000_000_000
TASK = {
    "taskType": "HTTP",
    "taskDefName": "charge",
    "referenceTaskName": "charge_card__1",
    "iteration": 1,
    "status": "FAILED",
    "taskId": "t1",
    "seq": 2,
    "scheduledTime": T0,
    "startTime": T0 + 1,
    "endTime": T0 + 9,
    "responseTimeoutSeconds": 5,
    "retryCount": 0,
    "reasonForIncompletion": "declined",
    "inputData": {"http_request": {"uri": "http://pay/", "method": "POST", "readTimeOut": 100}},
    "outputData": {"response": {"statusCode": 402}},
    "workflowTask": {"name": "charge", "taskDefinition": {"retryCount": 2, "timeoutSeconds": 60}},
}
BACK = {
    **TASK,
    "referenceTaskName": "refund_card",
    "status": "COMPLETED",
    "taskId": "t2",
    "startTime": T0 + 20,
}
EXECUTIONS = [
    {
        "workflowId": "w1",
        "workflowName": "order",
        "status": "FAILED",
        "startTime": T0,
        "endTime": T0 + 10,
        "correlationId": "c",
        "workflowDefinition": {"name": "order", "failureWorkflow": "undo"},
        "output": {"conductor.failure_workflow": "w2"},
        "tasks": [{**TASK, "status": "COMPLETED", "seq": 1, "taskId": "t0"}, TASK],
    },
    {
        "workflowId": "w2",
        "workflowName": "undo",
        "status": "COMPLETED",
        "startTime": T0 + 11,
        "endTime": T0 + 30,
        "input": {
            "workflowId": "w1",
            "reason": "declined",
            "failedWorkflow": {"workflowId": "w1", "tasks": [TASK]},
        },
        "tasks": [BACK],
    },
]
DEFINITIONS = [
    {
        "name": "order",
        "failureWorkflow": "undo",
        "timeoutSeconds": 60,
        "timeoutPolicy": "TIME_OUT_WF",
        "tasks": [
            {
                "name": "a",
                "taskReferenceName": "reserve_a",
                "taskDefinition": {"retryCount": 2, "timeoutSeconds": 5},
            },
            {
                "name": "f",
                "taskReferenceName": "f",
                "type": "FORK_JOIN",
                "forkTasks": [
                    [{"name": "b", "taskReferenceName": "book_b"}],
                    [{"name": "c", "type": "HTTP"}],
                ],
            },
            {"name": "j", "taskReferenceName": "j", "type": "JOIN", "joinOn": ["book_b", "c"]},
            {"name": "s", "type": "SWITCH", "decisionCases": {"x": [{"name": "d"}]}, "defaultCase": []},
            {"name": "w", "type": "SUB_WORKFLOW", "subWorkflowParam": {"name": "inner"}},
            {"name": "h", "type": "HUMAN"},
        ],
    },
    {"name": "undo", "tasks": [{"name": "u", "taskReferenceName": "release_a"}, {"name": "cancel_b"}]},
    {"name": "inner", "tasks": [{"name": "l", "type": "DO_WHILE", "loopOver": [{"name": "i"}]}]},
    {"name": "i", "retryCount": 1, "retryLogic": "LINEAR_BACKOFF", "retryDelaySeconds": 3},
]
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**70, -(2**70), 10**300, 1e308, -0.5, float("nan"), float("inf")),
    *(
        "",
        " ",
        "x" * 5_000,
        "\ud800",
        "\x00",
        "0",
        "9" * 30,
        "2023-11-14T22:13:20Z",
        "9999-99-99",
        "${x.output}",
    ),
    *([], {}, [[]], [None, 1, "a"], {"": {}}, {"name": {"name": []}}, [{"taskId": 1}], {"tasks": "x"}),
    *("w1", "w2", "undo", "order", "SWITCH", "HTTP", "FORK_JOIN", "TERMINATE", "COMPLETED", "RUNNING"),
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in the value with each of its keys."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def mutant(value: Any, draw: random.Random) -> Any:
    """A copy in which a few values are replaced, taken away, doubled or exchanged."""
    changed = copy.deepcopy(value)
    for _ in range(draw.randint(1, 4)):
        holder, key = draw.choice(list(places(changed)) or [(changed, 0)])
        how = draw.randrange(4)
        if how == 0 and isinstance(holder, dict):
            holder.pop(key, None)
        elif how == 1 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = copy.deepcopy(draw.choice(ODD))
    return changed


def damaged(content: bytes, draw: random.Random) -> bytes:
    """The bytes cut off, flipped, or with a piece of them somewhere else."""
    at, until = sorted(draw.randrange(len(content)) for _ in range(2))
    match draw.randrange(4):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
        case 2:
            return content[:at] + content[at:until] * 3 + content[until:]
        case _:
            return content.replace(b'"', b"", 1) if draw.random() < 0.5 else content.decode().encode("utf-16")


def rows_in(path: Path) -> int:
    runs: list[ForeignRun] = []
    with suppress(ImportRefused):
        runs = list(read_runs(path, Hints(undoes={"x": "charge_card"}), Tally()))
    return sum(len(rows_of(run, "conductor", default_taxonomy())) for run in runs)


@pytest.mark.parametrize("seed", range(4))
def test_odd_values_are_read_or_refused(tmp_path: Path, seed: int) -> None:
    """Whatever stands where something else belongs: rows come out, or a refusal; most files can be read."""
    draw, path, read = random.Random(seed), tmp_path / "mutant.json", 0
    for _ in range(100):
        path.write_text(json.dumps(mutant(EXECUTIONS, draw)), encoding="utf-8")
        read += rows_in(path) > 0
    assert read > 80


@pytest.mark.parametrize("seed", range(2))
def test_damaged_bytes_are_read_or_refused(tmp_path: Path, seed: int) -> None:
    """Cut off, flipped, doubled, in another encoding, compressed: rows or a refusal, and some of each."""
    draw, path, read = random.Random(seed), tmp_path / "damaged.json", 0
    for number in range(100):
        content = damaged(json.dumps(EXECUTIONS).encode(), draw)
        path.write_bytes(gzip.compress(content)[: draw.randrange(200, 2_000)] if number % 4 == 0 else content)
        read += rows_in(path) > 0
    assert 0 < read < 100


def test_nesting_without_end_is_refused(tmp_path: Path) -> None:
    """A hundred thousand brackets are no execution."""
    path = tmp_path / "deep.json"
    path.write_text('{"workflowId": "w", "tasks": ' + "[" * 100_000 + "]" * 100_000 + "}", encoding="utf-8")
    with pytest.raises(ImportRefused, match="deep"):
        list(read_runs(path, Hints(), Tally()))


def test_many_tasks_are_looked_up(tmp_path: Path) -> None:
    """Thousands of steps, half of them named like undos: they are looked up, not compared with each other."""
    tasks = [
        {
            **TASK,
            "taskId": str(number),
            "referenceTaskName": f"{verb}_room_{number}",
            "iteration": 0,
            "seq": number,
        }
        for number in range(2_000)
        for verb in ("book", "cancel")
    ]
    path = tmp_path / "many.json"
    unique = [{**task, "taskId": str(place), "startTime": T0 + place} for place, task in enumerate(tasks)]
    path.write_text(json.dumps({**EXECUTIONS[0], "tasks": unique}), encoding="utf-8")
    (run,) = read_runs(path, Hints(), Tally())
    assert sum(tried.direction.value == "undo" for tried in run.attempts) == 2_000


@pytest.mark.parametrize("seed", range(4))
def test_odd_definitions_are_converted_or_refused(seed: int) -> None:
    """Whatever stands where something else belongs: a saga comes out, or a refusal; and some of each."""
    draw, converted = random.Random(seed), 0
    for _ in range(100):
        with suppress(ConvertRefused):
            converted += bool(convert_conductor(mutant(DEFINITIONS, draw)).saga.steps)
    assert 0 < converted < 100
