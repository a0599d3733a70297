"""Sagas per second of the embedded engine, beside its own ceiling and two peers, in one run on one core.

    python benchmarks/engine.py [--json] [--rounds 3] [--seconds 1] [--sagas 20000]

At 1, 16, 64 and 256 sagas at a time, at the same durability (SQLite, WAL, `synchronous=FULL`), two shapes
are measured: five trivial asynchronous steps that succeed, and four that succeed before the fifth is
refused for good, so that all four are undone. The contenders are Sagacity's engine; bare appends to its
journal, which are its ceiling; DBOS; and sagaz. How each peer is used, and why so, is said at the top of
its file in `peers`; what each makes durable is measured and printed with the figures. The ratios travel
between machines better than the figures do.

The bars that follow are what the engine has to clear; a missed one is said, and is no failure of this
program. The peers come with the extra `benchmark`; one that is not installed is left out. Linux only:
processes are pinned and stopped.
"""

import argparse
import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Holds the contest and prints it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds; a figure is their median")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="how long each contender runs in each cell"
    )
    parser.add_argument("--sagas", type=int, default=20_000, help="the most sagas of one figure")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    given = parser.parse_args()

    # A script's own folder is on the path, and the checkout is not.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from benchmarks.peers import contest, report

    began = time.perf_counter()

    def progress(what: str) -> None:
        print(f"{time.perf_counter() - began:6.0f} s  {what}", file=sys.stderr, flush=True)

    try:
        held = contest.hold(rounds=given.rounds, seconds=given.seconds, sagas=given.sagas, progress=progress)
    except contest.ContestFailed as failure:
        sys.exit(str(failure))
    if given.json:
        print(json.dumps(report.document(held), indent=2))
    else:
        print("\n".join(report.lines(held)))


if __name__ == "__main__":
    main()
