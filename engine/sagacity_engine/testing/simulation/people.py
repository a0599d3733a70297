"""People who watch over runs: they approve, cancel, pause and settle, early, late, and sometimes wrongly.

What they say about a participant is true, because they see to it: who resolves a step has taken its effect
back by hand. Half of what they do goes straight to the engine, and half through the journal, as the command
line does it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from random import Random

from sagacity_engine.batch import Request
from sagacity_engine.errors import EngineError
from sagacity_engine.events import (
    Action,
    CancelRequested,
    Direction,
    Event,
    OperatorActed,
    SignalReceived,
    Status,
)
from sagacity_engine.handlers import idempotency_key
from sagacity_engine.machine import machine
from sagacity_engine.machine.operations import next_actions, refusal
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.testing.simulation.engines import Died, Engines
from sagacity_engine.testing.simulation.participants import Participants
from sagacity_engine.testing.simulation.replies import Replies
from sagacity_engine.testing.simulation.witness import Witness

WHO, WHY = "Asha", "she looked into it"
PATIENCE = 4
"""How often somebody tries to settle a run before they give it up."""


class People:
    """Everybody who may act on runs."""

    def __init__(
        self,
        engines: Engines,
        rng: Random,
        participants: Participants,
        replies: Replies,
        witness: Witness,
    ) -> None:
        self._engines = engines
        self._rng = rng
        self._participants = participants
        self._replies = replies
        self._note = witness.note
        self._tries: Counter[str] = Counter()
        self._errands: set[asyncio.Task[None]] = set()
        self.kept = engines.disk.kept

    async def watch(self) -> None:
        """Looks at runs now and then, for ever."""
        while True:
            await asyncio.sleep(self._rng.uniform(0.05, 0.6))
            lines = self.kept.runs(limit=60)
            if lines:
                line = self._rng.choice(lines)
                self._look_at(line.run_id, line.status)

    def settle_all(self) -> bool:
        """Frees whatever waits for a person; whether nothing did. For the end, when no new trouble comes."""
        quiet = True
        for line in self.kept.open_runs():
            quiet = False
            self._unblock(self._state(line.run_id))
        for line in self.kept.runs(Status.NEEDS_ATTENTION, 10_000):
            state = self._state(line.run_id)
            if state.started.locks or self._is_waited_for(state):
                quiet = False
                self._settle(state)
        return quiet

    async def rest(self) -> None:
        """Waits until everything that was asked for has been answered, or lost."""
        while self._errands:
            await asyncio.wait(tuple(self._errands))

    def _look_at(self, run_id: str, status: Status) -> None:
        draw = self._rng.random()
        if status is Status.NEEDS_ATTENTION:
            if draw < 0.6:
                self._settle(self._state(run_id))
        elif status is Status.COMPLETED:
            if draw < 0.04:
                self._act(run_id, Action.UNDO)
        elif status is Status.COMPENSATED:
            if draw < 0.06:
                self._act(run_id, Action.REDRIVE)
        elif status is Status.RUNNING:
            self._steer(run_id, draw)

    def _steer(self, run_id: str, draw: float) -> None:
        if draw < 0.06:
            self._ask(run_id, CancelRequested(at=0.0, who=WHO, why=WHY))
        elif draw < 0.12:
            self._act(run_id, Action.PAUSE)
        elif draw < 0.14:
            self._ask(run_id, SignalReceived(at=0.0, name="no such signal"))
        elif draw < 0.17:
            self._act(run_id, Action.ABANDON)
        elif draw < 0.22:
            state = self._state(run_id)
            step = self._rng.choice(state.saga.names)
            self._act(run_id, self._rng.choice((Action.RETRY, Action.SKIP, Action.RESOLVE)), step, state)
        elif draw < 0.7:
            state = self._state(run_id)
            self._unblock(state)
            self._interrupt(state)

    def _unblock(self, state: RunState) -> None:
        """Resumes a paused run, and answers what it waits for, or will wait for."""
        run_id = state.started.run_id
        if state.paused_at is not None:
            self._act(run_id, Action.RESUME)
        for step in state.saga.steps:
            if step.approval is None or step.approval.signal in state.signals:
                continue
            awaited = state.steps[step.name].phase is StepPhase.AWAITING
            if awaited or (state.steps[step.name].phase is StepPhase.PENDING and self._rng.random() < 0.2):
                approve = self._rng.random() < 0.75
                payload = self._rng.choice((None, {"note": "fine"}))
                signal = step.approval.signal
                self._ask(
                    run_id, SignalReceived(at=0.0, name=signal, approve=approve, payload=payload, who=WHO)
                )

    def _interrupt(self, state: RunState) -> None:
        """Cancels at moments that are rare: on the way back to a savepoint, or while the pivot is decided."""
        pivot = state.saga.pivot
        deciding = pivot is not None and state.steps[pivot.name].phase is StepPhase.RUNNING
        if self._rng.random() < (0.8 if state.rollback is not None else 0.4 if deciding else 0.0):
            self._ask(state.started.run_id, CancelRequested(at=0.0, who=WHO, why=WHY))

    def _settle(self, state: RunState) -> None:
        """Takes one of the actions that may be taken now; gives the run up when that has not helped."""
        run_id = state.started.run_id
        self._tries[run_id] += 1
        choices = list(next_actions(state))
        if not choices:
            return
        step, actions = self._rng.choice(choices)
        if self._tries[run_id] <= PATIENCE and len(actions) > 1:
            actions = tuple(action for action in actions if action is not Action.ABANDON)
        action = self._rng.choice(actions) if self._tries[run_id] <= PATIENCE else Action.ABANDON
        if self._rng.random() < 0.7 or self._replies.weather.calm:
            self._replies.stuck.discard((run_id, step))  # She has mended it.
        self._act(run_id, action, "" if action in (Action.ABANDON, Action.REDRIVE) else step, state)

    def _act(self, run_id: str, action: Action, step: str = "", state: RunState | None = None) -> None:
        event = OperatorActed(at=0.0, action=action, who=WHO, why=WHY, step=step)
        if action is not Action.RESOLVE or state is None:
            self._ask(run_id, event)
        elif not refusal(state, event):
            key = idempotency_key(run_id, step, Direction.FORWARD, state.steps[step].round)
            self._send(self._resolved(run_id, event, key))

    def _ask(self, run_id: str, event: Event) -> None:
        if self._rng.random() < 0.4:
            try:
                self.kept.ask(Request.of(run_id, event))
            except EngineError:
                self._note("too many requests were waiting")
            return
        self._send(self._straight(run_id, event))

    def _send(self, errand: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(errand)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _straight(self, run_id: str, event: Event) -> None:
        try:
            await self._engines.ask(lambda engine: engine.request(run_id, event))
        except Died:
            self._note("crash while somebody's request was on its way")
        except EngineError:
            self._note("request of a person was refused")

    async def _resolved(self, run_id: str, event: OperatorActed, key: str) -> None:
        """Who resolves a step takes its effect back by hand, once it is written that they did."""
        await self._straight(run_id, event)
        if any(
            isinstance(each, OperatorActed) and (each.action, each.step) == (event.action, event.step)
            for each in self.kept.read(run_id)
        ):
            self._participants.take_back_by_hand(key)

    def _is_waited_for(self, state: RunState) -> bool:
        parent = state.started.parent
        line = self.kept.run(parent) if parent else None
        return line is not None and not line.status.ended

    def _state(self, run_id: str) -> RunState:
        line = self.kept.run(run_id)
        assert line is not None, "a run that is listed has a line"
        saga = self.kept.definition(line.definition_hash)
        assert saga is not None, "definitions are kept before their runs"
        return machine.replay(saga, self.kept.read(run_id))
