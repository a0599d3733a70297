"""YAML from files, read safely and within bounds.

The text is read as a stream of events and built here, so that nothing of YAML can surprise: no tags, no
aliases (a few lines of them can stand for billions of values), no second document, no duplicate keys, text
keys only. Plain scalars follow YAML 1.2's core schema: `no`, `on` and `12:30` are texts, only `true` and
`false` are truth values, and dates stay text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from sagacity_api.bounded_json import DEPTH_MAX

_INT: Final = re.compile(r"[-+]?[0-9]{1,300}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class YamlRefused(ValueError):
    """A text that will not be read as YAML; `line` is 1-based, and the message does not repeat it."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def read_yaml(text: str, *, depth_max: int = DEPTH_MAX) -> Any:
    """The value of the one document in `text`; raises `YamlRefused` with the line.

    >>> read_yaml("saga: trip\\nversion: '3'\\nsteps: [{name: pay, optional: no}]")
    {'saga': 'trip', 'version': '3', 'steps': [{'name': 'pay', 'optional': 'no'}]}
    """
    try:
        return _Builder(yaml.parse(text, Loader=_loader()), depth_max).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlRefused(mark.line + 1 if mark else 1, str(error.problem or error.context)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, max(0, error.position)) + 1
        code = error.character if isinstance(error.character, int) else ord(str(error.character)[:1])
        raise YamlRefused(line, f"holds the character #x{code:04x}, which YAML does not allow") from None


def _loader() -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Builder:
    """Builds the value of one document from parse events."""

    def __init__(self, events: Iterator[Event], depth_max: int) -> None:
        self._events = events
        self._depth_max = depth_max

    def document(self) -> Any:
        next(self._events)  # the stream's start
        event = next(self._events)
        if isinstance(event, StreamEndEvent):
            raise YamlRefused(1, "the text is empty")
        value = self._value(next(self._events), 0)
        next(self._events)  # the document's end
        event = next(self._events)
        if not isinstance(event, StreamEndEvent):
            raise _refused(event, "starts a second document; give one document to a file")
        return value

    def _value(self, event: Event, depth: int) -> Any:
        if isinstance(event, AliasEvent):
            raise _refused(event, f"uses the alias *{event.anchor}; write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            raise _refused(event, f"uses the tag {tag}; plain values only")
        if isinstance(event, ScalarEvent):
            return _scalar(event)
        assert isinstance(event, CollectionStartEvent)  # an event that starts a node is one of these three
        if depth >= self._depth_max:
            raise _refused(event, f"nests deeper than {self._depth_max} levels")
        return self._mapping(depth) if isinstance(event, MappingStartEvent) else self._sequence(depth)

    def _sequence(self, depth: int) -> list[Any]:
        items = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._value(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        built: dict[str, Any] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._value(event, depth + 1)
            if not isinstance(key, str):
                raise _refused(event, f"has the key {str(key)[:60]}, which is no text; put it in quotes")
            if key in built:
                raise _refused(event, f"repeats the key {key[:60]!r} of line {lines[key]}; keep one of them")
            lines[key] = _line(event)
            built[key] = self._value(next(self._events), depth + 1)
        return built


def _scalar(event: ScalarEvent) -> str | int | float | bool | None:
    text: str = event.value
    if event.style or event.tag == "!":  # quoted or a block: the two parsers call plain None and ""
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _NOT_FINITE.fullmatch(text):
        raise _refused(event, f"has {text}; leave the field out or write a finite number")
    if _FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise _refused(event, f"has the number {text[:30]}, which is too large")
        return number
    return text


def _line(event: Event) -> int:
    mark = event.start_mark
    assert mark is not None  # every event of a parsed text has one
    return int(mark.line) + 1


def _refused(event: Event, reason: str) -> YamlRefused:
    return YamlRefused(_line(event), reason)
