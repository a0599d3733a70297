"""No package escapes the build, the type checkers, the test run or the import contracts."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def contract(pyproject: dict[str, Any], name: str) -> dict[str, Any]:
    contracts: list[dict[str, Any]] = pyproject["tool"]["importlinter"]["contracts"]
    return next(each for each in contracts if each["name"] == name)


def test_every_package_has_a_layer(pyproject: dict[str, Any], packages: list[Path]) -> None:
    """Every package on disk is one layer, and the linter reads it."""
    names = {package.name for package in packages}
    assert set(contract(pyproject, "imports go one way")["layers"]) == names
    assert set(pyproject["tool"]["importlinter"]["root_packages"]) == names


def test_every_package_is_built(pyproject: dict[str, Any], packages: list[Path], root: Path) -> None:
    """Every package on disk is in the wheel, and its folder on the path of an editable install."""
    build = pyproject["tool"]["hatch"]["build"]
    assert set(build["targets"]["wheel"]["packages"]) == {
        package.relative_to(root).as_posix() for package in packages
    }
    assert set(build["dev-mode-dirs"]) == {package.parent.name for package in packages}


def test_every_package_is_checked(pyproject: dict[str, Any], packages: list[Path]) -> None:
    """Pyright, ruff, pytest and coverage look at every package; mypy looks at everything."""
    tools = pyproject["tool"]
    folders = {package.parent.name for package in packages}
    assert folders <= set(tools["pyright"]["include"])
    assert folders == set(tools["ruff"]["src"])
    assert folders <= set(tools["pytest"]["ini_options"]["testpaths"])
    assert {package.name for package in packages} == set(tools["coverage"]["run"]["source_pkgs"])
    assert tools["mypy"]["files"] == ["."]


@pytest.mark.parametrize(
    ("name", "homes"),
    [
        (
            "solvers and graphs stay in the optimizer and training",
            {"sagacity_optimizer", "sagacity_training"},
        ),
        ("learners stay in the models and training", {"sagacity_models", "sagacity_training"}),
        ("web, command line, HTTP and YAML stay in the api", {"sagacity_api"}),
        ("only the registry touches mlflow", set()),
    ],
)
def test_tools_have_a_home(
    pyproject: dict[str, Any], packages: list[Path], name: str, homes: set[str]
) -> None:
    """A tool's contract binds every package but the tool's home."""
    bound = set(contract(pyproject, name)["source_modules"])
    assert bound == {package.name for package in packages} - homes


def test_every_package_is_typed(packages: list[Path]) -> None:
    """Every package tells type checkers that its types are to be trusted."""
    assert [package.name for package in packages if not (package / "py.typed").is_file()] == []


@pytest.mark.slow
def test_contracts_hold(root: Path) -> None:
    """The import contracts of pyproject.toml are kept."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
