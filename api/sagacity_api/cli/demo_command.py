"""`sagacity demo`: the whole story on one machine; told in `sagacity_api.demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.cli.saga_commands import AsJson


def demo(
    *,
    into: Annotated[
        Path, typer.Option("--into", metavar="DIR", help="The folder to keep everything in.")
    ] = Path("sagacity-demo"),
    seed: Annotated[int, typer.Option(min=0, help="The same seed tells the same story.")] = 3,
    as_json: AsJson = False,
) -> int:
    """Learn from a simulated travel agency, then run trips for real, kill the engine and recover."""
    from sagacity_api.demo import DemoRefused, LiveFailed, run_demo

    try:
        return run_demo(into=into, seed=seed, as_json=as_json)
    except DemoRefused as refusal:
        raise BadInput(str(refusal)) from None
    except LiveFailed as failure:
        raise CommandError(str(failure)) from None
