"""What a step's name says: what the step does, or what it undoes, each with what it is about."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sagacity_data.importers.compensations_verbs import INERT, PREPOSITIONS, WRAPPING
from sagacity_data.importers.compensations_words import (
    NAME_MAX,
    canonical,
    only_told_of,
    segments,
    undoing,
    verb_of,
)


@dataclass(frozen=True, slots=True)
class Phrase:
    """What a name is about: its words up to the first preposition in order, and those after it."""

    core: tuple[str, ...]
    further: frozenset[str]

    @property
    def words(self) -> frozenset[str]:
        """All its words."""
        return self.further.union(self.core)


@dataclass(frozen=True, slots=True)
class Work:
    """What a step does, as its name says: a verb (empty where none is known) and what it is about."""

    verb: str
    words: frozenset[str]  # All words of the name, the verb included.
    phrase: Phrase


@dataclass(frozen=True, slots=True)
class Undo:
    """A name that says that it undoes something."""

    verb: str
    takes_back: frozenset[str] | None  # Verbs; None for any that has an effect.
    whole_name_only: bool  # `SendCancellation` may only be the undo of a step `Send`.
    targets: tuple[tuple[frozenset[str], Phrase], tuple[frozenset[str], Phrase]]

    def goes_with(self, verb: str) -> bool:
        """Whether this undo takes back what the verb did."""
        return verb not in INERT if self.takes_back is None else verb in self.takes_back


@lru_cache(maxsize=8192)
def work_of(name: str) -> tuple[Work, Work]:
    """What a name says, read as a whole and by its last part alone."""
    parts = segments(name[:NAME_MAX])
    last = parts[-1] if parts else []
    before = [word for part in parts[:-1] for word in part]
    return _work(before, last), _work([], last)


def _work(before: list[str], last: list[str]) -> Work:
    at = _verb_place(last)
    verb = "" if at is None else verb_of(last[at]) or ""
    rest = last if at is None else last[:at] + last[at + 1 :]
    words = _phrase(before + last).words
    return Work(verb, words, _phrase(before + rest))


def _verb_place(words: list[str]) -> int | None:
    """Where the verb of a name stands: first (`BookRoom`), else last (`RoomBooking`)."""
    if not words:
        return None
    if verb_of(words[0]) is not None:
        return 0
    return len(words) - 1 if verb_of(words[-1]) is not None else None


def _phrase(words: list[str]) -> Phrase:
    """The words as they are compared; a preposition in front (`OnOrder`) divides nothing."""
    split = next((at for at, word in enumerate(words) if at and word in PREPOSITIONS), len(words))
    core = [canonical(word) for word in words[:split] if word not in PREPOSITIONS]
    further = [canonical(word) for word in words[split:] if word not in PREPOSITIONS]
    return Phrase(tuple(core), frozenset(further))


@lru_cache(maxsize=8192)
def undo_of(name: str) -> Undo | None:
    """What a name undoes, if it says that it undoes something."""
    if len(name) > NAME_MAX:
        return None
    parts = segments(name)
    if not parts:
        return None
    last, before = parts[-1], [word for part in parts[:-1] for word in part]
    stripped = _unwrapped(last)
    for words, place in ((stripped, 0), (last, len(last) - 1)):
        said = undoing(words[place])
        if said is None or (place == 0 and only_told_of(words)):
            continue
        rest = words[:place] + words[place + 1 :]
        verb_first = place > 0 and verb_of(rest[0]) is not None
        targets = (_target(before + rest), _target(rest))
        return Undo(said[0], said[1], verb_first, targets)
    return None


def _target(words: list[str]) -> tuple[frozenset[str], Phrase]:
    phrase = _phrase(words)
    return phrase.words, phrase


def _unwrapped(words: list[str]) -> list[str]:
    """The name without a verb that only leads to the one that counts."""
    wrapped = len(words) > 1 and words[0] in WRAPPING and undoing(words[1]) is not None
    return words[1:] if wrapped else words
