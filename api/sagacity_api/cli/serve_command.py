"""`sagacity serve`: the HTTP service, in this process."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from sagacity_api.cli.advice_commands import (
    BundleFolder,
    DatasetFolder,
    RegistryFolder,
    bundle_folder,
    source_counsel,
)
from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.cli.output import put_json, say
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.environment import read_environment
from sagacity_api.exit_codes import ExitCode


def serve(
    *,
    bundle: BundleFolder = None,
    registry: RegistryFolder = None,
    dataset: DatasetFolder = None,
    host: Annotated[str | None, typer.Option(help="A loopback address. [default: 127.0.0.1]")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="0 takes a free one. [default: 8080]")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Serve predictions and plans over HTTP until stopped."""
    from sagacity_api.service.serving import HostForbidden, PortTaken
    from sagacity_api.service.serving import serve as run

    settings = read_environment()
    folder = bundle_folder(bundle, registry)
    if folder is None:
        raise BadInput("nothing to serve; give --bundle DIR, or --registry DIR for its champion")
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder; give the bundle that `sagacity train` wrote")
    history = dataset or (Path(settings.dataset) if settings.dataset else None)
    _log_to_stderr()

    def tell(url: str) -> None:
        say(f"ready: {url}")
        if as_json:
            put_json({"url": url})
            sys.stdout.flush()

    try:
        run(
            settings.host if host is None else host,
            settings.port if port is None else port,
            lambda: source_counsel(folder, history),
            tell,
        )
    except HostForbidden as refusal:
        raise CommandError(str(refusal), ExitCode.GUARDRAIL) from None
    except PortTaken as refusal:
        raise CommandError(str(refusal), ExitCode.FAILED) from None
    return ExitCode.DONE


class _JsonLines(logging.Formatter):
    """One JSON object a line. Exceptions are named, not told: their text may hold values of a payload."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"at": round(record.created, 3), "level": record.levelname, "logger": record.name}
        line["message"] = record.getMessage()
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("sagacity_api").setLevel(logging.INFO)
