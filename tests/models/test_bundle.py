"""A bundle is exactly what was saved, or it is refused in one line before any of it is parsed."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagacity_engine import Saga
from sagacity_models.bundle import Bundle, load_bundle, save_bundle
from sagacity_models.bundle_files import FILE_BYTES_MAX, MANIFEST, canonical, write_folder
from sagacity_models.encoding import FeatureEncoding
from sagacity_models.errors import BundleRefused
from sagacity_models.forecaster import BundleForecaster, FeatureSource
from sagacity_models.step_models import Recipe, RefusalModel

FILES = (
    "base_rates.json",
    "duration_median.lgb.txt",
    "duration_p90.lgb.txt",
    "durations.json",
    "encoding.json",
    MANIFEST,
    "request.json",
    "request.lgb.txt",
    "service.json",
    "service.lgb.txt",
)


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    save_bundle(bundle, tmp_path / "bundle", created_at="2026-01-01T00:00:00+00:00")
    return tmp_path / "bundle"


def refusal_of(folder: Path) -> str:
    with pytest.raises(BundleRefused) as caught:
        load_bundle(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def reseal(folder: Path, **changes: Any) -> None:
    """Write a manifest that fits the files and itself, as a later program or a forger could."""
    manifest = json.loads((folder / MANIFEST).read_text("utf-8")) | changes
    manifest.pop("manifest_sha256")
    for name in manifest["files"]:
        content = (folder / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    manifest["manifest_sha256"] = hashlib.sha256(canonical(manifest).encode()).hexdigest()
    (folder / MANIFEST).write_text(canonical(manifest), "utf-8")


def test_comes_back_as_it_was(bundle: Bundle, folder: Path, saga: Saga, features: FeatureSource) -> None:
    """A loaded bundle forecasts exactly what the saved one did, under the same version."""
    loaded = load_bundle(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert (loaded.version, loaded.created_at) == (bundle.version, "2026-01-01T00:00:00+00:00")
    context: dict[str, str | float | bool] = {"party": 5.0, "season": "high"}
    ours, theirs = (
        BundleForecaster(each, features).forecast(saga, context, 0.0) for each in (bundle, loaded)
    )
    assert ours == theirs


def test_version_ignores_the_time_only(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    """The version is the same whenever it is saved, also after loading, and another for other content."""
    again = save_bundle(load_bundle(folder), tmp_path / "again", created_at="2027-01-01T00:00:00+00:00")
    other = save_bundle(replace(bundle, facts={"seed": 6}), tmp_path / "other", created_at="x")
    assert again == bundle.version
    assert other != bundle.version


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_refused(folder: Path, name: str) -> None:
    """Whichever byte of a file is changed, the bundle is refused; nothing is parsed, so nothing crashes."""
    path = folder / name
    content = path.read_bytes()
    for place in {0, len(content) // 3, len(content) // 2, len(content) - 1}:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        refusal_of(folder)
    path.write_bytes(content)
    assert load_bundle(folder).version


def test_every_byte_of_the_manifest_counts(folder: Path) -> None:
    """The manifest vouches for itself: no single byte of it can change, not even its white space."""
    path = folder / MANIFEST
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        refusal_of(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_truncated_file_is_refused(folder: Path, name: str) -> None:
    """A file that ends early or is not there is named in the refusal."""
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-10])
    assert "manifest" in refusal_of(folder) or name in refusal_of(folder)
    (folder / name).unlink()
    assert name in refusal_of(folder)


def test_an_extra_file_is_refused(folder: Path) -> None:
    """A file that the manifest does not list is refused by name."""
    (folder / "notes.txt").write_text("hello", "utf-8")
    assert "'notes.txt'" in refusal_of(folder)


def test_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    """Files are not followed elsewhere, even where the content is the same."""
    (folder / "service.json").rename(tmp_path / "service.json")
    (folder / "service.json").symlink_to(tmp_path / "service.json")
    assert "service.json" in refusal_of(folder)


def test_an_oversized_file_is_refused(folder: Path) -> None:
    """A file longer than the manifest says is never read to its end, and none may be listed as huge."""
    with (folder / "service.lgb.txt").open("ab") as stream:
        stream.truncate(FILE_BYTES_MAX * 4)
    assert "longer than" in refusal_of(folder)
    reseal_sizes = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
    assert all(facts["size"] < FILE_BYTES_MAX for facts in reseal_sizes.values())


@pytest.mark.parametrize(
    ("name", "before", "after", "why"),
    [
        ("base_rates.json", '"refusal": ', '"refusal": NaN, "was": ', "NaN"),
        ("base_rates.json", '"refusal": ', '"refusal": 1e999, "was": ', "not finite"),
        ("service.json", '"recipe": "mean"', '"recipe": "guess"', "guess"),
        ("service.json", '"kind": "platt"', '"kind": "magic"', "magic"),
        ("service.lgb.txt", "leaf_value=", "leaf_value=nan ", "no finite number"),
        ("service.lgb.txt", "tree\n", "bush\n", "not the text"),
        ("encoding.json", '"context.party"', '"context.guests"', "other features"),
    ],
)
def test_nonsense_is_refused(folder: Path, name: str, before: str, after: str, why: str) -> None:
    """Content that fits its manifest but makes no sense is refused with the reason."""
    path = folder / name
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), "utf-8")
    reseal(folder)
    assert why in refusal_of(folder)


def test_a_newer_schema_is_refused(folder: Path) -> None:
    """A bundle of a later program says so and how to go on, instead of looking damaged."""
    reseal(folder, schema_version=2)
    assert "schema version 2" in refusal_of(folder)


def test_a_recipe_without_its_model_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """A bundle whose recipe needs trees it does not hold cannot be loaded."""
    save_bundle(replace(bundle, service=RefusalModel(Recipe.BOOSTED)), tmp_path / "bundle", created_at="x")
    assert "recipe for service" in refusal_of(tmp_path / "bundle")


def test_models_for_other_columns_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    """An encoding with fewer columns than the models were trained on is a misfit."""
    narrow = FeatureEncoding(bundle.encoding.numbers, ())
    save_bundle(replace(bundle, encoding=narrow), tmp_path / "bundle", created_at="x")
    assert "other features" in refusal_of(tmp_path / "bundle")


def test_another_bundle_is_not_overwritten(bundle: Bundle, folder: Path) -> None:
    """Saving again to the same place is harmless; saving another bundle there is refused."""
    assert save_bundle(bundle, folder, created_at="later") == bundle.version
    with pytest.raises(BundleRefused, match="another bundle"):
        save_bundle(replace(bundle, facts={"seed": 7}), folder, created_at="later")
    assert load_bundle(folder).created_at == "2026-01-01T00:00:00+00:00"


def test_nothing_is_left_of_a_failed_save(tmp_path: Path) -> None:
    """A file that cannot be written leaves no folder behind."""
    with pytest.raises(FileNotFoundError):
        write_folder(tmp_path / "bundle", {"no/such.json": "{}"}, {}, "x")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """No folder, no bundle, one line."""
    assert MANIFEST in refusal_of(tmp_path / "nowhere")
