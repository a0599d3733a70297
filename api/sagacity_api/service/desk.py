"""Where questions wait for an answer: a bounded pool, a time budget, and a slot for the counsel.

Answers are computed in threads, at most `workers` at a time with `waiting_max` in line; one more is refused
at once, because a queue that cannot be served in time only makes everybody late. A thread cannot be stopped:
a question that runs out of time is answered so, and its thread stays counted until it has really ended. What
a question can cost is bounded by the limits on documents and by the optimizer's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

from sagacity_api.bounded_json import BYTES_MAX, DEPTH_MAX
from sagacity_api.counsel import Counsel
from sagacity_api.service.problems import Problem, ProblemKind

T = TypeVar("T")
RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may take. Times in seconds."""

    body_bytes_max: int = BYTES_MAX
    json_depth_max: int = DEPTH_MAX
    body_timeout_s: float = 10.0
    answer_timeout_s: float = 10.0
    workers: int = 2
    waiting_max: int = 16


class CounselSlot:
    """Holds the counsel once it is loaded, and until then the reason why there is none."""

    def __init__(self, counsel: Counsel | None = None) -> None:
        self._counsel = counsel
        self._reason = "the model is being loaded"

    def fill(self, counsel: Counsel) -> None:
        """From now on questions are answered."""
        self._counsel = counsel

    def explain(self, reason: str) -> None:
        """Why there is no counsel."""
        self._reason = reason

    def require(self) -> Counsel:
        """The counsel; raises the problem `not-ready` with the reason."""
        if self._counsel is None:
            headers = {"retry-after": str(RETRY_AFTER_S)}
            raise Problem(ProblemKind.NOT_READY, f"Not ready: {self._reason}.", headers=headers)
        return self._counsel


class Desk:
    """Runs questions in its threads; `close` it when the service ends."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._threads = ThreadPoolExecutor(limits.workers, thread_name_prefix="answer")
        self._taken = 0
        self._lock = Lock()

    async def answer(self, question: Callable[[], T]) -> T:
        """What `question()` returns; raises the problems `overloaded` and `out-of-time`."""
        self._take()
        future = self._threads.submit(question)
        future.add_done_callback(self._give_back)
        try:
            async with asyncio.timeout(self._limits.answer_timeout_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            budget_s = self._limits.answer_timeout_s
            raise Problem(
                ProblemKind.OUT_OF_TIME,
                f"No answer within {budget_s:g} s.",
                headers={"retry-after": str(RETRY_AFTER_S)},
            ) from None

    def _take(self) -> None:
        with self._lock:
            if self._taken >= self._limits.workers + self._limits.waiting_max:
                headers = {"retry-after": str(RETRY_AFTER_S)}
                raise Problem(ProblemKind.OVERLOADED, "Every worker is busy.", headers=headers)
            self._taken += 1

    def _give_back(self, _future: Future[T]) -> None:
        with self._lock:
            self._taken -= 1

    def close(self) -> None:
        """Answers nothing more; what runs ends in its own time."""
        self._threads.shutdown(wait=False, cancel_futures=True)
