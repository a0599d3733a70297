"""A bundle is tried in a child process first: whatever it does there, here it is refused in a line."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sagacity_models.bundle import Bundle, load_bundle, save_bundle
from sagacity_models.calibration import Isotonic, Platt
from sagacity_models.errors import BundleRefused
from sagacity_models.golden import GOLDEN, golden_text, refusal_of
from sagacity_models.probe import ProbeLimits
from sagacity_models.signing import SigningKey, TrustedKeys

Reseal = Callable[..., None]
Alter = Callable[[str], str]
MIB = 1024 * 1024
TREES = "service.lgb.txt"
BOMB = f'"bomb": [{"{}," * 4_000_000}0]'


def with_sizes(text: str) -> str:
    """The text with the sizes of its trees as they are now, which LightGBM reads them by."""
    trees = re.findall(r"Tree=\d+\n.*?\n\n\n", text, re.DOTALL)
    return re.sub(r"tree_sizes=.*", f"tree_sizes={' '.join(str(len(tree)) for tree in trees)}", text)


def first(pattern: str, put: str) -> Alter:
    return lambda text: with_sizes(re.sub(pattern, put, text, count=1))


CHILDREN = r"left_child=.*\nright_child=.*"
FAR = first(CHILDREN, "left_child=99999999\nright_child=99999999")
ENDLESS = first(CHILDREN, "left_child=0\nright_child=0")
MANY = first("num_leaves=2", "num_leaves=2000000000")


def altered(folder: Path, name: str, alter: Alter) -> None:
    text = (folder / name).read_text("utf-8")
    changed = alter(text)
    assert changed != text
    (folder / name).write_text(changed, "utf-8")


def test_forecasts_are_compared_number_by_number(bundle: Bundle) -> None:
    """Golden rows hold for the bundle that made them, and not for one whose forecasts moved by 0.0001."""
    text = golden_text(bundle)
    assert refusal_of(bundle, text) == ""
    assert golden_text(bundle) == text
    calibration = bundle.service.calibration
    assert isinstance(calibration, Platt)
    moved = replace(calibration, intercept=calibration.intercept + 1e-4)
    told = refusal_of(replace(bundle, service=replace(bundle.service, calibration=moved)), text)
    assert re.fullmatch(r"forecasts 0\.\d+ instead of 0\.\d+ for its golden rows \(service\)", told)


def test_golden_rows_cover_what_can_be_missing(bundle: Bundle) -> None:
    """The rows hold one of which nothing is known, known and unseen levels, and the steps with rates."""
    rows = json.loads(golden_text(bundle))["rows"]
    assert rows[0] == {}
    assert {"high", "low"} <= {row.get("context.season") for row in rows}
    assert {row.get("context.season") for row in rows} - {"high", "low", None} != set()
    assert {"trip/flight", "trip/hotel"} <= {row.get("step") for row in rows}
    numbers = [row["context.party"] for row in rows[1:]]
    assert min(numbers) < sum(numbers) / len(numbers) < max(numbers)


def test_golden_rows_of_other_models_are_refused(bundle: Bundle) -> None:
    """A bundle must have stored forecasts of every model that it holds, and of no other."""
    more = replace(bundle, calibrations={"trip": Isotonic((0.1, 0.9), (0.2, 0.8))})
    assert refusal_of(more, golden_text(bundle)) == "has golden rows of other models than it holds"
    assert refusal_of(more, golden_text(more)) == ""
    assert refusal_of(bundle, json.dumps({"rows": [], "forecasts": {}})) == "has no golden rows"


@pytest.mark.slow
def test_a_sound_bundle_passes(folder: Path, trusted: TrustedKeys, bundle: Bundle) -> None:
    """What was saved is read and forecast alike in a process with a bare environment and little memory."""
    limits = ProbeLimits(memory_bytes=1024 * MIB, processor_s=15)
    assert load_bundle(folder, verify=trusted, probe=limits).version == bundle.version


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "alter", "why"),
    [
        (TREES, FAR, r"crashed the process that tried it \(SIG"),
        (TREES, MANY, r"crashed the process that tried it \(SIG"),
        (TREES, ENDLESS, r"crashed the process that tried it \(SIG(XCPU|KILL)\)"),
        (TREES, first(r"leaf_value=\S+", "leaf_value=0.9"), r"forecasts 0\.\d+ instead of 0\.\d+"),
        (TREES, first(r"leaf_value=\S+", "leaf_value=1e400"), r"forecasts|cannot|LightGBM"),
        (TREES, lambda text: text[: len(text) // 2], r"crashed|cannot be read|cannot forecast"),
        ("base_rates.json", lambda text: text.replace('"pooled"', f"{BOMB}, \"pooled\""), "memory"),
        (GOLDEN, lambda text: text.replace("[\n", "[\n 7,\n", 1), "numbers instead of"),
        (GOLDEN, lambda _: "[" * 100_000, "golden rows|RecursionError"),
    ],
    ids=["crash", "abort", "endless", "other leaf", "infinite leaf", "half", "bomb", "golden", "nested"],
)  # fmt: skip
def test_what_a_broken_model_does_stays_in_the_child(
    *, folder: Path, reseal: Reseal, key: SigningKey, trusted: TrustedKeys, name: str, alter: Alter, why: str
) -> None:
    """Signed as it is, a model that crashes, hangs, fills memory or forecasts otherwise is a refusal."""
    altered(folder, name, alter)
    reseal(folder, key)
    limits = ProbeLimits(memory_bytes=450 * MIB, processor_s=3 if alter is ENDLESS else 15)
    with pytest.raises(BundleRefused, match=why) as caught:
        load_bundle(folder, verify=trusted, probe=limits)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.slow
def test_the_crash_is_real(folder: Path, reseal: Reseal, key: SigningKey) -> None:
    """Without a probe the same text ends the process that reads it, which is why there is one."""
    altered(folder, TREES, FAR)
    reseal(folder, key)
    script = (
        "import sys\n"
        "from sagacity_models.bundle import load_bundle\n"
        "from sagacity_models.probe_child import NOT_NEEDED\n"
        "sys.modules.update(dict.fromkeys(NOT_NEEDED))\n"
        "bundle = load_bundle(sys.argv[1])\n"
        "print('read', flush=True)\n"
        "bundle.service.boosted.scores([[0.0] * 3])\n"
        "print('used', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, check=False)
    assert (done.stdout, done.returncode) == (b"read\n", -signal.SIGSEGV)


@pytest.mark.slow
def test_a_child_that_takes_too_long_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time the child is killed, and nothing of it is left."""
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def watched(*given: object, **options: object) -> subprocess.Popen[bytes]:
        started.append(start(*given, **options))  # type: ignore[call-overload]  # as it was called
        return started[-1]

    monkeypatch.setattr("sagacity_models.probe.subprocess.Popen", watched)
    with pytest.raises(BundleRefused, match=r"not read within 0\.01 s"):
        load_bundle(folder, probe=ProbeLimits(timeout_s=0.01))
    (child,) = started
    assert child.returncode == -signal.SIGKILL
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)


@pytest.mark.slow
def test_the_child_learns_nothing_of_the_environment(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings of this process, such as where its keys are, do not reach the process that tries a bundle."""
    seen: list[dict[str, str]] = []
    start = subprocess.Popen

    def watched(*given: object, **options: object) -> object:
        seen.append(dict(options["env"]))  # type: ignore[call-overload]  # it is a mapping of texts
        return start(*given, **options)  # type: ignore[call-overload]  # as it was called

    monkeypatch.setenv("SAGACITY_SIGNING_KEY", "/keys/signing-key.pem")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setattr("sagacity_models.probe.subprocess.Popen", watched)
    save_bundle(bundle, tmp_path / "bundle", created_at="x")
    assert load_bundle(tmp_path / "bundle", probe=ProbeLimits()).version == bundle.version
    (environment,) = seen
    assert not {"SAGACITY_SIGNING_KEY", "AWS_SECRET_ACCESS_KEY", "HOME"} & set(environment)
