"""The bundle that is served changes whole or not at all, and a bad one leaves the good one where it is."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sagacity_models.bundle import Bundle, opened, save_bundle
from sagacity_models.bundle_directory import BUNDLES, POINTER, BundleDirectory
from sagacity_models.bundle_files import MANIFEST, SealedFolder, read_folder
from sagacity_models.errors import BundleRefused
from sagacity_models.probe import ProbeLimits
from sagacity_models.served_bundle import ServedBundle
from sagacity_models.signing import SIGNATURE, SigningKey, TrustedKeys
from sagacity_models.step_models import Cause, RefusalModel

MADE = 1767225600.0
"""2026-01-01T00:00:00+00:00, when the bundles were made."""
DAY_S = 86_400.0
Make = Callable[..., SealedFolder]


@pytest.fixture
def make(bundle: Bundle, key: SigningKey, tmp_path: Path) -> Make:
    """Signed bundles of base rates, quick to try, that differ in a fact; read back and verified."""
    plain = replace(bundle, service=RefusalModel(), request=RefusalModel(cause=Cause.REQUEST))
    plain = replace(plain, durations=type(bundle.durations)())

    def made(seed: int, created_at: str = "2026-01-01T00:00:00+00:00") -> SealedFolder:
        folder = tmp_path / f"made-{seed}"
        save_bundle(replace(plain, facts={"seed": seed}), folder, created_at=created_at, key=key)
        return read_folder(folder)

    return made


@pytest.fixture
def directory(tmp_path: Path) -> BundleDirectory:
    (tmp_path / "served").mkdir()
    return BundleDirectory(tmp_path / "served")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the child process out, where a test is about what comes before and after it."""
    from sagacity_models import served_bundle

    def quick(sealed: SealedFolder, *, age_max_s: float | None, now: float | None, probe: object) -> Bundle:
        assert isinstance(probe, ProbeLimits)
        return opened(sealed, age_max_s=age_max_s, now=now)

    monkeypatch.setattr(served_bundle, "opened", quick)


def test_a_published_bundle_is_the_verified_one(
    make: Make, directory: BundleDirectory, trusted: TrustedKeys
) -> None:
    """What is published is byte for byte what was read and verified, under its own version."""
    sealed = make(1)
    assert directory.publish(sealed, trusted)
    assert directory.current() == sealed.version
    folder = directory.folder(sealed.version)
    for path in sealed.folder.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert names(directory.path) == [BUNDLES, POINTER]
    assert not directory.publish(sealed, trusted)


def test_a_damaged_copy_is_replaced(make: Make, directory: BundleDirectory, trusted: TrustedKeys) -> None:
    """Publishing a version whose folder was damaged since puts the sound one in its place."""
    sealed = make(1)
    directory.publish(sealed, trusted)
    (directory.folder(sealed.version) / MANIFEST).write_text("{}", "utf-8")
    assert directory.publish(sealed, trusted)
    assert directory.read(directory.current(), trusted).version == sealed.version


def test_the_latest_bundles_stay(make: Make, directory: BundleDirectory, trusted: TrustedKeys) -> None:
    """Only so many bundles are kept, and always the one that the pointer names."""
    versions = []
    for seed in range(4):
        sealed = make(seed)
        directory.publish(sealed, trusted, kept=2)
        versions.append(sealed.version)
        os.utime(directory.folder(sealed.version), (MADE + seed, MADE + seed))
    assert names(directory.path / BUNDLES) == sorted(versions[2:])
    directory.publish(read_folder(directory.folder(versions[2])), trusted, kept=1)
    assert names(directory.path / BUNDLES) == [versions[2]]


@pytest.mark.slow
def test_a_new_bundle_is_tried_and_swapped(
    make: Make, directory: BundleDirectory, saved: Path, trusted: TrustedKeys
) -> None:
    """The pointer is followed from nothing to a bundle with trees, by way of the child process."""
    served = ServedBundle(directory.path, verify=trusted, retry_s=0)
    assert (served.refresh(), served.current(), served.state.refusals) == (False, None, 1)
    sealed = read_folder(saved, trusted)
    directory.publish(sealed, trusted)
    assert served.refresh()
    current = served.current()
    assert current is not None
    assert current.version == served.state.version == sealed.version
    assert current.service.boosted is not None
    assert not served.refresh()
    assert (served.state.swaps, served.state.refusals) == (1, 1)


def broken(folder: Path, how: str, tmp_path: Path, key: SigningKey) -> None:
    """Break the bundle in `folder` in one of many ways."""
    file = folder / "base_rates.json"
    match how:
        case "truncated":
            file.write_bytes(file.read_bytes()[:-1])
        case "flipped":
            file.write_bytes(file.read_bytes()[:-2] + b"]\n")
        case "missing":
            file.unlink()
        case "extra":
            (folder / "extra.json").write_text("{}", "utf-8")
        case "link":
            file.rename(tmp_path / "elsewhere.json")
            file.symlink_to(tmp_path / "elsewhere.json")
        case "huge":
            os.truncate(file, 1 << 40)
        case "unsigned":
            (folder / SIGNATURE).unlink()
        case "emptied":
            shutil.rmtree(folder)
        case _:
            shutil.rmtree(folder)
            folder.write_text("a file", "utf-8")


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize(
    "how",
    ["truncated", "flipped", "missing", "extra", "link", "huge", "unsigned", "emptied", "unreadable"],
)
def test_a_bad_bundle_leaves_the_old_one(
    *, make: Make, directory: BundleDirectory, trusted: TrustedKeys, key: SigningKey, tmp_path: Path, how: str
) -> None:
    """Whatever is wrong with the new bundle, it is refused in one line and the old one answers on."""
    old, new = make(1), make(2)
    served = ServedBundle(directory.path, verify=trusted)
    directory.publish(old, trusted)
    assert served.refresh()
    before = served.current()
    directory.publish(new, trusted)
    broken(directory.folder(new.version), how, tmp_path, key)
    assert not served.refresh()
    assert served.current() is before
    assert (served.state.refusals, served.state.version) == (1, old.version)
    assert "\n" not in served.state.refusal
    assert new.version in served.state.refusal


