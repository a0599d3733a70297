"""Which activities, resources, attributes and values of an event log get a column: learnt once, then fixed.

The vocabulary is learnt from training cases only and is capped, so that a log with thousands of activities
gives a matrix of bounded width. A name's rank is the number of cases it occurs in, ties by name.

An attribute is a number where practically all of its values read as numbers and there are more than a handful
of them; otherwise it is a category, whose levels must each occur in one case of a hundred. An attribute that
passes neither way (an id, a free text) gets no column, and neither does one that never varies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Final

from sagacity_data.event_log import AttributeValue, Case, CaseEvent

STEPS_MAX: Final = 48
RESOURCES_MAX: Final = 24
ATTRIBUTES_MAX: Final = 24
"""Of each kind: numbers and categories."""
LEVELS_MAX: Final = 12
_SHARE_MIN: Final = 0.01
_NUMBER_SHARE_MIN: Final = 0.99
_NUMBER_VALUES_MIN: Final = 6
_VALUES_COUNTED_MAX: Final = 5_000


@dataclass(frozen=True, slots=True)
class PrefixVocabulary:
    """What gets columns; equal vocabularies give equal columns in equal order."""

    steps: tuple[str, ...]
    resources: tuple[str, ...]
    numbers: tuple[str, ...]
    levels: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def learn(cls, cases: Iterable[Case], ignore: frozenset[str] = frozenset()) -> PrefixVocabulary:
        """The vocabulary of `cases`, which must hold nothing but what may be learnt from.

        `ignore` names attributes that get no column, such as the one that defines success.
        """
        seen = _Seen()
        for case in cases:
            seen.note(case, ignore)
        support = seen.cases * _SHARE_MIN
        return cls(
            _top(seen.steps, STEPS_MAX, 1),
            _top(seen.resources, RESOURCES_MAX, support),
            seen.numbers(),
            seen.levels(support),
        )

    def as_json(self) -> dict[str, Any]:
        """The vocabulary as JSON values; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> PrefixVocabulary:
        """The vocabulary that `as_json` wrote."""
        return cls(
            tuple(written["steps"]),
            tuple(written["resources"]),
            tuple(written["numbers"]),
            tuple((key, tuple(levels)) for key, levels in written["levels"]),
        )


def step_of(event: CaseEvent) -> str:
    """An event's activity with its lifecycle: starting a task is another step than completing it."""
    return f"{event.activity}|{event.lifecycle}"


def number_of(value: AttributeValue) -> float | None:
    """The value as a finite number, also where the log wrote it as text; None for anything else.

    >>> number_of("20000"), number_of("high"), number_of(True)
    (20000.0, None, None)
    """
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def level_of(value: AttributeValue) -> str:
    """The value as the text that names a level of a category."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Seen:
    """In how many cases each name and value occurs."""

    def __init__(self) -> None:
        self.cases = 0
        self.steps: Counter[str] = Counter()
        self.resources: Counter[str] = Counter()
        self.values: dict[str, Counter[AttributeValue]] = {}

    def note(self, case: Case, ignore: frozenset[str]) -> None:
        self.cases += 1
        self.steps.update({step_of(event) for event in case.events})
        self.resources.update({event.resource for event in case.events if event.resource is not None})
        held = set(case.attributes.items())
        for event in case.events:
            held.update(event.attributes.items())
        for key, value in held:
            if key not in ignore:
                counts = self.values.setdefault(key, Counter())
                if len(counts) < _VALUES_COUNTED_MAX or value in counts:
                    counts[value] += 1

    def numbers(self) -> tuple[str, ...]:
        """The attributes that are numbers, the most frequent ones."""
        return _top({key: self.values[key].total() for key in self._number_keys()}, ATTRIBUTES_MAX, 1)

    def levels(self, support: float) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The attributes that are categories, the most frequent ones, with their frequent levels."""
        categories = self.values.keys() - self._number_keys()
        found = {key: self._levels_of(key, support) for key in categories}
        useful = {key: self.values[key].total() for key, levels in found.items() if levels}
        return tuple((key, found[key]) for key in _top(useful, ATTRIBUTES_MAX, 1))

    def _levels_of(self, key: str, support: float) -> tuple[str, ...]:
        counts: Counter[str] = Counter()
        for value, times in self.values[key].items():
            counts[level_of(value)] += times
        if len(counts) == 1 and counts.total() >= self.cases:
            return ()
        return _top(counts, LEVELS_MAX, max(support, 2))

    def _number_keys(self) -> set[str]:
        return {key for key, counts in self.values.items() if _is_number(counts)}


def _is_number(counts: Counter[AttributeValue]) -> bool:
    if len(counts) < _NUMBER_VALUES_MIN:
        return False
    readable = sum(times for value, times in counts.items() if number_of(value) is not None)
    return readable >= _NUMBER_SHARE_MIN * counts.total()


def _top(counts: Mapping[str, int], at_most: int, support: float) -> tuple[str, ...]:
    frequent = (name for name, times in counts.items() if times >= support)
    return tuple(sorted(frequent, key=lambda name: (-counts[name], name))[:at_most])
