"""`sagacity sagas`: the runs of a journal, and what a person may do about them.

Each acting command makes one event of its own; which runs it is about is the order's, and what becomes of it
is told alike for all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from sagacity_api.bounded_json import JsonRefused, read_json
from sagacity_api.cli.errors import BadInput
from sagacity_api.cli.sagas_carrying_out import Make, carry_out
from sagacity_api.cli.sagas_list import list_runs
from sagacity_api.cli.sagas_order import Order, with_order
from sagacity_api.cli.sagas_show import show
from sagacity_engine import RunSummary
from sagacity_engine.events import Action
from sagacity_engine.hosting.operating import cancel_event, operator_event, signal_event

UNDATED = 0.0
"""The time of an event before it is dated by whoever writes it."""

StepOf = Annotated[
    str | None, typer.Argument(metavar="STEP", help="Which step of the run.", show_default=False)
]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why; kept with the decision.")]

sagas = typer.Typer(no_args_is_help=True, help="Look at the runs of a journal, and act on them.")
sagas.command("list")(list_runs)
sagas.command("show")(show)


@sagas.command("retry")
@with_order
def retry(order: Order, step: StepOf = None, *, why: Why = "") -> int:
    """Try a step, or its undo, again at once and with all its attempts."""
    return _act(order, Action.RETRY, why, step)


@sagas.command("skip")
@with_order
def skip(
    order: Order,
    step: StepOf = None,
    *,
    why: Why,
    output: Annotated[
        str | None, typer.Option("--output", metavar="JSON", help="What counts as the step's output.")
    ] = None,
) -> int:
    """Go on as if a step had succeeded."""
    return _act(order, Action.SKIP, _said(why), step, _json("--output", output))


@sagas.command("resolve")
@with_order
def resolve(order: Order, step: StepOf = None, *, why: Why) -> int:
    """Say that a step's effect is gone, or never was: nothing is left to undo."""
    return _act(order, Action.RESOLVE, _said(why), step)


@sagas.command("abandon")
@with_order
def abandon(order: Order, *, why: Why) -> int:
    """Give a run up: nothing more is done for it."""
    return _act(order, Action.ABANDON, _said(why))


@sagas.command("redrive")
@with_order
def redrive(order: Order, step: StepOf = None, *, why: Why) -> int:
    """Send a run that needs attention, or was compensated, forward again, from the step if named."""
    return _act(order, Action.REDRIVE, _said(why), step or "")


@sagas.command("cancel")
@with_order
def cancel(order: Order, *, why: Why = "") -> int:
    """Ask a run to turn back; after its pivot that changes nothing."""
    return carry_out(order, "cancel", lambda _: cancel_event(UNDATED, order.name(), why))


@sagas.command("signal")
@with_order
def signal(
    order: Order,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The signal's name.", show_default=False)
    ] = None,
    *,
    approve: Annotated[bool, typer.Option("--approve/--reject", help="What the answer is.")] = True,
    payload: Annotated[
        str | None, typer.Option("--payload", metavar="JSON", help="What the step's output is to hold.")
    ] = None,
) -> int:
    """Answer a run that waits, or will wait, for a signal. With --all the name alone is given."""
    if order.every and name is None:  # What stands where the id would be is the name.
        order, name = replace(order, run_id=None), order.run_id
    if not name:
        raise BadInput("no signal is named; give its NAME after the run's ID")
    given, who = _json("--payload", payload), order.name()
    event = signal_event(UNDATED, name, approve=approve, payload=given, who=who)
    return carry_out(order, "signal", lambda _: event)


@sagas.command("pause")
@with_order
def pause(order: Order, *, why: Why = "") -> int:
    """Start nothing more for a run; its clocks stand still."""
    return _act(order, Action.PAUSE, why)


@sagas.command("resume")
@with_order
def resume(order: Order, *, why: Why = "") -> int:
    """Let a paused run go on."""
    return _act(order, Action.RESUME, why)


@sagas.command("undo")
@with_order
def undo(order: Order, *, why: Why = "") -> int:
    """Take a completed run back, step by step."""
    return _act(order, Action.UNDO, why)


def _act(order: Order, action: Action, why: str, step: str | None = "", output: Any = None) -> int:
    """`step` is None where the action is one on a step, and none was named."""
    if not order.every and order.run_id is not None and step is None:
        raise BadInput(
            f"{action.value} is done to a step; give STEP after the run's ID "
            f"('sagacity sagas show {order.journal} {order.run_id}' lists the steps)"
        )
    who = order.name()

    def event(line: RunSummary) -> Any:
        at_step = line.step if step is None else step
        return operator_event(UNDATED, action, who=who, why=why, step=at_step, output=output)

    make: Make = event
    return carry_out(order, action.value, make)


def _said(why: str) -> str:
    """The reason; raises `BadInput` for one that says nothing."""
    if not why.strip(" ."):
        raise BadInput(f"--why is {why!r}; say why in words, for whoever reads it later")
    return why


def _json(option: str, text: str | None) -> Any:
    if text is None:
        return None
    try:
        return read_json(text.encode())
    except (JsonRefused, UnicodeEncodeError) as refusal:
        raise BadInput(f"{option} {text[:60]!r} is no JSON: {refusal}") from None
