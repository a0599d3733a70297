"""`sagacity models`: what it shows, what it refuses, and how it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sagacity_api.cli import main
from sagacity_api.cli.train_command import REGISTRY_FOLDER
from sagacity_models.base_rates import BaseRates, StepEvidence
from sagacity_models.bundle import Bundle, save_bundle
from sagacity_models.bundle_directory import BundleDirectory
from sagacity_models.encoding import FeatureEncoding
from sagacity_models.registry import STEP_MODELS, Registry
from sagacity_models.signing import PRIVATE_KEY, PUBLIC_KEY, SigningKey

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with three versions: judged better and promoted, better, and not better."""
    folder = tmp_path_factory.mktemp("stocked") / "registry"
    registry = Registry(folder)
    for number, better in enumerate((True, True, False)):
        evidence = {"trip/pay": StepEvidence(first_attempts=100, first_refusals=10 + number)}
        encoding = FeatureEncoding.from_json({"numbers": [["weekday", 3.0, 2.0]], "categories": []})
        bundle = Bundle(base=BaseRates.estimate(evidence), encoding=encoding, facts={"seed": number})
        made = tmp_path_factory.mktemp("made") / "bundle"
        version = save_bundle(bundle, made, created_at="2026-01-01T00:00:00+00:00")
        registry.log(
            "steps",
            params={"bundle": version},
            metrics={"step_failure.log_loss": 0.5 - number / 10, "step_failure.ece": 0.02},
            artifacts={"bundle": made},
            model=STEP_MODELS,
            model_artifact="bundle",
            better=better,
            reasons=() if better else ("its interval includes zero",),
        )
    registry.promote("1")
    return folder


