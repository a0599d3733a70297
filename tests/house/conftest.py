"""The checkout, as the tests of the house see it."""

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the top of the checkout."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def pyproject(root: Path) -> dict[str, Any]:
    """Return the parsed pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="session")
def packages(root: Path) -> list[Path]:
    """Return the folder of every package of the project that is on disk."""
    return sorted(path for path in root.glob("*/sagacity_*") if path.is_dir())


@pytest.fixture(scope="session")
def modules(packages: list[Path]) -> dict[str, ast.Module]:
    """Return every module of those packages, parsed, under its dotted name."""
    return {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
            path.read_text("utf-8")
        )
        for package in packages
        for path in sorted(package.rglob("*.py"))
    }


@pytest.fixture(scope="session")
def test_modules(root: Path) -> dict[str, ast.Module]:
    """Return every test module, parsed, under its path from the top."""
    return {
        path.relative_to(root).as_posix(): ast.parse(path.read_text("utf-8"))
        for path in sorted((root / "tests").rglob("test_*.py"))
    }


@pytest.fixture(scope="session")
def scripts(root: Path) -> dict[str, ast.Module]:
    """Return everything else in Python: the examples, the benchmarks and the conftest files."""
    paths = [
        *root.glob("examples/**/*.py"),
        *root.glob("benchmarks/**/*.py"),
        *root.glob("tests/**/conftest.py"),
    ]
    return {
        path.relative_to(root).as_posix(): ast.parse(path.read_text("utf-8"))
        for path in sorted([*paths, root / "conftest.py"])
    }
