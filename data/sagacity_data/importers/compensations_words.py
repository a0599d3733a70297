"""How a step's name falls into words, and which of them undo something.

Words are compared in one form: `Reservations`, `reserving` and `booking` all say `book`, because names mix
verbs with the nouns made of them (`BookRoom`, `CancelReservation`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from sagacity_data.importers.compensations_verbs import (
    HEADINGS,
    NOISE,
    NOTHING,
    NOUNS,
    PAIRS,
    PREPOSITIONS,
    SENSES,
    UNDOES,
    UNDONE_BY_UN,
    VERBS,
)

NAME_MAX: Final = 256
"""Characters of a name that are looked at; a longer name undoes nothing."""

_PARAMETER: Final = re.compile(r"\{[^{}]*\}|<[^<>]*>")
_CALL: Final = re.compile(r"(?:GET|POST|PUT|PATCH|DELETE) +\S", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\W_]+")
_TURN: Final = re.compile(
    r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"
)


def segments(name: str) -> list[list[str]]:
    """The words of each part of a name, as written but in small letters; parts end at dots, `/`, `:` and `#`.

    What is called by a method and a path is one part. Its method is a verb unless the path ends in one.


    >>> segments("shop.PaymentService/RefundCard")
    [['shop'], ['payment', 'service'], ['refund', 'card']]
    """
    name = _PARAMETER.sub(" ", name)
    if _CALL.match(name):
        words = _words(name)
        means_its_path = len(words) > 2 and words[-1] in VERBS and words[0] != "delete"
        return [words[1:] if means_its_path else words]
    return [words for words in map(_words, re.split(r"[./:#]+", name)) if words]


def _words(part: str) -> list[str]:
    split = [word.lower() for chunk in _WORD.findall(part) for word in _TURN.split(chunk) if word]
    return _joined(word for word in split if word not in NOISE)


def _joined(words: Iterable[str]) -> list[str]:
    """Two words that make one verb, as one."""
    joined: list[str] = []
    for word in words:
        pair = _pair(joined[-1], word) if joined else None
        if pair is None:
            joined.append(word)
        else:
            joined[-1] = pair
    return joined


def _pair(first: str, second: str) -> str | None:
    if first in ("un", "de") and (first + second in _UNVERBS or first + second in _FORMS):
        return first + second
    return PAIRS.get((first, second))


def canonical(word: str) -> str:
    """The form in which a word is compared: a verb for whatever is made of it, a noun in the singular.

    >>> [canonical(word) for word in ("reservation", "booked", "charging", "flights", "boss")]
    ['book', 'book', 'pay', 'flight', 'boss']
    """
    verb = verb_of(word)
    return _singular(word) if verb is None else verb


def verb_of(word: str) -> str | None:
    """The verb that a word is, or is made of; None for any other word."""
    return _FORMS.get(word)


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _inflected(verb: str) -> list[str]:
    stem = verb.removesuffix("e")
    forms = [verb, verb + "s", verb + "es", stem + "ed", stem + "ing", stem + "er"]
    if verb.endswith("y"):
        forms += [verb[:-1] + "ies", verb[:-1] + "ied"]
    if re.search(r"[^aeiou][aeiou][bdglmnprt]$", verb):  # Such as planned, shipping, cancelled.
        forms += [verb + verb[-1] + "ed", verb + verb[-1] + "ing"]
    return forms


def _forms() -> dict[str, str]:
    forms = {form: verb for verb in sorted(VERBS) for form in _inflected(verb)}
    forms |= {verb: verb for verb in VERBS}  # A verb is itself, whatever else it looks like.
    return {form: SENSES.get(verb, verb) for form, verb in forms.items()} | NOUNS


_FORMS: Final = _forms()
_UNVERBS: Final = {
    "un" + form: SENSES.get(verb, verb)
    for verb in UNDONE_BY_UN
    for form in _inflected(verb)
    if SENSES.get(verb, verb) in _FORMS.values()
}


def undoing(word: str) -> tuple[str, frozenset[str] | None] | None:
    """What a word of undoing is, and which verbs it takes back (None: any); None for every other word.

    Participles (`cancelled`) tell of a state that a run came to, unless they say nothing but "undo".

    >>> undoing("unbook"), undoing("reverted"), undoing("cancelled"), undoing("flight")
    (('unbook', frozenset({'book'})), ('revert', None), None, None)
    """
    verb = "un" + _UNVERBS[word] if word in _UNVERBS else verb_of(word)
    takes_back = frozenset({_UNVERBS[word]}) if word in _UNVERBS else UNDOES.get(verb or "", NOTHING)
    if verb is None or takes_back == NOTHING or (takes_back is not None and word.endswith("ed")):
        return None
    return verb, takes_back


def only_told_of(words: list[str]) -> bool:
    """Whether a name that begins with a word of undoing only tells of it: `CancellationEmail`."""
    made_of_it = words[0] in NOUNS and words[0] not in HEADINGS
    return made_of_it and len(words) > 1 and words[1] not in PREPOSITIONS
