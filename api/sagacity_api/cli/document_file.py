"""Saga documents from files: JSON or YAML, bounded, with file and line in every refusal."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sagacity_api.bounded_json import BYTES_MAX, JsonRefused, read_json
from sagacity_api.cli.errors import BadInput
from sagacity_api.saga_reading import context_from, saga_from
from sagacity_engine import Saga, SagaRefused

STDIN = "-"


def read_saga_file(path: str) -> Saga:
    """The checked definition in a file, or on standard input for `-`; raises `BadInput`."""
    document = read_document(path)
    try:
        return saga_from(document)
    except SagaRefused as refusal:
        raise BadInput(f"{_shown(path)}: {refusal}") from None


def read_document(path: str) -> Any:
    """The parsed content of a JSON or YAML file; raises `BadInput` with the line."""
    content = _bytes(path)
    is_json = path.endswith(".json") or (path == STDIN and content.lstrip()[:1] in (b"{", b"["))
    return _from_json(path, content) if is_json else _from_yaml(path, content)


def read_context(pairs: Sequence[str]) -> dict[str, str | float | bool]:
    """`key=value` options as a context: numbers and true/false by their look, text else; raises `BadInput`.

    >>> read_context(["season=monsoon", "party=4", "vip=true"])
    {'season': 'monsoon', 'party': 4.0, 'vip': True}
    """
    context: dict[str, str | float | bool] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise BadInput(f"--context {pair!r} is not KEY=VALUE; write for example --context season=monsoon")
        if key in context:
            raise BadInput(f"--context gives {key!r} twice; keep one of them")
        context[key] = _context_value(value)
    try:
        return context_from(context)
    except SagaRefused as refusal:
        raise BadInput(f"--context: {refusal}") from None


def _context_value(text: str) -> str | float | bool:
    if text in ("true", "false"):
        return text == "true"
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _bytes(path: str) -> bytes:
    try:
        if path == STDIN:
            content = sys.stdin.buffer.read(BYTES_MAX + 1)
        else:
            with Path(path).open("rb") as file:
                content = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be read ({error.strerror}); give a saga document, JSON or YAML"
        ) from None
    if len(content) > BYTES_MAX:
        raise BadInput(f"{_shown(path)}: has more than {BYTES_MAX:,} bytes; a saga document is far smaller")
    return content


def _from_json(path: str, content: bytes) -> Any:
    try:
        return read_json(content)
    except JsonRefused as refusal:
        where = f"{_shown(path)}:{refusal.line}" if refusal.line else _shown(path)
        raise BadInput(f"{where}: {refusal.reason}") from None


def _from_yaml(path: str, content: bytes) -> Any:
    from sagacity_api.cli.yaml_text import YamlRefused, read_yaml

    try:
        return read_yaml(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{_shown(path)}:{line}: is not UTF-8; save it as UTF-8") from None
    except YamlRefused as refusal:
        raise BadInput(f"{_shown(path)}:{refusal.line}: {refusal}") from None


def _shown(path: str) -> str:
    return "standard input" if path == STDIN else path
