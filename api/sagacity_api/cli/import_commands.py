"""`sagacity import FORMAT PATH...`: histories of other systems into a dataset.

Every format writes runs and attempts. `xes` can write cases with outcomes instead, which a model of case
outcomes learns from: a rule that says which cases succeeded asks for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

from sagacity_api.cli.errors import BadInput
from sagacity_api.cli.import_files import import_cases, import_runs
from sagacity_api.cli.import_hints import Said
from sagacity_api.cli.import_options import (
    Column,
    Into,
    MappingFile,
    Paths,
    Service,
    TaxonomyFile,
    Tenant,
    Undo,
)
from sagacity_api.cli.saga_commands import AsJson

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


def _command(name: str) -> Callable[..., int]:
    def command(
        paths: Paths,
        *,
        into: Into,
        undo: Undo = None,
        service: Service = None,
        tenant: Tenant = None,
        mapping: MappingFile = None,
        taxonomy: TaxonomyFile = None,
        as_json: AsJson = False,
    ) -> int:
        said = Said(
            undo=undo or (),
            service=service or (),
            tenant=tenant,
            mapping=mapping,
            taxonomy=taxonomy,
            unused=("columns",),
        )
        return import_runs(name, paths, into, said, as_json=as_json)

    return command


for _name, _help in HELP.items():
    histories.command(_name, help=_help)(_command(_name))


@histories.command("csv")
def csv(
    paths: Paths,
    *,
    into: Into,
    column: Column = None,
    failed_when: Annotated[
        list[str] | None,
        typer.Option("--failed-when", metavar="COLUMN=VALUE", help="A row that says that its case failed."),
    ] = None,
    completed_when: Annotated[
        list[str] | None,
        typer.Option("--completed-when", metavar="COLUMN=VALUE", help="One that says that it completed."),
    ] = None,
    undo: Undo = None,
    service: Service = None,
    tenant: Tenant = None,
    mapping: MappingFile = None,
    taxonomy: TaxonomyFile = None,
    as_json: AsJson = False,
) -> int:
    """Import event logs as tables; delimiter, times and columns are found, or told by --column."""
    said = Said(
        undo=undo or (),
        service=service or (),
        column=column or (),
        failed_when=failed_when or (),
        completed_when=completed_when or (),
        tenant=tenant,
        mapping=mapping,
        taxonomy=taxonomy,
    )
    return import_runs("csv", paths, into, said, as_json=as_json)


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
    taxonomy: TaxonomyFile = None,
    as_json: AsJson = False,
) -> int:
    """Import event logs: as runs and attempts, or with a rule that says who succeeded as cases."""
    said = Said(
        undo=undo or (),
        service=service or (),
        tenant=tenant,
        mapping=mapping,
        taxonomy=taxonomy,
        unused=("columns",),
    )
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
        return import_runs("xes", paths, into, said, as_json=as_json)
    if said.options:
        raise BadInput(f"{said.options[0]} is for runs, and a rule asks for cases; leave one of them out")
    return import_cases(paths, into, rule, replace=replace, as_json=as_json)
