from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.xes import TOKEN_BYTES_MAX, read_cases

NOON = "2024-05-01T12:00:00Z"
EVENT = f'<event><string key="concept:name" value="a"/><date key="time:timestamp" value="{NOON}"/></event>'
GOOD = f"<log>\n<trace>{EVENT}</trace>\n</log>"


def refusal(path: Path) -> ImportRefused:
    with pytest.raises(ImportRefused) as refused:
        list(read_cases(path))
    assert str(path) in str(refused.value)
    assert refused.value.way_out
    return refused.value


def written(tmp_path: Path, content: str | bytes, name: str = "log.xes") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    """A path that leads nowhere and one that leads to a folder are told apart."""
    assert "does not exist" in refusal(tmp_path / "none.xes").reason
    assert "folder" in refusal(tmp_path).reason


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("case,activity\n1,a\n", "is not XML"),
        ("\x00\x01\x02\x03", "is not XML"),
        ("<html><body/></html>", "not <log>"),
        (f"<log><trace>{EVENT}", "ends inside the XML"),
        (f"<log><trace>{EVENT}</wrong></log>", "is not well-formed XML"),
        (f'<?xml version="1.0" encoding="klingon"?>{GOOD}', "klingon"),
        ("<log>" + "<a>" * 100, "nests elements deeper"),
        (f"<log><trace>{EVENT}&bomb;</trace></log>", "is not well-formed XML"),
        (
            "<log><trace><event><string key='concept:name' value='a'/></event></trace></log>",
            "no time:timestamp",
        ),
        (GOOD.replace(NOON, "yesterday"), "unreadable time:timestamp 'yesterday'"),
        (GOOD.replace("concept:name", "name"), "none of its 1 events has a concept:name"),
    ],
)
def test_bad_content_is_refused_with_its_reason(tmp_path: Path, content: str, said: str) -> None:
    """Each way a file can be wrong has a message of its own."""
    assert said in str(refusal(written(tmp_path, content)))


def test_the_place_is_named(tmp_path: Path) -> None:
    """A bad event is named by line, byte, position and name of its case."""
    named = '<string key="concept:name" value="c9"/>'
    text = f"<log>\n<trace>{EVENT}</trace>\n<trace>{named}\n<event/></trace></log>"
    place = refusal(written(tmp_path, text)).place
    assert "line 4" in place
    assert f"byte {text.index('<event/>')}" in place
    assert "case 2 ('c9')" in place


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE log [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
        '<!DOCTYPE log [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE log SYSTEM "http://127.0.0.1:9/log.dtd">',
    ],
)
def test_document_types_are_refused(tmp_path: Path, declaration: str) -> None:
    """Entity bombs, external entities and external subsets are refused at their declaration."""
    refused = refusal(written(tmp_path, f"<?xml version='1.0'?>{declaration}<log/>"))
    assert "document type" in refused.reason


def test_a_name_ending_in_gz_must_hold_gzip(tmp_path: Path) -> None:
    """Plain XML under a .gz name is refused with the way out."""
    assert "is not gzip" in refusal(written(tmp_path, GOOD, "log.xes.gz")).reason


def test_every_truncation_of_a_gzip_file_is_refused(tmp_path: Path) -> None:
    """Wherever a gzip file is cut off, the file is refused and nothing else is raised."""
    whole = gzip.compress(GOOD.encode(), mtime=0)
    for length in range(len(whole)):
        refusal(written(tmp_path, whole[:length], "log.xes.gz"))


def test_damaged_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    """Random bytes changed, compressed or not, give cases or a refusal, never another error."""
    draw = random.Random(3)
    for whole, name in ((GOOD.encode(), "log.xes"), (gzip.compress(GOOD.encode(), mtime=0), "log.xes.gz")):
        refused = 0
        for _ in range(300):
            damaged = bytearray(whole)
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            try:
                list(read_cases(written(tmp_path, bytes(damaged), name)))
            except ImportRefused:
                refused += 1
        assert refused > 30


def test_an_endless_tag_is_refused(tmp_path: Path) -> None:
    """A single tag of more than the limit is refused before it has been read whole."""
    with (tmp_path / "log.xes").open("w", encoding="utf-8") as stream:
        stream.write('<log><string key="k" value="')
        for _ in range(40):
            stream.write("x" * (TOKEN_BYTES_MAX // 10))
        stream.write('"/></log>')
    assert "has a tag of more than" in refusal(tmp_path / "log.xes").reason
