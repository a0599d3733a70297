"""The one fold over history that makes launch features, for training and serving alike.

`observe` folds signals in; `features` answers for a saga, the caller's context and a time. There is no second
implementation: stored rows are replayed through the same fold (`signals.signals`), so a model is served
exactly what it was trained on.

Features at time t are a function of the signals *strictly before* t. Signals of one instant are held back
and folded together, in one fixed order, when time moves past it: so ties cannot leak, and a replay agrees
with the live fold to the last bit. A signal that arrives late is folded with the weight it has by now, which
is exact for every rate, count and duration; only a service's last outcome, streak and sickness ignore it.
An end must not be told before its own start, or the call or run counts as under way for a day.
What cannot be done is to forget: asked about a time that is not after the latest folded signal, `features`
raises `HistoryAhead`. A server whose clocks disagree asks about `max(at, history.earliest_at)`.

The state is bounded by the limits in `history.py` and `under_way.py`, and by what happens in one instant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from sagacity_data.errors import HistoryAhead, SignalRefused
from sagacity_data.feature_values import SagaFacts, launch_values, saga_facts
from sagacity_data.history import SAGAS_MAX, History
from sagacity_data.rows import ContextValues, StepFeatures
from sagacity_data.signals import CallEnded, CallStarted, RunClosed, RunOpened, Signal, order
from sagacity_engine import EngineError, Saga
from sagacity_engine.wire import from_plain, to_plain

SNAPSHOT_KIND: Final = "launch_features"
SNAPSHOT_VERSION: Final = 2


class LaunchFeatures:
    """The history so far, and the features it gives. Not safe for use from several threads at once."""

    def __init__(self) -> None:
        self._history = History()
        self._folded_at = -math.inf
        self._pending: list[Signal] = []
        self._pending_at = -math.inf
        self._facts: dict[str, SagaFacts] = {}
        self._changes = 0
        self._last: tuple[object, ...] | None = None
        self._last_features: dict[str, StepFeatures] = {}

    @property
    def earliest_at(self) -> float:
        """The earliest time features can still be given for; -inf before any signal was folded."""
        return math.nextafter(self._folded_at, math.inf) if self._folded_at > -math.inf else -math.inf

    def observe(self, signal: Signal) -> None:
        """Folds one signal in, at the latest when features after its time are asked for.

        Raises `SignalRefused` if its time is not a finite number.
        """
        at = signal.at
        if not math.isfinite(at):
            raise SignalRefused(
                f"a signal of run {signal.run_id!r} has time {at!r}; times are finite seconds since 1970"
            )
        if at > self._pending_at:
            self._fold_pending()
            self._pending_at = at
            self._pending.append(signal)
        elif at == self._pending_at:
            self._pending.append(signal)
        else:
            self._history.fold(signal)
            self._changes += 1
            self._folded_at = max(self._folded_at, at)

    def features(self, saga: Saga, context: ContextValues, at: float) -> dict[str, StepFeatures]:
        """For each step of `saga`, its features as of a launch at `at` (seconds since the epoch).

        Asked twice in a row for the same launch, it answers with the same objects: do not change them. Raises
        `HistoryAhead` when signals of `at` or later are folded already.
        """
        if self._pending_at < at:
            self._fold_pending()
        if not at > self._folded_at:
            raise HistoryAhead(
                f"features were asked for at {at!r}, but history up to {self._folded_at!r} is folded in; "
                "ask for a time after it"
            )
        asked = (saga.definition_hash, at, self._changes, dict(context))
        if asked != self._last:
            self._last_features = launch_values(self._history, self._facts_of(saga), context, at)
            self._last = asked
        return self._last_features

    def _fold_pending(self) -> None:
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        if len(pending) > 1:
            pending.sort(key=order)
        for signal in pending:
            self._history.fold(signal)
        self._changes += 1
        self._folded_at = max(self._folded_at, self._pending_at)

    def _facts_of(self, saga: Saga) -> SagaFacts:
        facts = self._facts.get(saga.definition_hash)
        if facts is None:
            if len(self._facts) >= SAGAS_MAX:
                self._facts.clear()
            facts = self._facts[saga.definition_hash] = saga_facts(saga)
        return facts

    def snapshot(self) -> dict[str, Any]:
        """The whole state as plain JSON, so that a service can start warm without replaying."""
        return {
            "kind": SNAPSHOT_KIND,
            "version": SNAPSHOT_VERSION,
            "folded_at": None if self._folded_at == -math.inf else self._folded_at,
            "pending": [[type(signal).__name__, to_plain(signal)] for signal in self._pending],
            **self._history.snapshot(),
        }

    @classmethod
    def restore(cls, document: Mapping[str, Any]) -> LaunchFeatures:
        """The fold that gave this snapshot; raises `SignalRefused` when the document is none of ours."""
        kind, version = document.get("kind"), document.get("version")
        if kind != SNAPSHOT_KIND or version != SNAPSHOT_VERSION:
            raise SignalRefused(
                f"not a feature snapshot of version {SNAPSHOT_VERSION}: kind {kind!r}, version {version!r}; "
                "start without it and replay the dataset"
            )
        fold = cls()
        try:
            fold._history = History.restore(document)
            if document["folded_at"] is not None:
                fold._folded_at = float(document["folded_at"])
            for name, plain in document["pending"]:
                fold.observe(from_plain(_SIGNALS[name], plain, name))
        except (AttributeError, EngineError, KeyError, TypeError, ValueError) as problem:
            raise SignalRefused(
                f"the feature snapshot is damaged ({type(problem).__name__}: {problem}); "
                "start without it and replay the dataset"
            ) from None
        return fold


_SIGNALS: Final[dict[str, type[Signal]]] = {
    kind.__name__: kind for kind in (RunOpened, CallStarted, CallEnded, RunClosed)
}
