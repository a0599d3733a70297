"""`sagacity data`: what a dataset holds, whether it may be learned from, a copy for others, and deletion."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sagacity_api.cli.data_opening import event_log_in, opened_dataset, refusals
from sagacity_api.cli.data_words import (
    case_lines,
    description_document,
    description_lines,
    erased_lines,
    validation_document,
    validation_lines,
)
from sagacity_api.cli.errors import BadInput
from sagacity_api.cli.instants import instant
from sagacity_api.cli.output import put, put_json
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.exit_codes import ExitCode

if TYPE_CHECKING:
    from sagacity_data.store_where import Where

Dataset = Annotated[Path, typer.Argument(metavar="DATASET", help="The dataset's folder.")]
OfTenant = Annotated[str | None, typer.Option("--tenant", metavar="T", help="Only runs of this tenant.")]

data = typer.Typer(no_args_is_help=True, help="Look at a dataset, check it, copy it, delete from it.")


@data.command("describe")
def describe(dataset: Dataset, as_json: AsJson = False) -> int:
    """Tell what a dataset holds."""
    log = event_log_in(dataset)
    if log is not None:
        put_json(log) if as_json else put(case_lines(log))
        return ExitCode.DONE
    store = opened_dataset(dataset)
    with refusals():
        told, definitions = store.describe(), len(store.definitions())
    document = description_document(told, definitions)
    put_json(document) if as_json else put(description_lines(document))
    return ExitCode.DONE


@data.command("validate")
def validate(
    dataset: Dataset,
    *,
    now: Annotated[
        str | None, typer.Option("--now", metavar="TIME", help="Nothing may be later; the clock's time else.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", metavar="N", min=0, help="Replay the features of N runs only.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Check that every file is whole, every row possible, and nothing known before its time."""
    from sagacity_data.validation import validate as validated

    store = opened_dataset(dataset)
    at = time.time() if now is None else instant("--now", now)
    with refusals():
        report = validated(store, now=at, sample=sample)
    put_json(validation_document(report)) if as_json else put(validation_lines(report))
    if report.damaged:
        return ExitCode.FAILED
    return ExitCode.DONE if report.sound else ExitCode.LOOK


@data.command("export")
def export(
    dataset: Dataset,
    *,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="The file to write.")],
    form: Annotated[
        str, typer.Option("--format", metavar="parquet|csv|jsonl", help="What kind of file.")
    ] = "parquet",
    table: Annotated[
        str, typer.Option("--table", metavar="attempts|runs", help="A row per attempt, or per run.")
    ] = "attempts",
    saga: Annotated[
        str | None, typer.Option("--saga", metavar="NAME", help="Only runs of this saga.")
    ] = None,
    tenant: OfTenant = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only runs launched then or later.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Only runs launched before.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> int:
    """Write a dataset's rows into one file."""
    from sagacity_data.export import ExportFormat
    from sagacity_data.export import export as exported
    from sagacity_data.store_parts import KIND_OF
    from sagacity_data.store_where import Where

    if form not in tuple(ExportFormat):
        raise BadInput(f"--format is {form!r}; give one of {', '.join(ExportFormat)}")
    if table not in KIND_OF:
        raise BadInput(f"--table is {table!r}; give one of {', '.join(KIND_OF)}")
    if output.is_dir() or (output.exists() and not force):
        raise BadInput(f"{output} is there already; name another file, or replace a file with --force")
    where = Where(since=_time("--since", since), until=_time("--until", until), saga=saga, tenant=tenant)
    store = opened_dataset(dataset)
    with refusals():
        done = exported(store, KIND_OF[table], output, ExportFormat(form), where, replace=force)
    told = {**asdict(done), "format": form, "table": table}
    put_json(told) if as_json else put([f"{done.path}: {done.rows} {table}, {done.bytes} bytes of {form}"])
    return ExitCode.DONE


@data.command("prune")
def prune(
    dataset: Dataset,
    *,
    before: Annotated[
        str | None, typer.Option("--before", metavar="TIME", help="Runs launched before.")
    ] = None,
    tenant: OfTenant = None,
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="Only this run.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be deleted, and delete nothing.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Delete runs for good: all to which every one of --before, --tenant and --run that is given applies."""
    from sagacity_data.erasure import erase

    where = _named(before, tenant, run)
    store = opened_dataset(dataset)
    with refusals():
        erased = erase(store, where, dry_run=dry_run)
    put_json({"dataset": str(dataset), **asdict(erased)}) if as_json else put(erased_lines(dataset, erased))
    return ExitCode.DONE


def _named(before: str | None, tenant: str | None, run: str | None) -> Where:
    from sagacity_data.store_where import Where

    where = Where(until=_time("--before", before), tenant=tenant, run_id=run)
    if where == Where():
        raise BadInput("nothing says what to delete; give --before, --tenant or --run")
    return where


def _time(option: str, text: str | None) -> float | None:
    return None if text is None else instant(option, text)
