"""Carrying out what other processes have asked of this engine through its journal.

The command line puts a request into the journal's file and waits for an answer; the engine that has the file
open looks for requests now and then, makes each happen like a call of its own, and answers.

Requests for one run are carried out in their order, one after the other. Those for different runs do not wait
for one another, so a run that waits for a resource or for its place on the disk holds up nobody else. A
request is carried out once: numbers only grow, so whatever is not above the highest seen has been taken up.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from sagacity_engine.errors import EngineError
from sagacity_engine.events import Event
from sagacity_engine.journal import Journal, Request
from sagacity_engine.run_lines import storable

_LOG = logging.getLogger("sagacity_engine")

LOOKS_EVERY_S = 0.25
"""How often the engine looks for requests, in seconds."""

AT_ONCE_MAX = 256
"""For how many runs requests are carried out at a time."""

_Numbered = tuple[int, Request]


class Requests:
    """Looks for requests while open. `wish` makes an event happen: "" when durable, else why not."""

    def __init__(self, journal: Journal, wish: Callable[[str, Event], Awaitable[str]]) -> None:
        self._journal = journal
        self._wish = wish
        self._looking: asyncio.Task[None] | None = None
        self._seen = 0  # The highest number so far.
        self._lines: dict[
            str, deque[_Numbered]
        ] = {}  # By run; the first of each is being carried out, or next.
        self._next: deque[str] = deque()  # The runs whose turn has not come.
        self._working: set[asyncio.Task[None]] = set()
        self._unanswered: dict[int, str] = {}  # What the journal would not take yet.

    def open(self) -> None:
        """Begins to look."""
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def close(self) -> None:
        """Looks no longer; what was not answered waits for the next engine."""
        self._next.clear()  # Whoever is done at this moment begins nothing more.
        tasks = [*self._working] if self._looking is None else [self._looking, *self._working]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            try:
                self._answer_again()
                for number, request in await asyncio.to_thread(self._journal.requests):
                    if number > self._seen:
                        self._seen = number
                        self._take_up(number, request)
            except Exception as problem:  # noqa: BLE001  whatever it is, the next look may go well
                _LOG.warning("requests cannot be read: %s", problem)
            self._work_on()
            await asyncio.sleep(LOOKS_EVERY_S)

    def _take_up(self, number: int, request: Request) -> None:
        line = self._lines.get(request.run_id)
        if line is None:
            line = self._lines[request.run_id] = deque()
            self._next.append(request.run_id)
        line.append((number, request))

    def _work_on(self) -> None:
        while self._next and len(self._working) < AT_ONCE_MAX:
            task = asyncio.get_running_loop().create_task(self._carry_out(self._next.popleft()))
            self._working.add(task)
            task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        if not task.cancelled():
            self._work_on()

    async def _carry_out(self, run_id: str) -> None:
        """The first request of a run; with more of them, the run takes its turn behind the others."""
        line = self._lines[run_id]
        number, request = line[0]
        self._answer(number, storable(await self._came_of(request)))
        line.popleft()
        if line:
            self._next.append(run_id)
        else:
            del self._lines[run_id]

    async def _came_of(self, request: Request) -> str:
        try:
            return await self._wish(request.run_id, request.event())
        except EngineError as problem:
            return str(problem)
        except Exception as problem:  # noqa: BLE001  one that cannot be carried out must not stay for ever
            _LOG.exception("a request for run %s cannot be carried out", request.run_id)
            return f"{type(problem).__name__}: {problem}"

    def _answer(self, number: int, answer: str) -> None:
        try:
            self._journal.answer(number, answer)
        except Exception as problem:  # noqa: BLE001  what has happened must not happen again for want of an answer
            if number not in self._unanswered:
                _LOG.warning("request %d cannot be answered now: %s", number, problem)
            self._unanswered[number] = answer
        else:
            self._unanswered.pop(number, None)

    def _answer_again(self) -> None:
        for number, answer in tuple(self._unanswered.items()):
            self._answer(number, answer)
