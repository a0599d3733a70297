"""Seconds and memory of importing a large event log, beside `pm4py` reading the same file.

    python benchmarks/import.py [LOG.xes.gz] [--json] [--rounds 5]

Ours is the whole of what `sagacity import xes` does: the log is parsed, its events are paired to attempts,
every attempt becomes a row, and the rows lie in a dataset folder on the disk, flushed, when the clock stops.
Theirs is `pm4py.read_xes`, which ends with a table in memory. Each runs in a process of its own, in turns,
and imports its libraries before its clock starts; the memory is the most that the process ever held, its
libraries with it. The figures are medians over the rounds.

The bars: no slower than pm4py, and in less memory. A missed one is said, and is no failure of this program.
pm4py comes with the extra `benchmark`. The log defaults to BPIC 2012 (13,087 cases, 262,200 events) where the
folder of shared data lies beside this project.
"""

import argparse
import contextlib
import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

LOG = Path(__file__).resolve().parents[2] / "shared" / "data" / "event_logs" / "bpic2012.xes.gz"
OURS, THEIRS = "sagacity", "pm4py"
TIMEOUT_S = 600


def main() -> None:
    """Runs the rounds and prints them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("log", type=Path, nargs="?", default=LOG, help="the XES log")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; a figure is their median")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    parser.add_argument("--contender", choices=(OURS, THEIRS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contender:
        print(json.dumps(_CONTENDERS[given.contender](given.log)))
        return
    if not given.log.is_file():
        sys.exit(f"{given.log} is no file; name an XES log")
    figures = _hold(given.log, given.rounds)
    print(json.dumps(figures, indent=2) if given.json else _table(figures))


def _hold(log: Path, rounds: int) -> dict[str, Any]:
    told: dict[str, list[dict[str, Any]]] = {OURS: [], THEIRS: []}
    for number in range(rounds):
        for name in (OURS, THEIRS) if number % 2 == 0 else (THEIRS, OURS):
            told[name].append(_child(name, log))
            print(
                f"round {number + 1}  {name}  {told[name][-1]['seconds']:.2f} s", file=sys.stderr, flush=True
            )
    figures: dict[str, Any] = {"log": log.name, "rounds": rounds}
    for name, runs in told.items():
        figures[name] = {key: statistics.median(run[key] for run in runs) for key in ("seconds", "peak_mib")}
        figures[name]["events"] = runs[0]["events"]
    for key in ("seconds", "peak_mib"):
        figures[f"{key}_ratio"] = figures[OURS][key] / figures[THEIRS][key]
    figures["no_slower"] = figures["seconds_ratio"] <= 1
    figures["less_memory"] = figures["peak_mib_ratio"] < 1
    return figures


def _child(name: str, log: Path) -> dict[str, Any]:
    """What one contender says of one run in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, str(log), "--contender", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no words"]
        sys.exit(f"{name} failed: {last[0]}; is the extra `benchmark` installed?")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def _ours(log: Path) -> dict[str, Any]:
    from sagacity_data.importers.formats import FORMATS
    from sagacity_data.importers.histories import import_histories
    from sagacity_data.importers.xes_lifecycles import JOINED
    from sagacity_data.store import DatasetStore
    from sagacity_data.taxonomy import default_taxonomy

    for library in ("duckdb", "pandas", "pyarrow.parquet"):  # pm4py has imported its own when it starts.
        import_module(library)
    reader, taxonomy = FORMATS["xes"].reader(), default_taxonomy()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        store = DatasetStore(Path(folder) / "dataset")
        report = import_histories("xes", reader, [log], store, taxonomy=taxonomy)
        seconds = time.perf_counter() - began
    if report.refused:
        sys.exit(str(report.refused[0]))
    events = report.attempts + report.notes[JOINED] + report.skipped_event_types.total()
    return {"seconds": seconds, "peak_mib": _peak_mib(), "events": events}


def _theirs(log: Path) -> dict[str, Any]:
    with contextlib.redirect_stdout(io.StringIO()):  # It greets.
        pm4py = import_module("pm4py")
        began = time.perf_counter()
        read = pm4py.read_xes(str(log))
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "peak_mib": _peak_mib(), "events": len(read)}


_CONTENDERS = {OURS: _ours, THEIRS: _theirs}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _table(figures: dict[str, Any]) -> str:
    lines = [
        f"{figures['log']}, median of {figures['rounds']} rounds",
        f"{'':10}{'events':>10}{'s':>8}{'MiB':>8}",
    ]
    for name in (OURS, THEIRS):
        told = figures[name]
        lines.append(f"{name:10}{told['events']:>10,}{told['seconds']:>8.2f}{told['peak_mib']:>8.0f}")
    lines.append(f"{'ratio':20}{figures['seconds_ratio']:>8.2f}{figures['peak_mib_ratio']:>8.2f}")
    for bar, kept in (("no slower", figures["no_slower"]), ("less memory", figures["less_memory"])):
        lines.append(f"{bar}: {'yes' if kept else 'MISSED'}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
