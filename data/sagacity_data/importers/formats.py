"""The formats of histories that can be imported: what each is called, which files it means, who reads it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Final, cast

from sagacity_data.importers.reading import Reader


@dataclass(frozen=True, slots=True)
class Format:
    """One format; `holds` says in a few words what its files are."""

    name: str
    module: str
    suffixes: tuple[str, ...]
    holds: str

    def reader(self) -> Reader:
        """What reads the files of one import; imported only now."""
        module = import_module(f"sagacity_data.importers.{self.module}")
        joining = getattr(module, "joining_reader", None)
        return cast("Reader", module.read_runs if joining is None else joining())


_JSON: Final = (".json", ".json.gz")
_JSON_LINES: Final = (*_JSON, ".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")

FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        each.name: each
        for each in (
            Format("temporal", "temporal", _JSON, "workflow histories of Temporal"),
            Format("cadence", "cadence", _JSON, "workflow histories of Cadence"),
            Format("stepfunctions", "step_functions", _JSON, "execution histories of AWS Step Functions"),
            Format("conductor", "conductor", _JSON, "workflow executions of Conductor"),
            Format("otlp", "otlp", _JSON_LINES, "traces in OpenTelemetry's JSON"),
            Format("jaeger", "jaeger", _JSON_LINES, "traces as Jaeger's interface saves them"),
            Format("xes", "event_log_runs", (".xes", ".xes.gz"), "event logs in XES"),
            Format("csv", "csv_logs", (".csv", ".csv.gz", ".tsv", ".tsv.gz"), "event logs as tables"),
        )
    }
)
"""By name."""


def files_of(paths: Iterable[Path], suffixes: tuple[str, ...]) -> list[Path]:
    """The files meant by `paths`, each once: a file as it stands, of a folder all below it that fit, sorted.

    Hidden files and folders below a folder are left out. A folder without a fitting file stays in the list,
    and so does what does not exist: whoever reads the list refuses them.
    """
    listed: dict[Path, Path] = {}
    for path in paths:
        found = sorted(_below(path, suffixes)) if path.is_dir() else []
        for each in found or [path]:
            listed.setdefault(Path(os.path.abspath(each)), each)  # noqa: PTH100  links are not followed
    return list(listed.values())


def _below(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and name.lower().endswith(suffixes):
                yield Path(parent, name)
