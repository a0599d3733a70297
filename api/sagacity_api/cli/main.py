"""The `sagacity` command: its verbs, and how every one of them ends.

Commands return an `ExitCode` or raise a `CommandError`. Whatever else is raised is unexpected: the user sees
one line, and the traceback only with SAGACITY_DEBUG=1. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from sagacity_api.cli.advice_commands import plan, predict
from sagacity_api.cli.convert_command import conversions
from sagacity_api.cli.data_commands import data
from sagacity_api.cli.demo_command import demo
from sagacity_api.cli.errors import CommandError, ExtraMissing
from sagacity_api.cli.import_commands import histories
from sagacity_api.cli.models_command import models
from sagacity_api.cli.output import say
from sagacity_api.cli.record_command import record
from sagacity_api.cli.risk_command import risk
from sagacity_api.cli.saga_commands import check, schema
from sagacity_api.cli.sagas_commands import sagas
from sagacity_api.cli.serve_command import serve
from sagacity_api.cli.train_command import train
from sagacity_api.cli.uplift_command import uplift
from sagacity_api.environment import SettingRefused, read_environment
from sagacity_api.exit_codes import MEANINGS, ExitCode

PROGRAM = "sagacity"
EXTRAS = {
    "cryptography": "ml",
    "duckdb": "ml",
    "fastapi": "server",
    "httpx2": "http",
    "lightgbm": "ml",
    "matplotlib": "train",
    "mlflow": "train",
    "networkx": "ml",
    "numpy": "ml",
    "opentelemetry": "otel",
    "ortools": "ml",
    "pandas": "ml",
    "prometheus_client": "server",
    "psycopg": "postgres",
    "pyarrow": "ml",
    "pydantic": "server",
    "sklearn": "ml",
    "sqlalchemy": "train",
    "starlette": "server",
    "threadpoolctl": "train",
    "uvicorn": "server",
}
"""Which extra brings which package."""

_CODES = "  ".join(f"{code.value} {words}." for code, words in MEANINGS.items())

app = typer.Typer(
    name=PROGRAM,
    help="Predict, plan and learn from sagas.",
    epilog=f"Exit codes: {_CODES}",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (check, plan, predict, risk, record, train, uplift, serve, demo, schema):
    app.command()(command)
app.add_typer(histories, name="import")
app.add_typer(data, name="data")
app.add_typer(conversions, name="convert")
app.add_typer(sagas, name="sagas")
app.add_typer(models, name="models")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"{PROGRAM} {version(PROGRAM)}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Predict, plan and learn from sagas."""
    del version  # its callback has printed it


def main() -> None:
    """The console script."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; never raises."""
    try:
        code = app(args=list(arguments), prog_name=PROGRAM, standalone_mode=False)
        if code == ExitCode.INTERRUPTED:
            say(f"{PROGRAM}: interrupted")
        return int(code or ExitCode.DONE)
    except CommandError as error:
        return _failed(str(error), error.code)
    except SettingRefused as refusal:
        return _failed(str(refusal), ExitCode.REFUSED_INPUT)
    except BrokenPipeError:
        _drop_stdout()
        return ExitCode.FAILED
    except (KeyboardInterrupt, typer.Abort):
        return _failed("interrupted", ExitCode.INTERRUPTED)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else ExitCode.FAILED
    except ModuleNotFoundError as error:
        return _missing(error)
    except Exception as error:  # noqa: BLE001  the last resort: a user never sees a traceback unasked
        return _usage(error) if hasattr(error, "format_message") else _unexpected(error)


def _usage(error: Exception) -> int:
    """What typer says of options it cannot read; its base class has moved between releases."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else PROGRAM
    message = getattr(error, "format_message")().replace("\n", " ").rstrip(".")  # noqa: B009  (see above)
    if message:
        say(f"{PROGRAM}: {message}; see '{command} --help'")
    return ExitCode.REFUSED_INPUT


def _missing(error: ModuleNotFoundError) -> int:
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return _unexpected(error)
    missing = ExtraMissing(package, EXTRAS[package])
    return _failed(str(missing), missing.code)


def _unexpected(error: Exception) -> int:
    if _debugging():
        traceback.print_exception(error)
    said = " ".join(str(error).split())[:300]
    hint = "set SAGACITY_DEBUG=1 to see where"
    return _failed(f"unexpected {type(error).__name__}: {said}; {hint}", ExitCode.FAILED)


def _debugging() -> bool:
    try:
        return read_environment().debug
    except SettingRefused:
        return False


def _failed(message: str, code: int) -> int:
    say(f"{PROGRAM}: {message}")
    return code


def _drop_stdout() -> None:
    """Whoever read our output is gone; the interpreter must not complain about it on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main()
