"""JSON of unknown origin is read within bounds, and what numbers and texts may hold is bounded, too."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers import json_documents
from sagacity_data.importers.json_documents import DEPTH_MAX, read_json
from sagacity_data.importers.reading import NAMES_COUNTED_MAX, OTHERS, Names, Tally


def read(folder: Path, content: bytes) -> Any:
    path = folder / "history.json"
    path.write_bytes(content)
    return read_json(path, Tally())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_mark_and_utf_8_are_read(tmp_path: Path, encoding: str) -> None:
    """The same value comes from UTF-8, and from UTF-8, UTF-16 and UTF-32 with a byte order mark."""
    assert read(tmp_path, '{"név": "π"}'.encode(encoding)) == {"név": "π"}


def test_gzip_is_read_and_its_stored_bytes_counted(tmp_path: Path) -> None:
    """A gzip file is read by its content; the tally tells how far the stored file was read."""
    path, tally = tmp_path / "history.json.gz", Tally()
    path.write_bytes(gzip.compress(b"[1, 2]"))
    assert read_json(path, tally) == [1, 2]
    assert tally.bytes_read == path.stat().st_size


def test_numbers_nothing_can_hold_are_replaced(tmp_path: Path) -> None:
    """NaN, infinities and 1e999 become None, whole numbers of more than 20 digits stay text."""
    text = b"[NaN, -Infinity, 1e999, 1.5, 18446744073709551615, 123456789012345678901, 7]"
    assert read(tmp_path, text) == [
        None,
        None,
        None,
        1.5,
        18446744073709551615,
        "123456789012345678901",
        7,
    ]


def test_a_number_of_many_digits_is_no_refusal(tmp_path: Path) -> None:
    """A whole number too long for Python to read is kept as its text."""
    assert read(tmp_path, b"[" + b"9" * 10_000 + b"]") == ["9" * 10_000]


def test_half_a_surrogate_pair_becomes_a_question_mark(tmp_path: Path) -> None:
    """Texts that UTF-8 cannot write are mended in keys and values; whole pairs stay."""
    assert read(tmp_path, rb'{"a\ud800": ["\udc00b", "\ud83d\ude00"]}') == {"a?": ["?b", "😀"]}


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "blank": (b" \n\t", "is empty"),
    "cut off": (b'{"events": [', "is no JSON"),
    "other": (b"<log/>", "line 1, column 1: is no JSON"),
    "two values": (b"{} {}", "is no JSON"),
    "latin": ('{"a": "é"}'.encode("latin-1"), "byte 7: is not utf-8 text"),
    "odd utf-16": (b"\xff\xfe{\x00}", "is not utf-16"),
    "deep lists": (b"[" * 100_000 + b"]" * 100_000, "nests values"),
    "deep objects": (b'{"a":' * (DEPTH_MAX + 1) + b"1" + b"}" * (DEPTH_MAX + 1), "nests values"),
    "cut gzip": (gzip.compress(b"[1, 2, 3]" * 50, mtime=0)[:-12], "ends in the middle of the gzip data"),
    "bad gzip": (b"\x1f\x8b" + b"nothing of the kind", "damaged gzip"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_bounded_json_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    """Each kind of bad file is refused with its place and reason, in one line."""
    content, reason = REFUSED[name]
    with pytest.raises(ImportRefused) as refusal:
        read(tmp_path, content)
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_value_as_deep_as_allowed_is_read(tmp_path: Path) -> None:
    """The bound on depth is the deepest that is read."""
    value = read(tmp_path, b"[" * DEPTH_MAX + b"]" * DEPTH_MAX)
    for _ in range(DEPTH_MAX - 1):
        (value,) = value
    assert value == []


def test_a_gzip_bomb_is_refused_before_it_has_gone_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More decompressed bytes than allowed are refused, however small the file."""
    monkeypatch.setattr(json_documents, "JSON_BYTES_MAX", 1_000_000)
    with pytest.raises(ImportRefused, match="holds more than 1,000,000 bytes of JSON"):
        read(tmp_path, gzip.compress(b" " * 10_000_000))


def test_many_small_values_are_refused_before_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values are counted in the text, because small ones take many times its memory."""
    monkeypatch.setattr(json_documents, "VALUES_MAX", 1_000)
    assert len(read(tmp_path, json.dumps([0] * 999).encode())) == 999
    with pytest.raises(ImportRefused, match="more than 1,000 values"):
        read(tmp_path, json.dumps([[]] * 1_000).encode())


def test_names_are_counted_within_bounds() -> None:
    """Beyond a number of different names the rest is counted together, and a long name is cut."""
    names = Names()
    for number in range(NAMES_COUNTED_MAX + 5):
        names[f"type {number}"] += 1
    names["type 0"] += 1
    assert names["type 0"] == 2
    assert names[OTHERS] == 5
    long = Names()
    for _ in range(3):
        long["x" * 1_000] += 1
    assert list(long.values()) == [3]
    assert max(map(len, long)) == 200
