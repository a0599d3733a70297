"""docs/ARCHITECTURE.md says what the code says."""

import re
from pathlib import Path

import pytest

import sagacity_engine
from sagacity_engine.machine.phases import transition_diagram

ROOT = Path(__file__).parents[2]
ENGINE = Path(sagacity_engine.__file__).parent
DOCUMENT = (ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8")


def test_the_documents_diagram_is_the_table_of_moves() -> None:
    """The state diagram in the document is the one that the engine's own table draws."""
    [diagram] = re.findall(r"```mermaid\n(.*?)\n```", DOCUMENT, re.DOTALL)
    assert diagram == transition_diagram()


def named(rows: str) -> list[str]:
    """The files and folders in the first column of a table."""
    return sorted(
        re.findall(r"`(\w+(?:\.py|/))`", "\n".join(re.findall(r"^\|([^|]*)\|", rows, re.MULTILINE)))
    )


def modules(folder: Path) -> list[str]:
    """The Python files of a folder."""
    return [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]


def test_every_engine_file_is_in_the_documents_table() -> None:
    """The engine's table names every module and package there is, each once, and none that is not."""
    [section] = re.findall(r"^## The engine\n(.*?)^\| in ", DOCUMENT, re.DOTALL | re.MULTILINE)
    packages = [f"{path.parent.name}/" for path in ENGINE.glob("*/__init__.py")]
    assert named(section) == sorted(modules(ENGINE) + packages)


@pytest.mark.parametrize("package", ["machine", "sqlite", "hosting", "guards"])
def test_every_file_of_a_package_is_in_its_table(package: str) -> None:
    """Each of the engine's larger packages has a table that names each of its files once."""
    [rows] = re.findall(rf"^\| in `{package}/` .*?(?=\n\n)", DOCUMENT, re.DOTALL | re.MULTILINE)
    _, _, body = rows.partition("\n")
    assert named(body) == sorted(modules(ENGINE / package))
