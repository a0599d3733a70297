"""XES attributes: what an element such as `<int key="n" value="7"/>` says, by its declared type."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from sagacity_data.event_log import NO_ATTRIBUTES, AttributeValue

RawAttribute = tuple[str, str]  # The element's name, which is the attribute's type, and its text.


def text_of(raw: RawAttribute | None) -> str | None:
    """The text without the space around it; None where there is no attribute or nothing in it."""
    return None if raw is None or not raw[1].strip() else raw[1].strip()


def values_of(raw: dict[str, RawAttribute]) -> Mapping[str, AttributeValue]:
    """Attributes by their declared type; what its type cannot read stays text, NaN and infinity go."""
    if not raw:
        return NO_ATTRIBUTES
    read = {key: _value(kind, text) for key, (kind, text) in raw.items()}
    return {key: value for key, value in read.items() if value is not None}


def _value(kind: str, text: str) -> AttributeValue | None:
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            number = float(text)
            return number if isfinite(number) else None
    except ValueError:
        return text
    if kind == "boolean" and text.strip().lower() in ("true", "false", "1", "0"):
        return text.strip().lower() in ("true", "1")
    return text
