"""What holds for the whole suite: tests live away from the checkout, and the documents' examples run.

Every fenced `python` block of README.md and docs/ is executed, top to bottom, one namespace per document.
Every `console` block with a `$ sagacity ...` line has all its `$` lines executed, in one temporary directory
per document that holds a copy of `examples/`; a command must exit 0, or n where its line ends in `# exit n`.
A block directly below `<!-- not run: reason -->` is reported as skipped, with that reason.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest import SkipTest

import pytest
from _pytest._code.code import Traceback
from hypothesis import settings
from sybil import Document, Example, Region, Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

ROOT = Path(__file__).parent
COMMAND_TIMEOUT_S = 300
NOT_RUN = re.compile(
    r"^[ ]*<!-- not run: (?P<reason>\S.*) -->\n[ ]*(?P<fence>`{3,}|~{3,}).*\n(?s:.*?)^[ ]*(?P=fence)",
    re.MULTILINE,
)
EXIT_CODE = re.compile(r"\s+# exit (?P<code>\d+)\Z")

# Same examples in every run, no limit on their duration, nothing stored between runs.
settings.register_profile("suite", derandomize=True, deadline=None, database=None)
settings.load_profile("suite")


def pytest_configure() -> None:
    """Set what libraries read when they are first imported, and drop what the developer's shell says."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "SAGACITY_"))]:
        if name != "SAGACITY_REAL_DATA":  # where the tests that read real logs look for them
            del os.environ[name]
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true", MPLBACKEND="Agg")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark console blocks as slow, for they start processes, and what comes after them in the document."""
    after_console: set[Path] = set()
    for item in items:
        if isinstance(item, SybilItem):
            # Sybil's own filter ends the session when a block's leaked file is found after the block.
            item._traceback_filter = whole_traceback  # type: ignore[method-assign]  # (see above)
            if item.example.region.evaluator is run_console:
                after_console.add(item.path)
            if item.path in after_console:
                item.add_marker(pytest.mark.slow)


def whole_traceback(excinfo: pytest.ExceptionInfo[BaseException]) -> Traceback:
    """Return the traceback as it is."""
    return excinfo.traceback


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the whole run a home of its own, so that nobody's settings are read or written."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(path))
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
            patch.delenv(name, raising=False)
        yield path


@pytest.fixture(scope="module", autouse=True)
def working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let each test module work in an empty directory, so that a stray file never lands in the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("cwd")
        patch.chdir(path)
        yield path


@pytest.fixture(scope="module")
def document_directory(working_directory: Path) -> Path:
    """Let a document's blocks share a directory in which `examples/` is at hand, as it is for a reader."""
    if (ROOT / "examples").is_dir():
        shutil.copytree(ROOT / "examples", working_directory / "examples", dirs_exist_ok=True)
    return working_directory


def commands(block: str) -> list[str]:
    r"""Return the commands of a console block, with `\` and `> ` continuations joined.

    >>> commands("$ sagacity plan \\\n>   trip.json\nthe plan\n$ ls\n")
    ['sagacity plan   trip.json', 'ls']
    """
    joined = re.sub(r"\s*\\\n(?:> )?", " ", block)
    return [line[2:].rstrip() for line in joined.splitlines() if line.startswith("$ ")]


def run_console(example: Example) -> str | None:
    """Run a console block's commands as a reader would; say which one exited unexpectedly, if one did."""
    for line in commands(example.parsed):
        told = EXIT_CODE.search(line)
        expected = int(told["code"]) if told else 0
        done = subprocess.run(
            ["bash", "-c", EXIT_CODE.sub("", line)],
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode != expected:
            return f"$ {line}\nexited {done.returncode}, not {expected}\n{done.stdout}{done.stderr}"
    return None


class ConsoleParser(CodeBlockParser):
    """Finds the console blocks that use the command line of this project."""

    def __init__(self) -> None:
        super().__init__("console", run_console)

    def __call__(self, document: Document) -> Iterable[Region]:
        """Yield those blocks as regions that run their commands."""
        return (
            region
            for region in super().__call__(document)
            if any(line.startswith("sagacity ") for line in commands(region.parsed))
        )


class SkipMarked:
    """Wraps a parser: blocks below `<!-- not run: reason -->` are reported as skipped."""

    def __init__(self, parser: CodeBlockParser | PythonCodeBlockParser) -> None:
        self.parser = parser

    def __call__(self, document: Document) -> Iterable[Region]:
        """Yield the wrapped parser's regions, the marked ones with an evaluator that skips."""
        marked = list(NOT_RUN.finditer(document.text))
        for region in self.parser(document):
            for mark in marked:
                if mark.start() <= region.start < mark.end():
                    region.evaluator = Skip(mark["reason"])
            yield region


class Skip:
    """An evaluator that runs nothing and says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __call__(self, _example: Example) -> None:
        """Raise what pytest reports as a skip."""
        raise SkipTest(self.reason)


pytest_collect_file = Sybil(
    parsers=[SkipMarked(PythonCodeBlockParser()), SkipMarked(ConsoleParser())],
    patterns=["README.md", "docs/*.md", "docs/*/*.md"],
    fixtures=["home", "document_directory"],
).pytest()
