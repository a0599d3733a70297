"""What importing costs and brings: the engine nothing, the client no server, no module any effect."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

OURS = "sagacity_"


def brought_by(*modules: str) -> set[str]:
    """Return the top-level modules that importing these adds to a fresh interpreter."""
    script = (
        "import importlib, json, sys\n"
        "before = set(sys.modules)\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, *modules], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted module of every import, lazy ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


def third_party(tree: ast.Module) -> set[tuple[int, str]]:
    """Return the lines and top-level names of imports that are neither ours nor the standard library's."""
    found = {(line, module.partition(".")[0]) for line, module in imports(tree)}
    return {
        (line, top) for line, top in found if top not in sys.stdlib_module_names and not top.startswith(OURS)
    }


def test_engine_brings_the_standard_library_only(modules: dict[str, ast.Module]) -> None:
    """Importing every module of the engine brings nothing but the standard library and the engine."""
    brought = brought_by(*(name for name in modules if name.split(".")[0] == "sagacity_engine"))
    assert brought - sys.stdlib_module_names == {"sagacity_engine"}


def test_engine_names_the_standard_library_only(modules: dict[str, ast.Module]) -> None:
    """No module of the engine names anything else in an import, not even a lazy one."""
    engine = {name: tree for name, tree in modules.items() if name.split(".")[0] == "sagacity_engine"}
    assert {name: found for name, tree in engine.items() if (found := third_party(tree))} == {}


def test_client_brings_no_server() -> None:
    """Importing the client brings neither the web framework nor the learners."""
    server = {
        "fastapi",
        "starlette",
        "uvicorn",
        "pydantic",
        "lightgbm",
        "sklearn",
        "ortools",
        "mlflow",
        "pandas",
    }
    assert brought_by("sagacity_api.client") & server == set()


def test_command_line_needs_no_extra(pyproject: dict[str, Any]) -> None:
    """Importing the command line brings nothing of an extra: it starts fast, and without them."""
    extras: dict[str, list[str]] = pyproject["project"]["optional-dependencies"]
    named = {name_of(each) for group in extras.values() for each in group} - {"sagacity"}
    distributions = packages_distributions()
    brought = brought_by("sagacity_api.cli.main")
    assert {top for top in brought if {name_of(each) for each in distributions.get(top, [])} & named} == set()


def test_imports_are_declared(modules: dict[str, ast.Module], pyproject: dict[str, Any]) -> None:
    """Every package that a module imports is a declared dependency, not one that came along."""
    project = pyproject["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    declared = {name_of(each) for group in [project["dependencies"], *extras.values()] for each in group}
    distributions = packages_distributions()
    undeclared = {
        f"{name}:{line} imports {top}"
        for name, tree in modules.items()
        for line, top in third_party(tree)
        if not {name_of(each) for each in distributions.get(top, [])} & declared
    }
    assert undeclared == set()


def name_of(requirement: str) -> str:
    """Return the normalised name of a requirement.

    >>> name_of("PyYAML>=6"), name_of("sagacity[http,ml]")
    ('pyyaml', 'sagacity')
    """
    end = next((i for i, char in enumerate(requirement) if char in "[<>=!~; "), len(requirement))
    return requirement[:end].lower().replace("_", "-").replace(".", "-")


@pytest.mark.slow
def test_importing_has_no_effects(modules: dict[str, ast.Module], tmp_path: Path) -> None:
    """Importing every module prints nothing and leaves no file, neither where it runs nor at home."""
    where, home = tmp_path / "where", tmp_path / "home"
    where.mkdir()
    home.mkdir()
    script = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    done = subprocess.run(
        [sys.executable, "-c", script, *modules],
        cwd=where,
        env=os.environ | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [*where.rglob("*"), *home.rglob("*")] == []
