"""What every format's command does with its files: read them, show how far it is, and say what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.cli.import_hints import Said, hints_of, taxonomy_of
from sagacity_api.cli.import_report import (
    cases_as_json,
    cases_lines,
    histories_as_json,
    histories_lines,
    say_met,
    say_refused,
)
from sagacity_api.cli.output import progress_bar, put, put_json
from sagacity_api.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sagacity_data.importers import ImportProgress, Tally

Show = Callable[[str, int, int], None]
"""Shows how far a file has come: its path, bytes read, runs."""


def import_runs(name: str, paths: Sequence[str], into: Path, said: Said, *, as_json: bool) -> int:
    """Imports files of one format as runs; the exit code. Raises `BadInput` and `CommandError`."""
    from sagacity_data.errors import DataError
    from sagacity_data.importers import FORMATS, files_of, import_histories
    from sagacity_data.store import DatasetStore

    hints, taxonomy, shape = hints_of(said), taxonomy_of(said), FORMATS[name]
    files = files_of(map(Path, paths), shape.suffixes)
    try:
        store, reader = DatasetStore(into), shape.reader()
        with _shown_progress(files) as show:
            report = import_histories(
                name,
                reader,
                files,
                store,
                taxonomy=taxonomy,
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


def import_cases(
    paths: Sequence[str], into: Path, rule: dict[str, str | None], *, replace: bool, as_json: bool
) -> int:
    """Imports event logs as cases whose outcomes the rule tells; the same besides."""
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
