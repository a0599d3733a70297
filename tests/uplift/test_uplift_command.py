"""`sagacity uplift` at the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sagacity_api.cli.main import run
from sagacity_data.rows import RunRow
from sagacity_data.store import DatasetStore

Simulate = Callable[..., list[RunRow]]


@pytest.fixture
def dataset(tmp_path: Path, simulate: Simulate) -> Path:
    """A dataset of a trial in which advice saves 4."""
    folder = tmp_path / "dataset"
    DatasetStore(folder).append(simulate(seed=4, effect=-4.0, holdout=0.3))
    return folder


def test_it_tells_the_effect(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON holds each metric's difference with both intervals, and the verdict; the exit code is 0."""
    assert run(["uplift", "--dataset", str(dataset), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    cost = told["effects"]["cost"]
    assert cost["difference"]["low"] < -4 < cost["difference"]["high"]
    assert (told["verdict"], told["judged_by"], told["runs"], told["candidate"]) == (
        "better",
        "cost",
        2000,
        None,
    )


def test_it_tells_of_a_candidate(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A candidate's estimates stand beside the logged mean, for people as well."""
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"default": "author"}))
    assert run(["uplift", "--dataset", str(dataset), "--candidate", str(policy)]) == 0
    told = capsys.readouterr().out
    assert "assigned at random" in told
    assert "candidate, DR" in told


def test_worse_advice_wants_a_look(
    tmp_path: Path, simulate: Simulate, capsys: pytest.CaptureFixture[str]
) -> None:
    """Advice that costs more ends with 3."""
    DatasetStore(tmp_path / "d").append(simulate(seed=4, effect=4.0, holdout=0.3))
    assert run(["uplift", "--dataset", str(tmp_path / "d")]) == 3
    assert "worse" in capsys.readouterr().out


def test_a_question_that_the_log_cannot_answer_is_refused(
    tmp_path: Path, simulate: Simulate, capsys: pytest.CaptureFixture[str]
) -> None:
    """A candidate without support ends with 5, a guardrail, and one line that says by how much."""
    DatasetStore(tmp_path / "d").append(simulate(seed=4, days=25, per_day=20, holdout=0.06))
    (tmp_path / "p.json").write_text('{"default": "author"}')
    assert run(["uplift", "--dataset", str(tmp_path / "d"), "--candidate", str(tmp_path / "p.json")]) == 5
    told = capsys.readouterr()
    assert told.out == ""
    assert "at least 100" in told.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--saga", "unknown"], "saga 'unknown'"),
        (["--metric", "profit"], "--metric 'profit' is none of"),
        (["--since", "soon"], "--since"),
        (["--candidate", "missing.json"], "missing.json cannot be read"),
    ],
)
def test_wrong_options_are_refused(
    dataset: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each ends with 2 and one line that names the value."""
    assert run(["uplift", "--dataset", str(dataset), *options]) == 2
    assert words in capsys.readouterr().err


def test_a_folder_without_a_dataset_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that holds no dataset ends with 2."""
    assert run(["uplift", "--dataset", str(tmp_path)]) == 2
    assert "no dataset" in capsys.readouterr().err
