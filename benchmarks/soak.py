"""Kills real engine processes with SIGKILL, again and again, and compares the books at the end.

    python benchmarks/soak.py [--seconds 60] [--seed 1] [--folder DIR]

An engine runs random sagas of every shape on a journal in SQLite; its participant is a process of its own
that honours keys. Every 0.2 to 2 seconds the engine is killed and another one started; now and then a second
one is started beside it, which must be refused, or the first is stopped for longer than its lease, so that
the second takes over and the first, woken again, is fenced. In the end one last engine carries every run to
its end. Then nothing that was acknowledged may be missing, no key may have two effects, every run must have
ended and the checker must find nothing. A breach is printed, and the program ends with 1. Linux only.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAST_S_MAX = 120.0
REFUSED, FENCED = 3, 4
"""How an engine's process ends whose journal is another's, or was taken over."""


class Soak:
    """The processes of one soak, and what they said."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.accepted: set[str] = set()
        self.ended: dict[str, str] = {}
        self.last_said = ""
        self._folder = folder
        self._rng = random.Random(seed)
        self._engines = 0

    def run(self, seconds: float) -> None:
        """Kills engines for so long, then lets the last one finish."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            self._round()
        self._finish(time.monotonic() + LAST_S_MAX)

    def _finish(self, until: float) -> None:
        """The last engine; it waits, as any would, for the lease of one that took over and was killed."""
        last = self._engine("last")
        try:
            while last.wait(until - time.monotonic()) == REFUSED:
                self.counts["last engines that had to wait"] += 1
                time.sleep(0.2)
                last = self._engine("last")
        except subprocess.TimeoutExpired:
            self.counts["runs that do not end"] += 1
        self._kill(last)

    def _round(self) -> None:
        engine = self._engine("more")
        time.sleep(self._rng.uniform(0.2, 2.0))
        draw = self._rng.random()
        if draw < 0.15:
            self._crowd()
        elif draw < 0.3:
            self._take_over(engine)
        self._kill(engine)
        self.counts["engines killed"] += 1

    def _crowd(self) -> None:
        """A second engine, while the first answers, is refused; or takes a journal that nobody has yet."""
        second = self._engine("more")
        try:
            second.wait(1.5)
            self.counts["second engines refused"] += second.returncode == REFUSED
        except subprocess.TimeoutExpired:
            self.counts["second engines that took the journal"] += 1
        self._kill(second)

    def _take_over(self, first: "subprocess.Popen[bytes]") -> None:
        """The first engine stands still for longer than its lease; a second one may take over."""
        first.send_signal(signal.SIGSTOP)
        time.sleep(1.3)
        second = self._engine("more")
        time.sleep(self._rng.uniform(0.5, 1.5))
        self.counts["takeovers"] += second.poll() is None
        first.send_signal(signal.SIGCONT)
        try:
            first.wait(4.0)
            self.counts["first engines fenced"] += first.returncode == FENCED
        except subprocess.TimeoutExpired:
            pass  # Nobody took over.
        self._kill(second)
        self.counts["engines killed"] += 1

    def _engine(self, how: str) -> "subprocess.Popen[bytes]":
        self._engines += 1
        said = self._folder / f"said-{self._engines}"
        with said.open("wb") as out:
            arguments = [str(self._folder), f"engine-{self._engines}", how]
            return start(
                "benchmarks.soaking.engine_process", *arguments, out=out.fileno(), err=subprocess.STDOUT
            )

    def _kill(self, engine: "subprocess.Popen[bytes]") -> None:
        engine.kill()
        engine.wait()

    def listen(self) -> None:
        """Reads what all the engines said; a line that a kill cut off was never said."""
        for number in range(1, self._engines + 1):
            lines = (self._folder / f"said-{number}").read_text("utf-8").splitlines(keepends=True)
            self.last_said = "".join(lines[-1:]).strip()
            for line in lines:
                words = line.split()
                if line.endswith("\n") and words[:1] == ["accepted"]:
                    self.accepted.add(words[1])
                elif line.endswith("\n") and words[:1] == ["ended"]:
                    self.ended[words[1]] = words[2]
                self.counts["last engine finished"] += words[:1] == ["finished"]


def start(module: str, *arguments: str, out: int, err: int | None = None) -> "subprocess.Popen[bytes]":
    """A process of this folder's, with the checkout on its path."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdout=out, stderr=err, env=environment
    )


def soak(folder: Path, seconds: float, seed: int) -> list[str]:
    """The lines to print; the last of them are the breaches."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.soaking import verdict

    ledger = start("benchmarks.soaking.ledger_process", str(folder / "ledger"), out=subprocess.PIPE)
    assert ledger.stdout is not None, "it is piped"
    try:
        ledger.stdout.readline()  # It listens.
        soaked = Soak(folder, seed)
        soaked.run(seconds)
        soaked.listen()
        found = verdict.reach(folder, soaked.accepted, soaked.ended)
    finally:
        ledger.kill()
        ledger.wait()
        ledger.stdout.close()
    if not soaked.counts["last engine finished"]:
        found.breaches.append(
            f"I11 the last engine did not carry every run to its end; it said {soaked.last_said!r}"
        )
    figures = {
        **soaked.counts,
        "runs": found.runs,
        "events": found.events,
        "effects": found.effects,
        "calls that a kill cut off": found.crashed_calls,
        "acknowledged starts": len(soaked.accepted),
        "acknowledged results": len(soaked.ended),
        **{f"ended {status}": count for status, count in sorted(found.statuses.items())},
        "breaches": len(found.breaches),
    }
    return [*(f"{name:<40} {figure:>9,}" for name, figure in figures.items()), *found.breaches]


def main() -> None:
    """Soaks, and prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long engines are killed")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of death")
    parser.add_argument("--folder", type=Path, help="an empty folder to keep; a temporary one otherwise")
    given = parser.parse_args()
    if given.folder is not None:
        printed = soak(given.folder, given.seconds, given.seed)
    else:
        with tempfile.TemporaryDirectory() as folder:
            printed = soak(Path(folder), given.seconds, given.seed)
    print("\n".join(printed))
    breaches = next(line for line in printed if line.startswith("breaches")).split()[1]
    sys.exit(breaches != "0")


if __name__ == "__main__":
    main()
