"""YAML from files: plain values only, within bounds, with the line of what is refused."""

from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sagacity_api.bounded_json import write_json
from sagacity_api.cli import yaml_text
from sagacity_api.cli.yaml_text import YamlRefused, read_yaml

BILLION_LAUGHS = """\
a: &a [x, x, x, x, x, x, x, x, x]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
"""


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (BILLION_LAUGHS, 2, r"alias \*a"),
        ("a: 1\nb: 2\na: 3\n", 3, "repeats the key 'a' of line 1"),
        ("steps:\n- name: x\n  name: y\n", 3, "repeats the key 'name' of line 2"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, "uses the tag"),
        ("a:\n- !!binary aGk=\n", 2, "uses the tag"),
        ("a: !x 1\n", 1, "uses the tag"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: [1, 2\n", 2, "expected"),
        ("a:\n\t- 1\n", 2, "cannot start any token"),
        ("a: .nan\n", 1, "finite"),
        ("a: 1\nb: -.inf\n", 2, "finite"),
        ("a: 1e999\n", 1, "too large"),
        ("1: a\n", 1, "has the key 1"),
        ("a: 1\nno: b\n? [x]\n: c\n", 3, "no text"),
        ("", 1, "empty"),
        ("# only a comment\n", 1, "empty"),
        ("\n" + "[" * 33 + "]" * 33, 2, "nests deeper than 32"),
        ("a: \x00\n", 1, "#x0000"),
    ],
)
@pytest.mark.parametrize("loader", ["fast", "pure"])
def test_refusals_name_the_line(
    text: str, line: int, reason: str, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not plain, bounded YAML is refused with its line, by both of PyYAML's parsers."""
    if loader == "pure":
        monkeypatch.setattr(yaml_text, "_loader", lambda: yaml.SafeLoader)
    with pytest.raises(YamlRefused, match=reason) as refused:
        read_yaml(text)
    assert refused.value.line == line


@pytest.mark.parametrize("loader", ["fast", "pure"])
def test_scalars_follow_the_core_schema(loader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only true, false, null and numbers are not text; old YAML's surprises stay text."""
    if loader == "pure":
        monkeypatch.setattr(yaml_text, "_loader", lambda: yaml.SafeLoader)
    plain = "a: [true, False, ~, null, , 1, -2, 3.5, 1e3, .5, on, no, Yes, 12:30, 2026-01-01, 0x1F, 1_000]"
    plain = plain.replace(", ,", ',"",')
    quoted = "b: ['1', \"true\", '']\nc: |\n  12\n"
    assert read_yaml(plain + "\n" + quoted) == {
        "a": [
            *(True, False, None, None, "", 1, -2, 3.5, 1000.0, 0.5),
            *("on", "no", "Yes", "12:30", "2026-01-01", "0x1F", "1_000"),
        ],
        "b": ["1", "true", ""],
        "c": "12\n",
    }


def test_merge_keys_are_ordinary() -> None:
    """`<<` merges nothing: without aliases there is nothing to merge."""
    assert read_yaml("<<: {a: 1}") == {"<<": {"a": 1}}


def test_the_level_limit_is_inclusive() -> None:
    """Thirty-two levels are read."""
    value: Any = read_yaml("[" * 32 + "]" * 32)
    for _ in range(31):
        [value] = value
    assert value == []


@given(st.text(st.characters(codec="utf-8"), max_size=50))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text raises anything but `YamlRefused`."""
    with suppress(YamlRefused):
        write_json(read_yaml(text))
