"""Only what a trusted key signed is used, and a private key stays private."""

import json
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sagacity_models.bundle import Bundle, load_bundle, save_bundle
from sagacity_models.bundle_files import MANIFEST
from sagacity_models.errors import BundleRefused, KeyRefused
from sagacity_models.registry_keys import RegistryKeys
from sagacity_models.signing import (
    PRIVATE_KEY,
    PUBLIC_KEY,
    SIGNATURE,
    SigningKey,
    TrustedKeys,
    key_id,
    own_key,
    read_public_key,
    signature_text,
)

MADE = 1767225600.0
"""2026-01-01T00:00:00+00:00, when the saved bundle was made."""
DAY_S = 86_400.0


def refusal_of(folder: Path, trusted: TrustedKeys | None) -> str:
    with pytest.raises(BundleRefused) as caught:
        load_bundle(folder, verify=trusted)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_trusted_signature_is_accepted(folder: Path, trusted: TrustedKeys, bundle: Bundle) -> None:
    """The key that signed it, alone or among others, opens a bundle; so does no key at all."""
    rotated = TrustedKeys(trusted.keys | {SigningKey.fresh().public_key})
    for keys in (trusted, rotated, None):
        assert load_bundle(folder, verify=keys).version == bundle.version


def test_another_key_is_refused(bundle: Bundle, trusted: TrustedKeys, tmp_path: Path) -> None:
    """A whole, valid bundle signed by somebody else is refused, and the refusal names both keys."""
    stranger = SigningKey.fresh()
    save_bundle(bundle, tmp_path / "bundle", created_at="x", key=stranger)
    told = refusal_of(tmp_path / "bundle", trusted)
    assert f"signed by the key {key_id(stranger.public_key)}, which is not trusted" in told
    assert trusted.ids in told
    assert load_bundle(tmp_path / "bundle").version == bundle.version


def test_without_a_key_nobody_vouches(bundle: Bundle, trusted: TrustedKeys, tmp_path: Path) -> None:
    """Saved without a key, a bundle is signed all the same, each time by another key that nobody has."""
    for name in ("one", "two"):
        save_bundle(bundle, tmp_path / name, created_at="x")
        assert load_bundle(tmp_path / name).version == bundle.version
        assert "not trusted" in refusal_of(tmp_path / name, trusted)
    assert (tmp_path / "one" / SIGNATURE).read_text() != (tmp_path / "two" / SIGNATURE).read_text()


def test_unsigned_is_refused_everywhere(folder: Path, trusted: TrustedKeys) -> None:
    """Without its signature a folder is refused, whether keys are configured or not."""
    (folder / SIGNATURE).unlink()
    for keys in (None, trusted):
        assert "is not signed" in refusal_of(folder, keys)


def test_a_key_swapped_into_the_signature_is_refused(folder: Path, trusted: TrustedKeys) -> None:
    """The trusted key's name beside a stranger's signature does not make it one of his."""
    stranger = signature_text((folder / MANIFEST).read_bytes(), SigningKey.fresh()).splitlines()
    (own,) = trusted.keys
    (folder / SIGNATURE).write_text(f"{stranger[0]}\n{own.hex()}\n{stranger[2]}\n", "utf-8")
    assert "altered after it was signed" in refusal_of(folder, trusted)


def test_every_character_of_the_signature_counts(folder: Path) -> None:
    """No character of the signature file can change, be added or be left out, not even in its case."""
    path = folder / SIGNATURE
    text = path.read_text("utf-8")
    altered = [text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :] for place in range(len(text))]
    for other in (*altered, text.upper(), text + "\n", " " + text, text.replace("\n", "\r\n")):
        path.write_text(other, "utf-8", newline="")
        refusal_of(folder, None)


def test_a_signature_for_something_else_is_refused(folder: Path, key: SigningKey) -> None:
    """What the same key signed outside this protocol is no signature of a manifest."""
    head, public, _ = (folder / SIGNATURE).read_text("utf-8").splitlines()
    bare = key.sign((folder / MANIFEST).read_bytes()).hex()
    (folder / SIGNATURE).write_text(f"{head}\n{public}\n{bare}\n", "utf-8")
    assert "altered after it was signed" in refusal_of(folder, None)


def test_parts_of_two_signed_bundles_do_not_mix(
    bundle: Bundle, folder: Path, key: SigningKey, trusted: TrustedKeys, tmp_path: Path
) -> None:
    """Any file of one signed bundle in the folder of another is refused, signature and manifest too."""
    other = tmp_path / "other"
    base = replace(bundle.base.pooled, refusal=0.5)
    changed = replace(bundle, base=replace(bundle.base, pooled=base), facts={"seed": 6})
    save_bundle(changed, other, created_at="2026-02-01T00:00:00+00:00", key=key)
    assert load_bundle(other, verify=trusted).version != bundle.version
    for name in ("base_rates.json", "golden.json", MANIFEST, SIGNATURE):
        mixed = Path(shutil.copytree(folder, tmp_path / f"mixed-{name}"))
        shutil.copy(other / name, mixed / name)
        refusal_of(mixed, trusted)


