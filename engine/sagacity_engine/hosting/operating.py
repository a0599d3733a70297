"""What people do to runs, as methods: signal, pause, resume, retry, skip, resolve, abandon, redrive, undo.

Each becomes one event with who and why, is checked against the run's state first, and is durable when the
method returns. What cannot be done raises `RunRefused` saying why and what can be done instead; then nothing
was written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from sagacity_engine.errors import RunRefused, SagaRefused
from sagacity_engine.events import Action, CancelRequested, Event, OperatorActed, SignalReceived
from sagacity_engine.hosting.outcomes import journaled

WHO_MAX = 200
WHY_MAX = 2_000


class Operable(ABC):
    """Something that can make events happen to runs."""

    @abstractmethod
    async def request(self, run_id: str, event: Event) -> None:
        """Makes the event happen to the run; raises `RunRefused` when it cannot."""

    @abstractmethod
    def now(self) -> float:
        """Seconds since the epoch."""

    async def act(
        self, run_id: str, action: Action, *, who: str, why: str = "", step: str = "", output: Any = None
    ) -> None:
        """Takes one of the actions that people may take; `step` and `output` where the action has them."""
        event = operator_event(self.now(), action, who=who, why=why, step=step, output=output)
        await self.request(run_id, event)

    async def signal(
        self, run_id: str, name: str, *, approve: bool = True, payload: Any = None, who: str = ""
    ) -> None:
        """Tells a run that waits, or will wait, for the signal `name` that it is approved or refused."""
        event = signal_event(self.now(), name, approve=approve, payload=payload, who=who)
        await self.request(run_id, event)

    async def pause(self, run_id: str, *, who: str, why: str = "") -> None:
        """Starts nothing more for the run; its clocks stand still. What is in flight may end."""
        await self.act(run_id, Action.PAUSE, who=who, why=why)

    async def resume(self, run_id: str, *, who: str, why: str = "") -> None:
        """Lets a paused run go on."""
        await self.act(run_id, Action.RESUME, who=who, why=why)

    async def retry(self, run_id: str, step: str, *, who: str, why: str = "") -> None:
        """Tries the step, or its undo, again at once and with all its attempts."""
        await self.act(run_id, Action.RETRY, who=who, why=why, step=step)

    async def skip(self, run_id: str, step: str, output: Any = None, *, who: str, why: str = "") -> None:
        """Goes on as if the step had succeeded with this output."""
        await self.act(run_id, Action.SKIP, who=who, why=why, step=step, output=output)

    async def resolve(self, run_id: str, step: str, *, who: str, why: str = "") -> None:
        """Marks the step as compensated: its effect is gone, or never was."""
        await self.act(run_id, Action.RESOLVE, who=who, why=why, step=step)

    async def abandon(self, run_id: str, *, who: str, why: str = "") -> None:
        """Gives the run up: nothing more is done for it."""
        await self.act(run_id, Action.ABANDON, who=who, why=why)

    async def redrive(self, run_id: str, step: str = "", *, who: str, why: str = "") -> None:
        """Sends a run that needs attention, or was compensated, forward again, from the step if named."""
        await self.act(run_id, Action.REDRIVE, who=who, why=why, step=step)

    async def undo(self, run_id: str, *, who: str, why: str = "") -> None:
        """Takes a completed run back, step by step."""
        await self.act(run_id, Action.UNDO, who=who, why=why)


def operator_event(
    at: float, action: Action, *, who: str, why: str = "", step: str = "", output: Any = None
) -> OperatorActed:
    """The event of an action; raises `SagaRefused` naming what is missing or cannot be kept."""
    return OperatorActed(
        at=at,
        action=Action(action),
        who=_who(who),
        why=_why(why),
        step=step,
        output=_kept("output", output),
    )


def signal_event(
    at: float, name: str, *, approve: bool = True, payload: Any = None, who: str = ""
) -> SignalReceived:
    """The event of a signal; raises `SagaRefused` for a payload that cannot be kept."""
    return SignalReceived(
        at=at, name=name, approve=bool(approve), payload=_kept("payload", payload), who=str(who)[:WHO_MAX]
    )


def cancel_event(at: float, who: str, why: str = "") -> CancelRequested:
    """The event of a cancellation; raises `SagaRefused` when nobody is named."""
    return CancelRequested(at=at, who=_who(who), why=_why(why))


def _who(who: str) -> str:
    if not (_is_text(who) and who.strip() and len(who) <= WHO_MAX):
        raise SagaRefused(
            f"who is {who!r:.60}; name the person or system that decides, in 1 to {WHO_MAX} characters"
        )
    return who


def _why(why: str) -> str:
    if not (_is_text(why) and len(why) <= WHY_MAX):
        raise SagaRefused(f"why is {why!r:.60}; give the reason in at most {WHY_MAX} characters")
    return why


def _is_text(value: object) -> bool:
    """Callers need not check types."""
    return isinstance(value, str)


def _kept(what: str, value: Any) -> Any:
    try:
        return journaled(value)
    except (TypeError, ValueError, RecursionError) as problem:
        raise SagaRefused(f"the {what} cannot be kept as JSON: {problem}") from None


def require_accepted(run_id: str, refused: str) -> None:
    """Raises `RunRefused` when a request was refused with these words."""
    if refused:
        raise RunRefused(f"run {run_id!r}: {refused}")
