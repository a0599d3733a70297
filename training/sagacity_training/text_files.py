"""Named texts as files of one folder, never half-written."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path


def write_texts(texts: Mapping[str, str], folder: Path) -> None:
    """Write named texts to a new folder, whole or not at all. Raises `OSError`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, text in texts.items():
            (scratch / name).write_text(text, encoding="utf-8")
        scratch.chmod(0o755)
        scratch.replace(folder)  # An empty folder of that name gives way.
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def renew_texts(texts: Mapping[str, str], folder: Path) -> None:
    """Write named texts into a folder, each whole or not at all, over what has their names. `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        scratch = folder / f".{name}.new"
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(folder / name)