@pytest.mark.parametrize("trained_until", [None, MADE - 3 * DAY_S, "2025-12-29T00:00:00+00:00"])
def test_too_old_is_refused(bundle: Bundle, tmp_path: Path, trained_until: object) -> None:
    """A bundle is as old as its data where it tells until when they went, else as old as itself."""
    facts = {} if trained_until is None else {"trained_until": trained_until}
    told = replace(bundle, facts=facts)
    save_bundle(told, tmp_path / "bundle", created_at="2026-01-01T00:00:00+00:00")
    age_s = DAY_S if trained_until is None else 4 * DAY_S
    now = MADE + DAY_S
    assert load_bundle(tmp_path / "bundle", age_max_s=age_s, now=now).version
    with pytest.raises(BundleRefused, match=f"{age_s / 3600:.1f} h old, more than"):
        load_bundle(tmp_path / "bundle", age_max_s=age_s - 1, now=now)


def test_an_age_that_nobody_tells_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """Where age matters, a bundle without a time, or with one of no place on earth, is refused."""
    for name, created_at in (("a", "x"), ("b", "2026-01-01T00:00:00")):
        save_bundle(bundle, tmp_path / name, created_at=created_at)
        assert load_bundle(tmp_path / name).version
        with pytest.raises(BundleRefused, match="how old"):
            load_bundle(tmp_path / name, age_max_s=DAY_S, now=MADE)
    with pytest.raises(ValueError, match="now"):
        load_bundle(tmp_path / "a", age_max_s=DAY_S)


def test_keys_are_written_once_and_read_back(tmp_path: Path) -> None:
    """A key pair is two files, the private one for its owner alone, and is never overwritten."""
    key = SigningKey.fresh()
    private, public = key.write(tmp_path / "keys")
    assert (private.name, public.name) == (PRIVATE_KEY, PUBLIC_KEY)
    assert private.stat().st_mode & 0o777 == 0o600
    assert public.stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert SigningKey.read(private).public_key == read_public_key(public) == key.public_key
    before = private.read_bytes()
    with pytest.raises(KeyRefused, match="holds a key already"):
        SigningKey.fresh().write(tmp_path / "keys")
    assert private.read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == [PRIVATE_KEY, PUBLIC_KEY]


def test_an_open_private_key_is_refused(tmp_path: Path) -> None:
    """A private key that others may read is not used, and the refusal says what to do."""
    private, _ = SigningKey.fresh().write(tmp_path)
    for mode in (0o640, 0o604, 0o660):
        private.chmod(mode)
        with pytest.raises(KeyRefused, match="chmod 600"):
            SigningKey.read(private)


def test_what_is_no_key_is_refused_without_its_content(tmp_path: Path) -> None:
    """Missing files, other keys and nonsense are refused in one line that quotes nothing of them."""
    other = generate_private_key(SECP256R1())
    files = {
        "nonsense": b"hunter2",
        "private": other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "public": other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    for name, read in product(["missing", *files], (SigningKey.read, read_public_key)):
        with pytest.raises(KeyRefused) as caught:
            read(tmp_path / name)
        told = str(caught.value)
        assert str(tmp_path / name) in told
        assert "\n" not in told
        assert not any(line in told for line in files.get(name, b"").decode().splitlines())


def test_a_signing_key_cannot_be_shown(tmp_path: Path) -> None:
    """Neither the text of a key object nor an error about its file holds any of the key."""
    key = SigningKey.fresh()
    private, _ = key.write(tmp_path)
    secret = private.read_text("utf-8").splitlines()[1]
    private.chmod(0o644)
    with pytest.raises(KeyRefused) as caught:
        SigningKey.read(private)
    for told in (repr(key), str(key), f"{key}", str(caught.value), json.dumps(vars(key), default=repr)):
        assert secret not in told


def test_no_trusted_key_at_all_is_a_mistake() -> None:
    """An empty list of trusted keys is refused: it must not come to mean that all are."""
    with pytest.raises(ValueError, match="no key at all"):
        TrustedKeys(frozenset())
    with pytest.raises(ValueError, match="no key at all"):
        TrustedKeys.read([])


def test_a_registry_makes_its_key_once(tmp_path: Path) -> None:
    """The registry's own key is made when it first signs, and is the one it verifies with."""
    keys = RegistryKeys(tmp_path / "keys")
    assert not keys.known()
    with pytest.raises(KeyRefused, match="no key to verify with"):
        keys.trusted()
    first = keys.signer().public_key
    assert keys.signer().public_key == own_key(tmp_path / "keys").public_key == first
    assert keys.trusted().keys == {first}


def test_configured_keys_come_first(tmp_path: Path) -> None:
    """Only a configured verifying key counts, if there is one; a signing key adds to the registry's own."""
    own, given, other = (SigningKey.fresh() for _ in range(3))
    own.write(tmp_path / "keys")
    private, _ = given.write(tmp_path / "given")
    _, public = other.write(tmp_path / "other")
    signing = RegistryKeys(tmp_path / "keys", signing=private)
    assert signing.signer().public_key == given.public_key
    assert signing.trusted().keys == {own.public_key, given.public_key}
    both = RegistryKeys(tmp_path / "keys", signing=private, verifying=(public,))
    assert both.trusted().keys == {other.public_key}
