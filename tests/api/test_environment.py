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
    texts = {"port": "9000", "debug": "1", "bundle_age_max_days": "30"}
    given = {f"SAGACITY_{each.name.upper()}": texts.get(each.name, "x") for each in fields(Environment)}
    told = read_environment(given)
    assert (told.port, told.debug, told.bundle_age_max_days) == (9000, True, 30)
    assert {getattr(told, each.name) for each in fields(Environment) if each.name not in texts} == {"x"}


def test_keys_are_several_files() -> None:
    """The keys to verify with are a list of paths, and no age is no limit."""
    told = read_environment({"SAGACITY_VERIFY_KEY": "/keys/old.pem:/keys/new.pem"})
    assert told.verify_keys == ("/keys/old.pem", "/keys/new.pem")
    assert read_environment({}).verify_keys == ()
    assert read_environment({}).bundle_age_max_s is None
    assert read_environment({"SAGACITY_BUNDLE_AGE_MAX_DAYS": "2"}).bundle_age_max_s == 172_800.0


@pytest.mark.parametrize(
    ("variable", "text"),
    [("PORT", "http"), ("PORT", "-1"), ("PORT", "65536"), ("DEBUG", "yes"), ("BUNDLE_AGE_MAX_DAYS", "1.5")],
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
