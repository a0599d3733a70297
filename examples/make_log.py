"""Writes a small event log of loan applications in XES, so that importing can be tried without anyone's data.

Large amounts are mostly declined, and applications that waited for papers are mostly cancelled; so the
history tells most outcomes before they come.

    python examples/make_log.py loans.xes.gz
"""

import gzip
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

CASES = 1_000
START = datetime(2025, 1, 6, 8, tzinfo=UTC)


def event(name: str, at: datetime) -> str:
    """One XES event element."""
    return (
        f'<event><string key="concept:name" value="{name}"/>'
        f'<date key="time:timestamp" value="{at.isoformat(timespec="milliseconds")}"/></event>'
    )


def case(number: int, dice: random.Random) -> str:
    """One application from its submission to its outcome."""
    at = START + timedelta(hours=4 * number + dice.random())
    amount = dice.choice([5_000, 10_000, 20_000, 50_000])
    events = [event("SUBMITTED", at)]
    waits = dice.random() < 0.4
    for name in ["CHECKED", *(["WAITING", "PAPERS_SENT"] if waits else []), "OFFERED"]:
        at += timedelta(hours=dice.expovariate(1 / 20))
        events.append(event(name, at))
    if dice.random() < (0.5 if waits else 0.02):
        outcome = "CANCELLED"
    else:
        outcome = "DECLINED" if dice.random() < (0.95 if amount >= 20_000 else 0.05) else "ACCEPTED"
    events.append(event(outcome, at + timedelta(hours=dice.expovariate(1 / 48))))
    return (
        f'<trace><string key="concept:name" value="loan-{number:04d}"/>'
        f'<float key="amount" value="{amount}"/>{"".join(events)}</trace>'
    )


def main() -> None:
    """Writes the log to the file named on the command line."""
    dice = random.Random(7)
    cases = "\n".join(case(number, dice) for number in range(CASES))
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<log xes.version="1.0">\n{cases}\n</log>\n'
    Path(sys.argv[1]).write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
