"""`sagacity check` and `sagacity schema`: documents, without any model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from sagacity_api.cli.document_file import read_saga_file
from sagacity_api.cli.output import put, put_json
from sagacity_api.exit_codes import ExitCode
from sagacity_engine import author_plan, saga_schema

SagaFile = Annotated[str, typer.Argument(metavar="FILE", help="A saga document, JSON or YAML; - for stdin.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def check(file: SagaFile, as_json: AsJson = False) -> int:
    """Check a saga document and show the plan its author wrote."""
    from sagacity_api.cli.rendering import saga_lines

    saga = read_saga_file(file)
    if not as_json:
        put(saga_lines(file, saga))
        return ExitCode.DONE
    put_json(
        {
            "saga": saga.name,
            "version": saga.version,
            "definition_hash": saga.definition_hash,
            "steps": list(saga.names),
            "pivot": saga.pivot.name if saga.pivot else None,
            "arcs": {name: sorted(before) for name, before in saga.arcs.items()},
            "stages": [list(stage) for stage in author_plan(saga).stages()],
            "freedom": asdict(saga.freedom),
        }
    )
    return ExitCode.DONE


def schema(as_json: AsJson = False) -> int:
    """Print the JSON Schema of saga documents."""
    del as_json  # it is JSON either way; the option is there so that every command takes it
    put_json(saga_schema())
    return ExitCode.DONE
