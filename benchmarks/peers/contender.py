"""One contender in a process of its own: answers requests, one JSON object a line, until its input ends.

The process is pinned to one core before anything else is loaded. Every measurement starts with an empty store
and a warm-up, and is a closed loop: so many clients, each of which starts its next saga when its last one has
ended, until the time is up and every client has had two sagas at least. What is still running then is waited
for and counted. Afterwards the contender proves that its store holds every saga that was run.

Standard output belongs to the answers; whatever libraries print goes to standard error.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

FORWARD, BACK = "forward", "turning back"
SHAPES = (FORWARD, BACK)
"""Five steps that succeed; and four that succeed before the fifth is refused, so that four are undone."""

WARM_SAGAS = 32

RunOne = Callable[[int], Awaitable[None]]
"""Runs one saga to its end, given its number."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What to measure: one shape at one concurrency, for so many seconds and at most so many sagas."""

    shape: str
    concurrent: int
    seconds: float
    sagas: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What came out; `besides` holds what only some contenders can tell."""

    per_s: float
    p50_ms: float
    p99_ms: float
    sagas: int
    besides: Mapping[str, float] = field(default_factory=dict)


class Contender(Protocol):
    """An engine under test."""

    def opened(self, shape: str, file: Path) -> AbstractAsyncContextManager[RunOne]:
        """Ready to run sagas of that shape on a new store; leaving fails if one of them was not kept."""
        ...

    def besides(self) -> dict[str, float]:
        """More figures about the store that was closed last."""
        ...

    async def describe(self, file: Path) -> list[str]:
        """How it is used here, and what it makes durable when: sentences, with what was read back."""
        ...


def serve(load: Callable[[], Contender]) -> None:
    """The process: `python -m benchmarks.peers.NAME CORE`, in a folder of its own."""
    answers = _own_stdout()
    os.sched_setaffinity(0, {int(sys.argv[1])})
    logging.disable(logging.CRITICAL)
    try:
        contender = load()
    except ModuleNotFoundError as missing:
        _tell(answers, {"missing": f"{missing.name} is not installed"})
        return
    _tell(answers, {"ready": True})
    asyncio.run(_answer(contender, answers))


async def measure(contender: Contender, cell: Cell, file: Path) -> Figures:
    """The figures of one cell."""
    async with contender.opened(cell.shape, file) as run:
        warm = Cell(cell.shape, min(cell.concurrent, WARM_SAGAS), 0.0, WARM_SAGAS)
        await _drive(run, warm, [])
        latencies: list[float] = []
        began = time.perf_counter()
        await _drive(run, cell, latencies)
        elapsed = time.perf_counter() - began
    latencies.sort()
    return Figures(
        per_s=len(latencies) / elapsed,
        p50_ms=1e3 * latencies[len(latencies) // 2],
        p99_ms=1e3 * latencies[int(len(latencies) * 0.99)],
        sagas=len(latencies),
        besides=contender.besides(),
    )


async def _drive(run: RunOne, cell: Cell, latencies: list[float]) -> None:
    numbers = itertools.count()
    until = time.perf_counter() + cell.seconds

    async def client() -> None:
        for number in numbers:
            began = time.perf_counter()
            if number >= cell.sagas or (began > until and number >= 2 * cell.concurrent):
                return
            await run(number)
            latencies.append(time.perf_counter() - began)

    await asyncio.gather(*(client() for _ in range(cell.concurrent)))


async def _answer(contender: Contender, answers: TextIO) -> None:
    for line in sys.stdin:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            _tell(answers, await _answered(contender, json.loads(line), Path(folder)))


async def _answered(contender: Contender, request: Any, folder: Path) -> Mapping[str, Any]:
    if request == "describe":
        return {"sentences": await contender.describe(folder / "described.db")}
    return asdict(await measure(contender, Cell(**request), folder / "measured.db"))


def _own_stdout() -> TextIO:
    """The true standard output; what others print goes to standard error from now on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _tell(answers: TextIO, answer: Mapping[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
