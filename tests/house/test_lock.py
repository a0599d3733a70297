"""The lock is complete, pinned by hash, and names no place to fetch from."""

import re
from pathlib import Path
from typing import Any

import pytest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PINNED = re.compile(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==\S+( ; [^\\]+)?( --hash=sha256:[0-9a-f]{64})+")


@pytest.fixture(scope="module")
def requirements(root: Path) -> list[str]:
    """Return the lock's requirements, one logical line each, without comments."""
    text = (root / "requirements.txt").read_text("utf-8").replace("\\\n", " ")
    lines = (
        re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if not line.lstrip().startswith("#")
    )
    return [line for line in lines if line]


def normalised(requirement: str) -> str:
    found = NAME.match(requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def test_every_line_is_pinned_by_hash(requirements: list[str]) -> None:
    """Every line is an exact version with at least one sha-256; no line is an option."""
    assert [line for line in requirements if not PINNED.fullmatch(line)] == []


def test_no_host_is_named(root: Path) -> None:
    """Neither the lock nor the files that install from it name a place to fetch from."""
    for name in ("requirements.txt", "pyproject.toml", "Makefile", ".ci/run"):
        text = (root / name).read_text("utf-8")
        assert re.findall(r"\w+://\S+|--(?:extra-)?index-url|--find-links|--default-index", text) == [], name


def test_direct_dependencies_are_locked(requirements: list[str], pyproject: dict[str, Any]) -> None:
    """Every dependency, extra, development tool and builder that pyproject.toml names is in the lock."""
    project = pyproject["project"]
    groups = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *pyproject["dependency-groups"].values(),
        pyproject["build-system"]["requires"],
    ]
    direct = {normalised(each) for group in groups for each in group} - {"sagacity"}
    assert direct - {normalised(line) for line in requirements} == set()


def test_all_means_all(pyproject: dict[str, Any]) -> None:
    """The extra `all` brings every other extra, except the peers that benchmarks compare with."""
    extras: dict[str, list[str]] = pyproject["project"]["optional-dependencies"]
    assert extras["all"] == [f"sagacity[{','.join(sorted(extras.keys() - {'all', 'benchmark'}))}]"]
