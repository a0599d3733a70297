from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from sagacity_data import FEATURE_NAMES, SCHEMA_VERSION, AttemptRow, RunRow
from sagacity_data.dataset_document import COMMAND, document

DOCUMENT = Path(__file__).parents[2] / "docs" / "DATASET.md"


@pytest.fixture(scope="module")
def text() -> str:
    return DOCUMENT.read_text("utf-8")


def test_the_document_is_what_the_code_says(text: str) -> None:
    """docs/DATASET.md equals what is rendered; the message says how to renew it."""
    assert text == document(), f"docs/DATASET.md is out of date; renew it with: {COMMAND}"


def test_every_column_and_feature_is_told(text: str) -> None:
    """Each column of both tables and each feature has a line, and the version is stated."""
    names = [*(field.name for kind in (AttemptRow, RunRow) for field in fields(kind)), *FEATURE_NAMES]
    assert [name for name in names if f"| `{name}` | " not in text] == []
    assert f"Schema version {SCHEMA_VERSION}." in text


def test_lines_of_columns_have_unit_and_time(text: str) -> None:
    """A line tells type, unit, since when it is known and what it means."""
    assert "| `started_at` | number? | s since 1970 UTC | attempt | when its intent was written |" in text
    assert "| `outcome` | one of `AttemptOutcome` |  | end | how it ended |" in text
    assert "| `overload` | The service fails for many, or sheds load; more calls make it worse. |" in text


def test_nobody_writes_paths_of_a_machine(text: str) -> None:
    """Nothing in the document depends on where it was made."""
    assert "/home" not in text
    assert "site-packages" not in text
