"""JSON from strangers: bounded before it is parsed, and refused where two readers could disagree.

Bytes come from a request, a reply or a file. Size and nesting are checked on the raw bytes, so that a hostile
text costs one scan and no recursion. NaN, infinities and numbers beyond a double are refused because JSON has
none of them; duplicate keys because one reader takes the first and another the last; lone surrogates because
they cannot be written back as UTF-8.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

BYTES_MAX: Final = 1024 * 1024
DEPTH_MAX: Final = 32

# A string whole, or an unfinished one to the end: what is left after them is structure.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ALIKE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))


class JsonRefused(ValueError):
    """A text that will not be read as JSON; `line` is 1-based, and None where only the whole is known."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(f"line {line}: {reason}" if line else reason)
        self.line = line
        self.reason = reason


class JsonTooLarge(JsonRefused):
    """A text of more bytes than the limit."""


class JsonTooDeep(JsonRefused):
    """A text that nests deeper than the limit."""


def read_json(text: bytes, *, bytes_max: int = BYTES_MAX, depth_max: int = DEPTH_MAX) -> Any:
    """The parsed value; raises `JsonRefused` with the place where there is one.

    >>> read_json(b'{"steps": [1, 2.5, null]}')
    {'steps': [1, 2.5, None]}
    """
    if len(text) > bytes_max:
        raise JsonTooLarge(f"the text has more than {bytes_max:,} bytes")
    _require_shallow(text, depth_max)
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_int,
        )
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise JsonRefused(f"is not UTF-8 at byte {error.start}", line) from None
    except UnicodeEncodeError:
        raise JsonRefused("a text holds half of a surrogate pair; write the whole character") from None
    except json.JSONDecodeError as error:
        raise JsonRefused(f"column {error.colno}: {error.msg}", error.lineno) from None


def write_json(value: object) -> bytes:
    """Compact UTF-8; raises `ValueError` for NaN and infinities rather than write what is no JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _require_shallow(text: bytes, depth_max: int) -> None:
    """Takes away the innermost brackets `depth_max` times; what was no deeper is gone then.

    Each pass is one call in C, so this is cheap for any text. Where brackets do not match, something is left
    for the parser to refuse, unless so much was opened that parsing it would recurse too deep.
    """
    left = _STRING.sub(b"", text).translate(_ALIKE, _NO_BRACKET)
    for _ in range(depth_max):
        if not left:
            return
        left = left.replace(b"[]", b"")
    if b"[]" in left or left.count(b"[") > depth_max:
        raise JsonTooDeep(f"nests deeper than {depth_max} levels")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JsonRefused(f"the key {key[:60]!r} occurs twice in one object; keep one of them")
            seen.add(key)
    return built


def _constant(name: str) -> NoReturn:
    raise JsonRefused(f"{name} is no JSON number; leave the field out or write a finite number")


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise JsonRefused(f"the number {digits[:30]} is too large")
    return number


def _int(digits: str) -> int:
    if len(digits) > 300:
        raise JsonRefused(f"the number {digits[:30]}... is too large")
    return int(digits)
