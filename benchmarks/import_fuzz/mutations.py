"""Ways to spoil a file: each takes a content and a source of randomness, and gives another content.

What fits a format only is left to formats that have it: values of other types to JSON, entities to XML, cells
to tables. Everything depends on the random numbers alone, so a seed gives the same file again.
"""

import codecs
import gzip
import io
import json
import re
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

Mutation = Callable[[bytes, Random], bytes]

BOMBS = (b" ", b"[],", b"[", b'{"a":[', b"<event>", b"a,b\n", b'"x",', b'{"id":1},', b"1e9,")
HUGE = (
    *("9" * 400, "1e999", "-1e999", "1e308", "-1", "0", "NaN", "Infinity", "-Infinity", "1e-320"),
    *(str(2**63), str(2**64), str(-(2**63) - 1), "253402300800", "1" + "0" * 25, "0.1", "9" * 5_000),
)
REPEATED_MAX = 20_000
LINE_REPEATED_MAX = 1_000
CONTENT_MAX = 20_000_000
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_VALUE = re.compile(rb'value="[^"]*"')
_ELEMENT = re.compile(rb"<(string|date|int) ")
_ODD_VALUES = (
    *("", "x", "-1", "9" * 30, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2024-13-45"),
    *("1e400", "nan", " ", "é" * 300, "&#x10FFFF;", "&lt;", "x" * 5_000, "start", "schedule", "ate_abort"),
)
_EVENT = re.compile(rb"<event>.*?</event>", re.DOTALL)
_TEXT = re.compile(rb'"[^"\n]{0,200}"')


def cut_off(content: bytes, rng: Random) -> bytes:
    """The file ends early."""
    return content[: rng.randrange(len(content) + 1)]


def bytes_flipped(content: bytes, rng: Random) -> bytes:
    """Up to sixteen bytes are others."""
    spoilt = bytearray(content)
    for _ in range(rng.randint(1, 16) if spoilt else 0):
        spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
    return bytes(spoilt)


def span_deleted(content: bytes, rng: Random) -> bytes:
    """A piece is missing."""
    start, end = _span(content, rng)
    return content[:start] + content[end:]


def span_repeated(content: bytes, rng: Random) -> bytes:
    """A piece comes several times."""
    start, end = _span(content, rng)
    return content[:start] + content[start:end] * rng.choice((2, 3, 20)) + content[end:]


def span_moved(content: bytes, rng: Random) -> bytes:
    """A piece stands elsewhere."""
    start, end = _span(content, rng)
    rest = content[:start] + content[end:]
    place = rng.randrange(len(rest) + 1)
    return rest[:place] + content[start:end] + rest[place:]


def numbers_huge(content: bytes, rng: Random) -> bytes:
    """Numbers are such as nobody expects."""
    return _replaced(_NUMBER, content, rng, lambda: rng.choice(HUGE).encode())


def texts_swapped(content: bytes, rng: Random) -> bytes:
    """Quoted texts stand in for others of the file: ids meet, links lead in circles."""
    found = _TEXT.findall(content)
    return _replaced(_TEXT, content, rng, lambda: rng.choice(found)) if found else content


def nested_deeply(content: bytes, rng: Random) -> bytes:
    """Something is nested deeper than anybody would."""
    depth = rng.choice((50, 150, 250, 1_100, 100_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"<list>", b"</list>"), (b'"[', b']"')))
    core = opening * depth + b"1" * (opening != b"<list>") + closing * depth
    if rng.random() < 0.3:
        return core
    found = list(re.finditer(rb'(?<=: )(?=["\d\[{])|(?=<event>)|(?<=,)', content))
    place = rng.choice(found).start() if found else rng.randrange(len(content) + 1)
    return content[:place] + core + b"," * (opening[:1] in b"[{") + content[place:]


def other_encoding(content: bytes, rng: Random) -> bytes:
    """The same text in an encoding that may not be told, or bytes that no encoding has."""
    name = rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp500", "utf-7", "latin", "bad"))
    if name == "bad":
        place = rng.randrange(len(content) + 1)
        return (
            content[:place] + rng.choice((b"\xff\xfe", b"\xed\xa0\x80", b"\x00", b"\xc3")) + content[place:]
        )
    text = content.decode("utf-8", "replace")
    if name == "latin":
        text = _TEXT.sub(b'"\xe9"', content, count=1).decode("latin-1")
        return text.encode("latin-1", "replace")
    declared = rng.choice(("ISO-8859-1", "UTF-16", "x-nobody", "US-ASCII", "UTF-7"))
    if content.startswith(b"<?xml") and rng.random() < 0.5:
        return content.replace(b'encoding="UTF-8"', f'encoding="{declared}"'.encode(), 1)
    marked = codecs.BOM_UTF16_LE if name == "utf-16-le" and rng.random() < 0.5 else b""
    return marked + text.encode(name, "replace")


