"""The contest as text for people and as one JSON document for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from benchmarks.peers.bars import bars
from benchmarks.peers.contender import FORWARD, SHAPES
from benchmarks.peers.contest import CEILING, CONCURRENT, MODULES, OURS, VIRTUAL, Contest

CONTENDERS = tuple(name for name in MODULES if name != VIRTUAL)


def lines(contest: Contest) -> Iterator[str]:
    """The report, line by line."""
    yield "Five trivial asynchronous steps a saga; SQLite, WAL, synchronous=FULL; one core."
    yield f"Median of {contest.rounds} rounds; +- is half of (largest - smallest) / median."
    yield f"A file in the same folder takes {contest.fsync_ms:.2f} ms to append 4 KiB and make them durable."
    yield from _durable(contest)
    for shape in SHAPES:
        yield ""
        yield from _table(contest, shape)
    yield ""
    yield from _ours(contest)
    yield ""
    yield from (f"{bar.verdict:>12}  {bar.wanted:<58} {bar.measured}".rstrip() for bar in bars(contest))


def document(contest: Contest) -> dict[str, Any]:
    """The same for programs."""
    cells = []
    for name, shape, concurrent in contest.figures:
        found = contest.median(name, shape, concurrent)
        assert found is not None, "a cell with figures has a median"
        cells.append({"contender": name, "shape": shape, "concurrent": concurrent, **asdict(found)})
    return {
        "core": contest.core,
        "rounds": contest.rounds,
        "fsync_ms": contest.fsync_ms,
        "durable": contest.sentences,
        "missing": contest.missing,
        "cells": cells,
        "bars": [{**asdict(bar), "verdict": bar.verdict} for bar in bars(contest)],
    }


def _durable(contest: Contest) -> Iterator[str]:
    yield ""
    yield "What each makes durable, and when"
    for name in CONTENDERS:
        if name in contest.missing:
            yield f"  {name}: not measured, {contest.missing[name]}; install 'sagacity[benchmark]' aiosqlite"
            continue
        for place, sentence in enumerate(contest.sentences[name]):
            yield f"  {name}: {sentence}" if place == 0 else f"    {sentence}"


def _table(contest: Contest, shape: str) -> Iterator[str]:
    title = f"{shape} (sagas/s, p50 and p99 of a saga in ms)"
    yield f"{title:<52}" + f"{'sagas/s':>10} {'+-':>5} {'p50':>9} {'p99':>9} {'ours is':>9}"
    for concurrent in CONCURRENT:
        ours = contest.median(OURS, shape, concurrent)
        for name in CONTENDERS:
            found = contest.median(name, shape, concurrent)
            if found is None or ours is None:
                continue
            times = "" if name == OURS else f"{ours.per_s / found.per_s:>7.2f} x"
            yield (
                f"{concurrent:>8} at a time   {name:<30}{found.per_s:>10,.0f} {found.spread / 2:>5.0%}"
                f" {found.p50_ms:>9,.2f} {found.p99_ms:>9,.2f} {times:>9}"
            ).rstrip()


def _ours(contest: Contest) -> Iterator[str]:
    heads = f"{'events/s':>10} {'events/commit':>14} {'bytes/saga':>11} {'of the raw journal':>19}"
    yield f"{'Sagacity, besides':<40} {heads}"
    for shape in SHAPES:
        for concurrent in CONCURRENT:
            ours = contest.median(OURS, shape, concurrent)
            ceiling = contest.median(CEILING, shape, concurrent)
            if ours is None or ceiling is None:
                continue
            besides = ours.besides
            yield (
                f"{shape + f', {concurrent} at a time':<40} {ours.per_s * besides['events_per_saga']:>10,.0f}"
                f" {besides['events_per_commit']:>14.1f} {besides['bytes_per_saga']:>11,.0f}"
                f" {ours.per_s / ceiling.per_s:>19.0%}"
            )
    alone = contest.median(OURS, FORWARD, 1)
    if alone is not None:
        commits = alone.besides["events_per_saga"] / alone.besides["events_per_commit"]
        most = 1e3 / (commits * contest.fsync_ms)
        yield f"alone, a saga forward takes {commits:.1f} commits: the disk allows {most:,.0f} sagas/s"
    virtual = contest.median(VIRTUAL, FORWARD, 1)
    if virtual is not None:
        yield f"{'in virtual time, sagas/s':<40} {virtual.per_s:>10,.0f} +- {virtual.spread / 2:.0%}"
