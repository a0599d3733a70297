"""Carrying out what other processes have asked of this engine through its journal.

The command line puts a request into the journal's file and waits for an answer; the engine that has the file
open looks for requests now and then, makes each happen like a call of its own, and answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from sagacity_engine.errors import EngineError
from sagacity_engine.events import Event
from sagacity_engine.journal import Journal, Request

_LOG = logging.getLogger("sagacity_engine")

LOOKS_EVERY_S = 0.25
"""How often the engine looks for requests, in seconds."""


class Requests:
    """Looks for requests while open. `wish` makes an event happen: "" when durable, else why not."""

    def __init__(self, journal: Journal, wish: Callable[[str, Event], Awaitable[str]]) -> None:
        self._journal = journal
        self._wish = wish
        self._looking: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begins to look."""
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def close(self) -> None:
        """Looks no longer; what was not answered waits for the next engine."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking

    async def _look(self) -> None:
        while True:
            try:
                for number, request in await asyncio.to_thread(self._journal.requests):
                    self._journal.answer(number, await self._carried_out(request))
            except EngineError as problem:
                _LOG.warning("requests cannot be read: %s", problem)
            await asyncio.sleep(LOOKS_EVERY_S)

    async def _carried_out(self, request: Request) -> str:
        try:
            return await self._wish(request.run_id, request.event())
        except EngineError as problem:
            return str(problem)
