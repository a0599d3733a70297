"""Participants for runs in virtual time that answer from a script and keep a ledger.

The script maps (step, direction) to the replies of its first, second ... attempt; the last one is repeated,
and what the script leaves out succeeds after one second. A reply that is lost, or that comes after the
timeout, has taken effect unless `acts` says otherwise: the worst case for whoever must undo it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sagacity_engine.events import AttemptStarted, Direction
from sagacity_engine.handlers import idempotency_key
from sagacity_engine.run_state import RunState
from sagacity_engine.testing.invariants import Effect
from sagacity_engine.timeouts import attempt_timeout_s
from sagacity_engine.virtual import Reply

Script = Mapping[tuple[str, Direction], Sequence[Reply]]

SUCCESS = Reply(duration_s=1.0)


class ScriptedServices:
    """Answers `VirtualHost` from a script; `ledger` holds, by run id, what really took effect.

    Participants of idempotent steps and all undos honour keys: a repeated key takes no second effect.
    """

    def __init__(
        self, script: Script, *, acts: Callable[[AttemptStarted, Reply], bool] | None = None
    ) -> None:
        self.ledger: dict[str, list[Effect]] = {}
        self.calls: list[tuple[str, str, Direction, int]] = []
        self._script = script
        self._acts = acts

    def call(self, state: RunState, attempt: AttemptStarted) -> Reply:
        """The scripted reply; its effect, if it has one, enters the ledger now."""
        run_id = state.started.run_id
        self.calls.append((run_id, attempt.step, attempt.direction, attempt.attempt))
        replies = self._script.get((attempt.step, attempt.direction)) or (SUCCESS,)
        reply = replies[min(attempt.attempt, len(replies)) - 1]
        if self._takes_effect(state, attempt, reply):
            self._enter(state, attempt)
        return reply

    def settled(self, state: RunState, attempt: AttemptStarted, at: float) -> None:
        """Nothing is released: scripted participants have no load."""
        del state, attempt, at

    def _takes_effect(self, state: RunState, attempt: AttemptStarted, reply: Reply) -> bool:
        if reply.lost or reply.duration_s > attempt_timeout_s(state, attempt):
            return self._acts is None or self._acts(attempt, reply)
        return not reply.error_type

    def _enter(self, state: RunState, attempt: AttemptStarted) -> None:
        ledger = self.ledger.setdefault(state.started.run_id, [])
        honours = attempt.direction is Direction.UNDO or state.saga.by_name[attempt.step].idempotent
        again = state.steps[attempt.step].round
        key = idempotency_key(state.started.run_id, attempt.step, attempt.direction, again)
        if honours and any(effect.key == key for effect in ledger):
            return
        ledger.append(
            Effect(
                step=attempt.step,
                direction=attempt.direction,
                attempt=attempt.attempt,
                key=key,
                honours_keys=honours,
            )
        )
