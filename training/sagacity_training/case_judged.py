"""The rows that judge a model of case outcomes: every prefix of every test case, and what was said of it.

Test cases are read in batches, so that a test of any size fits into memory; what is kept of a row is its
outcome, its forecasts, its time and its groups. A row's time is the latest instant of its prefix; the rows of
all cases together are sorted by it, as whoever judges wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sagacity_data.event_log import CaseEvent
from sagacity_models.case_outcome import CaseOutcomeModel
from sagacity_training.case_rows import KnownCase, batches, rows_of_cases
from sagacity_training.judging.judged import Judged

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Forecaster = Callable[[Sequence[KnownCase]], "NDArray[np.float64]"]
"""One probability for each prefix of each case, shortest first."""

GroupOf = Callable[[Sequence[CaseEvent]], str]
"""The group of a prefix, by its events."""

TASK: Final = "outcome"
_SECOND_US: Final = 1_000_000
_HOUR_S: Final = 3_600
_LENGTHS: Final = ((2, "1-2"), (5, "3-5"), (12, "6-12"))
"""The most events of a prefix, and the name of its group."""


@dataclass(frozen=True, slots=True)
class HeldOutRows:
    """Forecasts of test prefixes, by time; `cases` numbers the test cases, `lengths` counts events."""

    labels: NDArray[np.float64]
    forecasts: Mapping[str, NDArray[np.float64]]
    at: NDArray[np.float64]
    cases: NDArray[np.int64]
    lengths: NDArray[np.int64]
    groups: Mapping[str, Sequence[str]]

    def judged(self, *, chosen: str, n_train: int, reason: str) -> Judged:
        """The rows as whoever judges wants them; the forecasts must hold "chosen" and "base"."""
        return Judged(
            task=TASK,
            outcomes=self.labels,
            forecasts=self.forecasts["chosen"],
            base=self.forecasts["base"],
            champion=self.forecasts.get("champion"),
            at=self.at,
            cases=self.cases,
            groups=self.groups,
            n_train=n_train,
            chosen=chosen,
            reason=reason,
        )


def held_out_rows(
    cases: Iterable[KnownCase],
    forecasters: Mapping[str, Forecaster],
    grouped_by: Mapping[str, GroupOf] | None = None,
) -> HeldOutRows:
    """What each forecaster says of every prefix of these cases. There may be no prefix at all."""
    import numpy as np

    held: dict[str, list[Any]] = {name: [] for name in ("labels", "at", "cases", "lengths", *forecasters)}
    by: dict[str, list[str]] = {name: [] for name in grouped_by or {}}
    before = 0
    for batch in batches(iter(cases)):
        lengths = [len(case.prefix.events) for case in batch]
        for name, forecast in forecasters.items():
            held[name].append(forecast(batch))
        outcomes = np.array([case.success for case in batch], dtype=np.float64)
        held["labels"].append(np.repeat(outcomes, lengths))
        held["at"].append(_times(batch))
        held["cases"].append(np.repeat(np.arange(len(batch)), lengths) + before)
        held["lengths"] += [np.arange(1, length + 1) for length in lengths]
        for name, group_of in (grouped_by or {}).items():
            by[name] += [group_of(case.prefix.events[:k]) for case in batch for k in _counted(case)]
        before += len(batch)
    joined = {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in held.items()}
    order = np.argsort(joined["at"], kind="stable")
    told = {name: values[order] for name, values in joined.items()}
    at, lengths_told = told["at"], told["lengths"].astype(np.int64)
    groups: dict[str, Sequence[str]] = {
        "hour": _hours(at),
        "events": [_length(each) for each in lengths_told.tolist()],
        **{name: [labels[place] for place in order.tolist()] for name, labels in by.items()},
    }
    return HeldOutRows(
        told["labels"],
        {name: told[name] for name in forecasters},
        at,
        told["cases"].astype(np.int64),
        lengths_told,
        groups,
    )


def model_forecaster(model: CaseOutcomeModel) -> Forecaster:
    """What the model says, row by row."""

    def forecast(cases: Sequence[KnownCase]) -> NDArray[np.float64]:
        return model.probabilities(rows_of_cases(cases, model.layout).features)

    return forecast


def constant_forecaster(rate: float) -> Forecaster:
    """The same probability for every row."""

    def forecast(cases: Sequence[KnownCase]) -> NDArray[np.float64]:
        import numpy as np

        return np.full(sum(len(case.prefix.events) for case in cases), rate)

    return forecast


def _counted(case: KnownCase) -> range:
    return range(1, len(case.prefix.events) + 1)


def _times(cases: Sequence[KnownCase]) -> NDArray[np.float64]:
    """The latest instant of each prefix, in seconds since 1970."""
    import numpy as np

    latest = [latest_us(case.prefix.events) for case in cases]
    return np.asarray(np.concatenate(latest) / _SECOND_US, dtype=np.float64)


def latest_us(events: Sequence[CaseEvent]) -> NDArray[np.float64]:
    """The latest instant by each event, in microseconds since 1970: a case's time never runs backwards."""
    import numpy as np

    return np.maximum.accumulate(np.array([event.at_us for event in events], dtype=np.float64))


def _hours(at: NDArray[np.float64]) -> list[str]:
    """The hour of the day, UTC."""
    return [f"{int(each // _HOUR_S) % 24:02d}" for each in at.tolist()]


def _length(events: int) -> str:
    return next((name for most, name in _LENGTHS if events <= most), "13 or more")
