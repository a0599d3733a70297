"""An order: which runs of which journal a person decides about, and in whose name.

Every acting command takes one. It names one run by its id, or, with `--all`, every run that a status, a saga,
a step and a reason select; never both. `with_order` gives a command these arguments and options beside its
own, so that they are written down once.
"""

from __future__ import annotations

import getpass
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from sagacity_api.cli.errors import BadInput
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.cli.sagas_files import JournalFile
from sagacity_api.cli.sagas_list import OfSaga, OfStatus, listed_status
from sagacity_api.oversight import Oversight
from sagacity_engine import RunSummary

P = ParamSpec("P")

RUNS_MAX = 10_000
"""The most runs that one order is about."""

PAGE = 1_000
"""Runs looked up at a time."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What every acting command takes besides what its action needs."""

    journal: JournalFile
    run_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="The run's id; none with --all.", show_default=False)
    ] = None
    who: Annotated[
        str | None, typer.Option("--who", metavar="NAME", help="Who decides; your login name if left out.")
    ] = None
    every: Annotated[bool, typer.Option("--all", help="Every run that the next options select.")] = False
    status: OfStatus = None
    saga: OfSaga = None
    at_step: Annotated[
        str | None, typer.Option("--step", metavar="STEP", help="Only runs that were stopped at this step.")
    ] = None
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Only runs whose reason holds this text.")
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would happen to each run; write nothing.")
    ] = False
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before acting on --all.")] = False
    wait: Annotated[
        float, typer.Option("--wait", min=0, max=3600, help="Seconds to wait for a running engine's answer.")
    ] = 5.0
    as_json: AsJson = False

    def chosen(self, oversight: Oversight) -> tuple[RunSummary, ...]:
        """The lines of the runs it is about, newest first; raises `BadInput` where it contradicts itself."""
        if not self.every:
            return (self._named(oversight),)
        if self.run_id is not None:
            raise BadInput(f"the run {self.run_id!r} and --all are both given; keep one of them")
        if self.status is None:
            raise BadInput("--all needs --status, for example --status NEEDS_ATTENTION")
        found = tuple(line for line in self._listed(oversight) if self._fits(line))
        if len(found) > RUNS_MAX:
            raise BadInput(
                f"more than {RUNS_MAX:,} runs are meant; narrow them with --saga, --step, --reason"
            )
        return found

    def name(self) -> str:
        """Who decides; raises `BadInput` when nobody is named and the login name is not known."""
        if self.who is not None:
            return self.who
        try:
            return getpass.getuser()
        except (KeyError, OSError, ImportError):
            raise BadInput("your login name is not known here; give --who NAME") from None

    def _named(self, oversight: Oversight) -> RunSummary:
        given = (self.status, self.saga, self.at_step, self.reason)
        if self.run_id is None:
            raise BadInput("no run is named; give its ID, or --all with --status")
        if any(option is not None for option in given):
            raise BadInput("--status, --saga, --step and --reason select runs for --all; leave them out")
        line = oversight.line(self.run_id)
        if line is None:
            raise BadInput(
                f"there is no run {self.run_id!r} in {self.journal}; "
                f"'sagacity sagas list {self.journal}' lists those there are"
            )
        return line

    def _listed(self, oversight: Oversight) -> Iterator[RunSummary]:
        before: str | None = None
        status = listed_status(self.status)
        while page := oversight.runs(status, PAGE, saga=self.saga, before=before):
            yield from page
            before = page[-1].run_id

    def _fits(self, line: RunSummary) -> bool:
        at_step = self.at_step is None or line.step == self.at_step
        return at_step and (self.reason is None or self.reason.casefold() in line.reason.casefold())


def with_order(command: Callable[Concatenate[Order, P], int]) -> Callable[..., int]:
    """The command with an order's arguments and options in place of the order itself."""
    call: Callable[..., int] = command
    shared = inspect.signature(Order, eval_str=True).parameters
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    @wraps(command)
    def ordered(**given: Any) -> int:
        order = Order(**{name: given.pop(name) for name in shared})
        return call(order, **given)

    journal, run_id, *options = shared.values()
    listed = (journal, run_id, *own, *options)  # A run's id comes before what is named of the run.
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in listed]
    setattr(ordered, "__signature__", inspect.Signature(parameters, return_annotation=int))  # noqa: B010  no type has it
    return ordered
