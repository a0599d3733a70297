"""The registry keeps what was trained and says which bundle is the champion, quietly and for many at once."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sagacity_models.bundle import Bundle, load_bundle, save_bundle
from sagacity_models.errors import RegistryRefused
from sagacity_models.registry import CHAMPION, DATABASE, STEP_MODELS, Logged, Registry, champion_bundle
from sagacity_models.registry_process import RegistryProcess

pytestmark = pytest.mark.slow

LogBundle = Callable[[Registry], Logged]


@pytest.fixture
def registry(template: Path, tmp_path: Path) -> Registry:
    (tmp_path / "registry").mkdir()
    shutil.copy(template / DATABASE, tmp_path / "registry")
    return Registry(tmp_path / "registry")


@pytest.fixture
def log_bundle(bundle: Bundle, tmp_path: Path) -> LogBundle:
    folder = tmp_path / "bundle"
    save_bundle(bundle, folder, created_at="x")

    def log(registry: Registry) -> Logged:
        return registry.log(
            "steps",
            params={"seed": 1},
            metrics={"refusal.base.log_loss": 0.3},
            artifacts={"bundle": folder},
            model=STEP_MODELS,
            model_artifact="bundle",
        )

    return log


def test_the_champion_moves(registry: Registry, log_bundle: LogBundle, bundle: Bundle) -> None:
    """Versions count up; the alias names the one it was given last, and its bundle loads from there."""
    first, second = log_bundle(registry), log_bundle(registry)
    assert (first.version, second.version) == ("1", "2")
    assert registry.version() is None
    registry.promote(first.version)
    assert registry.bundle_folder() == first.folder
    registry.promote(second.version)
    assert registry.version() == "2"
    assert champion_bundle(registry.folder) == second.folder
    assert load_bundle(second.folder).version == bundle.version


def test_figures_and_parameters_are_kept(registry: Registry, log_bundle: LogBundle) -> None:
    """What was logged is in the tracking store, under a run that has finished."""
    log_bundle(registry)
    with sqlite3.connect(registry.folder / DATABASE) as database:
        assert database.execute("select key, value from params").fetchall() == [("seed", "1")]
        assert database.execute("select key, value from metrics").fetchall() == [
            ("refusal.base.log_loss", 0.3)
        ]
        assert database.execute("select status from runs").fetchall() == [("FINISHED",)]
    database.close()


def test_a_registry_can_be_moved(registry: Registry, log_bundle: LogBundle, tmp_path: Path) -> None:
    """A copied folder finds its champion in itself, also when the original is gone."""
    registry.promote(log_bundle(registry).version)
    shutil.move(registry.folder, tmp_path / "elsewhere" / "deep")
    moved = champion_bundle(tmp_path / "elsewhere" / "deep")
    assert moved.is_relative_to(tmp_path / "elsewhere")
    assert load_bundle(moved).version


def test_no_champion_is_said(registry: Registry, tmp_path: Path) -> None:
    """Without a champion, or without a registry, one line says so, and nothing is made by asking."""
    with pytest.raises(RegistryRefused, match="no champion of sagacity-steps"):
        registry.bundle_folder()
    with pytest.raises(RegistryRefused, match="holds no registry"):
        champion_bundle(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_broken_database_is_refused(tmp_path: Path) -> None:
    """A file that is no database is refused in one line that names the folder."""
    (tmp_path / DATABASE).write_text("this is no database" * 100, "utf-8")
    with pytest.raises(RegistryRefused) as caught:
        Registry(tmp_path).bundle_folder()
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_several_may_log_at_once(registry: Registry, log_bundle: LogBundle) -> None:
    """Four writers at once, each with a client of its own, get four versions."""
    with ThreadPoolExecutor(4) as pool:
        logged = list(pool.map(lambda _: log_bundle(Registry(registry.folder)), range(4)))
    assert sorted(each.version for each in logged) == ["1", "2", "3", "4"]


def test_a_process_of_its_own(registry: Registry, log_bundle: LogBundle, tmp_path: Path) -> None:
    """Behind a pipe the registry answers as it does directly, and passes on its refusals."""
    log_bundle(registry)
    with RegistryProcess(registry) as process:
        assert process.version(CHAMPION, model=STEP_MODELS) is None
        logged = process.log(
            "steps",
            params={"seed": 2},
            metrics={"loss": 0.25},
            artifacts={"bundle": tmp_path / "bundle"},
            model=STEP_MODELS,
            model_artifact="bundle",
        )
        process.promote(logged.version, model=STEP_MODELS, alias=CHAMPION)
        with pytest.raises(RegistryRefused):
            process.promote("99", model=STEP_MODELS, alias=CHAMPION)
    assert registry.version() == logged.version == "2"
    assert load_bundle(logged.folder).version


def test_first_use_is_silent(tmp_path: Path) -> None:
    """Laying out a new registry prints nothing, warns of nothing, and leaves nothing but its own files."""
    script = "import sys; from sagacity_models.registry import Registry; Registry(sys.argv[1]).version()"
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", script, str(tmp_path / "new")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
