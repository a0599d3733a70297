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

# Strings are passed over whole (an unfinished one to the end), so only structural brackets are counted.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


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
        decoded = text.decode("utf-8")
        if re.search(r"\\u[dD][89a-fA-F]", decoded):
            _require_whole_surrogates(decoded)
        return json.loads(
            decoded,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise JsonRefused(f"is not UTF-8 at byte {error.start}", line) from None
    except json.JSONDecodeError as error:
        raise JsonRefused(f"column {error.colno}: {error.msg}", error.lineno) from None


def write_json(value: object) -> bytes:
    """Compact UTF-8; raises `ValueError` for NaN and infinities rather than write what is no JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _require_shallow(text: bytes, depth_max: int) -> None:
    depth = 0
    for token in _TOKEN.finditer(text):
        match token[0]:
            case b"[" | b"{":
                depth += 1
                if depth > depth_max:
                    line = text.count(b"\n", 0, token.start()) + 1
                    raise JsonTooDeep(f"nests deeper than {depth_max} levels", line)
            case b"]" | b"}":
                depth -= 1
            case _:
                pass


def _require_whole_surrogates(decoded: str) -> None:
    """Pairs are whole characters; a half of one is refused."""
    for escaped in re.finditer(r'"(?:[^"\\]++|\\.)*+"?', decoded, re.DOTALL):
        try:
            json.loads(escaped[0], strict=False).encode("utf-8")
        except UnicodeEncodeError:
            raise JsonRefused("a text holds half of a surrogate pair; write the whole character") from None
        except json.JSONDecodeError:
            return  # the parser proper says where


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
