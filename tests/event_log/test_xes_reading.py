from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from sagacity_data.event_log import UNNAMED_ACTIVITY, Case
from sagacity_data.importers.instants import instant_of
from sagacity_data.importers.xes import XesTally, read_cases

EVENT = '<event><string key="concept:name" value="{}"/><date key="time:timestamp" value="{}"/></event>'
NOON = "2024-05-01T12:00:00Z"
NOON_US = 1_714_564_800_000_000


def log_of(inner: str, root: str = "<log>") -> str:
    return f"{root}{inner}</log>"


def read(tmp_path: Path, text: str, tally: XesTally | None = None, encoding: str = "utf-8") -> list[Case]:
    path = tmp_path / "log.xes"
    path.write_bytes(text.encode(encoding))
    return list(read_cases(path, tally))


@pytest.mark.parametrize(
    ("text", "offset_us"),
    [
        ("2024-05-01T12:00:00Z", 0),
        ("2024-05-01T12:00:00", 0),
        ("2024-05-01 12:00:00", 0),
        ("2024-05-01T14:00:00+02:00", 0),
        ("2024-05-01T14:00:00+0200", 0),
        ("2024-05-01T14:00:00+02", 0),
        ("2024-05-01T06:30:00-05:30", 0),
        ("2024-05-01T12:00:00.5Z", 500_000),
        ("2024-05-01T12:00:00.123Z", 123_000),
        ("2024-05-01T12:00:00.123456789+00:00", 123_456),
        ("2024-05-01T24:00:00Z", 12 * 3600 * 1_000_000),
    ],
)
def test_every_iso_form_is_read(text: str, offset_us: int) -> None:
    """Every way to write a zone, any number of fraction digits and 24:00 give the right instant."""
    assert instant_of(text)[0] == NOON_US + offset_us


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2024-13-01T00:00:00Z", "2024-05-01T25:00:00Z", "1714564800", "9999-12-31T24:00:00Z"],
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    """Texts that name no instant raise ValueError instead of guessing."""
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        instant_of(text)


def test_instants_before_1970_and_far_away_are_exact() -> None:
    """Microseconds are whole numbers on both sides of 1970 and at the ends of the calendar."""
    assert instant_of("1969-12-31T23:59:59.999999Z")[0] == -1
    assert instant_of("9999-12-31T23:59:59.999999-12:00")[0] > instant_of("0001-01-01T00:00:00+12:00")[0]


def test_events_keep_the_order_of_the_file(tmp_path: Path) -> None:
    """Events of one instant, and events out of order, stay in place; backward steps are counted."""
    names = [("zeta", NOON), ("alpha", NOON), ("late", "2024-05-01T13:00:00Z"), ("early", NOON)]
    tally = XesTally()
    (case,) = read(
        tmp_path, log_of(f"<trace>{''.join(EVENT.format(*name) for name in names)}</trace>"), tally
    )
    assert [event.activity for event in case.events] == ["zeta", "alpha", "late", "early"]
    assert tally.backward_steps == 1


@pytest.mark.parametrize(
    "root",
    ["<log>", '<log xmlns="http://www.xes-standard.org/" xes.version="1.0">', '<log xes.version="2.0">'],
)
def test_namespaces_do_not_matter(tmp_path: Path, root: str) -> None:
    """A default namespace or none gives the same case."""
    (case,) = read(tmp_path, log_of(f"<trace>{EVENT.format('a', NOON)}</trace>", root))
    assert case.events[0].activity == "a"


def test_prefixed_elements_are_read(tmp_path: Path) -> None:
    """Elements with a namespace prefix are the elements they name."""
    text = (
        '<x:log xmlns:x="http://www.xes-standard.org/"><x:trace><x:event>'
        f'<x:date value="{NOON}" key="time:timestamp"/><x:string value="a" key="concept:name"/>'
        "</x:event></x:trace></x:log>"
    )
    (case,) = read(tmp_path, text)
    assert (case.events[0].activity, case.events[0].at_us) == ("a", NOON_US)


def test_a_renamed_extension_prefix_is_followed(tmp_path: Path) -> None:
    """`<extension name="Time" prefix="t">` makes t:timestamp the timestamp."""
    text = log_of(
        '<extension name="Time" prefix="t" uri="http://www.xes-standard.org/time.xesext"/>'
        f'<trace><event><string key="concept:name" value="a"/><date key="t:timestamp" value="{NOON}"/>'
        "</event></trace>"
    )
    assert read(tmp_path, text)[0].events[0].at_us == NOON_US


