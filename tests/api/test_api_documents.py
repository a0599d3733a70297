"""docs/CLI.md and docs/API.md name everything there is: nothing can be added and left undocumented."""

from dataclasses import fields
from pathlib import Path

import pytest
from typer.main import get_command

from sagacity_api.cli.main import app
from sagacity_api.environment import PREFIX, Environment
from sagacity_api.exit_codes import MEANINGS
from sagacity_api.service import CounselSlot, create_app
from sagacity_api.service.problems import ProblemKind

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def cli() -> str:
    return (DOCS / "CLI.md").read_text("utf-8")


@pytest.fixture(scope="module")
def api() -> str:
    return (DOCS / "API.md").read_text("utf-8")


def verbs() -> list[tuple[str, list[str]]]:
    """Every command with its options."""
    found = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]  # it is a group
        inner = getattr(command, "commands", None)
        named = {f"{name} {verb}": below for verb, below in inner.items()} if inner else {name: command}
        for verb, leaf in named.items():
            options = [option for each in leaf.params for option in each.opts if option.startswith("--")]
            found.append((verb, [option for option in options if option != "--help"]))
    return found


def test_every_command_and_option_is_documented(cli: str) -> None:
    """Each command has a line in docs/CLI.md, and each of its options is named."""
    assert {verb for verb, _ in verbs()} >= {
        "check",
        "plan",
        "predict",
        "train",
        "serve",
        "import xes",
        "demo",
    }
    missing = [verb for verb, _ in verbs() if f"`sagacity {verb}" not in cli]
    missing += [
        f"{verb} {option}" for verb, options in verbs() for option in options if f"`{option}" not in cli
    ]
    assert missing == []


def test_every_command_has_json() -> None:
    """Every command takes --json."""
    assert [verb for verb, options in verbs() if "--json" not in options] == []


def test_every_exit_code_is_documented(cli: str) -> None:
    """The table of exit codes is the one in the code."""
    assert [code for code, meaning in MEANINGS.items() if f"| {code.value} | {meaning} |" not in cli] == []


def test_every_variable_is_documented(cli: str) -> None:
    """Each setting of the environment has its line."""
    variables = {f"`{PREFIX}{setting.name.upper()}`": setting for setting in fields(Environment)}
    assert [
        name for name, each in variables.items() if f"| {name} | {each.metadata['says']} |" not in cli
    ] == []


def test_every_route_is_documented(api: str) -> None:
    """Each operation has its line in docs/API.md."""
    described = create_app(CounselSlot()).openapi()["paths"]
    routes = [f"`{method.upper()} {path}`" for path, item in described.items() for method in item]
    assert len(routes) >= 6
    assert [route for route in routes if route not in api] == []


def test_every_problem_is_documented(api: str) -> None:
    """The table of problem types is the one in the code."""
    rows = [f"| `{kind.value.name}` | {kind.value.status} | {kind.value.title} |" for kind in ProblemKind]
    assert [row for row in rows if row not in api] == []
