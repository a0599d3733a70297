"""The contest: every contender in its own process on one core, all of them in turns, in several rounds.

In each round every contender is a new process. For each cell they take turns, in an order that moves on by
one each time, so that a noisy minute of the machine hits all of them; those whose turn it is not are stopped,
so that their background threads cost nobody anything. A figure is the median of the rounds; its spread is the
distance from the smallest to the largest, as a share of the median.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peers.contender import FORWARD, SHAPES, Cell, Figures

ROOT = Path(__file__).resolve().parents[2]
CONCURRENT = (1, 16, 64, 256)
ANSWER_S = 180.0
"""The longest wait for one answer, in seconds."""

OURS, CEILING, DBOS, SAGAZ, SAGAZ_AS_IT_COMES, VIRTUAL = (
    "Sagacity",
    "raw journal",
    "DBOS",
    "sagaz",
    "sagaz as it comes",
    "virtual time",
)
MODULES: Mapping[str, tuple[str, ...]] = {
    OURS: ("with_sagacity",),
    CEILING: ("with_raw_journal",),
    DBOS: ("with_dbos",),
    SAGAZ: ("with_sagaz",),
    SAGAZ_AS_IT_COMES: ("with_sagaz", "as-it-comes"),
    VIRTUAL: ("in_virtual_time",),
}


class ContestFailed(Exception):
    """A contender failed or gave a wrong result; the message ends with what it printed."""


@dataclass(frozen=True, slots=True)
class Median:
    """The rounds' median of each figure, and the spread of the rate."""

    per_s: float
    spread: float
    p50_ms: float
    p99_ms: float
    sagas: int
    besides: Mapping[str, float]


@dataclass(slots=True)
class Contest:
    """What was found out."""

    core: int
    rounds: int
    fsync_ms: float = 0.0
    figures: dict[tuple[str, str, int], list[Figures]] = field(default_factory=dict)
    sentences: dict[str, list[str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def median(self, name: str, shape: str, concurrent: int) -> Median | None:
        """The figures of one contender in one cell; None if it was not measured."""
        rounds = self.figures.get((name, shape, concurrent))
        if not rounds:
            return None
        rates = [each.per_s for each in rounds]
        return Median(
            per_s=median(rates),
            spread=(max(rates) - min(rates)) / median(rates),
            p50_ms=median(each.p50_ms for each in rounds),
            p99_ms=median(each.p99_ms for each in rounds),
            sagas=sum(each.sagas for each in rounds),
            besides={key: median(each.besides[key] for each in rounds) for key in rounds[0].besides},
        )


def hold(*, rounds: int, seconds: float, sagas: int, progress: Callable[[str], None]) -> Contest:
    """Runs the contest; raises `ContestFailed`."""
    contest = Contest(core=max(os.sched_getaffinity(0)), rounds=rounds)
    cells = [Cell(shape, concurrent, seconds, sagas) for shape in SHAPES for concurrent in CONCURRENT]
    with tempfile.TemporaryDirectory(prefix="engine-benchmark-") as folder:
        contest.fsync_ms = fsync_ms(Path(folder) / "fsync")
        for number in range(rounds):
            with ExitStack() as stack:
                players = [
                    stack.enter_context(
                        _process(name, module, contest.core, Path(folder) / f"{number}-{name}")
                    )
                    for name, module in MODULES.items()
                    if name not in contest.missing
                ]
                _play(contest, players, cells, number, progress)
    return contest


def fsync_ms(file: Path, times: int = 300) -> float:
    """The median time of appending 4 KiB to a file and making it durable: what a lone commit cannot beat."""
    taken = []
    with file.open("wb", buffering=0) as written:
        for _ in range(times):
            began = time.perf_counter()
            written.write(bytes(4096))
            os.fsync(written.fileno())
            taken.append(time.perf_counter() - began)
    return 1e3 * median(taken)


def _play(
    contest: Contest,
    players: Sequence[_Player],
    cells: Sequence[Cell],
    number: int,
    progress: Callable[[str], None],
) -> None:
    for player in players:
        if player.missing:
            contest.missing[player.name] = player.missing
        elif number == 0:
            contest.sentences[player.name] = player.ask("describe")["sentences"]
    present = [player for player in players if not player.missing]
    for place, cell in enumerate(cells):
        progress(f"round {number + 1} of {contest.rounds}: {cell.shape}, {cell.concurrent} at a time")
        first = (number + place) % len(present)
        for player in (*present[first:], *present[:first]):
            if player.name == VIRTUAL and (cell.shape, cell.concurrent) != (FORWARD, 1):
                continue
            key = (player.name, cell.shape, cell.concurrent)
            contest.figures.setdefault(key, []).append(Figures(**player.ask(asdict(cell))))


class _Player:
    """One contender's process; stopped whenever it is not asked."""

    def __init__(self, name: str, process: subprocess.Popen[str], errors: Path) -> None:
        self.name = name
        self._process = process
        self._errors = errors
        self.missing: str = self._heard().get("missing", "")
        self._pause()

    def ask(self, request: object) -> Any:
        """The answer to one request."""
        self.wake()
        assert self._process.stdin is not None, "the process was started with pipes"
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._heard()
        self._pause()
        return answer

    def wake(self) -> None:
        """Lets it go on, so that it can answer or end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)

    def _pause(self) -> None:
        if not self.missing and self._process.poll() is None:
            self._process.send_signal(signal.SIGSTOP)

    def _heard(self) -> Any:
        assert self._process.stdout is not None, "the process was started with pipes"
        limit = threading.Timer(ANSWER_S, self._process.kill)
        limit.start()
        try:
            line = self._process.stdout.readline()
        finally:
            limit.cancel()
        if not line:
            raise ContestFailed(f"{self.name} ended without an answer:\n{self._errors.read_text()[-2000:]}")
        return json.loads(line)


@contextmanager
def _process(name: str, module: tuple[str, ...], core: int, folder: Path) -> Iterator[_Player]:
    """A contender's process, in a folder of its own, from start to end."""
    folder.mkdir()
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-m", f"benchmarks.peers.{module[0]}", str(core), *module[1:]]
    errors = folder / "errors.txt"
    with (
        errors.open("w") as noise,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=noise,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
        ) as process,
    ):
        player = None
        try:
            player = _Player(name, process, errors)
            yield player
        except BaseException:
            process.kill()
            raise
        finally:
            if player is not None:
                player.wake()
