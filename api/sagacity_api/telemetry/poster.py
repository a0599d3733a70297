"""Events to a remote advisory service, in batches, without a run ever noticing.

`EventPoster` is a listener of an engine: it writes each event as text, puts it into a bounded queue and
returns. A thread of its own posts what has gathered to `POST {url}/v1/events` as

    {"events": [{"run_id": ..., "kind": "AttemptStarted", "body": {...}}, ...]}

where `kind` and `body` are the engine's own form of an event (`sagacity_engine.codec`). A batch keeps its
`Idempotency-Key`, the hash of its bytes, over all tries, so a service can tell a repeated one. A batch that
fails is tried again after a backoff with jitter, behind a circuit breaker, a bounded number of times.
Whatever goes wrong is counted and never raised: a full queue, a dead, slow or babbling service, a wrong key.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sagacity_api.telemetry.event_queue import EventQueue, Fate, PostCounts
from sagacity_api.telemetry.extras import require
from sagacity_api.telemetry.post_policy import POST_POLICY, PostPolicy
from sagacity_api.telemetry.redaction import redacted
from sagacity_engine import Event, RunState
from sagacity_engine.codec import encode

if TYPE_CHECKING:
    from sagacity_api.telemetry.event_delivery import EventDelivery

_LOG = logging.getLogger("sagacity_api.telemetry")
_ENVELOPE = len(b'{"events":[]}')


class EventPoster:
    """Posts an engine's events to the service at `url`; use it as a context, or `open` and `close` it.

    Inputs, outputs, messages and names of people stay here unless `payloads` is true. `api_key` travels as
    `X-API-Key`. `clock` is monotonic seconds, `draw` gives uniform numbers in [0, 1) for backoffs. Raises
    `ExtraMissing` without httpx2, `ClientError` for an unusable address or key.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        payloads: bool = False,
        policy: PostPolicy = POST_POLICY,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] | None = None,
    ) -> None:
        require("posting events", "httpx2", "http")
        from sagacity_api.client.breaker import Breaker
        from sagacity_api.telemetry.event_delivery import EventDelivery

        self._delivery: EventDelivery = EventDelivery(url, api_key, policy.deadline_s)
        self._breaker = Breaker(clock=clock, failures_max=policy.failures_max, cool_down_s=policy.cool_down_s)
        self._payloads = payloads
        self._policy = policy
        self._draw = draw or random.SystemRandom().random
        self._queue = EventQueue(
            policy.queue_events_max,
            policy.queue_bytes_max,
            policy.batch_events_max,
            policy.batch_bytes_max - _ENVELOPE,
        )
        self._closing = threading.Event()
        self._given_up = False  # Closing took too long: nothing more is sent.
        self._thread: threading.Thread | None = None
        self._post: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        self._complained = False

    def __call__(self, state: RunState, event: Event) -> None:
        """Takes in one event; never waits and never raises."""
        if self._queue.full():
            self._queue.reject(Fate.DROPPED)
            return
        try:
            self._queue.put(_line(state.started.run_id, event if self._payloads else redacted(event)))
        except (TypeError, ValueError, RecursionError):
            self._queue.reject(Fate.UNFIT)

    def counts(self) -> PostCounts:
        """What became of the events so far."""
        return self._queue.counts()

    def open(self) -> None:
        """Starts the thread; what was taken in before is posted too. A closed poster stays closed."""
        if self._thread is None and not self._queue.closed:
            self._thread = threading.Thread(target=self._post_all, name="sagacity-poster", daemon=True)
            self._thread.start()

    def close(self, within_s: float = 5.0) -> bool:
        """Posts what waits, without backoffs, for at most about `within_s` seconds, and drops the rest.

        True when everything was settled in time.
        """
        self._queue.close()
        self._closing.set()
        in_time = self._queue.drain(within_s if self._thread is not None else 0.0)
        self._given_up = not in_time
        self._queue.drop_all()
        if (post := self._post) is not None and not in_time:
            _cancel(*post)
        if self._thread is not None:
            self._thread.join(max(1.0, within_s))
        return in_time

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post_all(self) -> None:
        """The thread: one batch after another, until closed and the queue is empty."""
        runner = asyncio.Runner()
        while batch := self._queue.take(self._policy.linger_s):
            try:
                runner.get_loop()  # Where there are no means for one it fails here, with nothing begun.
                fate = self._deliver(runner, batch)
            except Exception as problem:  # noqa: BLE001  whatever it is, the next batch is another matter
                self._complain(problem)
                fate = Fate.LOST
            self._queue.settle(len(batch), Fate.DROPPED if self._given_up and fate is Fate.LOST else fate)
        try:
            runner.run(self._delivery.aclose())
            runner.close()
        except Exception as problem:  # noqa: BLE001  nobody is left to be told
            self._complain(problem)

    def _deliver(self, runner: asyncio.Runner, batch: Sequence[bytes]) -> Fate:
        from sagacity_api.client.errors import ClientError, ServiceFailed, ServiceRefused

        body = b'{"events":[' + b",".join(batch) + b"]}"
        key = hashlib.sha256(body).hexdigest()[:32]
        for tried in range(1, self._policy.tries_max + 1):
            if not self._admitted():
                return Fate.LOST
            asked_s = 0.0
            try:
                runner.run(self._send(body, key))
            except ServiceRefused as refusal:
                self._breaker.succeeded()
                self._failed(refusal)
                return Fate.REFUSED
            except (ClientError, asyncio.CancelledError) as problem:
                self._breaker.failed()
                self._failed(problem)
                asked_s = (problem.retry_after_s or 0.0) if isinstance(problem, ServiceFailed) else 0.0
            else:
                self._breaker.succeeded()
                return Fate.POSTED
            if self._given_up or tried == self._policy.tries_max:
                break
            self._closing.wait(self._backoff_s(tried, asked_s))
        return Fate.LOST

    def _admitted(self) -> bool:
        """Waits until the breaker lets a request pass; False when closing does not leave the time."""
        while not self._given_up:
            if self._breaker.admit():
                return True
            if self._closing.wait(max(0.001, self._breaker.wait_s())):
                return False
        return False

    def _backoff_s(self, tried: int, asked_s: float) -> float:
        """Full jitter below a ceiling that doubles; longer where the service asks for it, within reason."""
        ceiling_s = min(self._policy.backoff_max_s, self._policy.backoff_s * 2.0 ** min(tried - 1, 60))
        return max(ceiling_s * self._draw(), min(asked_s, self._policy.backoff_max_s))

    async def _send(self, body: bytes, key: str) -> None:
        task = asyncio.current_task()
        assert task is not None, "a coroutine that runs is a task"
        self._post = (asyncio.get_running_loop(), task)
        try:
            if self._given_up:
                raise asyncio.CancelledError
            await self._delivery.post(body, key)
        finally:
            self._post = None

    def _failed(self, problem: BaseException) -> None:
        self._queue.failed()
        self._complain(problem)

    def _complain(self, problem: BaseException) -> None:
        """Once is enough: the counts tell the rest."""
        if not self._complained:
            self._complained = True
            _LOG.warning("events could not be posted: %s: %s", type(problem).__name__, problem)


def _line(run_id: str, event: Event) -> bytes:
    """One event of a batch; raises `TypeError` or `ValueError` for what JSON cannot say."""
    kind, body = encode(event)
    text = f'{{"run_id":{json.dumps(run_id)},"kind":"{kind}","body":{body}}}'
    if "\\ud" in text or "\\uD" in text:  # Half of a surrogate pair is ASCII here, and nothing there.
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    return text.encode()


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    try:
        loop.call_soon_threadsafe(task.cancel)
    except RuntimeError:
        return  # The loop was closed in the meantime: nothing is left to cancel.
