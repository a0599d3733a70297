"""How long training takes beside bare LightGBM on the same matrices, and how much memory it needs.

    python -m benchmarks.training [--attempts 1000000] [--dataset FOLDER] [--json]

A dataset as an engine would have recorded it (`recorded_past`, kept in `--dataset` if that is given, so that
another run need not make it again) is read and learnt from, from the first byte to the bundle with all its
parts: labels, base rates, both causes of refusals, durations, classes of failures, undos, effects. Then the
same training runs once more in another process, one fit at a time, and only what passes within
`lightgbm.train`, which makes the binned matrix too, is counted: the floor. Both are seconds of the clock.

    ratio = seconds of the training / sum of the seconds of its bare `lightgbm.train` calls

Memory is the most that was resident in the first process.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks.recorded_past import record

from sagacity_data.rows import AttemptRow
from sagacity_data.store import DatasetStore
from sagacity_training import train
from sagacity_training.history import read_history

SEED = 1
KIB = 1024


def trained(folder: Path, *, bare: bool) -> dict[str, Any]:
    """The figures of one training; of a `bare` one, what its calls of LightGBM took."""
    calls: list[float] = []
    began = time.perf_counter()
    with _timed(calls) if bare else nullcontext():
        history = read_history(DatasetStore(folder), at=float("inf"))
        read_s = time.perf_counter() - began
        ends = [row.ended_at or 0.0 for row in history.rows if isinstance(row, AttemptRow)]
        result = train.fit_bundle(history, seed=SEED, at=max(ends))
    return {
        "attempts": len(ends),
        "rows": result.rows,
        "version": result.version,
        "recipes": {target.name: target.choice.recipe.value for target in result.targets},
        "seconds": time.perf_counter() - began,
        "read_s": read_s,
        "lightgbm_s": sum(calls),
        "fits": len(calls),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / 2**30,
    }


@contextmanager
def _timed(calls: list[float]) -> Iterator[None]:
    """One fit at a time, and the seconds of each call of LightGBM."""
    import lightgbm

    whole, at_once = lightgbm.train, train.FITS_AT_ONCE

    def timed(*given: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return whole(*given, **options)
        finally:
            calls.append(time.perf_counter() - began)

    lightgbm.train, train.FITS_AT_ONCE = timed, 1  # type: ignore[misc]  # restored below
    try:
        yield
    finally:
        lightgbm.train, train.FITS_AT_ONCE = whole, at_once  # type: ignore[misc]  # as it was


def main() -> None:
    """Measures and prints."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--attempts", type=int, default=1_000_000)
    asked.add_argument("--dataset", type=Path)
    asked.add_argument("--json", action="store_true")
    asked.add_argument("--child", choices=("whole", "bare"), help=argparse.SUPPRESS)
    told = asked.parse_args()
    if told.child:
        print(json.dumps(trained(told.dataset, bare=told.child == "bare")))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = told.dataset or Path(scratch, "dataset")
        if not folder.exists():
            print(f"recording {told.attempts:,} attempts", file=sys.stderr)
            record("payments", told.attempts, folder)
        whole, bare = _child(folder, "whole"), _child(folder, "bare")
    found = {**whole, "lightgbm_s": bare["lightgbm_s"], "fits": bare["fits"]}
    found["ratio"] = found["seconds"] / found["lightgbm_s"]
    found["same_bundle"] = whole["version"] == bare["version"]
    print(json.dumps(found) if told.json else _line(found))


def _child(folder: Path, kind: str) -> dict[str, Any]:
    print(f"training ({kind})", file=sys.stderr)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training", "--dataset", str(folder), "--child", kind],
        check=True,
        stdout=subprocess.PIPE,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _line(found: dict[str, Any]) -> str:
    return (
        "{attempts:,} attempts: {seconds:.1f} s (reading {read_s:.1f} s), bare lightgbm.train "
        "{lightgbm_s:.1f} s in {fits} fits, ratio {ratio:.2f}; at most {peak_gib:.2f} GiB; "
        "same bundle: {same_bundle}"
    ).format(**found)


if __name__ == "__main__":
    main()
