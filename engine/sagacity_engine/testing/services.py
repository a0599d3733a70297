"""Participants for runs in virtual time that answer from a script and keep a ledger.

The script maps (step, direction) to the replies of its first, second ... attempt; the last one is repeated,
and what the script leaves out succeeds after one second, or, if it is a probe, says what the ledger holds. A
reply that is lost, or that comes after the timeout, has taken effect unless `acts` says otherwise: the worst
case for whoever must undo it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sagacity_engine.events import Answer, AttemptStarted, Direction
from sagacity_engine.handlers import idempotency_key
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.machine.timeouts import attempt_timeout_s
from sagacity_engine.testing.effects import Effect
from sagacity_engine.virtual.calls import Reply


@dataclass(frozen=True, slots=True)
class Truthful:
    """A probe's reply: what the participant's ledger holds."""

    duration_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Hedged:
    """The replies of one attempt's first call and of the second one beside it."""

    first: Reply
    second: Reply


@dataclass(frozen=True, slots=True)
class Duplicated:
    """The network delivers the call twice; only a participant that honours keys takes one effect of it."""

    reply: Reply


Scripted = Reply | Truthful | Hedged | Duplicated
Script = Mapping[tuple[str, Direction], Sequence[Scripted]]

SUCCESS = Reply(duration_s=1.0)
TRUTH = Truthful()


class ScriptedServices:
    """Answers `VirtualHost` from a script; `ledger` holds, by run id, what really took effect.

    Participants of idempotent steps and all undos honour keys: a repeated key takes no second effect.
    `calls` holds (run id, step, direction, attempt) of every call, those of hedges too.
    """

    def __init__(
        self, script: Script, *, acts: Callable[[AttemptStarted, Reply], bool] | None = None
    ) -> None:
        self.ledger: dict[str, list[Effect]] = {}
        self.calls: list[tuple[str, str, Direction, int]] = []
        self._script = script
        self._acts = acts
        self._keys: set[str] = set()  # Under which something took effect.

    def call(self, state: RunState, attempt: AttemptStarted) -> Reply:
        """The scripted reply; its effect, if it has one, enters the ledger now."""
        self.calls.append((state.started.run_id, attempt.step, attempt.direction, attempt.attempt))
        usual = TRUTH if attempt.direction is Direction.PROBE else SUCCESS
        replies = self._script.get((attempt.step, attempt.direction)) or (usual,)
        scripted = replies[min(attempt.attempt, len(replies)) - 1]
        if isinstance(scripted, Truthful):
            return self._truth(state, attempt, scripted.duration_s)
        times = 2 if isinstance(scripted, Duplicated) else 1
        reply = _reply(scripted, hedge=state.steps[attempt.step].hedged)
        if attempt.direction is not Direction.PROBE and self._takes_effect(state, attempt, reply):
            for _ in range(times):
                self._enter(state, attempt)
        return reply

    def settled(self, state: RunState, attempt: AttemptStarted, at: float) -> None:
        """Nothing is released: scripted participants have no load."""
        del state, attempt, at

    def _takes_effect(self, state: RunState, attempt: AttemptStarted, reply: Reply) -> bool:
        late = reply.duration_s > attempt_timeout_s(state, attempt)
        if reply.lost or late:
            return self._acts is None or self._acts(attempt, reply)
        return not reply.error_type

    def _enter(self, state: RunState, attempt: AttemptStarted) -> None:
        honours = attempt.direction is Direction.UNDO or state.saga.by_name[attempt.step].idempotent
        key = _key(state, attempt, attempt.direction)
        if honours and key in self._keys:
            return
        self._keys.add(key)
        self.ledger.setdefault(state.started.run_id, []).append(
            Effect(
                step=attempt.step,
                direction=attempt.direction,
                attempt=attempt.attempt,
                key=key,
                honours_keys=honours,
            )
        )

    def _truth(self, state: RunState, attempt: AttemptStarted, duration_s: float) -> Reply:
        happened = _key(state, attempt, Direction.FORWARD) in self._keys
        answer = Answer.HAPPENED if happened else Answer.DID_NOT_HAPPEN
        return Reply(duration_s=duration_s, answer=answer)


def _reply(scripted: Reply | Hedged | Duplicated, *, hedge: bool) -> Reply:
    match scripted:
        case Hedged():
            return scripted.second if hedge else scripted.first
        case Duplicated():
            return scripted.reply
        case Reply():
            return scripted


def _key(state: RunState, attempt: AttemptStarted, direction: Direction) -> str:
    return idempotency_key(state.started.run_id, attempt.step, direction, state.steps[attempt.step].round)
