"""The bars that the engine has to clear, each with what was measured: met, missed or not measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.peers.contender import FORWARD, SHAPES
from benchmarks.peers.contest import (
    CONCURRENT,
    DBOS,
    OURS,
    SAGAZ,
    SAGAZ_AS_IT_COMES,
    VIRTUAL,
    Contest,
    Median,
)

TIMES_DBOS = {1: 4.0, 16: 30.0, 64: 50.0, 256: 60.0}
TIMES_SAGAZ = 2.0
VIRTUAL_PER_S = 2_000.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `measured` is a sentence's part, and `met` is None when something was not measured."""

    wanted: str
    measured: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """In a word or two."""
        return "not measured" if self.met is None else "met" if self.met else "missed"


def bars(contest: Contest) -> list[Bar]:
    """Every bar, in order."""
    virtual = contest.median(VIRTUAL, FORWARD, 1)
    return [
        *_against(contest, DBOS),
        *_against(contest, SAGAZ),
        *_against(contest, SAGAZ_AS_IT_COMES),
        Bar(
            f">= {VIRTUAL_PER_S:,.0f} five-step sagas/s in virtual time",
            f"{virtual.per_s:,.0f}" if virtual else "",
            virtual.per_s >= VIRTUAL_PER_S if virtual else None,
        ),
    ]


def _against(contest: Contest, peer: str) -> Iterator[Bar]:
    for shape in SHAPES:
        for concurrent in CONCURRENT:
            ours = contest.median(OURS, shape, concurrent)
            theirs = contest.median(peer, shape, concurrent)
            times = TIMES_DBOS[concurrent] if peer == DBOS else TIMES_SAGAZ
            where = f"{shape}, {concurrent} at a time"
            yield _rate(f">= {times:g} x {peer}: {where}", ours, theirs, times)
            if peer == DBOS:
                yield _latency(f"p99 no worse than {peer}: {where}", ours, theirs)


def _rate(wanted: str, ours: Median | None, theirs: Median | None, times: float) -> Bar:
    if ours is None or theirs is None:
        return Bar(wanted, "", None)
    ratio = ours.per_s / theirs.per_s
    return Bar(wanted, f"{ratio:.1f} x", ratio >= times)


def _latency(wanted: str, ours: Median | None, theirs: Median | None) -> Bar:
    if ours is None or theirs is None:
        return Bar(wanted, "", None)
    return Bar(wanted, f"{ours.p99_ms:,.1f} ms to {theirs.p99_ms:,.1f} ms", ours.p99_ms <= theirs.p99_ms)
