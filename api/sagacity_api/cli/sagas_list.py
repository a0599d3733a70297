"""`sagacity sagas list`: the runs of a journal, newest first, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from sagacity_api.cli.errors import BadInput
from sagacity_api.cli.output import put, put_json, say, table
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.cli.sagas_files import JournalFile, opened
from sagacity_api.cli.sagas_words import moment, shown
from sagacity_api.exit_codes import ExitCode
from sagacity_engine import JournalRefused, RunSummary, Status

LIMIT, LIMIT_MAX = 20, 10_000

OfStatus = Annotated[
    Status | None,
    typer.Option("--status", metavar="STATUS", case_sensitive=False, help="Only runs that stand so."),
]
OfSaga = Annotated[str | None, typer.Option("--saga", metavar="NAME", help="Only runs of this saga.")]


def list_runs(
    journal: JournalFile,
    *,
    status: OfStatus = None,
    saga: OfSaga = None,
    attention: Annotated[
        bool, typer.Option("--attention", help="Only runs that need attention; --status NEEDS_ATTENTION.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=LIMIT_MAX, help="The most lines.")] = LIMIT,
    before: Annotated[
        str | None, typer.Option("--before", metavar="ID", help="Only runs older than this one.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """List runs, newest first. Exits with 3 when a run (of --saga) needs attention, listed or not."""
    if attention and status not in (None, Status.NEEDS_ATTENTION):
        raise BadInput(f"--attention and --status {status} contradict each other; keep one of them")
    status = Status.NEEDS_ATTENTION if attention else listed_status(status)
    with opened(journal) as oversight:
        try:
            found = oversight.runs(status, limit + 1, saga=saga, before=before)
        except JournalRefused as refusal:
            if before is None:
                raise
            raise BadInput(f"--before {before}: {refusal}") from None
        counts = oversight.counts()
        look = bool(oversight.runs(Status.NEEDS_ATTENTION, 1, saga=saga))
    lines, more = found[:limit], len(found) > limit
    if as_json:
        put_json(_as_json(lines, counts, more=more))
    else:
        put(list(_lines(lines, counts)))
        if more:
            say(f"older ones: --before {lines[-1].run_id}")
    return ExitCode.LOOK if look else ExitCode.DONE


def listed_status(status: Status | None) -> Status | None:
    """The status; raises `BadInput` for the one that a list does not tell apart."""
    if status is Status.COMPENSATING:
        raise BadInput(
            "--status COMPENSATING: a list has every open run as RUNNING; list those, and look with 'show'"
        )
    return status


def counted(counts: Mapping[Status, int]) -> str:
    """How many runs there are, in words.

    >>> counted({Status.COMPLETED: 40, Status.NEEDS_ATTENTION: 1})
    '41 runs: 40 COMPLETED, 1 NEEDS_ATTENTION'
    """
    total = sum(counts.values())
    each = ", ".join(f"{counts[status]} {status.value}" for status in Status if counts.get(status))
    return f"{total} {'run' if total == 1 else 'runs'}{f': {each}' if each else ''}"


def _lines(lines: Sequence[RunSummary], counts: Mapping[Status, int]) -> Iterator[str]:
    if lines:
        rows = [["run", "saga", "status", "started", "ended", "step", "reason"]]
        rows += [_row(line) for line in lines]
        yield from table(rows)
        yield ""
    yield f"in the whole journal {counted(counts)}"


def _row(line: RunSummary) -> list[str]:
    return [
        shown(line.run_id),
        shown(line.saga),
        line.status.value,
        moment(line.started_at),
        moment(line.ended_at),
        line.step or "-",
        shown(line.reason, 80) or "-",
    ]


def _as_json(lines: Sequence[RunSummary], counts: Mapping[Status, int], *, more: bool) -> dict[str, Any]:
    return {
        "runs": [asdict(line) for line in lines],
        "counts": {status.value: counts.get(status, 0) for status in Status if status in counts},
        "before": lines[-1].run_id if more else None,
    }
