"""Random people: what they ask of a run while it goes on, and what they do when everything stands still."""

from __future__ import annotations

from collections import Counter
from random import Random

from sagacity_engine.events import (
    Action,
    CancelRequested,
    Event,
    OperatorActed,
    SignalReceived,
    Status,
)
from sagacity_engine.machine.operations import next_actions
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.saga import Saga
from sagacity_engine.testing.wishes import Wish

WHO = "Asha"
_OF_A_STEP = (Action.RETRY, Action.SKIP, Action.RESOLVE)
_OF_A_RUN = (Action.PAUSE, Action.PAUSE, Action.PAUSE, Action.ABANDON)


def random_wishes(saga: Saga, rng: Random, *, wishes_max: int = 4, within_s: float = 15.0) -> list[Wish]:
    """Up to `wishes_max` things asked of a run of the saga, with when; many will be refused at that time.

    A pause is always followed by a resume.
    """
    wishes: list[Wish] = []
    for _ in range(rng.randint(0, wishes_max)):
        after_s = rng.random() * within_s
        event = _wish(saga, rng)
        wishes.append((after_s, event))
        if isinstance(event, OperatorActed) and event.action is Action.PAUSE:
            resume = OperatorActed(at=0.0, action=Action.RESUME, who=WHO)
            wishes.append((after_s + 10 * rng.random(), resume))
    return wishes


def _wish(saga: Saga, rng: Random) -> Event:
    signals = [step.approval.signal for step in saga.steps if step.approval is not None]
    draw = rng.random()
    if signals and draw < 0.5:
        return SignalReceived(at=0.0, name=rng.choice(signals), approve=rng.random() < 0.7, who=WHO)
    if draw < 0.6:
        return CancelRequested(at=0.0, who=WHO, why="changed her mind")
    if draw < 0.8:
        return OperatorActed(at=0.0, action=rng.choice(_OF_A_RUN), who=WHO, why="the road is closed")
    step = rng.choice(saga.names)
    return OperatorActed(at=0.0, action=rng.choice(_OF_A_STEP), who=WHO, why="saw to it", step=step)


class Attendant:
    """Somebody who looks after runs that stand still: at most `patience` times each, and gives up then.

    Steps that wait for an approval get one, or a refusal; paused runs go on; a run that needs attention gets
    one of the actions that would help it; one that ended well or was taken back is now and then turned round.
    """

    def __init__(self, rng: Random, *, patience: int = 5, restless: float = 0.1) -> None:
        self._rng = rng
        self._patience = patience
        self._restless = restless
        self._looked: Counter[str] = Counter()

    def __call__(self, state: RunState, now: float) -> Event | None:
        """What is done about the run at `now`; None to leave it alone."""
        rng, at = self._rng, now + self._rng.random()
        self._looked[state.started.run_id] += 1
        patient = self._looked[state.started.run_id] <= self._patience
        if state.ended is None:
            return _unblock(state, rng, at)
        if state.ended.status is Status.NEEDS_ATTENTION:
            name, actions = next(iter(next_actions(state)))
            action = rng.choice(actions) if patient else Action.ABANDON
            return OperatorActed(at=at, action=action, who=WHO, why="looked into it", step=name)
        turns = {Status.COMPLETED: Action.UNDO, Status.COMPENSATED: Action.REDRIVE}
        turn = turns.get(state.ended.status)
        if turn is None or not patient or state.started.parent or rng.random() >= self._restless:
            return None
        return OperatorActed(at=at, action=turn, who=WHO, why="on second thoughts")


def _unblock(state: RunState, rng: Random, at: float) -> Event | None:
    if state.paused_at is not None:
        return OperatorActed(at=at, action=Action.RESUME, who=WHO)
    for name, step in state.steps.items():
        approval = state.saga.by_name[name].approval
        if approval is not None and step.phase is StepPhase.AWAITING:
            return SignalReceived(at=at, name=approval.signal, approve=rng.random() < 0.7, who=WHO)
    return None
