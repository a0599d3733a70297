"""docs/ARCHITECTURE.md says what the code says."""

import re
from pathlib import Path

import sagacity_engine
from sagacity_engine.phases import transition_diagram

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8")


def test_the_documents_diagram_is_the_table_of_moves() -> None:
    """The state diagram in the document is the one that the engine's own table draws."""
    [diagram] = re.findall(r"```mermaid\n(.*?)\n```", DOCUMENT, re.DOTALL)
    assert diagram == transition_diagram()


def test_every_engine_file_is_in_the_documents_table() -> None:
    """The engine's table names every module and package there is, each once, and none that is not."""
    [section] = re.findall(r"^## The engine\n(.*?)^The journal is", DOCUMENT, re.DOTALL | re.MULTILINE)
    named = sorted(
        re.findall(r"`(\w+(?:\.py|/))`", "\n".join(re.findall(r"^\|([^|]*)\|", section, re.MULTILINE)))
    )
    folder = Path(sagacity_engine.__file__).parent
    modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    packages = [f"{path.parent.name}/" for path in folder.glob("*/__init__.py")]
    assert named == sorted(modules + packages)
