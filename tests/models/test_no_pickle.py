"""Nothing of a model is ever unpickled: saving, loading and trying one work where unpickling is forbidden.

That no source of ours imports pickle, or anything built on it, is tested with the house's rules. Here every
way into the standard library's pickle is shut before a bundle is trained, saved, loaded and forecast with.
What stays open is what runs before: the imports themselves.
"""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SHUT = """
import _pickle, pickle, shelve
import lightgbm, numpy

def shut(*given, **options):
    raise SystemExit("something was unpickled")

class Shut:
    def __init__(self, *given, **options):
        shut()

for module in (pickle, _pickle):
    module.load = module.loads = shut
    module.Unpickler = Shut
pickle._load = pickle._loads = shut
pickle._Unpickler = Shut
shelve.open = shut
try:
    pickle.loads(pickle.dumps(7))
except SystemExit:
    pass
else:
    raise SystemExit("pickle is still open")
"""

TRAIN = """
from sagacity_data import AttemptOutcome, AttemptRow
from sagacity_engine import Direction, FailureClass, Kind
from sagacity_models.bundle import load_bundle, save_bundle
from sagacity_models.golden import golden_text
from sagacity_models.probe import ProbeLimits
from sagacity_models.signing import SigningKey, TrustedKeys
from sagacity_models.step_models import Recipe
from sagacity_training.train import fit_bundle

def row(number):
    at, rush = 1.76e9 + 600.0 * number, number * 7 % 10 < 5
    fails = rush and number % 3 > 0
    return AttemptRow(
        run_id=f"run-{number:04}", saga="errand", definition_hash="", step="ask", service="ask", region="",
        kind=Kind.COMPENSATABLE, direction=Direction.FORWARD, attempt=1, position=0, steps_done=0,
        in_flight=0, scheduled_at=at, started_at=at, timeout_s=10.0, maximum_attempts=3,
        ended_at=at + 1 + number % 7 / 10,
        outcome=AttemptOutcome.FAILED if fails else AttemptOutcome.SUCCEEDED,
        error_type="Busy" if fails else "", failure_class=FailureClass.TRANSIENT if fails else None,
        launch_at=at, arm="author", propensity=1.0, fallback=False, advice_id="", model_version="",
        context={"rush": rush}, features={"context.rush": float(rush), "weekday": float(number % 7)},
    )

bundle = fit_bundle([row(number) for number in range(1500)], seed=1, at=1.77e9).model
assert bundle.service.recipe is not Recipe.BASE, bundle.service.recipe
SigningKey.fresh().write(folder / "keys")
key = SigningKey.read(folder / "keys" / "signing-key.pem")
trusted = TrustedKeys.read([folder / "keys" / "verify-key.pem"])
save_bundle(bundle, folder / "bundle", created_at="x", key=key)
loaded = load_bundle(folder / "bundle", verify=trusted, probe=ProbeLimits())
assert golden_text(loaded) == golden_text(bundle)
print("done")
"""


def test_a_bundle_needs_no_pickle(tmp_path: Path) -> None:
    """Training, saving, loading, probing and forecasting work in a process that cannot unpickle."""
    script = SHUT + f"from pathlib import Path\nfolder = Path({str(tmp_path)!r})\n" + TRAIN
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


def test_the_child_needs_no_pickle(saved: Path) -> None:
    """What the child process of a probe does works there, too, with every kind of model."""
    script = SHUT + (
        "from pathlib import Path\n"
        "from sagacity_models.bundle_files import read_folder\n"
        "from sagacity_models.probe_child import answered\n"
        f"sealed = read_folder(Path({str(saved)!r}))\n"
        "asked = {'folder': str(sealed.folder), 'manifest': sealed.manifest, 'texts': sealed.texts}\n"
        "print(answered(asked | {'memory_bytes': 1 << 40, 'processor_s': 600}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("sound\n", 0), done.stderr
