"""A process that reads one file after the other, in as much memory as it is given, and tells how that went.

    python -m benchmarks.import_fuzz.worker FORMAT MEMORY_BYTES SECONDS

It reads paths from its input, one a line, and answers each with a line of JSON: what came of it (`read`,
`refused` or words about a mistake), the seconds, and the most memory that the process held meanwhile.
"""

import json
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

from benchmarks.import_fuzz import trial

from sagacity_data.importers import FORMATS
from sagacity_data.taxonomy import default_taxonomy

PEAK_RESET = Path("/proc/self/clear_refs")


class TooSlow(BaseException):
    """The time for one file is over; no reader catches it."""


def _too_slow(_signal: int, _frame: object) -> None:
    raise TooSlow


def _most_bytes() -> int:
    """The most memory held since the last reset; `ru_maxrss` would begin with that of the parent."""
    lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main(name: str, memory_bytes: int, seconds: float) -> None:
    """Answers until the input ends."""
    taxonomy = default_taxonomy()
    FORMATS[name].reader()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    signal.signal(signal.SIGALRM, _too_slow)
    for line in sys.stdin:
        PEAK_RESET.write_text("5", "ascii")
        began = time.monotonic()
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            said = trial.read(name, Path(line.rstrip("\n")), taxonomy)
        except (Exception, TooSlow) as mistake:  # noqa: BLE001  whatever it is, it is what this looks for
            where = traceback.extract_tb(mistake.__traceback__)
            place = next((each for each in reversed(where) if "sagacity_data" in each.filename), where[-1])
            words = " ".join(str(mistake).split())[:200]
            said = f"{type(mistake).__name__}: {words} ({Path(place.filename).name}:{place.lineno})"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        took = time.monotonic() - began
        print(json.dumps({"said": said, "seconds": took, "bytes": _most_bytes()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
