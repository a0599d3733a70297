"""The guide to the saga document names every field and every word that a document may hold, and no other."""

import dataclasses
import re
from enum import StrEnum
from pathlib import Path

import pytest

from sagacity_engine import parts, strategy
from sagacity_engine.handlers import Effect
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step, SubSaga

GUIDE = (Path(__file__).parents[2] / "docs" / "SAGAS.md").read_text("utf-8")
PARTS = [
    Saga,
    Step,
    SubSaga,
    RetryPolicy,
    strategy.OnFailure,
    *(part for part in vars(parts).values() if dataclasses.is_dataclass(part) and isinstance(part, type)),
]
WORDS = [parts.Kind, parts.OnExpiry, parts.WhenHeld, strategy.Strategy, strategy.OnTimeout, Effect]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_every_field_is_explained(part: type) -> None:
    """Each field stands in the guide as code, alone or within a longer example."""
    code = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", GUIDE))))
    keys = {field.metadata.get("key", field.name) for field in dataclasses.fields(part)}
    assert keys - code == set()


@pytest.mark.parametrize("words", WORDS, ids=lambda words: words.__name__)
def test_every_word_is_explained(words: type[StrEnum]) -> None:
    """Each word that a field may hold stands in the guide as code."""
    assert [word.value for word in words if f"`{word.value}`" not in GUIDE] == []


def test_the_tables_of_fields_name_no_other() -> None:
    """Every field that a table of the saga or of a step names exists."""
    for title, part in (("## The saga", Saga), ("## A step", Step)):
        table = GUIDE.split(f"{title}\n")[1].split("\n## ")[0].split("| kind | is | so |")[0]
        keys = {field.metadata.get("key", field.name) for field in dataclasses.fields(part)}
        assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == keys
