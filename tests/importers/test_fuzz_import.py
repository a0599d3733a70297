"""Some hundreds of spoilt files: whatever a file holds, its reader gives runs or a refusal."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from sagacity_data.importers import FORMATS, Tally
from sagacity_data.taxonomy import default_taxonomy

ROOT = Path(__file__).resolve().parents[2]
MUTATIONS = 60
BOMB_BYTES = 4_000_000

SAID = {
    "temporal": (3, {"BookHotel", "ChargeCard"}),
    "cadence": (2, {"BookHotel", "ChargeCard"}),
    "stepfunctions": (2, {"Book"}),
    "conductor": (3, {"book_hotel", "charge"}),
    "otlp": (2, {"BookHotel", "Charge"}),
    "jaeger": (2, {"BookHotel", "Charge"}),
    "xes": (4, {"Submit", "Check, twice", "Pay"}),
    "csv": (8, {"Submit", "Check, twice", "Pay"}),
}
"""At least so many runs in the documents that are spoilt, and steps of theirs."""


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(ROOT))
    yield
    for name in [each for each in sys.modules if each.partition(".")[0] == "benchmarks"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", SAID)
def test_the_documents_are_read_before_they_are_spoilt(name: str, tmp_path: Path) -> None:
    """Each own document gives runs with the steps it was written with."""
    from benchmarks.import_fuzz.seeds import own_seeds
    from benchmarks.import_fuzz.trial import runs_of

    runs, steps = 0, set[str]()
    for number, content in enumerate(own_seeds(name)):
        path = tmp_path / str(number)
        path.write_bytes(content)
        for run in runs_of(FORMATS[name].reader(), path, Tally()):
            runs += 1
            steps |= {tried.step for tried in run.attempts}
    least, expected = SAID[name]
    assert runs >= least
    assert steps >= expected


@pytest.mark.parametrize("name", SAID)
def test_spoilt_files_give_runs_or_a_refusal(name: str, tmp_path: Path) -> None:
    """No mutation makes a reader raise anything else, and what it gives keeps its promises."""
    from benchmarks.import_fuzz import trial
    from benchmarks.import_fuzz.mutations import mutated
    from benchmarks.import_fuzz.seeds import own_seeds

    seeds, taxonomy, path = own_seeds(name), default_taxonomy(), tmp_path / "spoilt"
    came_to: Counter[str] = Counter()
    for number in range(MUTATIONS):
        rng = Random(f"suite:{name}:{number}")
        _, content = mutated(name, rng.choice(seeds), rng, BOMB_BYTES)
        path.write_bytes(content)
        came_to[trial.read(name, path, taxonomy)] += 1
    assert came_to["read"] + came_to["refused"] == MUTATIONS
    assert min(came_to["read"], came_to["refused"]) > 0


@pytest.mark.parametrize("piece", range(9))
@pytest.mark.parametrize("name", SAID)
def test_gzip_bombs_give_runs_or_a_refusal(name: str, piece: int, tmp_path: Path) -> None:
    """A small file that is large inside is read or refused like any other."""
    from benchmarks.import_fuzz import trial
    from benchmarks.import_fuzz.mutations import BOMBS, bomb

    path = tmp_path / "bomb.gz"
    path.write_bytes(bomb(BOMBS[piece], 1_000_000))
    assert trial.read(name, path, default_taxonomy()) in ("read", "refused")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and measured as Linux does")
def test_the_benchmark_reads_in_a_bounded_process_and_tells_figures() -> None:
    """A short run tells mutations, crashes, time and memory of each format, and how many crashed."""
    command = [sys.executable, str(ROOT / "benchmarks/fuzz_import.py"), "--mutations", "40", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    told = json.loads(done.stdout)
    assert (done.returncode, told["mutations"], told["crashes"]) == (0, 40, 0), told["crashed"]
    assert set(told["formats"]) == set(FORMATS)
    for figures in told["formats"].values():
        assert figures["read"] + figures["refused"] == 5
        assert figures["memory_mb_max"] < 2_000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and measured as Linux does")
def test_the_benchmark_sees_crashes_hangs_and_greed(tmp_path: Path) -> None:
    """A reader that raises, hangs, asks for too much memory or breaks a promise is told as such."""
    script = tmp_path / "bad_reader.py"
    script.write_text(BAD_READER, "utf-8")
    (tmp_path / "h.json").write_text("{}", "utf-8")
    said = []
    for how in ("raise", "hang", "eat", "promise"):
        done = subprocess.run(
            [sys.executable, str(script), how],
            input=f"{tmp_path / 'h.json'}\n",
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        said.append(json.loads(done.stdout)["said"].partition(":")[0])
    assert said == ["KeyError", "TooSlow", "MemoryError", "Broken"]


BAD_READER = """
import sys, time
from benchmarks.import_fuzz import worker
from sagacity_data.importers import ForeignRun, formats
from sagacity_engine import Status

def read_runs(path, hints, tally):
    match sys.argv[1]:
        case "raise":
            raise KeyError("eventId")
        case "hang":
            time.sleep(60)
        case "eat":
            bytearray(10**12)
    yield ForeignRun(run_id="", saga="trip", status=Status.COMPLETED)

formats.Format.reader = lambda self: read_runs
worker.main("temporal", 2 * 1024**3, 1.0)
"""
