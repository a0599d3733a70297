"""What calling a step takes, looked up once for all runs of its saga: its functions, and what bounds it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial

from sagacity_engine.events import Direction
from sagacity_engine.handlers import Action, BoundSaga, Handler
from sagacity_engine.saga import Step

SAGAS_MAX = 1_000
"""The most sagas whose routes are kept."""


class Route:
    """The way from an attempt of one step to the function behind it."""

    __slots__ = ("functions", "is_sub_saga", "is_watched", "queue_s", "service", "silence_s")

    def __init__(self, step: Step, handler: Handler | None) -> None:
        self.service = step.service
        self.is_sub_saga = step.sub_saga is not None
        self.queue_s = step.schedule_to_start_timeout_s  # The longest that its action waits to be called,
        self.silence_s = step.heartbeat_timeout_s  # and the longest that it says nothing; None is for ever.
        self.is_watched = self.queue_s is not None or self.silence_s is not None
        self.functions: dict[Direction, tuple[Action, bool]] = {}  # With whether calling makes a coroutine.
        for direction in Direction:
            action = None if handler is None else handler.function(direction)
            if action is not None:
                self.functions[direction] = action, is_async(action)


class Routes:
    """The routes of the sagas that were asked for lately."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[BoundSaga, Mapping[str, Route]]] = {}  # By identity; each is held here.

    def of(self, bound: BoundSaga) -> Mapping[str, Route]:
        """The routes of a saga's steps, by name."""
        known = self._known.get(id(bound))
        if known is None:
            if len(self._known) >= SAGAS_MAX:
                self._known.clear()
            routes = {step.name: Route(step, bound.handlers.get(step.name)) for step in bound.saga.steps}
            known = self._known[id(bound)] = bound, routes
        return known[1]


def is_async(action: Action) -> bool:
    """Whether calling the action only makes a coroutine."""
    if isinstance(action, partial):
        action = action.func
    return inspect.iscoroutinefunction(action) or inspect.iscoroutinefunction(type(action).__call__)
