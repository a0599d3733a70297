"""A bundle is exactly what was saved, or it is refused in one line before any of it is parsed."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sagacity_engine import Saga
from sagacity_models.bundle import Bundle, load_bundle, save_bundle
from sagacity_models.bundle_files import MANIFEST, canonical, seal_folder, write_folder
from sagacity_models.encoding import FeatureEncoding
from sagacity_models.errors import BundleRefused
from sagacity_models.forecaster import BundleForecaster, FeatureSource
from sagacity_models.manifest import BYTES_MAX, FILE_BYTES_MAX, FILES_MAX, digest
from sagacity_models.signing import SIGNATURE, SigningKey, signature_text
from sagacity_models.step_models import Recipe, RefusalModel

Reseal = Callable[..., None]
FILES = (
    "base_rates.json",
    "duration_median.lgb.txt",
    "duration_p90.lgb.txt",
    "durations.json",
    "encoding.json",
    "golden.json",
    MANIFEST,
    SIGNATURE,
    "request.json",
    "request.lgb.txt",
    "service.json",
    "service.lgb.txt",
)


def refusal_of(folder: Path) -> str:
    with pytest.raises(BundleRefused) as caught:
        load_bundle(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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
    """A file that ends early or is not there is named in the refusal, or what was signed does not fit."""
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-10])
    short = {MANIFEST: "altered after it was signed", SIGNATURE: "altered signature"}
    assert short.get(name, name) in refusal_of(folder)
    (folder / name).unlink()
    assert ("is not signed" if name == SIGNATURE else name) in refusal_of(folder)


def test_an_extra_file_is_refused(folder: Path) -> None:
    """A file that the manifest does not list is refused by name."""
    (folder / "notes.txt").write_text("hello", "utf-8")
    assert "'notes.txt'" in refusal_of(folder)


def test_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    """Files are not followed elsewhere, even where the content is the same."""
    (folder / "service.json").rename(tmp_path / "service.json")
    (folder / "service.json").symlink_to(tmp_path / "service.json")
    assert "service.json" in refusal_of(folder)


def test_a_pipe_is_refused(folder: Path) -> None:
    """What is no regular file is not waited for."""
    (folder / "service.json").unlink()
    os.mkfifo(folder / "service.json")
    assert "service.json" in refusal_of(folder)


def test_an_oversized_file_is_refused(folder: Path) -> None:
    """A file longer than the manifest says is never read to its end."""
    with (folder / "service.lgb.txt").open("ab") as stream:
        stream.truncate(FILE_BYTES_MAX * 4)
    assert "longer than" in refusal_of(folder)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"a.txt": {"sha256": "", "size": FILE_BYTES_MAX + 1}}, "more than 33554432 bytes"),
        ({f"{n}.txt": {"sha256": "", "size": FILE_BYTES_MAX} for n in range(9)}, f"more than {BYTES_MAX}"),
        ({f"{n}.txt": {"sha256": "", "size": 0} for n in range(FILES_MAX + 1)}, f"between 1 and {FILES_MAX}"),
        ({"../a.txt": {"sha256": "", "size": 0}}, "no name for a file"),
        ({"manifest.sig": {"sha256": "", "size": 0}}, "no name for a file"),
        ({"a.txt": {"sha256": "", "size": True}}, "more than"),
        ({"a.txt": 7}, "more than"),
    ],
)
def test_what_a_manifest_may_not_list(folder: Path, key: SigningKey, files: object, why: str) -> None:
    """Even a signed manifest lists neither too much, nor a place outside the folder, nor nonsense."""
    sealed = json.loads((folder / MANIFEST).read_text("utf-8")) | {"files": files}
    sealed.pop("manifest_sha256")
    text = canonical(sealed | {"manifest_sha256": digest(canonical(sealed))})
    (folder / MANIFEST).write_text(text, "utf-8")
    (folder / SIGNATURE).write_text(signature_text(text.encode(), key), "utf-8")
    assert why in refusal_of(folder)


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
def test_nonsense_is_refused(
    *, folder: Path, reseal: Reseal, key: SigningKey, name: str, before: str, after: str, why: str
) -> None:
    """Content that fits its manifest and signature but makes no sense is refused with the reason."""
    path = folder / name
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), "utf-8")
    reseal(folder, key)
    assert why in refusal_of(folder)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"schema_version": 3}, "schema version 3, this is a reader of 2"),
        ({"schema_version": 1}, "from before bundles were signed; train again"),
        ({"schema_version": "2"}, "altered manifest"),
        ({"kind": "texts"}, "of kind 'texts'"),
        ({"dataset_schema_version": 1}, "rows of schema version 1"),
        ({"libraries": {"lightgbm": "99.1.0"}}, "LightGBM 99.1.0"),
    ],
)
def test_other_versions_are_refused(
    folder: Path, reseal: Reseal, key: SigningKey, facts: dict[str, object], why: str
) -> None:
    """A bundle of another program says so and how to go on, instead of looking damaged."""
    reseal(folder, key, **facts)
    assert why in refusal_of(folder)


def test_an_old_folder_says_train_again(folder: Path) -> None:
    """A folder of the first layout had no signature, and its refusal tells the age, not the signature."""
    manifest = json.loads((folder / MANIFEST).read_text("utf-8")) | {"schema_version": 1}
    (folder / MANIFEST).write_text(canonical(manifest), "utf-8")
    (folder / SIGNATURE).unlink()
    assert refusal_of(folder).endswith("from before bundles were signed; train again")


def test_a_misfit_is_not_saved(bundle: Bundle, tmp_path: Path) -> None:
    """A bundle that could not forecast is refused when it is saved, and leaves no folder."""
    narrow = FeatureEncoding(bundle.encoding.numbers, ())
    misfits = {
        "recipe for service": replace(bundle, service=RefusalModel(Recipe.BOOSTED)),
        "other features": replace(bundle, encoding=narrow),
    }
    for why, misfit in misfits.items():
        with pytest.raises(BundleRefused, match=why):
            save_bundle(misfit, tmp_path / "bundle", created_at="x")
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_without_its_model_is_refused(folder: Path, reseal: Reseal, key: SigningKey) -> None:
    """A signed bundle whose recipe needs trees that it does not list cannot be loaded."""
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    (folder / "service.lgb.txt").unlink()
    files = {name: facts for name, facts in manifest["files"].items() if name != "service.lgb.txt"}
    reseal(folder, key, files=files)
    assert "recipe for service" in refusal_of(folder)


def test_a_stray_part_is_refused(folder: Path, reseal: Reseal, key: SigningKey) -> None:
    """A listed and signed file that no part reads is not passed over."""
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    (folder / "spare.json").write_text("{}", "utf-8")
    reseal(folder, key, files=manifest["files"] | {"spare.json": {}})
    assert "no part of a bundle reads spare.json" in refusal_of(folder)


def test_another_bundle_is_not_overwritten(bundle: Bundle, folder: Path) -> None:
    """Saving again to the same place is harmless; saving another bundle there is refused."""
    assert save_bundle(bundle, folder, created_at="later") == bundle.version
    with pytest.raises(BundleRefused, match="another bundle"):
        save_bundle(replace(bundle, facts={"seed": 7}), folder, created_at="later")
    assert load_bundle(folder).created_at == "2026-01-01T00:00:00+00:00"


def test_nothing_is_left_of_a_failed_save(tmp_path: Path) -> None:
    """A file that cannot be written leaves no folder behind."""
    with pytest.raises(FileNotFoundError):
        write_folder(tmp_path / "bundle", {"no/such.json": "{}"}, {}, "x", signer=SigningKey.fresh())
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """No folder, no bundle, one line."""
    assert MANIFEST in refusal_of(tmp_path / "nowhere")


def test_any_folder_of_texts_can_be_sealed(tmp_path: Path, key: SigningKey) -> None:
    """A folder of texts without a manifest gets one, signed; with one, it must fit before it is signed."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.json").write_text("{}", "utf-8")
    sealed = seal_folder(model, key, facts={"kind": "texts"}, created_at="2026-01-01T00:00:00+00:00")
    assert (dict(sealed.texts), sealed.key) == ({"model.json": "{}"}, key.public_key)
    (model / "model.json").write_text("[]", "utf-8")
    with pytest.raises(BundleRefused, match=r"altered model\.json"):
        seal_folder(model, key, facts={}, created_at="x")
