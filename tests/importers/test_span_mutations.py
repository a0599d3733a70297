from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers import jaeger, otlp
from sagacity_data.importers.foreign_runs import rows_of
from sagacity_data.importers.reading import Hints, Reader, Tally
from sagacity_data.taxonomy import default_taxonomy

_ID = "00000000000000a"
OTLP = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": "0af7651916cd43dd8448eb211c80319c",
                            "spanId": f"{_ID}{number}",
                            "parentSpanId": f"{_ID}0" if number else "",
                            "name": ("checkout", "reserveSeat", "releaseSeat")[number],
                            "kind": 3,
                            "startTimeUnixNano": str(1_700_000_000_000_000_000 + number),
                            "endTimeUnixNano": str(1_700_000_001_000_000_000),
                            "status": {"code": 2, "message": "no seat"},
                            "attributes": [{"key": "http.status_code", "value": {"intValue": "503"}}],
                            "events": [{"name": "exception", "attributes": []}],
                        }
                        for number in range(3)
                    ]
                }
            ],
        }
    ]
}
JAEGER = {
    "data": [
        {
            "traceID": "abc",
            "spans": [
                {
                    "traceID": "abc",
                    "spanID": f"a{number}",
                    "operationName": ("checkout", "reserveSeat", "releaseSeat")[number],
                    "references": [{"refType": "CHILD_OF", "traceID": "abc", "spanID": "a0"}]
                    if number
                    else [],
                    "startTime": 1_700_000_000_000_000 + number,
                    "duration": 1000,
                    "tags": [{"key": "error", "type": "bool", "value": True}],
                    "logs": [
                        {"timestamp": 1, "fields": [{"key": "event", "type": "string", "value": "error"}]}
                    ],
                    "processID": "p1",
                }
                for number in range(3)
            ],
            "processes": {"p1": {"serviceName": "shop", "tags": []}},
        }
    ]
}
READERS: list[tuple[Reader, Any]] = [(otlp.read_runs, OTLP), (jaeger.read_runs, JAEGER)]
ODD: list[Any] = [
    None,
    True,
    -1,
    10**30,
    1e308,
    "",
    "\ud800",
    "\x00",
    [],
    {},
    [[[]]],
    "9" * 5000,
    float("nan"),
]


def outcome(reader: Reader, path: Path, content: bytes) -> int:
    """Rows of the file; -1 if it is refused. Anything else escapes."""
    path.write_bytes(content)
    try:
        runs = list(reader(path, Hints(), Tally()))
    except ImportRefused:
        return -1
    return sum(len(rows_of(run, "trace", default_taxonomy())) for run in runs)


@pytest.mark.parametrize(("reader", "document"), READERS)
def test_damaged_bytes_are_read_or_refused(reader: Reader, document: Any, tmp_path: Path) -> None:
    """Cut off anywhere, or with bytes changed, compressed or not: rows or a refusal."""
    draw, plain = random.Random(5), json.dumps(document).encode()
    path, refused = tmp_path / "trace.json", 0
    for whole in (plain, gzip.compress(plain, mtime=0)):
        for _ in range(60):
            damaged = bytearray(whole)
            for _ in range(draw.randint(1, 4)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            refused += outcome(reader, path, bytes(damaged)) < 0
            refused += outcome(reader, path, whole[: draw.randrange(len(whole))]) < 0
    assert refused > 100


@pytest.mark.parametrize(("reader", "document"), READERS)
def test_odd_values_anywhere_are_read_or_refused(reader: Reader, document: Any, tmp_path: Path) -> None:
    """Every value of the document in turn becomes something odd."""
    path = tmp_path / "trace.json"
    assert outcome(reader, path, json.dumps(document).encode()) == 3
    for number, place in enumerate(_places(document)):
        changed = json.loads(json.dumps(document))
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = ODD[number % len(ODD)]
        outcome(reader, path, json.dumps(changed).encode())


@pytest.mark.parametrize(("reader", "document"), READERS)
def test_bombs_are_refused(reader: Reader, document: Any, tmp_path: Path) -> None:
    """Deep nesting, a gzip bomb and other encodings end in a refusal or in rows, quickly."""
    path, text = tmp_path / "trace.json", json.dumps(document)
    assert outcome(reader, path, b'{"data":' * 100_000) < 0
    assert outcome(reader, path, text.encode() + b"[" * 100_000) < 0
    assert outcome(reader, path, text.encode() + b"1" * 10_000) < 0
    assert outcome(reader, path, gzip.compress(b" " * 300_000_000, 1)) < 0
    assert outcome(reader, path, text.encode("utf-16")) == 3
    assert outcome(reader, path, text.encode("utf-16-le")) < 0


def _places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*above, key)
        yield from _places(each, (*above, key))