def surrogates(content: bytes, rng: Random) -> bytes:
    """Quoted texts are half a pair, NUL, something right to left, or very long."""
    odd = (rb'"\ud800"', rb'"\u0000"', '"\u202e\u0301"'.encode(), b'""', b'"' + b"x" * 100_000 + b'"')
    return _replaced(_TEXT, content, rng, lambda: rng.choice(odd))


def compressed(content: bytes, rng: Random) -> bytes:
    """Gzip, whole, cut off or damaged, or several layers of it."""
    packed = gzip.compress(content, mtime=0)
    how = rng.randrange(5)
    if how == 1:
        return cut_off(packed, rng)
    if how == 2:
        return bytes_flipped(packed, rng)
    if how == 3:
        return gzip.compress(packed, mtime=0)
    return packed + (packed if how == 4 else b"")


@cache
def bomb(piece: bytes, size: int) -> bytes:
    """A small gzip file that holds `size` bytes of the same piece again and again."""
    out = io.BytesIO()
    chunk = piece * (1_000_000 // len(piece))
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as packed:
        packed.write(b"[")
        for _ in range(size // len(chunk)):
            packed.write(chunk)
    return out.getvalue()


def values_of_other_types(content: bytes, rng: Random) -> bytes:
    """JSON whose values are of other types, missing, repeated or swapped."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return bytes_flipped(content, rng)
    places = list(_places(document))
    for _ in range(rng.randint(1, 6)):
        if places:
            _spoil(*rng.choice(places), rng)
    return json.dumps(document).encode("utf-8", "replace")


def _spoil(holder: Any, key: Any, rng: Random) -> None:
    """Spoils one value; where an earlier spoiling has taken it away, nothing."""
    known = key in holder if isinstance(holder, dict) else key < len(holder)
    if not known:
        return
    how = rng.randrange(10)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), holder[key])
    elif how == 2 and isinstance(holder, list):
        rng.shuffle(holder)
    elif how == 3:
        holder[key] = [holder[key]]
    elif how == 4 and isinstance(holder, dict):
        holder[rng.choice(list(holder))] = holder[key]
    elif how == 5 and isinstance(holder, list) and len(json.dumps(holder)) < REPEATED_MAX:
        holder.extend(holder * 20)
    else:
        holder[key] = rng.choice(_others())


def _others() -> list[Any]:
    return [
        *(None, True, False, 0, -1, 1.5, 2**63, 10**19, 10**40, 1e308, float("nan"), float("inf"), -0.0),
        *("", "x", "0", "-1", "null", "2024-13-45T99:99:99Z", "9999-12-31T23:59:59-14:00", "\x00", "é" * 999),
        *("0001-01-01T00:00:00Z", "1e400s", "PT1H", "{}", '{"a":[1', "9" * 30, "٣", " ", "\ud800"),
        *([], {}, [[]], [None], {"": None}, {"name": {}}, {"name": None}, [{"key": 1}], {"payloads": 5}),
        *([0] * 2_000, {"stringValue": 5}, {"seconds": "x", "nanos": -1}, {"seconds": 10**30}),
    ]


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    level = [value]
    while level and len(found) < 50_000:
        holder = level.pop()
        pairs = (
            holder.items()
            if isinstance(holder, dict)
            else enumerate(holder)
            if isinstance(holder, list)
            else ()
        )
        for key, inner in pairs:
            found.append((holder, key))
            level.append(inner)
    return found


def entities(content: bytes, rng: Random) -> bytes:
    """XML with a document type: entities that grow, or that ask for other files."""
    billion = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    declared = rng.choice(
        (
            f'<!DOCTYPE log [<!ENTITY e0 "lol">{billion}]>',
            '<!DOCTYPE log [<!ENTITY e11 SYSTEM "file:///etc/hostname">]>',
            '<!DOCTYPE log SYSTEM "http://127.0.0.1:9/none.dtd">',
            '<!DOCTYPE log [<!ENTITY % p SYSTEM "file:///dev/zero"> %p;]>',
            f'<!DOCTYPE log [<!ENTITY e11 "{"A" * 50_000}">]>',
            "<?xml-stylesheet href='file:///etc/hostname'?>",
        )
    ).encode()
    start = content.find(b"?>") + 2 if content.startswith(b"<?xml") else 0
    spoilt = content[:start] + declared + content[start:]
    return _VALUE.sub(b'value="&e11;"', spoilt, count=rng.choice((0, 1, 50)))


def attributes_spoilt(content: bytes, rng: Random) -> bytes:
    """XML that is well-formed still: other values, attributes of other types, events gone or repeated."""
    spoilt = _replaced(_VALUE, content, rng, lambda: b'value="%b"' % rng.choice(_ODD_VALUES).encode())
    spoilt = _replaced(_ELEMENT, spoilt, rng, lambda: rng.choice((b"<id ", b"<int ", b"<float ", b"<list ")))
    events = _EVENT.findall(spoilt)
    return _replaced(_EVENT, spoilt, rng, lambda: b"".join(rng.choices(events, k=rng.choice((0, 1, 9)))))


def cells_spoilt(content: bytes, rng: Random) -> bytes:
    """A table with other cells: too many or few in a line, odd quotes, odd times, other delimiters."""
    lines = content.split(b"\n")
    odd = (b'"', b"", b"\x00", b"x" * 200_000, b'"a\nb"', b"31/02/2024", b"-1", b"9" * 30, b"1e400", b";,\t|")
    for _ in range(rng.randint(1, 8)):
        number = rng.randrange(len(lines))
        cells = re.split(rb"[,;]", lines[number])
        cells[rng.randrange(len(cells))] = rng.choice(odd)
        times = rng.choice((1, 1, 1, 300)) if len(lines[number]) < LINE_REPEATED_MAX else 1
        lines[number] = rng.choice((b",", b";", b"\t", b"|")).join(cells * times)
    return rng.choice((b"\n", b"\r\n", b"\r")).join(lines)


def something_else(content: bytes, rng: Random) -> bytes:
    """No history at all."""
    del content
    others = (
        b"",
        b" ",
        b"\n" * 1_000,
        b"null",
        b"0",
        b'""',
        b"[]",
        b"{}",
        b"<log/>",
        b"PK\x03\x04",
        b"\x89PNG",
    )
    return rng.choice(
        (*others, rng.randbytes(3_000), b"[[[[]]]]", b'{"events": []}', b'{"data": [{}]}', b"a\n1\n")
    )


_ANY: tuple[Mutation, ...] = (
    *(cut_off, bytes_flipped, span_deleted, span_repeated, span_moved, numbers_huge, texts_swapped),
    *(nested_deeply, other_encoding, surrogates, compressed, something_else),
)
_XML: tuple[Mutation, ...] = (*_ANY, *(entities,) * 3, *(attributes_spoilt,) * 9)
_TABLE: tuple[Mutation, ...] = (*_ANY, *(cells_spoilt,) * 6)
_JSON: tuple[Mutation, ...] = (*_ANY, *(values_of_other_types,) * 12)
_BOMBS_PER_MUTATION = 1 / 150


def mutated(name: str, content: bytes, rng: Random, bomb_bytes: int) -> tuple[str, bytes]:
    """What was done to the content of a file of that format, and what came of it."""
    if rng.random() < _BOMBS_PER_MUTATION:
        piece = rng.choice(BOMBS)
        return f"bomb of {piece.decode()!r}", bomb(piece, bomb_bytes)
    ways = _XML if name == "xes" else _TABLE if name == "csv" else _JSON
    chosen = rng.choices(ways, k=rng.choice((1, 1, 1, 2, 3)))
    for way in chosen:
        content = way(content, rng)[:CONTENT_MAX]
    return " and ".join(way.__name__ for way in chosen), content


def _span(content: bytes, rng: Random) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    return start, min(len(content), start + rng.choice((1, 10, 100, 1_000, 10_000)))


def _replaced(pattern: re.Pattern[bytes], content: bytes, rng: Random, other: Callable[[], bytes]) -> bytes:
    share = rng.choice((0.003, 0.03, 0.3))
    return pattern.sub(lambda found: other() if rng.random() < share else found[0], content)
