"""Which version an alias names, which it named before, and what is kept about that."""

import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sagacity_models.bundle import Bundle, load_bundle, save_bundle
from sagacity_models.bundle_directory import BundleDirectory
from sagacity_models.errors import BundleRefused, RegistryRefused
from sagacity_models.promotions import CHALLENGER, CHAMPION, ModelVersion, promoted, read_line
from sagacity_models.registry import DATABASE, STEP_MODELS, Logged, Registry
from sagacity_models.registry_sync import Followed, sync
from sagacity_models.signing import PRIVATE_KEY, SigningKey, TrustedKeys

MADE = 1767225600.0
LogBundle = Callable[..., Logged]


@pytest.fixture
def registry(template: Path, tmp_path: Path) -> Registry:
    (tmp_path / "registry").mkdir()
    shutil.copy(template / DATABASE, tmp_path / "registry")
    return Registry(tmp_path / "registry", clock=lambda: MADE)


@pytest.fixture
def log_bundle(bundle: Bundle, tmp_path: Path) -> LogBundle:
    """Logs a bundle of its own for each seed."""

    def log(registry: Registry, seed: int = 0, *, better: bool | None = True) -> Logged:
        folder = tmp_path / f"logged-{seed}"
        save_bundle(replace(bundle, facts={"seed": seed}), folder, created_at="2026-01-01T00:00:00+00:00")
        return registry.log(
            "steps",
            params={"seed": seed},
            metrics={"refusal.log_loss": 0.3 - seed / 100},
            artifacts={"bundle": folder},
            model=STEP_MODELS,
            model_artifact="bundle",
            better=better,
            reasons=("better by 0.01",) if better else ("no better than the base rate",),
        )

    return log


def test_the_line_of_an_alias() -> None:
    """Promotions lengthen the line, one promoted again moves to its end, and others' moves are taken in."""
    line: tuple[str, ...] = ()
    for version in ("1", "2", "3"):
        line = promoted(line, version)
    assert line == ("1", "2", "3")
    assert promoted(line, "2") == ("1", "3", "2")
    assert read_line("1 2 3", None) == ("1", "2", "3")
    assert read_line("1 2 3", "9") == ("1", "2", "3", "9")
    assert read_line("1 x 3 ", "3") == ("1", "3")
    assert len(promoted([str(each) for each in range(80)], "99")) == 50


def test_what_speaks_against_a_version() -> None:
    """A recorded verdict decides; without one, only having been used before speaks for a version."""

    def version(tags: dict[str, str], params: dict[str, str] | None = None) -> ModelVersion:
        return ModelVersion(
            version="1", model="m", run_id="r", created_at=0.0, source="", tags=tags, params=params or {}
        )

    assert version({"verdict": "better"}).doubt() == ""
    assert version({}, {"promoted": "True"}).doubt() == ""
    assert version({}).doubt() == "no judgement of it was recorded"
    assert version({"champion.promoted_at": "2026"}).doubt() == ""
    assert version({"champion.promoted_at": "2026"}).doubt(CHALLENGER) == "no judgement of it was recorded"
    told = version({"verdict": "not better", "verdict.reasons": "too few rows"}, {"promoted": "True"})
    assert told.doubt() == "its training judged it not better: too few rows"
    assert version({}, {"promoted": "False"}).better is False


@pytest.mark.slow
def test_rollback_returns_to_the_champion_before(registry: Registry, log_bundle: LogBundle) -> None:
    """Rolling back goes the line back one by one, does not come back to what was left, and ends with it."""
    for seed in range(3):
        log_bundle(registry, seed)
    with pytest.raises(RegistryRefused, match="no champion before"):
        registry.rollback()
    for version in ("1", "2", "3"):
        registry.promote(version, reason=f"reason {version}", by="ann")
    assert registry.rollback_target() == ("3", "2")
    assert registry.rollback(reason="complaints", by="bob") == ("3", "2")
    assert registry.version() == "2"
    assert registry.rollback() == ("2", "1")
    with pytest.raises(RegistryRefused, match="no champion before"):
        registry.rollback()
    registry.promote("3")
    assert registry.rollback() == ("3", "1")
    assert registry.version() == "1"


@pytest.mark.slow
def test_who_when_and_why_is_kept(registry: Registry, log_bundle: LogBundle) -> None:
    """A version's tags say what its training judged, and every promotion and demotion with its reason."""
    log_bundle(registry, 0)
    log_bundle(registry, 1, better=False)
    registry.promote("1", reason="first", by="ann")
    registry.promote("2", reason="asked\nfor", by="bob", forced=True)
    registry.promote("1", alias=CHALLENGER, reason="to be tried")
    one, two = registry.find("1"), registry.find(CHAMPION)
    assert (two.version, two.aliases, one.aliases) == ("2", (CHAMPION,), (CHALLENGER,))
    assert (one.better, two.better) == (True, False)
    assert one.tags["champion.promoted_at"] == "2026-01-01T00:00:00+00:00"
    assert (one.tags["champion.promoted_by"], one.tags["champion.reason"]) == ("ann", "first")
    assert (one.tags["champion.demoted_by"], one.tags["champion.demoted_reason"]) == ("bob", "asked for")
    assert (two.tags["champion.forced"], one.tags["champion.forced"]) == ("true", "false")
    assert two.metrics == {"refusal.log_loss": 0.29}
    assert [each.version for each in registry.versions()] == ["2", "1"]
    with pytest.raises(RegistryRefused, match="no version 9"):
        registry.find("9")