@pytest.fixture
def registry(stocked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it, where the commands look for one unasked.

    MLflow keeps whole paths, so the copy's models are those of the original, which are put back afterwards.
    """
    monkeypatch.chdir(tmp_path)
    copied = Path(shutil.copytree(stocked, tmp_path / REGISTRY_FOLDER))
    yield copied
    shutil.rmtree(stocked / "artifacts")
    shutil.copytree(copied / "artifacts", stocked / "artifacts")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: object) -> tuple[int, str, str]:
        code = main.run(["models", *(str(argument) for argument in arguments)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


def artifact(registry: Path, version: str) -> Path:
    return Registry(registry).bundle_folder(version)


def test_list_shows_every_version(run: Run, registry: Path) -> None:
    """The latest is first; the alias and the training's judgement are beside each."""
    code, out, err = run("list")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["version", "3", "2", "1"]
    assert "not better" in out.splitlines()[1]
    assert "champion" in out.splitlines()[3]
    told = json.loads(run("list", "--json")[1])
    assert [each["better"] for each in told["versions"]] == [False, True, True]
    assert told["versions"][2]["aliases"] == ["champion"]
    assert json.loads(run("list", "--model", "sagacity-cases", "--json")[1])["versions"] == []


def test_show_tells_who_signed(run: Run, registry: Path) -> None:
    """Facts, files and figures are shown with the signing key; what would be refused exits with 3."""
    code, out, _ = run("show", "champion", "--json")
    told = json.loads(out)
    assert (code, told["version"], told["signature"]["valid"]) == (0, "1", True)
    assert told["files"].keys() == {
        "base_rates.json",
        "durations.json",
        "encoding.json",
        "golden.json",
        "request.json",
        "service.json",
    }
    assert told["features"] == ["weekday"]
    assert told["metrics"] == {"step_failure.ece": 0.02, "step_failure.log_loss": 0.5}
    assert "signed by the key" in run("show", "1")[1]
    (artifact(registry, "1") / "base_rates.json").write_text("{}", "utf-8")
    code, out, _ = run("show", "1")
    assert code == 3
    assert "not to be used" in out
    assert "altered base_rates.json" in out


def test_compare_is_task_by_task(run: Run, registry: Path) -> None:
    """The figures of two versions stand side by side under their task, with the difference."""
    code, out, _ = run("compare", "champion", "2", "--json")
    told = json.loads(out)
    assert (code, told["versions"]) == (0, ["1", "2"])
    figures = told["tasks"]["step_failure"]
    assert figures["ece"] == [0.02, 0.02, 0.0]
    assert figures["log_loss"] == [0.5, 0.4, pytest.approx(-0.1)]
    assert "log_loss" in run("compare", "1", "2")[1]


def test_promote_asks_for_a_verdict(run: Run, registry: Path) -> None:
    """What training judged better is promoted; else it is refused by 5, unless forced, with a note."""
    code, out, _ = run("promote", "2", "--reason", "looks good", "--by", "ann", "--json")
    assert (code, json.loads(out)) == (
        0,
        {"model": STEP_MODELS, "alias": "champion", "before": "1", "now": "2"},
    )
    code, out, err = run("promote", "3")
    assert (code, out) == (5, "")
    assert "its training judged it not better: its interval includes zero" in err
    assert Registry(registry).version() == "2"
    assert run("promote", "3", "--force", "--reason", "asked for", "--by", "bob")[0] == 0
    tags = Registry(registry).find("3").tags
    assert (tags["champion.promoted_by"], tags["champion.forced"]) == ("bob", "true")
    assert tags["champion.reason"].startswith("asked for (overruled: its training judged it not better")
    assert run("promote", "2", "--alias", "challenger")[0] == 0
    assert Registry(registry).version("challenger") == "2"


def test_rollback_takes_the_champion_back(run: Run, registry: Path) -> None:
    """Rollback names the version before again, and without one says so."""
    code, _, err = run("rollback")
    assert (code, "had no champion before" in err) == (2, True)
    run("promote", "2")
    code, out, _ = run("rollback", "--reason", "complaints")
    assert (code, out) == (0, "champion of sagacity-steps: version 1, before 2\n")
    assert Registry(registry).find("2").tags["champion.demoted_reason"] == "complaints"


def test_what_is_broken_is_not_promoted(run: Run, registry: Path) -> None:
    """A version that does not verify is neither promoted nor rolled back to, forced or not."""
    run("promote", "2")
    for version in ("1", "3"):
        (artifact(registry, version) / "encoding.json").write_text("{}", "utf-8")
    for arguments in (["rollback"], ["promote", "1"], ["promote", "3", "--force"]):
        code, out, err = run(*arguments)
        assert (code, out) == (1, "")
        assert "altered encoding.json" in err
    assert Registry(registry).version() == "2"


def test_sync_writes_what_a_service_reads(
    run: Run, registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The directory gets the champion's bundle and a pointer to it, which predict can then be given."""
    code, out, _ = run("sync", "--into", tmp_path / "served", "--json")
    told = json.loads(out)
    assert (code, told["version"], told["changed"]) == (0, "1", True)
    assert BundleDirectory(tmp_path / "served").current() == told["bundle"]
    assert json.loads(run("sync", "--into", tmp_path / "served", "--json")[1])["changed"] is False
    saga = tmp_path / "saga.json"
    saga.write_text(json.dumps({"saga": "trip", "steps": [{"name": "pay"}]}), encoding="utf-8")
    assert main.run(["predict", str(saga), "--bundle", str(tmp_path / "served"), "--json"]) == 0
    capsys.readouterr()
    (artifact(registry, "1") / "encoding.json").write_text("{}", "utf-8")
    code, out, err = run("sync", "--into", tmp_path / "served")
    assert (code, out) == (1, "")
    assert "altered encoding.json" in err
    assert BundleDirectory(tmp_path / "served").current() == told["bundle"]


def test_sync_keeps_looking_until_it_is_stopped(registry: Path, tmp_path: Path) -> None:
    """With --every it says one line per change, follows a promotion, and ends with 0 when it is stopped."""
    command = [sys.executable, "-m", "sagacity_api.cli.main", "models", "sync", "--json"]
    command += ["--registry", str(registry), "--into", str(tmp_path / "served"), "--every", "0.2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            first = json.loads(process.stdout.readline())
            Registry(registry).promote("2")
            second = json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert (first["version"], second["version"]) == ("1", "2")
    assert (process.returncode, err) == (0, "")
    assert BundleDirectory(tmp_path / "served").current() == second["bundle"]


def test_keygen_and_a_key_of_ones_own(
    run: Run, registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pair is made once, its private half never shown; what it did not sign is refused where it is set."""
    code, out, err = run("keygen", "--into", tmp_path / "keys")
    assert (code, err) == (0, "")
    secret = (tmp_path / "keys" / PRIVATE_KEY).read_text("utf-8")
    assert not any(line in out for line in secret.splitlines())
    code, _, err = run("keygen", "--into", tmp_path / "keys")
    assert (code, "holds a key already" in err) == (2, True)
    monkeypatch.setenv("SAGACITY_VERIFY_KEY", str(tmp_path / "keys" / PUBLIC_KEY))
    code, _, err = run("promote", "2")
    assert (code, "which is not trusted" in err) == (1, True)
    assert run("show", "2")[0] == 3
    _, own = SigningKey.fresh().write(tmp_path / "more")
    keys = (tmp_path / "keys" / PUBLIC_KEY, registry / "keys" / PUBLIC_KEY, own)
    monkeypatch.setenv("SAGACITY_VERIFY_KEY", os.pathsep.join(map(str, keys)))
    assert run("promote", "2")[0] == 0


def test_refusals_of_input(run: Run, registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown versions, aliases and places are refused by 2, a server that is away by 4."""
    for arguments in (
        ["show", "7"],
        ["show", "challenger"],
        ["promote", "1", "--alias", "boss"],
        ["list", "--registry", tmp_path / "nowhere"],
        ["sync", "--into", registry / "mlflow.db"],
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
    monkeypatch.setenv("SAGACITY_MLFLOW_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert run("list")[0] == 4


def test_a_service_takes_only_what_is_trusted(
    run: Run,
    registry: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Predict refuses a bundle by another key or past its age, once a key or an age is set."""
    run("sync", "--into", tmp_path / "served")
    saga = tmp_path / "saga.json"
    saga.write_text(json.dumps({"saga": "trip", "steps": [{"name": "pay"}]}), encoding="utf-8")
    ask = ["predict", str(saga), "--json"]
    assert main.run([*ask, "--bundle", str(tmp_path / "served")]) == 0
    assert main.run([*ask, "--registry", str(registry)]) == 0
    monkeypatch.setenv("SAGACITY_BUNDLE_AGE_MAX_DAYS", "1")
    capsys.readouterr()
    assert main.run([*ask, "--bundle", str(tmp_path / "served")]) == 2
    assert "h old, more than 24.0 h" in capsys.readouterr().err
    monkeypatch.delenv("SAGACITY_BUNDLE_AGE_MAX_DAYS")
    _, stranger = SigningKey.fresh().write(tmp_path / "keys")
    monkeypatch.setenv("SAGACITY_VERIFY_KEY", str(stranger))
    for source in (["--bundle", tmp_path / "served"], ["--registry", registry]):
        assert main.run([*ask, *map(str, source)]) == 2
        assert "not trusted" in capsys.readouterr().err
