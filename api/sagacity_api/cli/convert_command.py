"""`sagacity convert`: definitions of other engines as saga documents, for their owners to complete.

A conversion says what it decided in the owner's place: every note is a line on stderr, and then the command
ends with `LOOK`. The document goes to stdout, or whole into a file, never a part of it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sagacity_api.cli.document_file import STDIN, read_document
from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.cli.output import put, put_json, say
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.exit_codes import ExitCode

if TYPE_CHECKING:
    from sagacity_data.converters import Converted

conversions = typer.Typer(no_args_is_help=True, help="Make a saga document of another engine's definition.")

_PLAIN: Final = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_./:-]*[A-Za-z0-9_])?")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})

Name = Annotated[str, typer.Option("--name", metavar="NAME", help="What to call the saga.")]
Output = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", help="Write the document there: JSON or YAML.")
]


@conversions.command("asl")
def asl(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="A state machine, JSON or YAML; - for stdin.")
    ],
    *,
    name: Name = "",
    output: Output = None,
    as_json: AsJson = False,
) -> int:
    """Convert a state machine of AWS Step Functions, with its compensations from Catch chains."""
    from sagacity_data.converters import ConvertRefused
    from sagacity_data.converters.asl import convert_asl

    if len(files) != 1:
        raise BadInput(f"{len(files)} files are given; a state machine is one file: convert one at a time")
    called = name or ("saga" if files[0] == STDIN else Path(files[0]).name.partition(".")[0])
    try:
        converted = convert_asl(read_document(files[0]), called)
    except ConvertRefused as refusal:
        raise _refused(files, refusal) from None
    return _give(converted, output, as_json)


@conversions.command("conductor")
def conductor(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="A workflow, and what belongs to it: its failure workflow..."),
    ],
    *,
    name: Name = "",
    output: Output = None,
    as_json: AsJson = False,
) -> int:
    """Convert a workflow of Conductor, with its compensations from its failure workflow."""
    from sagacity_data.converters import ConvertRefused
    from sagacity_data.converters.conductor import convert_conductor

    documents = [read_document(file) for file in files]
    try:
        converted = convert_conductor(documents[0] if len(documents) == 1 else documents, name)
    except ConvertRefused as refusal:
        raise _refused(files, refusal) from None
    return _give(converted, output, as_json)


def _refused(files: list[str], refusal: Any) -> BadInput:
    shown = ", ".join("standard input" if file == STDIN else file for file in files)
    where = f"{shown}, {refusal.place}" if refusal.place else shown
    return BadInput(f"{where}: {refusal.reason}; {refusal.way_out}")


def _give(converted: Converted, output: Path | None, as_json: bool) -> int:
    """The document to whoever asked, the notes to stderr."""
    for note in converted.notes:
        say(f"note: {note}")
    if output is None:
        put_json(converted.document) if as_json else put([yaml_of(converted.document).rstrip("\n")])
    else:
        _write(output, converted.document)
        if as_json:
            told = {"saga": converted.saga.name, "output": str(output), "notes": list(converted.notes)}
            put_json(told)
        else:
            say(f"{output}: saga {converted.saga.name}, {len(converted.saga.steps)} steps")
    return ExitCode.LOOK if converted.notes else ExitCode.DONE


def yaml_of(document: dict[str, Any]) -> str:
    """The document as YAML that every reader, of 1.1 or 1.2, understands alike."""
    import yaml

    class Unambiguous(yaml.SafeDumper):
        """Quotes every text that could be taken for something else, and writes values out each time."""

        def ignore_aliases(self, data: Any) -> bool:
            del data
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        plain = _PLAIN.fullmatch(value) is not None and value.lower() not in _WORDS
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')

    Unambiguous.add_representer(str, text)
    return yaml.dump(document, Dumper=Unambiguous, sort_keys=False, allow_unicode=True, width=110)


def _write(path: Path, document: dict[str, Any]) -> None:
    """Puts the whole document in place at once; what was there before stays until then."""
    import json

    is_json = path.name.lower().endswith(".json")
    content = json.dumps(document, indent=2, allow_nan=False) + "\n" if is_json else yaml_of(document)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(content, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CommandError(f"{path}: cannot be written ({error.strerror}); choose another --output") from None
