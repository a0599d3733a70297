"""JSON from strangers: what is read, what is refused, and where."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagacity_api.bounded_json import JsonRefused, JsonTooDeep, JsonTooLarge, read_json, write_json

texts = st.text(st.characters(codec="utf-8"))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_what_is_written_is_read_back(value: Any) -> None:
    """Every JSON value survives writing and reading."""
    assert read_json(write_json(value)) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    """No bytes raise anything but `JsonRefused`."""
    with suppress(JsonRefused):
        write_json(read_json(text))


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (b'{"a": 1,\n"b": }', 2, "Expecting value"),
        (b'["a",\n\n"\xff"]', 3, "not UTF-8"),
        (b"\n" + b"[" * 33, None, "nests deeper than 32"),
        (b"[" * 33 + b"]" * 33, None, "nests deeper than 32"),
        (b"[" * 20 + b"{" * 20 + b"}]" * 20, None, "nests deeper than 32"),
        (b"]" * 100, 1, "Expecting value"),
        (b"[1}", 1, "delimiter"),
        (b'{"a": 1, "a": 2}', None, "'a' occurs twice"),
        (b"[NaN]", None, "NaN is no JSON number"),
        (b"[-1e400]", None, "too large"),
        (b"[" + b"1" * 301 + b"]", None, "too large"),
        (b'["\\udc00"]', None, "surrogate"),
        (b'{"\\ud83d": 1}', None, "surrogate"),
        (b"\xef\xbb\xbf{}", 1, "BOM"),
        (b"", 1, "Expecting value"),
    ],
)
def test_refusals_name_place_and_reason(text: bytes, line: int | None, reason: str) -> None:
    """A refusal says why, and in which line where a line is known."""
    with pytest.raises(JsonRefused, match=reason) as refused:
        read_json(text)
    assert refused.value.line == line


def test_whole_surrogate_pairs_are_characters() -> None:
    """An escaped pair is one character."""
    assert read_json(b'["\\ud83d\\ude00"]') == ["\U0001f600"]


def test_brackets_inside_texts_do_not_nest() -> None:
    """Only structure counts, whatever texts and escapes hold."""
    text = rb'["' + b"[" * 100 + rb"\"" + b"{" * 100 + rb'\\", "]"]'
    assert len(read_json(text)) == 2


def test_an_unfinished_text_costs_one_pass() -> None:
    """A hostile text of unfinished escapes is refused, not searched again and again."""
    with pytest.raises(JsonRefused):
        read_json(b'"' + b'\\"' * 400_000)


def test_limits_are_inclusive() -> None:
    """At the limit is read, one beyond is refused: bytes and levels."""
    assert read_json(b"[[1]]", bytes_max=5, depth_max=2) == [[1]]
    with pytest.raises(JsonTooLarge):
        read_json(b"[[1]] ", bytes_max=5)
    with pytest.raises(JsonTooDeep):
        read_json(b"[[1]]", depth_max=1)


def test_what_is_no_json_is_not_written() -> None:
    """NaN is refused at writing too."""
    with pytest.raises(ValueError, match="JSON"):
        write_json({"a": float("nan")})
