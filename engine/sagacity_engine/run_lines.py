"""The list of runs: one line per run, kept beside the events only so that runs are found quickly.

Everything in a line can be told from the run's events: `line_after` is the fold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sagacity_engine.events import Action, Event, OperatorActed, RunEnded, RunStarted, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One line of the list of runs. An open run is `RUNNING` here, whichever way it is going."""

    run_id: str
    saga: str
    definition_hash: str
    status: Status
    started_at: float
    ended_at: float | None = None
    reason: str = ""
    step: str = ""


def line_after(line: RunSummary | None, events: Iterable[Event]) -> RunSummary | None:
    """The run's line after these events, in their order; None for a run that has not started."""
    for event in events:
        if isinstance(event, RunStarted):
            line = started_line(event)
        elif line is None:
            continue
        elif isinstance(event, RunEnded):
            line = replace(
                line,
                status=event.status,
                ended_at=event.at,
                reason=storable(event.reason),
                step=storable(event.step),
            )
        elif reopens(event):
            line = replace(line, status=Status.RUNNING, ended_at=None, reason="", step="")
    return line


def started_line(started: RunStarted) -> RunSummary:
    """The line of a run that has just started."""
    return RunSummary(
        run_id=started.run_id,
        saga=started.plan.saga,
        definition_hash=started.definition_hash,
        status=Status.RUNNING,
        started_at=started.at,
    )


def reopens(event: Event) -> bool:
    """Whether the event makes an ended run go on."""
    return isinstance(event, OperatorActed) and event.action is not Action.PAUSE


def storable(text: str) -> str:
    """The text with what no UTF-8 can hold replaced: half a character may come in with an error's message."""
    return text.encode("utf-8", "replace").decode()