def test_nested_attributes_do_not_override(tmp_path: Path) -> None:
    """An attribute inside an attribute or a list is not the case's or the event's own."""
    text = log_of(
        '<trace><string key="concept:name" value="c1"><string key="concept:name" value="wrong"/></string>'
        '<event><string key="concept:name" value="a">'
        '<date key="time:timestamp" value="1999-01-01T00:00:00Z"/></string>'
        f'<date key="time:timestamp" value="{NOON}"/>'
        '<list key="parts"><values><string key="concept:name" value="wrong"/></values></list></event></trace>'
    )
    (case,) = read(tmp_path, text)
    assert (case.case_id, case.events[0].activity, case.events[0].at_us) == ("c1", "a", NOON_US)


def test_attributes_have_their_declared_types(tmp_path: Path) -> None:
    """Numbers and truth values are typed, what a type cannot read stays text, and NaN is left out."""
    text = log_of(
        '<trace><int key="n" value="7"/><float key="f" value="1.5"/><boolean key="b" value="true"/>'
        '<int key="bad" value="seven"/><float key="nan" value="NaN"/><string key="s" value="x &amp; y"/>'
        f"{EVENT.format('a', NOON)}</trace>"
    )
    assert read(tmp_path, text)[0].attributes == {"n": 7, "f": 1.5, "b": True, "bad": "seven", "s": "x & y"}


def test_what_is_missing_is_stated_and_counted(tmp_path: Path) -> None:
    """Unnamed events and traces get stated names; what is missing or stray is counted."""
    unnamed = f'<event><date key="time:timestamp" value="{NOON[:-1]}"/></event>'
    tally = XesTally()
    text = log_of(f"{EVENT.format('stray', NOON)}<trace/><trace>{EVENT.format('a', NOON)}{unnamed}</trace>")
    (case,) = read(tmp_path, text, tally)
    assert case.case_id == "trace-2"
    assert [event.activity for event in case.events] == ["a", UNNAMED_ACTIVITY]
    assert [event.lifecycle for event in case.events] == ["complete", "complete"]
    assert (tally.unnamed_events, tally.unnamed_cases, tally.naive_timestamps) == (1, 1, 1)
    assert (tally.empty_cases, tally.events_outside_cases, tally.cases, tally.events) == (1, 1, 1, 2)


def test_lifecycle_and_resource_are_read(tmp_path: Path) -> None:
    """A declared lifecycle is kept as written, and the resource apart from other attributes."""
    text = log_of(
        '<trace><event><string key="lifecycle:transition" value="START"/>'
        '<string key="org:resource" value="r"/>'
        f'<string key="concept:name" value="a"/><date key="time:timestamp" value="{NOON}"/>'
        '<string key="more" value="1"/></event></trace>'
    )
    event = read(tmp_path, text)[0].events[0]
    assert (event.lifecycle, event.resource, dict(event.attributes)) == ("START", "r", {"more": "1"})


def test_gzip_is_recognised_by_its_bytes(tmp_path: Path) -> None:
    """A gzip file is read whether or not its name says so, in several members too."""
    text = log_of(f"<trace>{EVENT.format('a', NOON)}</trace>").encode()
    for name in ("log.xes.gz", "log.xes"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text[:20]) + gzip.compress(text[20:]))
        assert len(list(read_cases(path))) == 1


def test_declared_encodings_are_read(tmp_path: Path) -> None:
    """Latin-1 and UTF-16 files that say so give the same names as UTF-8."""
    for encoding in ("iso-8859-1", "utf-16"):
        text = f'<?xml version="1.0" encoding="{encoding}"?>' + log_of(
            f"<trace>{EVENT.format('prüfen', NOON)}</trace>"
        )
        assert read(tmp_path, text, encoding=encoding)[0].events[0].activity == "prüfen"


def test_cases_stream_before_the_file_is_read(tmp_path: Path) -> None:
    """The first case comes out while most of the file is still unread."""
    path = tmp_path / "log.xes"
    path.write_text(log_of(f"<trace>{EVENT.format('a', NOON)}</trace>" * 20_000), encoding="utf-8")
    tally = XesTally()
    next(read_cases(path, tally))
    assert 0 < tally.bytes_read < path.stat().st_size / 4
