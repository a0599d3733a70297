"""Which steps of a foreign history undo others: by the user's word, by links, or by their names.

A step named like the undo of another (`CancelFlight` for `BookFlight`, `refund_payment` for `charge_payment`,
`undo-x` for `x`) is taken for it only where that other step was attempted in the same run. A name has to say
two things: that it undoes (its first or last word), and what. What is left of it is compared with the other
names; the closest agreement counts, and if two steps agree equally well, none does:

1. with the whole other name, its verb included: `UndoBookRoom`, `BookRoom_compensate`, `CancelRoomBooking`;
2. with what the other name is about, if its verb is one that this word undoes: `ReleaseRoom`, `HoldRoom`;
3. the same, where only one name goes on after a `for`, `of` or `to`: `ReleaseSeat`, `HoldSeatForGuest`;
4. with the end of what it is about: `RefundPayment`, `ProcessCardPayment`; `CancelRentalReservation`,
   `ReserveCarRental`;
5. with its verb alone: `CancelReservation`, `BookRoom`; or `Refund`, `ChargeCard`.

A wrong guess teaches a wrong lesson and a missed one only says less, so doubt means None.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Final, TypeVar

from sagacity_data.importers.compensations_phrases import Phrase, Undo, Work, undo_of, work_of
from sagacity_data.importers.compensations_verbs import ALONE

T = TypeVar("T")
ALIKE_MAX: Final = 64
"""More steps than this that end in the same word, or are about the same, are not told apart."""


def undone_by(
    step: str, others: Collection[str], *, said: Mapping[str, str], linked: Mapping[str, str]
) -> str | None:
    """The step among `others` that `step` undoes; None for a step that does work of its own.

    `said` (the user's mapping) wins over `linked` (what the history's own links tell), and that over names.
    `others` are the steps attempted in the same run. A reader that asks for thousands of steps while their
    number grows keeps one `UndoNames` instead.
    """
    for known in (said, linked):
        if known.get(step, step) != step:
            return known[step]
    return None if undo_of(step) is None else _names(frozenset(others)).undone_by(step)


class UndoNames:
    """The names of a run's steps, by what they are about; adding one and asking take the same short time."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._views = (_View(), _View())  # Of whole names, and of their last parts.
        self._added: set[str] = set()
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Note that a step of this name was attempted."""
        if name in self._added:
            return
        self._added.add(name)
        for view, work in zip(self._views, work_of(name), strict=True):
            view.add(name, work)

    def undone_by(self, step: str) -> str | None:
        """The step of those added that `step` undoes by its name; None where no single one fits best."""
        undo = undo_of(step)
        if undo is None:
            return None
        for view, (words, phrase) in zip(self._views, undo.targets, strict=True):
            for level in view.levels(undo, words, phrase):
                found = [name for name in level if name != step]
                if found:
                    return found[0] if len(found) == 1 else None
        return None


@lru_cache(maxsize=4)
def _names(names: frozenset[str]) -> UndoNames:
    return UndoNames(names)


class _View:
    """Steps by what their names say, each name read in one way."""

    def __init__(self) -> None:
        self._whole: dict[frozenset[str], list[tuple[str, Work]]] = defaultdict(list)
        self._about: dict[frozenset[str], list[tuple[str, Work]]] = defaultdict(list)
        self._core: dict[frozenset[str], list[tuple[str, Work]]] = defaultdict(list)
        self._end: dict[str, list[tuple[str, Work]]] = defaultdict(list)
        self._verb: dict[str, list[str]] = defaultdict(list)

    def add(self, name: str, work: Work) -> None:
        core = work.phrase.core
        _keep(self._whole[work.words], (name, work))
        _keep(self._about[work.phrase.words], (name, work))
        _keep(self._core[frozenset(core)], (name, work))
        if core:
            _keep(self._end[core[-1]], (name, work))
        if work.verb:
            _keep(self._verb[work.verb], name)

    def levels(self, undo: Undo, words: frozenset[str], phrase: Phrase) -> Iterable[Collection[str]]:
        """The steps that an undo of `words` may be meant for, the closest agreement first."""
        yield self._quoted(undo, words)
        if undo.whole_name_only:
            return
        if phrase.core:
            yield self._fitting(undo, _few(self._about.get(phrase.words, [])))
            yield self._fitting(undo, self._same_core(phrase))
            yield self._fitting(undo, (*self._same_end(phrase), *self._same_verb_and_end(phrase)))
        yield self._by_verb(undo, words)

    def _quoted(self, undo: Undo, words: frozenset[str]) -> list[str]:
        whole = _few(self._whole.get(words, [])) if words else ()
        plain = undo.takes_back is None
        return [name for name, work in whole if plain or not work.verb or undo.goes_with(work.verb)]

    def _fitting(self, undo: Undo, steps: Iterable[tuple[str, Work]]) -> list[str]:
        return [name for name, work in steps if work.verb and undo.goes_with(work.verb)]

    def _same_core(self, phrase: Phrase) -> Iterable[tuple[str, Work]]:
        for name, work in _few(self._core.get(frozenset(phrase.core), [])):
            if not (phrase.further and work.phrase.further):
                yield name, work

    def _same_end(self, phrase: Phrase) -> Iterable[tuple[str, Work]]:
        wanted = frozenset(phrase.core)
        for name, work in _few(self._end.get(phrase.core[-1], [])):
            further = work.phrase.further
            if wanted < frozenset(work.phrase.core) and (not phrase.further or phrase.further == further):
                yield name, work

    def _same_verb_and_end(self, phrase: Phrase) -> Iterable[tuple[str, Work]]:
        """Of `CancelRentalReservation`: what reserves something that ends in `Rental`."""
        *core, verb = phrase.core
        if core:
            for name, work in self._same_end(Phrase(tuple(core), phrase.further)):
                if work.verb == verb:
                    yield name, work

    def _by_verb(self, undo: Undo, words: frozenset[str]) -> Collection[str]:
        if len(words) == 1:
            (verb,) = words
            return self._verb.get(verb, ()) if undo.goes_with(verb) else ()
        if words:
            return ()
        alone = ALONE.get(undo.verb, undo.takes_back if undo.verb.startswith("un") else None) or ()
        return [name for verb in alone for name in self._verb.get(verb, ())]


def _keep(alike: list[T], one: T) -> None:
    """Enough of them to see that they are too many."""
    if len(alike) <= ALIKE_MAX:
        alike.append(one)


def _few(alike: list[T]) -> list[T]:
    return alike if len(alike) <= ALIKE_MAX else []
