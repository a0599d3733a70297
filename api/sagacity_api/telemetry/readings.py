"""What only the engine and its parts know, read from them when metrics are asked for, not before.

Each source is looked at once per scrape. One that raises is left out of that scrape and counted, so that a
journal on a full disk does not take the other metrics with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from sagacity_api.telemetry.event_queue import Fate, PostCounts
from sagacity_api.telemetry.extras import require
from sagacity_engine import Status

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

BREAKERS_MAX = 1_000
"""The most services whose breakers are told."""

BREAKER_STATES = ("closed", "half_open", "open")


class ListenersView(Protocol):
    """What is read of an engine's listeners."""

    @property
    def failures(self) -> int: ...  # noqa: D102  as in `Listeners`
    @property
    def dropped(self) -> int: ...  # noqa: D102  as in `Listeners`


class EngineView(Protocol):
    """What is read of an engine."""

    @property
    def listeners(self) -> ListenersView: ...  # noqa: D102  as in `Engine`
    @property
    def parked(self) -> Mapping[str, str]: ...  # noqa: D102  as in `Engine`
    @property
    def stranded(self) -> Mapping[str, str]: ...  # noqa: D102  as in `Engine`


class JournalView(Protocol):
    """What is read of a journal; the number of its `commits` too, where it tells that."""

    def counts(self) -> Mapping[Status, int]: ...  # noqa: D102  as in `Journal`


class PosterView(Protocol):
    """What is read of a poster."""

    def counts(self) -> PostCounts: ...  # noqa: D102  as in `EventPoster`


class Readings:
    """Puts what these objects know into `registry`, read anew at every scrape.

    `breakers` tells each service's state: closed, half_open or open. Raises `ExtraMissing` without
    prometheus-client.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        engine: EngineView | None = None,
        journal: JournalView | None = None,
        breakers: Callable[[], Mapping[str, str]] | None = None,
        poster: PosterView | None = None,
    ) -> None:
        require("reading metrics of an engine", "prometheus_client", "server")
        self._engine = engine
        self._journal = journal
        self._breakers = breakers
        self._poster = poster
        self._failed = 0
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: sources are not looked at when they are registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Everything that the sources tell now."""
        for source in (self._of_engine, self._of_journal, self._of_breakers, self._of_poster):
            try:
                yield from list(source())
            except Exception:  # noqa: BLE001  whatever a source raises, the others are read
                self._failed += 1
        yield _counter("readings_failed", "Sources that could not be read at a scrape.", self._failed)

    def _of_engine(self) -> Iterator[Metric]:
        if (engine := self._engine) is None:
            return
        listeners = engine.listeners
        yield _counter("listener_dropped_events", "Events that listeners missed.", listeners.dropped)
        yield _counter("listener_failures", "Calls of listeners that raised.", listeners.failures)
        parked, stranded = len(engine.parked), len(engine.stranded)
        yield _gauge("runs_parked", "Runs that wait because the journal refuses to write.", parked)
        yield _gauge("runs_stranded", "Open runs that this engine cannot carry on.", stranded)

    def _of_journal(self) -> Iterator[Metric]:
        if (journal := self._journal) is None:
            return
        commits = getattr(journal, "commits", None)
        if commits is not None:
            yield _counter("journal_commits", "Transactions that the journal has committed.", commits)
        counts = journal.counts()
        by_status = [((status.value,), counts.get(status, 0)) for status in Status]
        yield _gauges("journal_runs", "Runs in the journal, by status.", ("status",), by_status)

    def _of_breakers(self) -> Iterator[Metric]:
        if self._breakers is None:
            return
        told = sorted(self._breakers().items())[:BREAKERS_MAX]
        states = [((service, state), state == now) for service, now in told for state in BREAKER_STATES]
        says = "1 for the state of a service's breaker, 0 for the others."
        yield _gauges("breaker_state", says, ("service", "state"), states)

    def _of_poster(self) -> Iterator[Metric]:
        if self._poster is None:
            return
        from prometheus_client.core import CounterMetricFamily

        counts = self._poster.counts()
        fates = CounterMetricFamily(
            "sagacity_posted_events", "Events handed to the poster, by what became of them.", labels=("fate",)
        )
        for fate in Fate:
            fates.add_metric((fate.value,), counts.of(fate))
        yield fates
        yield _gauge("posts_pending_events", "Events that wait to be posted.", counts.pending)
        yield _counter("posts_failed", "Requests of the poster that failed.", counts.failed_posts)


def _counter(name: str, says: str, value: float) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(f"sagacity_{name}", says, value=value)


def _gauge(name: str, says: str, value: float) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(f"sagacity_{name}", says, value=value)


def _gauges(
    name: str, says: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"sagacity_{name}", says, labels=labels)
    for label, value in values:
        family.add_metric(label, value)
    return family
