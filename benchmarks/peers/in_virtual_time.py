"""Our machine in virtual time: five-step sagas a second with no disk and no waiting; the loop is the host's.

Each step replies after 10 ms of virtual time. `concurrent` is how many sagas are booked for one moment.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.peers.contender import BACK, RunOne, serve
from benchmarks.peers.with_sagacity import ENDS, bound

from sagacity_engine import Advice, FailureClass, Launch, RunState, author_plan
from sagacity_engine.events import AttemptStarted
from sagacity_engine.virtual.host import Reply, VirtualHost


class Participants:
    """They succeed; when the shape is turning back, the fifth step is refused."""

    def __init__(self, shape: str) -> None:
        self._succeed = Reply(duration_s=0.01)
        self._fifth = (
            Reply(duration_s=0.01, error_type="Refused", failure_class=FailureClass.PERMANENT)
            if shape == BACK
            else self._succeed
        )

    def call(self, state: RunState, attempt: AttemptStarted) -> Reply:
        """After 10 ms."""
        del state
        return self._fifth if attempt.step == "step_5" else self._succeed

    def settled(self, state: RunState, attempt: AttemptStarted, at: float) -> None:
        """Nobody needs to know."""


class InVirtualTime:
    """One virtual host for each saga that is run: what it takes to plan, decide and end."""

    @asynccontextmanager
    async def opened(self, shape: str, file: Path) -> AsyncIterator[RunOne]:
        """Nothing is opened: this host keeps no journal."""
        del file
        saga, services, wanted = bound(shape).saga, Participants(shape), ENDS[shape]
        plan = author_plan(saga)

        async def run(number: int) -> None:
            host = VirtualHost(services, lambda *_: 0.5)
            launch = Launch(run_id=f"run-{number}", context={}, at=0.0)
            host.launch(saga, launch, lambda _saga, _launch: Advice(plan=plan))
            (state,) = host.run().values()
            assert state.ended is not None, "a virtual run has ended"
            assert state.ended.status is wanted, state.ended

        yield run

    def besides(self) -> dict[str, float]:
        """Nothing more."""
        return {}

    async def describe(self, file: Path) -> list[str]:
        """What it is."""
        del file
        return ["Sagacity's machine on its virtual host: nothing is durable"]


if __name__ == "__main__":
    serve(InVirtualTime)
