"""`sagacity import FORMAT PATH...`: histories of other systems into a dataset.

Every format writes runs and attempts. `xes` can write cases with outcomes instead, which a model of case
outcomes learns from: a rule that says which cases succeeded asks for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.cli.import_hints import Said, hints_of
from sagacity_api.cli.import_report import (
    cases_as_json,
    cases_lines,
    histories_as_json,
    histories_lines,
    say_met,
    say_refused,
)
from sagacity_api.cli.output import progress_bar, put, put_json
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sagacity_data.importers import ImportProgress, Tally

histories = typer.Typer(no_args_is_help=True, help="Import histories of other systems into a dataset.")

HELP: Final = {
    "temporal": "Import workflow histories of Temporal, as its CLI, UI and SDKs write them in JSON.",
    "cadence": "Import workflow histories of Cadence, as JSON.",
    "stepfunctions": "Import execution histories of AWS Step Functions, as JSON.",
    "conductor": "Import workflow executions of Conductor, as JSON.",
    "otlp": "Import traces in OpenTelemetry's JSON: a root span is a run, spans below it are steps.",
    "jaeger": "Import traces as Jaeger saves them: a root span is a run, spans below it are steps.",
}
"""The formats without options of their own."""

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
Show = Callable[[str, int, int], None]
"""Shows how far a file has come: its path, bytes read, runs."""


def _command(name: str) -> Callable[..., int]:
    def command(
        paths: Paths,
        *,
        into: Into,
        undo: Undo = None,
        service: Service = None,
        tenant: Tenant = None,
        mapping: MappingFile = None,
        as_json: AsJson = False,
    ) -> int:
        said = Said(
            undo=undo or (),
            service=service or (),
            tenant=tenant,
            mapping=mapping,
            unused=("columns",),
        )
        return _import_runs(name, paths, into, said, as_json=as_json)

    return command


for _name, _help in HELP.items():
    histories.command(_name, help=_help)(_command(_name))


@histories.command("csv")
def csv(
    paths: Paths,
    *,
    into: Into,
    column: Column = None,
    undo: Undo = None,
    service: Service = None,
    tenant: Tenant = None,
    mapping: MappingFile = None,
    as_json: AsJson = False,
) -> int:
    """Import event logs as tables; delimiter, times and columns are found, or told by --column."""
    said = Said(undo=undo or (), service=service or (), column=column or (), tenant=tenant, mapping=mapping)
    return _import_runs("csv", paths, into, said, as_json=as_json)


@histories.command("xes")
def xes(
    paths: Paths,
    *,
    into: Into,
    outcome_activities: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="The activities that can end a case; the last one decides."),
    ] = None,
    success: Annotated[
        str | None, typer.Option(metavar="A", help="Which of --outcome-activities mean success.")
    ] = None,
    success_contains: Annotated[
        str | None, typer.Option(metavar="ACTIVITY", help="A case succeeds if this activity occurs.")
    ] = None,
    success_attribute: Annotated[
        str | None, typer.Option(metavar="KEY=VALUE", help="A case succeeds if its attribute has the value.")
    ] = None,
    success_within: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="A case succeeds if it took at most so long.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace existing cases with outcomes.")] = False,
    undo: Undo = None,
    service: Service = None,
    tenant: Tenant = None,
    mapping: MappingFile = None,
    as_json: AsJson = False,
) -> int:
    """Import event logs: as runs and attempts, or with a rule that says who succeeded as cases."""
    said = Said(undo=undo or (), service=service or (), tenant=tenant, mapping=mapping, unused=("columns",))
    rule = {
        "outcome_activities": outcome_activities,
        "success": success,
        "success_contains": success_contains,
        "success_attribute": success_attribute,
        "success_within": success_within,
    }
    if all(part is None for part in rule.values()):
        if replace:
            raise BadInput("--replace is for cases with outcomes; runs are added to what is there")
        return _import_runs("xes", paths, into, said, as_json=as_json)
    if said.options:
        raise BadInput(f"{said.options[0]} is for runs, and a rule asks for cases; leave one of them out")
    return _import_cases(paths, into, rule, replace=replace, as_json=as_json)


def _import_runs(name: str, paths: Sequence[str], into: Path, said: Said, *, as_json: bool) -> int:
    from sagacity_data.errors import DataError
    from sagacity_data.importers import FORMATS, files_of, import_histories
    from sagacity_data.store import DatasetStore
    from sagacity_data.taxonomy import default_taxonomy

    hints, shape = hints_of(said), FORMATS[name]
    files = files_of(map(Path, paths), shape.suffixes)
    try:
        store, reader = DatasetStore(into), shape.reader()
        with _shown_progress(files) as show:
            report = import_histories(
                name,
                reader,
                files,
                store,
                taxonomy=default_taxonomy(),
                hints=hints,
                progress=None if show is None else _of_runs(show),
            )
    except DataError as refusal:
        raise BadInput(str(refusal)) from None
    say_refused(report.refused)
    say_met(report)
    if as_json:
        put_json(histories_as_json(report, into))
    elif report.read:
        put(histories_lines(report, into))
    return _ended(report.read, len(report.refused))


def _import_cases(
    paths: Sequence[str], into: Path, rule: dict[str, str | None], *, replace: bool, as_json: bool
) -> int:
    from sagacity_data.errors import DataError
    from sagacity_data.importers import FORMATS, files_of, import_event_logs
    from sagacity_data.outcomes import parse_outcome_rule

    began = time.monotonic()
    files = files_of(map(Path, paths), FORMATS["xes"].suffixes)
    try:
        with _shown_progress(files) as show:
            report = import_event_logs(
                files,
                into,
                parse_outcome_rule(**rule),
                None if show is None else _of_cases(show),
                replace=replace,
            )
    except DataError as refusal:
        raise BadInput(str(refusal)) from None
    say_refused(report.refused)
    if as_json:
        put_json(cases_as_json(report, len(files), time.monotonic() - began))
    elif report.dataset is not None:
        put(cases_lines(report))
    return _ended(len(report.imported), len(report.refused))


def _ended(read: int, refused: int) -> int:
    if not read:
        raise CommandError("no file could be imported; nothing was written", ExitCode.FAILED)
    return ExitCode.LOOK if refused else ExitCode.DONE


@contextmanager
def _shown_progress(files: Sequence[Path]) -> Iterator[Show | None]:
    """One bar over all files, by their bytes; None where nobody watches."""
    with progress_bar() as bar:
        if bar is None:
            yield None
            return
        sizes = {str(path): path.stat().st_size if path.is_file() else 0 for path in files}
        task = bar.add_task("importing", total=sum(sizes.values()))
        before, now = 0, ""

        def show(path: str, bytes_read: int, runs: int) -> None:
            nonlocal before, now
            if path != now:
                before, now = before + sizes.get(now, 0), path
            named = f"{Path(path).name}, {runs} runs" if runs else Path(path).name
            bar.update(task, completed=before + bytes_read, description=named)

        yield show


def _of_runs(show: Show) -> Callable[[Path, Tally], None]:
    return lambda path, tally: show(str(path), tally.bytes_read, 0)


def _of_cases(show: Show) -> Callable[[ImportProgress], None]:
    return lambda step: show(step.path, step.bytes_read, step.cases)
