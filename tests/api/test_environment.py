"""The environment: what it may set, and what is refused."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from sagacity_api.environment import Environment, SettingRefused, read_environment

ROOT = Path(__file__).parents[2]


def test_nothing_set_means_the_defaults() -> None:
    """Other variables, and empty ones, change nothing."""
    assert read_environment({"PATH": "/bin", "SAGACITY_BUNDLE": ""}) == Environment()


def test_every_setting_is_read() -> None:
    """Each field has its variable."""
    texts = {"port": "9000", "debug": "1"}
    given = {f"SAGACITY_{each.name.upper()}": texts.get(each.name, "x") for each in fields(Environment)}
    expected = Environment(bundle="x", registry="x", dataset="x", host="x", port=9000, url="x", debug=True)
    assert read_environment(given) == expected


@pytest.mark.parametrize(
    ("variable", "text"), [("PORT", "http"), ("PORT", "-1"), ("PORT", "65536"), ("DEBUG", "yes")]
)
def test_unusable_values_are_refused(variable: str, text: str) -> None:
    """A variable that cannot be used is refused by name and value."""
    with pytest.raises(SettingRefused, match=f"SAGACITY_{variable} is '{text}'"):
        read_environment({f"SAGACITY_{variable}": text})


def test_one_module_reads_the_environment() -> None:
    """No other module of the api names `environ` or `getenv`."""
    readers = {
        path.name
        for path in (ROOT / "api" / "sagacity_api").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "getenvb")
    }
    assert readers == {"environment.py"}
