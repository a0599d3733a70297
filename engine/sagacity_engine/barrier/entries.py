"""What a block is told, and the output it leaves.

A block that never asks whether to act would act on every call, so forgetting to ask is refused at the very
first call, not at the first duplicate. An output is what JSON gives back: the first call sees the same value
as every later one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sagacity_engine.barrier.refusals import BarrierMisused
from sagacity_engine.handlers import OUTPUT_BYTES_MAX, Found


@dataclass(slots=True)
class Note:
    """One block's side of the conversation; the entry shows it to the participant."""

    key: str
    acts: bool  # Whether the block has to act.
    fresh: bool  # Whether the block's output is the one to keep.
    output: Any = None
    asked: bool = False


class Entry:
    """What every block has: an output."""

    def __init__(self, note: Note) -> None:
        self._note = note

    @property
    def output(self) -> Any:
        """What this block, or the first call under its key, left; None until then."""
        return self._note.output

    @output.setter
    def output(self, value: Any) -> None:
        if not self._note.fresh:
            raise BarrierMisused(
                f"output {_short(value)} for key {self._note.key!r}, which already has one; "
                "act and set `output` only under `if entry.first` or `if entry.owed`"
            )
        self._note.output = value

    def _must_act(self) -> bool:
        self._note.asked = True
        return self._note.acts


class Once(Entry):
    """The block of an action."""

    @property
    def first(self) -> bool:
        """Whether to act: no call under this key has acted before."""
        return self._must_act()


class Undo(Entry):
    """The block of a compensation. `action_output` is what the action left, even if its reply was lost."""

    def __init__(self, note: Note, action_output: Any) -> None:
        super().__init__(note)
        self.action_output = action_output

    @property
    def owed(self) -> bool:
        """Whether to act: the action has acted and nothing has taken its effect back yet."""
        return self._must_act()


@dataclass(frozen=True, slots=True)
class Outcome(Found):
    """What became of an action, ready to be returned by a probe, and a sentence why."""

    reason: str = ""


def sealed(note: Note) -> str | None:
    """The output as it will be stored, when the block has ended; the note then holds what JSON makes of it.

    Raises `BarrierMisused` when the block did not ask whether to act, or when JSON cannot say its output.
    """
    if not note.asked:
        raise BarrierMisused(
            f"the block under key {note.key!r} never asked whether to act; "
            "begin it with `if entry.first` (an action) or `if entry.owed` (an undo)"
        )
    try:
        text = json.dumps(note.output, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as problem:
        raise BarrierMisused(
            f"output {_short(note.output)} for key {note.key!r} is not JSON ({problem}); "
            "keep to dicts with text keys, lists, texts, finite numbers, truth values and None"
        ) from problem
    if len(text) > OUTPUT_BYTES_MAX:
        raise BarrierMisused(
            f"the output for key {note.key!r} is {len(text)} bytes of JSON; keep it under "
            f"{OUTPUT_BYTES_MAX}, for example by storing the rest yourself and giving its id"
        )
    note.output = json.loads(text)
    return None if note.output is None else text


def _short(value: object) -> str:
    try:
        text = repr(value)
    except RecursionError:
        text = f"a {type(value).__name__} nested too deeply"
    return text if len(text) <= 80 else f"{text[:77]}..."
