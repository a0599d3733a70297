"""Recording beside an engine, in a process of its own that the engine's process starts and outlives.

The engine gives its processor to nothing but runs: what is recorded is read from the journal, which is the
truth. The child ends when its standard input does or its parent is gone, so it cannot be left behind. If it
should die it is started again, later each time, a few times in a row, and once more at the end for what is
left. Whatever becomes of it, no run notices, and the next begins where the dataset ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

RESTARTS_MAX: Final = 5
"""Deaths in a row after which the next child waits for `close`."""
RESTART_S: Final = 1.0
"""How long to wait before the first restart in a row; twice as long before each further one."""
HEALTHY_S: Final = 60.0
"""A child that lived so long was well: its death begins a new row."""
WORDS_MAX: Final = 20
"""Lines of the child's complaints that are kept."""
_NOTHING: Final[Mapping[str, int]] = {"runs": 0, "rows": 0, "refused": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedCounts:
    """What the child has told so far. `last_words` are its latest complaints, "" if there are none."""

    running: bool
    restarts: int
    runs: int
    rows: int
    refused: int
    last_words: str


class RecordingProcess:
    """Records every run that ends in `journal` into the dataset folder `into`, beside the engine.

    Use it as a context manager around the engine. It looks every `every_s` and runs at the lowest priority
    unless `nice` says otherwise. `telling` names a `Telling` of yours as `module:name`, for instance one with
    a redaction; the child imports it from where this process would. Raises nothing into the engine's process
    but `ValueError` for another kind of name, and `OSError` where no process can be started at all.
    """

    def __init__(
        self,
        journal: str | os.PathLike[str],
        into: str | os.PathLike[str],
        *,
        every_s: float = 0.5,
        nice: int = 19,
        telling: str = "",
    ) -> None:
        if telling and not all(telling.partition(":")):
            raise ValueError(f"telling is {telling!r}; name it as module:name")
        files = (str(Path(journal).absolute()), str(Path(into).absolute()))
        self._command = [sys.executable, "-P", "-m", "sagacity_data.sinks.following", *files]
        settings = {"every_s": every_s, "nice": nice, "parent": os.getpid(), "telling": telling}
        self._command.append(json.dumps(settings))
        self._told = (_NOTHING, _NOTHING)  # By children that have died, and by this one.
        self._words: deque[str] = deque(maxlen=WORDS_MAX)
        self._restarts = 0
        self._given_up = False
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._keeper: threading.Thread | None = None

    def start(self) -> None:
        """Starts the child; a second call does nothing."""
        if self._keeper is None:
            self._process = self._spawned()
            self._keeper = threading.Thread(target=self._keep, name="sagacity-following", daemon=True)
            self._keeper.start()

    def counts(self) -> FollowedCounts:
        """What was recorded so far; may be asked at any time, by any thread."""
        process = self._process
        before, now = self._told
        return FollowedCounts(
            running=process is not None and process.poll() is None,
            restarts=self._restarts,
            last_words="\n".join(self._words),
            **{name: before[name] + now[name] for name in _NOTHING},
        )

    def close(self, within_s: float = 30.0) -> FollowedCounts:
        """Lets the child record what has ended, waits for it, and says what was recorded.

        What is not told in that time is told by the next one.
        """
        self._closing.set()
        keeper = self._keeper
        if keeper is not None:
            with self._lock:
                self._end_input()
            keeper.join(within_s)
            if keeper.is_alive() and self._process is not None:
                self._words.append(f"not done within {within_s:g} s; the rest is for the next time")
                with self._lock:
                    self._given_up = True
                    self._process.kill()
                keeper.join()
        return self.counts()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _spawned(self) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603  our own module, no shell
            self._command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )

    def _keep(self) -> None:
        """Listens to one child after the other, until one has recorded to the end or the last has died."""
        deaths, last = 0, False
        while True:
            began = time.monotonic()
            finished = self._lived() and self._closing.is_set()
            if finished or last or self._given_up:
                return
            deaths = 1 if time.monotonic() - began >= HEALTHY_S else deaths + 1
            last = self._closing.wait(None if deaths > RESTARTS_MAX else RESTART_S * 2 ** (deaths - 1))
            self._restart()

    def _lived(self) -> bool:
        """Hears the child out; whether it ended well."""
        process = self._process
        assert process is not None  # `start` made one
        self._listen(process)
        before, now = self._told
        self._told = ({name: before[name] + now[name] for name in _NOTHING}, _NOTHING)
        return process.returncode == 0

    def _restart(self) -> None:
        with self._lock, suppress(OSError):  # Where there is none to be had, the dead one is asked again.
            if self._given_up:
                return
            self._process = self._spawned()
            self._restarts += 1
            if self._closing.is_set():
                self._end_input()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        if process.returncode is not None:
            return
        assert process.stdout is not None  # both were asked for as pipes
        assert process.stderr is not None
        complaints = threading.Thread(target=self._hear, args=(process.stderr,), daemon=True)
        complaints.start()
        for line in process.stdout:
            with suppress(ValueError, TypeError, KeyError):
                told = json.loads(line)
                self._told = (self._told[0], {name: int(told[name]) for name in _NOTHING})
        complaints.join()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _hear(self, complaints: IO[str]) -> None:
        for line in complaints:
            self._words.append(line.strip()[:500])

    def _end_input(self) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
