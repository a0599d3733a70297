"""`sagacity import`: histories of other systems into a dataset."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.cli.output import progress_bar, put, put_json, say
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sagacity_data.importers import ImportProgress, ImportReport

histories = typer.Typer(no_args_is_help=True, help="Import histories of other systems into a dataset.")


@histories.command("xes")
def xes(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Event logs, .xes or .xes.gz.")],
    *,
    into: Annotated[Path, typer.Option("--into", metavar="DATASET", help="The dataset folder to write.")],
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
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing dataset.")] = False,
    as_json: AsJson = False,
) -> int:
    """Import XES event logs, plain or gzip. Exactly one rule says which cases succeeded."""
    from sagacity_data.errors import DataError
    from sagacity_data.importers import import_event_logs
    from sagacity_data.outcomes import parse_outcome_rule

    try:
        rule = parse_outcome_rule(
            outcome_activities=outcome_activities,
            success=success,
            success_contains=success_contains,
            success_attribute=success_attribute,
            success_within=success_within,
        )
        with _shown_progress() as progress:
            report = import_event_logs(files, into, rule, progress, replace=replace)
    except DataError as refusal:
        raise BadInput(str(refusal)) from None
    for refused in report.refused:
        say(f"refused: {refused}")
    if report.dataset is None:
        raise CommandError("no file could be imported; nothing was written", ExitCode.FAILED)
    put_json(_as_json(report)) if as_json else put(_lines(report))
    return ExitCode.LOOK if report.refused else ExitCode.DONE


@contextmanager
def _shown_progress() -> Iterator[Callable[[ImportProgress], None] | None]:
    with progress_bar() as bar:
        if bar is None:
            yield None
            return
        tasks: dict[str, Any] = {}

        def show(step: ImportProgress) -> None:
            if step.path not in tasks:
                tasks[step.path] = bar.add_task(Path(step.path).name, total=step.bytes_total)
            bar.update(tasks[step.path], completed=step.bytes_read)

        yield show


def _lines(report: ImportReport) -> list[str]:
    imported = f"{len(report.imported)} of {len(report.imported) + len(report.refused)} files"
    rate = f" ({report.successes / report.cases_with_outcome:.1%})" if report.cases_with_outcome else ""
    return [
        f"{report.dataset}: {report.cases} cases, {report.events} events from {imported}",
        f"rule: {report.rule}",
        f"{report.cases_with_outcome} cases have an outcome, {report.successes} succeeded{rate}",
        *(f"note: {note}" for note in report.notes),
    ]


def _as_json(report: ImportReport) -> dict[str, Any]:
    return {
        "dataset": str(report.dataset),
        "rule": report.rule,
        "cases": report.cases,
        "events": report.events,
        "cases_with_outcome": report.cases_with_outcome,
        "successes": report.successes,
        "imported": [asdict(source) for source in report.imported],
        "refused": [
            {"path": each.path, "place": each.place, "reason": each.reason, "way_out": each.way_out}
            for each in report.refused
        ],
        "notes": list(report.notes),
    }