@pytest.mark.usefixtures("untried")
def test_strangers_and_the_aged_are_refused(
    bundle: Bundle, make: Make, directory: BundleDirectory, trusted: TrustedKeys, tmp_path: Path
) -> None:
    """A bundle by another key, one past its age, and one in another's folder are not swapped in."""
    clock = Clock(MADE)
    served = ServedBundle(directory.path, verify=trusted, age_max_s=DAY_S, clock=clock, retry_s=0)
    good = make(1)
    directory.publish(good, trusted)
    assert served.refresh()

    save_bundle(replace(bundle, facts={"seed": 9}), tmp_path / "strange", created_at="2026-01-01T00:00:00Z")
    directory.publish(read_folder(tmp_path / "strange"))
    assert not served.refresh()
    assert "not trusted" in served.state.refusal

    directory.publish(make(2, created_at="2025-12-30T00:00:00+00:00"), trusted)
    assert not served.refresh()
    assert "48.0 h old, more than 24.0 h" in served.state.refusal

    other = make(3)
    directory.publish(other, trusted)
    shutil.rmtree(directory.folder(other.version))
    shutil.copytree(directory.folder(good.version), directory.folder(other.version))
    assert not served.refresh()
    assert "not what its folder is named for" in served.state.refusal
    assert (served.state.version, served.state.swaps, served.state.refusals) == (good.version, 1, 3)


@pytest.mark.usefixtures("untried")
def test_an_old_pointer_reaches_no_further_than_age(
    make: Make, directory: BundleDirectory, trusted: TrustedKeys
) -> None:
    """A pointer put back names a bundle that was signed and is young enough, or is refused."""
    clock = Clock(MADE)
    served = ServedBundle(directory.path, verify=trusted, age_max_s=2 * DAY_S, clock=clock, retry_s=0)
    old, new = make(1), make(2, created_at="2026-01-02T00:00:00+00:00")
    directory.publish(old, trusted)
    kept = directory.pointer.read_bytes()
    directory.publish(new, trusted)
    assert served.refresh()
    directory.pointer.write_bytes(kept)
    assert served.refresh(), "going back to a bundle that is young enough is what a rollback does"
    directory.publish(new, trusted)
    assert served.refresh()
    clock.at = MADE + 2.5 * DAY_S
    directory.pointer.write_bytes(kept)
    assert not served.refresh()
    assert "h old" in served.state.refusal
    assert served.state.version == new.version


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize(
    "pointer", [b"", b"../../etc\n", b"0" * 16 + b"/\n", b"0" * 63, b"\xff\xfe", b"0123456789ABCDEF\n"]
)
def test_a_pointer_to_nowhere_is_refused(
    make: Make, directory: BundleDirectory, trusted: TrustedKeys, pointer: bytes
) -> None:
    """A pointer that names no version leads out of the directory as little as anywhere else."""
    served = ServedBundle(directory.path, verify=trusted)
    good = make(1)
    directory.publish(good, trusted)
    assert served.refresh()
    directory.pointer.write_bytes(pointer)
    assert not served.refresh()
    assert "pointer" in served.state.refusal
    assert served.state.version == good.version


@pytest.mark.usefixtures("untried")
def test_a_refused_bundle_is_not_tried_at_every_look(
    make: Make, directory: BundleDirectory, trusted: TrustedKeys
) -> None:
    """One refusal holds until the pointer is written anew or the time to retry has come."""
    clock = Clock(MADE)
    served = ServedBundle(directory.path, verify=trusted, clock=clock, retry_s=60.0)
    good = make(1)
    directory.publish(good, trusted)
    broken_one = directory.folder(good.version) / "base_rates.json"
    text = broken_one.read_bytes()
    broken_one.write_bytes(b"{}")
    for _ in range(3):
        assert not served.refresh()
    assert served.state.refusals == 1
    broken_one.write_bytes(text)
    assert not served.refresh()
    clock.at += 61.0
    assert served.refresh()
    assert served.state.refusals == 1


def test_a_machine_without_resources_keeps_the_old_one(
    *, make: Make, directory: BundleDirectory, trusted: TrustedKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no child can be started, nothing is raised and nothing is swapped."""

    def refused(*given: object, **options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("sagacity_models.probe.subprocess.Popen", refused)
    served = ServedBundle(directory.path, verify=trusted)
    directory.publish(make(1), trusted)
    assert not served.refresh()
    assert served.current() is None
    assert "Resource temporarily unavailable" in served.state.refusal


@pytest.mark.usefixtures("untried")
def test_the_served_bundle_knows_its_age(
    make: Make, directory: BundleDirectory, trusted: TrustedKeys
) -> None:
    """A bundle that ages while it is served says so, and stays until there is another."""
    clock = Clock(MADE)
    served = ServedBundle(directory.path, verify=trusted, age_max_s=DAY_S, clock=clock)
    assert not served.outdated()
    directory.publish(make(1), trusted)
    assert served.refresh()
    assert not served.outdated()
    clock.at = MADE + 2 * DAY_S
    assert served.outdated()
    assert served.current() is not None


def test_a_directory_without_a_pointer_is_refused(directory: BundleDirectory) -> None:
    """Without a pointer one line says which command writes it."""
    with pytest.raises(BundleRefused, match="run `sagacity models sync`"):
        directory.current()