@pytest.mark.slow
def test_a_registry_signs_with_its_own_key(registry: Registry, log_bundle: LogBundle, tmp_path: Path) -> None:
    """What is logged is signed by the registry's own key, which its owner alone may read, no bundle holds."""
    log_bundle(registry)
    sealed = registry.sealed("1")
    assert registry.trusted().keys == {sealed.key}
    private = registry.folder / "keys" / PRIVATE_KEY
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert not list(sealed.folder.rglob("*.pem"))
    assert load_bundle(sealed.folder, verify=registry.trusted()).version == sealed.version
    stranger = TrustedKeys(frozenset({SigningKey.fresh().public_key}))
    with pytest.raises(BundleRefused, match="not trusted"):
        load_bundle(sealed.folder, verify=stranger)
    save_bundle(load_bundle(sealed.folder), tmp_path / "other", created_at="x")
    shutil.rmtree(sealed.folder)
    shutil.copytree(tmp_path / "other", sealed.folder)
    with pytest.raises(BundleRefused, match="not trusted"):
        registry.sealed("1")
    with pytest.raises(RegistryRefused, match="not trusted"):
        registry.verified_folder("1")


@pytest.mark.slow
def test_configured_keys_sign_and_verify(template: Path, log_bundle: LogBundle, tmp_path: Path) -> None:
    """With a signing key no other is made; who is configured with another verifying key refuses the model."""
    private, public = SigningKey.fresh().write(tmp_path / "ours")
    _, foreign = SigningKey.fresh().write(tmp_path / "theirs")
    folder = tmp_path / "registry"
    folder.mkdir()
    shutil.copy(template / DATABASE, folder)
    log_bundle(Registry(folder, signing_key=private))
    assert not (folder / "keys").exists()
    assert Registry(folder, verify_keys=[foreign, public]).sealed("1").version
    with pytest.raises(BundleRefused, match="not trusted"):
        Registry(folder, verify_keys=[foreign]).sealed("1")
    with pytest.raises(RegistryRefused, match="no key to verify with"):
        Registry(folder).sealed("1")


@pytest.mark.slow
def test_another_database_by_its_address(template: Path, log_bundle: LogBundle, tmp_path: Path) -> None:
    """With an address of its own, the store is there, and the folder holds keys and artifacts only."""
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(template / DATABASE, tmp_path / "elsewhere" / "models.db")
    uri = f"sqlite:///{tmp_path}/elsewhere/models.db"
    registry = Registry(tmp_path / "folder", uri=uri)
    registry.promote(log_bundle(registry).version)
    assert not (registry.folder / DATABASE).exists()
    again = Registry(tmp_path / "folder", uri=uri)
    assert load_bundle(again.verified_folder(), verify=again.trusted()).version
    with pytest.raises(RegistryRefused, match="absolute"):
        Registry(tmp_path, uri="sqlite:///mlflow.db")


@pytest.mark.slow
def test_a_server_that_is_away_is_said_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not answer is one line, in which no password of its address is."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = Registry(tmp_path, uri="http://ann:hunter2@127.0.0.1:9")
    with pytest.raises(RegistryRefused) as caught:
        registry.version()
    assert "does not answer" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.slow
def test_sync_brings_the_champion_over(registry: Registry, log_bundle: LogBundle, tmp_path: Path) -> None:
    """The directory follows the alias forth and back, and stays as it is where the champion is refused."""
    directory, followed = BundleDirectory(tmp_path / "served"), Followed(model=STEP_MODELS, alias=CHAMPION)
    first, second, third = (log_bundle(registry, seed) for seed in range(3))
    registry.promote(first.version)
    done = sync(registry, directory, followed, now=MADE)
    assert done is not None
    assert (done.number, done.changed, directory.current()) == ("1", True, done.version)
    assert sync(registry, directory, followed, now=MADE, known="1") is None
    registry.promote(second.version)
    newer = sync(registry, directory, followed, now=MADE, known="1")
    assert newer is not None
    assert directory.current() == newer.version != done.version
    (third.folder / "service.json").write_text("{}", "utf-8")
    registry.promote(third.version)
    with pytest.raises(BundleRefused, match=r"altered service\.json"):
        sync(registry, directory, followed, now=MADE, known="2")
    assert directory.current() == newer.version
    registry.rollback()
    registry.rollback()
    sync(registry, directory, followed, now=MADE, known="2")
    assert directory.current() == done.version
    aged = replace(followed, age_max_s=3_600.0)
    with pytest.raises(BundleRefused, match=r"24\.0 h old"):
        sync(registry, directory, aged, now=MADE + 86_400.0)
