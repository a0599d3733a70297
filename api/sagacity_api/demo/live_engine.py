"""The durable engine of the live part, as a process that can be killed.

Resumes whatever its journal holds unfinished, starts the runs that the journal does not know, and prints one
JSON line of progress whenever a run ends. It knows nothing of being a demo apart from its list of runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from sagacity_api.client import HttpAdvisor
from sagacity_api.client.http_steps import http_bound
from sagacity_engine import Engine, SqliteJournal, read_saga

ADVICE_BUDGET_S = 5.0
CONCURRENT = 16
"""As many as the advisory service lets wait: the demo must not overload it."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to run: the saga document, and each run's id and context."""

    document: dict[str, Any]
    runs: list[tuple[str, dict[str, Any]]]


async def run_all(job: Job, journal: Path, advisor_url: str) -> None:
    """Every run of the job to its end, at most `CONCURRENT` at a time."""
    saga = read_saga(job.document)
    slots = asyncio.Semaphore(CONCURRENT)
    limits = httpx2.Limits(max_connections=4 * CONCURRENT, max_keepalive_connections=CONCURRENT)
    ended = 0
    async with httpx2.AsyncClient(limits=limits, timeout=60.0) as client:
        engine = Engine(
            SqliteJournal(journal),
            sagas=[http_bound(saga, client)],
            advisor=HttpAdvisor(advisor_url, deadline_s=ADVICE_BUDGET_S),
            advice_budget_s=ADVICE_BUDGET_S,
        )
        async with engine:

            async def one(run_id: str, context: dict[str, Any]) -> None:
                nonlocal ended
                async with slots:
                    await engine.run(saga.name, {"trip": run_id}, run_id=run_id, context=context)
                    ended += 1
                    print(json.dumps({"ended": ended}), flush=True)

            await asyncio.gather(*(one(run_id, context) for run_id, context in job.runs))


def main() -> None:
    """Runs the job in `--job` against `--journal`, asking `--advisor`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--advisor", required=True)
    arguments = parser.parse_args()
    plain = json.loads(arguments.job.read_text(encoding="utf-8"))
    job = Job(plain["document"], [(run_id, context) for run_id, context in plain["runs"]])
    asyncio.run(run_all(job, arguments.journal, arguments.advisor))


if __name__ == "__main__":
    main()
