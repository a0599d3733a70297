"""Kills the engine at every write of its journal, in every way, and says what was lost: nothing may be.

    python benchmarks/kill_points.py [--all] [--processes 2]

Without `--all` it tells what the suite tells: every write and every statement once, the troubles in turn, and
some second kills. With it, every write and statement with every trouble, and every pair of kills at
statements. What `durability="normal"` loses when the power fails is told apart: that is what it is there for.
"""

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

# A script's own folder is on the path, and the checkout is not.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

CHUNK = 16


def main() -> None:
    """Tells every point and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="the whole product")
    parser.add_argument("--processes", type=int, default=2, help="how many processes tell")
    given = parser.parse_args()
    from tests.kill_points import points
    from tests.kill_points.shapes import SHAPES
    from tests.kill_points.troubles import POWER

    quiet()
    began = time.perf_counter()
    told = list(points.product() if given.all else points.chosen())
    unsynced = [point for shape in SHAPES for point in points.unsynced(shape, POWER, 1 if given.all else 9)]
    with ProcessPoolExecutor(given.processes, initializer=quiet) as pool:
        from tests.kill_points.sweep import tell

        verdicts = list(pool.map(tell, told, chunksize=CHUNK))
        print(f"{len(SHAPES)} shapes, durability full")
        bad = table(verdicts)
        sys.stdout.flush()
        normal = list(pool.map(tell, unsynced, chunksize=CHUNK))
    taken = sum(bool(each.lost) for each in normal)
    damaged = [each for each in normal if any("damaged" in breach for breach in each.breaches)]
    print(f"durability normal: {len(normal)} power cuts, {taken} of which took something that had been told;")
    print(f"{len(damaged)} damaged the file, {sum(map(after_an_error, damaged))} of them after a failed sync")
    print(f"{time.perf_counter() - began:.0f} s in {given.processes} processes")
    for verdict in bad[:20]:
        print(verdict.point, *verdict.lost, *verdict.breaches, sep="\n    ", file=sys.stderr)
    sys.exit(1 if bad or not all(map(after_an_error, damaged)) else 0)


def table(verdicts: Iterable[Any]) -> list[Any]:
    """Prints what came of each mode; the verdicts that are not well."""
    rows: dict[str, Counter[str]] = {}
    bad = []
    for verdict in verdicts:
        for mode in (name(verdict), "all together"):
            row = rows.setdefault(mode, Counter())
            row.update(points=1, deaths=sum(verdict.died), lost=len(verdict.lost))
            row.update(violations=len(verdict.breaches))
        if not verdict.well:
            bad.append(verdict)
    columns = ("points", "deaths", "lost", "violations")
    print(f"{'mode':<36}" + "".join(f"{column:>12}" for column in columns))
    for mode in (*sorted(set(rows) - {"all together"}), "all together"):
        print(f"{mode:<36}" + "".join(f"{rows[mode][column]:>12}" for column in columns))
    return bad


def after_an_error(verdict: Any) -> bool:
    """Whether the disk had forgotten what it could not sync: SQLite syncs again and believes it then."""
    trouble: str = verdict.point.faults[0].trouble.name
    return trouble == "POWER_LOSS_AFTER_ERROR"


def name(verdict: Any) -> str:
    """What went wrong in the first life, and that more did later."""
    first, *others = verdict.point.faults
    trouble = getattr(first, "trouble", None)
    words = f"statement {first.failure.value}" if trouble is None else f"disk: {trouble.value}"
    return "killed twice" if others else words + (", new file" if verdict.point.new else "")


def quiet() -> None:
    """An engine that waits for its journal says so, thousands of times."""
    logging.disable(logging.CRITICAL)


if __name__ == "__main__":
    main()
