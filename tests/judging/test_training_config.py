"""Configuration files of a training: what is taken, and how the rest is refused."""

import json
from pathlib import Path

import pytest

from sagacity_training.config import NOT_READ, ConfigRefused, TrainingConfig, refuse_unread, settings


def test_nothing_has_to_be_set() -> None:
    """An empty file gives the defaults, which write and read as themselves."""
    assert TrainingConfig.of({}) == TrainingConfig()
    assert TrainingConfig.of(TrainingConfig().as_json()) == TrainingConfig()
    assert TrainingConfig().slices.ends == (0.6, 0.72, 0.85)


def test_both_formats_say_the_same(tmp_path: Path) -> None:
    """The same settings in TOML and in JSON give the same configuration."""
    toml, plain = tmp_path / "t.toml", tmp_path / "t.json"
    toml.write_text('seed = 3\n[gate]\nalpha = 0.1\n[features]\nignore = ["a"]\n', "utf-8")
    plain.write_text(json.dumps({"seed": 3, "gate": {"alpha": 0.1}, "features": {"ignore": ["a"]}}), "utf-8")
    read = TrainingConfig.read(toml)
    assert read == TrainingConfig.read(plain)
    assert (read.seed, read.gate.alpha, read.features.ignore) == (3, 0.1, ("a",))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sed = 1", r"no setting 'sed'; did you mean seed\?"),
        ("[gate]\nece = 0.1", r"no setting 'gate.ece'; did you mean gate.ece_max\?"),
        ("seed = true", "seed = True cannot be used; give a whole number from 0"),
        ("seed = 1.5", "whole number"),
        ("seed = -1", "seed = -1"),
        ("[gate]\nalpha = nan", "gate.alpha = nan"),
        ("[gate]\nalpha = 0.7", "a number from 1e-06 to 0.5"),
        ("gate = 3", "gate is 3; give a table"),
        ("[slices]\nfit = 0.9", "leave -0.150 of the runs"),
        ('[features]\nignore = "a"', "give a list of names"),
        ("[features]\nignore = [1]", "give a list of names"),
        ("seed = ", "cannot be read as settings"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, why: str, tmp_path: Path) -> None:
    """A refusal is one line that names the file, the setting and what it takes."""
    path = tmp_path / "t.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigRefused, match=why) as refused:
        TrainingConfig.read(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    """A missing file, another ending, JSON that is too deep or says a thing twice, one that is too long."""
    bad = {
        "a.yaml": ("seed: 1", "ends in '.yaml'"),
        "b.json": ("[" * 100_000, "cannot be read as settings"),
        "c.json": ('{"seed": 1, "seed": 2}', "given twice"),
        "d.json": (" " * (1 << 20) + "{}", "more than 1048576 bytes"),
        "e.json": ("[]", "give a table of settings"),
    }
    for name, (text, why) in bad.items():
        (tmp_path / name).write_text(text, "utf-8")
        with pytest.raises(ConfigRefused, match=why):
            TrainingConfig.read(tmp_path / name)
    with pytest.raises(ConfigRefused, match="cannot be read"):
        TrainingConfig.read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("kind", "setting"),
    [("attempts", {"slices": {"test": 0.3}}), ("event_log", {"report": {"decision_runs": 3}})],
)
def test_a_setting_that_would_change_nothing_is_refused(kind: str, setting: dict[str, object]) -> None:
    """What training on a kind of dataset does not read cannot be set for it; its default can."""
    with pytest.raises(ConfigRefused, match="would change nothing"):
        refuse_unread(TrainingConfig.of(setting), kind)
    refuse_unread(TrainingConfig(), kind)
    assert set(NOT_READ[kind]) <= {name for name, _, _ in settings()}


def test_the_documentation_lists_every_setting(pytestconfig: pytest.Config) -> None:
    """docs/TRAINING.md has a row for each setting, with its default and its meaning, and no other."""
    rows = [f"| `{name}` | `{default}` | {about} |" for name, default, about in settings()]
    written = (pytestconfig.rootpath / "docs" / "TRAINING.md").read_text("utf-8").splitlines()
    first = written.index("| setting | default | means |") + 2
    assert written[first : first + len(rows) + 1] == [*rows, ""]


def test_every_setting_is_documented_in_code() -> None:
    """Every setting has a default and a meaning."""
    told = list(settings())
    assert len(told) == len({name for name, _, _ in told})
    assert all(default and about for _, default, about in told)
