"""`sagacity train --watch`: looks at a growing dataset, trains when that is due, takes back what harms.

One look at a time; what a look cannot do is a line on stderr, and the next look tries again. A training that
was refused counts as one, so it is not tried again before the rest is over. Whoever stops the command does so
between looks or after the training under way.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.cli.output import put, say
from sagacity_api.cli.stopping import until_stopped
from sagacity_api.exit_codes import ExitCode

if TYPE_CHECKING:
    from sagacity_models.bundle import Bundle
    from sagacity_models.registry import Registry
    from sagacity_training.job import Done
    from sagacity_training.loop.watched import WatchState
    from sagacity_training.loop.watching import Seen, Trained, WatchPolicy

BY = "sagacity train --watch"
Train = Callable[[float], "Done"]


@dataclass(slots=True, kw_only=True)
class Watch:
    """One dataset and its registry under watch. `train` runs one training as of a time."""

    dataset: Path
    registry: Registry
    train: Train
    as_json: bool
    clock: Callable[[], float] = time.time
    state: WatchState = field(init=False)
    promoted: bool = True  # What the latest training came to, if there was one.

    def __post_init__(self) -> None:
        from sagacity_training.loop.watched import WatchState

        self.state = WatchState.read(self.registry.folder)

    def run(self, policy: WatchPolicy, *, once: bool) -> int:
        """Watches until stopped, or looks once. The exit code: done, or trained once and not promoted."""
        from sagacity_training.loop.watching import watch

        with until_stopped() as stopped:
            watch(
                self._look,
                self._trained,
                clock=self.clock,
                wait=lambda seconds: once or stopped.wait(seconds),
                policy=policy,
                trained=self.state.trained,
            )
        return ExitCode.LOOK if once and not self.promoted else ExitCode.DONE

    def _look(self, trained: Trained | None) -> Seen:
        from sagacity_training.loop.watched import seen_in
        from sagacity_training.loop.watching import Seen

        try:
            with _one_line():
                self._follow_champion()
                return seen_in(self.dataset, self._champion(), trained)
        except CommandError as refusal:
            say(f"sagacity: {refusal}; looking again later")
            return Seen(runs=0)

    def _follow_champion(self) -> None:
        """Notes since when there is this champion, and takes it back where the holdout surely does better."""
        from sagacity_training.loop.watched import worse_than_the_holdout

        present = self.registry.version() or ""
        if present != self.state.champion:
            self._keep(champion=present, champion_since=self.clock())
        why = worse_than_the_holdout(self.dataset, self.state.champion_since) if present else ""
        if why:
            self._keep(champion_since=self.clock())  # Told once; the next one has runs of its own to show.
            until_now, now = self.registry.rollback(reason=why, by=BY)
            self._keep(champion=now)
            self._tell({"rolled_back": until_now, "champion": now, "reason": why})

    def _champion(self) -> Bundle | None:
        from sagacity_models.bundle import load_bundle

        return load_bundle(self.registry.verified_folder()) if self.state.champion else None

    def _trained(self, reason: str) -> Trained:
        from sagacity_data.store import DatasetStore
        from sagacity_training.loop.watched import runs_in
        from sagacity_training.loop.watching import Trained

        at = self.clock()
        latest = Trained(at=at, runs=self.state.trained.runs if self.state.trained else 0)
        try:
            with _one_line():
                runs = runs_in(DatasetStore(self.dataset))
                done = self.train(at)
            latest, self.promoted = Trained(at=at, runs=runs), done.verdict.promoted
            self._tell({"trained": reason, "version": done.version, **done.as_json()})
        except CommandError as refusal:
            self.promoted = False
            say(f"sagacity: not trained ({reason}): {refusal}")
        self._keep(trained=latest)
        return latest

    def _keep(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        try:
            self.state.write(self.registry.folder)
        except OSError as problem:
            say(f"sagacity: {self.registry.folder} cannot be written ({problem.strerror}); make room")

    def _tell(self, event: Mapping[str, Any]) -> None:
        told = {"at": self.clock(), **event}
        put([json.dumps(told, allow_nan=False) if self.as_json else _words(told)])
        sys.stdout.flush()


def _words(event: Mapping[str, Any]) -> str:
    if "rolled_back" in event:
        return f"version {event['rolled_back']} is taken back for {event['champion']}: {event['reason']}"
    word = "promoted" if event["promoted"] else "not promoted"
    return f"trained version {event['version']}, {word}, as {event['trained']}: {'; '.join(event['reasons'])}"


@contextmanager
def _one_line() -> Iterator[None]:
    """Turns what data, models and training refuse into a `BadInput` of one line."""
    from sagacity_data.errors import DataError
    from sagacity_models.errors import ModelError
    from sagacity_training.errors import TrainingError

    try:
        yield
    except (DataError, ModelError, TrainingError, OSError) as problem:
        raise BadInput(str(problem)) from None
