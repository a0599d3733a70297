from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

START = datetime(2024, 1, 1, tzinfo=UTC)
Step = tuple[str, float]  # an activity, and the minutes since the case's start
LoggedCase = tuple[str, float, dict[str, str], Sequence[Step]]  # id, start in minutes, attributes, steps


def _xes(cases: Iterable[LoggedCase]) -> str:
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<log xes.version="1.0">']
    for case_id, start_minutes, attributes, steps in cases:
        lines.append(f"<trace>{_string('concept:name', case_id)}")
        lines += [_string(key, value) for key, value in attributes.items()]
        for activity, minutes in steps:
            at = (START + timedelta(minutes=start_minutes + minutes)).isoformat()
            lines.append(
                f'<event>{_string("concept:name", activity)}<date key="time:timestamp" value="{at}"/></event>'
            )
        lines.append("</trace>")
    return "\n".join([*lines, "</log>"])


def _string(key: str, value: str) -> str:
    return f"<string key={quoteattr(key)} value={quoteattr(value)}/>"


def _loans(count: int, signal: float, seed: int, telltale: bool) -> list[LoggedCase]:
    """Loan-like cases: a review that is `signal` more often followed by success, then an outcome."""
    draw = random.Random(seed)
    cases: list[LoggedCase] = []
    for number in range(count):
        good = draw.random() < 0.5
        success = draw.random() < 0.5 + (signal / 2 if good else -signal / 2)
        steps: list[Step] = [("submit", 0.0), ("fast review" if good else "slow review", 5 + draw.random())]
        steps += [("call", 10.0 + 5 * call + draw.random()) for call in range(draw.randrange(4))]
        steps.append(("accepted" if success else "declined", 60 + 30 * draw.random()))
        attributes = {"amount": str(1000 + draw.randrange(9000)), "region": draw.choice(["north", "south"])}
        if telltale:
            attributes["closing code"] = "77" if success else "12"
        cases.append((f"c{number:05d}", number * 20.0, attributes, steps))
    return cases


@pytest.fixture
def write_log(tmp_path: Path) -> Callable[[str, Iterable[LoggedCase]], Path]:
    """Writes cases as an XES file of that name."""

    def write(name: str, cases: Iterable[LoggedCase]) -> Path:
        path = tmp_path / name
        path.write_text(_xes(cases), encoding="utf-8")
        return path

    return write


@pytest.fixture
def write_loans(
    write_log: Callable[[str, Iterable[LoggedCase]], Path],
) -> Callable[[int, float], Path]:
    """Writes a log of so many loan cases with so much signal, from a fixed seed."""

    def write(count: int, signal: float, *, telltale: bool = False, seed: int = 5) -> Path:
        return write_log(
            f"loans-{count}-{signal}-{telltale}-{seed}.xes", _loans(count, signal, seed, telltale)
        )

    return write
