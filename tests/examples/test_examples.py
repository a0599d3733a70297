"""The examples run, and tell the stories that a reader of them expects."""

import asyncio
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STORIES = Path(__file__).parent / "stories"
NAMES = sorted(path.stem for path in STORIES.glob("*.txt"))


def story(name: str) -> str:
    return (STORIES / f"{name}.txt").read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_an_example_tells_its_story(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What the example prints is what `stories/` has, line by line."""
    main = runpy.run_path(str(ROOT / "examples" / f"{name}.py"))["main"]
    asyncio.run(main())
    assert capsys.readouterr().out == story(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_by_itself(name: str, tmp_path: Path) -> None:
    """Started as its docstring says, it exits 0, prints the same, and leaves no file behind."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / f"{name}.py")],
        cwd=tmp_path,
        env=os.environ | {"PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, story(name), "")
    assert [*tmp_path.iterdir()] == []


def test_every_saga_of_the_examples_has_a_story() -> None:
    """No example that runs an engine goes untold."""
    runs = {path.stem for path in (ROOT / "examples").glob("*.py") if "Engine(" in path.read_text("utf-8")}
    assert runs == set(NAMES)
    assert len(NAMES) == 5
