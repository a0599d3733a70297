"""What a running case looks like as numbers: one fold over its events, used in training and in serving.

A prefix is the first events of a case. Its features are a function of those events and of the case's
attributes at its start, so that no feature can know what comes later; `PrefixFold.add` is the only way to
move on, and it costs the same however long the case already is.

Names outside the learnt vocabulary are counted as "other". A number that is not known yet is NaN and has a
column that says so; a category that is not known yet has all its columns at zero. An attribute has the value
that was written last. Durations and numbers are stored as sign(x) * log(1 + |x|): trees do not care, and
linear models need it. Hours and weekdays are those of UTC. Time never runs backwards: an event with an
instant before the case's latest adds no time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from math import copysign, cos, log1p, nan, pi, sin
from typing import TYPE_CHECKING, Final

from sagacity_data.event_log import AttributeValue, Case, CaseEvent
from sagacity_models.prefix_vocabulary import PrefixVocabulary, level_of, number_of, step_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SECOND_US: Final = 1_000_000
_DAY_S: Final = 86_400
_EPOCH_WEEKDAY: Final = 3
"""1 January 1970 was a Thursday; Monday is 0."""
_CLOCK: Final = ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos", "weekend")
_PLAIN: Final = (
    "events",
    "elapsed",
    "gap",
    "gap_mean",
    "gap_max",
    "steps_distinct",
    "resources_distinct",
    "handovers",
    "repeats",
    *(f"last_{name}" for name in _CLOCK),
    *(f"start_{name}" for name in _CLOCK),
)
_LAST_CLOCK, _START_CLOCK = len(_PLAIN) - 2 * len(_CLOCK), len(_PLAIN) - len(_CLOCK)


class PrefixLayout:
    """Where each name of a vocabulary has its column; built once, shared by all folds."""

    def __init__(self, vocabulary: PrefixVocabulary) -> None:
        self._columns: list[str] = list(_PLAIN)
        self.step_counts = self._group("count", vocabulary.steps)
        self.steps_last = self._group("last", vocabulary.steps)
        self.steps_before = self._group("before", vocabulary.steps)
        self.resources = self._group("resource", vocabulary.resources)
        self.numbers = {key: self._number(key) for key in vocabulary.numbers}
        self.levels = {key: self._group(f"level {key}", levels) for key, levels in vocabulary.levels}

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(self._columns)

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self._columns)

    def start(self, attributes: Mapping[str, AttributeValue]) -> PrefixFold:
        """The fold of a case of which only its attributes are known."""
        return PrefixFold(self, attributes)

    def rows(self, case: Case) -> Iterator[NDArray[np.float32]]:
        """The features of each prefix of `case`, shortest first; copy a row before asking for the next."""
        fold = self.start(case.attributes)
        for event in case.events:
            fold.add(event)
            yield fold.row

    def _group(self, title: str, names: tuple[str, ...]) -> _Group:
        first = len(self._columns)
        self._columns += [f"{title}: {name}" for name in names] + [f"{title} is another"]
        return _Group(dict(zip(names, count(first))), first + len(names))

    def _number(self, key: str) -> int:
        self._columns += [f"number {key}", f"number {key} is missing"]
        return len(self._columns) - 2


class _Group:
    """The columns of the names of one vocabulary, and the column of every other name."""

    def __init__(self, known: Mapping[str, int], other: int) -> None:
        self._known = known
        self._other = other

    @property
    def columns(self) -> list[int]:
        return [*self._known.values(), self._other]

    def column(self, name: str) -> int:
        return self._known.get(name, self._other)


class PrefixFold:
    """The features of one growing case. `row` is live: copy it before the next `add`."""

    def __init__(self, layout: PrefixLayout, attributes: Mapping[str, AttributeValue]) -> None:
        import numpy as np

        self.row: NDArray[np.float32] = np.zeros(layout.width, dtype=np.float32)
        self._layout = layout
        self._events = 0
        self._start_us = self._latest_us = 0
        self._gap_max_s = 0.0
        self._steps: set[str] = set()
        self._resources: set[str] = set()
        self._resource: str | None = None
        self._hot: dict[str, int] = {}
        self._step: str | None = None
        for column in layout.numbers.values():
            self.row[column : column + 2] = nan, 1.0
        self._know(attributes)

    def add(self, event: CaseEvent) -> None:
        """Move on by one event, in the order of the log."""
        self._add_time(event.at_us)
        self._add_step(step_of(event))
        if event.resource is not None:
            self._add_resource(event.resource)
        if event.attributes:
            self._know(event.attributes)

    def _add_time(self, at_us: int) -> None:
        row = self.row
        if not self._events:
            self._start_us = self._latest_us = at_us
            row[_START_CLOCK : _START_CLOCK + len(_CLOCK)] = _clock(at_us)
        now_us = max(at_us, self._latest_us)
        gap_s = (now_us - self._latest_us) / _SECOND_US
        elapsed_s = (now_us - self._start_us) / _SECOND_US
        self._gap_max_s = max(gap_s, self._gap_max_s)
        self._latest_us = now_us
        self._events += 1
        mean_s = elapsed_s / max(self._events - 1, 1)
        row[:5] = self._events, log1p(elapsed_s), log1p(gap_s), log1p(mean_s), log1p(self._gap_max_s)
        row[_LAST_CLOCK : _LAST_CLOCK + len(_CLOCK)] = _clock(now_us)

    def _add_step(self, step: str) -> None:
        layout, row = self._layout, self.row
        row[layout.step_counts.column(step)] += 1
        if self._step is not None:
            self._set("before", layout.steps_before.column(self._step))
            row[8] += step == self._step
        self._set("last", layout.steps_last.column(step))
        self._step = step
        self._steps.add(step)
        row[5] = len(self._steps)

    def _add_resource(self, resource: str) -> None:
        row = self.row
        row[7] += self._resource is not None and resource != self._resource
        self._set("resource", self._layout.resources.column(resource))
        self._resource = resource
        self._resources.add(resource)
        row[6] = len(self._resources)

    def _know(self, attributes: Mapping[str, AttributeValue]) -> None:
        for key, value in attributes.items():
            if (column := self._layout.numbers.get(key)) is not None:
                number = number_of(value)
                known = number is not None
                self.row[column] = copysign(log1p(abs(number)), number) if number is not None else nan
                self.row[column + 1] = not known
            elif (group := self._layout.levels.get(key)) is not None:
                self._set(f"level {key}", group.column(level_of(value)))

    def _set(self, group: str, column: int) -> None:
        """Make `column` the one of its group that is 1."""
        if (hot := self._hot.get(group)) is not None:
            self.row[hot] = 0
        self.row[column] = 1
        self._hot[group] = column


def _clock(at_us: int) -> tuple[float, float, float, float, float]:
    day, second = divmod(at_us // _SECOND_US, _DAY_S)
    weekday = (day + _EPOCH_WEEKDAY) % 7
    hour_angle, day_angle = 2 * pi * second / _DAY_S, 2 * pi * weekday / 7
    return sin(hour_angle), cos(hour_angle), sin(day_angle), cos(day_angle), float(weekday >= 5)
