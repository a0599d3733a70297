"""The options of `sagacity import` that several formats share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Paths = Annotated[
    list[str], typer.Argument(metavar="PATH...", help="Files, plain or gzip, or folders to look through.")
]
Into = Annotated[Path, typer.Option("--into", metavar="DATASET", help="The dataset folder to write.")]
Undo = Annotated[
    list[str] | None, typer.Option("--undo", metavar="UNDO=STEP", help="A step that undoes another.")
]
Service = Annotated[
    list[str] | None, typer.Option("--service", metavar="STEP=SERVICE", help="The service a step calls.")
]
Tenant = Annotated[str | None, typer.Option("--tenant", metavar="T", help="Whose runs they are.")]
MappingFile = Annotated[
    Path | None,
    typer.Option("--mapping", metavar="FILE", help="JSON or YAML with undoes, services, tenant, columns."),
]
Column = Annotated[
    list[str] | None, typer.Option("--column", metavar="FIELD=COLUMN", help="The column a field is in.")
]
TaxonomyFile = Annotated[
    Path | None,
    typer.Option("--taxonomy", metavar="FILE", help="JSON or YAML with rules of yours for errors' words."),
]
