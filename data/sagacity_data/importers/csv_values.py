"""What the cells of a table say: numbers, truth values, and outcomes in people's words for them."""

from __future__ import annotations

import re
from typing import Final

from sagacity_data.importers.reading import Tally
from sagacity_data.rows import AttemptOutcome, Scalar

_NUMBER: Final = re.compile(r"[+-]?(\d{1,15})([.,]\d{1,15})?([eE][+-]?\d{1,2})?")
_WORDS: Final = {
    AttemptOutcome.SUCCEEDED: "succeeded success successful ok completed complete done true passed yes 1",
    AttemptOutcome.FAILED: "failed failure fail error refused rejected declined false no 0",
    AttemptOutcome.TIMED_OUT: "timed_out timeout timedout deadline_exceeded",
    AttemptOutcome.CANCELLED: "cancelled canceled aborted withdrawn terminated skipped",
    AttemptOutcome.LOST_REPLY: "lost_reply",
    AttemptOutcome.CRASHED: "crashed",
    AttemptOutcome.UNKNOWN: "unknown",
    AttemptOutcome.OPEN: "open running started in_progress",
}
_OUTCOMES: Final = {word: outcome for outcome, words in _WORDS.items() for word in words.split()}


def outcome_of(text: str, tally: Tally) -> AttemptOutcome:
    """The outcome that a word means; unknown, and counted, for words that nobody knows."""
    told = _OUTCOMES.get(re.sub(r"[\s_-]+", "_", text.strip().lower()))
    if told is None:
        tally.notes[f"the outcome {text[:40]!r} is taken for unknown"] += 1
        return AttemptOutcome.UNKNOWN
    return told


def value_of(text: str, *, comma: bool) -> Scalar:
    """A cell as a number or a truth value where it is one; `comma`: numbers may have a decimal comma.

    >>> value_of("3,5", comma=True), value_of("3,5", comma=False), value_of("True", comma=False)
    (3.5, '3,5', True)
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    match = _NUMBER.fullmatch(text)
    if match is None or (match[2] or "").startswith(",") > comma:
        return text
    if len(match[1]) > 1 and match[1].startswith("0"):
        return text  # A number that is a name, like a postcode.
    return float(text.replace(",", ".")) if match[2] or match[3] else int(text)
