"""The engine for programs without asyncio: the same methods, each of which waits.

    with SyncEngine(SqliteJournal("runs.db"), sagas=[trip.bind()]) as engine:
        result = engine.run("goa-trip", {"who": "Asha"})

Entering starts one thread with an event loop and an `Engine` in it; leaving closes both. Any number of
threads may call. A call hands a coroutine to that loop and waits, so it is refused where an event loop runs
already: it would hold that loop up, and in the engine's own loop wait for itself. Whoever stops waiting
(Ctrl-C, a timeout) only stops waiting: what is durable goes on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from sagacity_engine.errors import RunRefused, SagaRefused
from sagacity_engine.guards.service_guards import ServiceGuards
from sagacity_engine.host import Engine
from sagacity_engine.listeners import Listeners
from sagacity_engine.results import RunResult

P = ParamSpec("P")
R = TypeVar("R")

CLOSED = "the engine is closed; use it inside 'with SyncEngine(...)'"


def _made_by(
    make: Callable[P, Engine],
) -> Callable[[Callable[[SyncEngine, Engine], None]], Callable[Concatenate[SyncEngine, P], None]]:
    """Lets an `__init__` that takes an engine take what makes one."""

    def made(
        init: Callable[[SyncEngine, Engine], None],
    ) -> Callable[Concatenate[SyncEngine, P], None]:
        @wraps(Engine.__init__)
        def given(self: SyncEngine, /, *args: P.args, **kwargs: P.kwargs) -> None:
            init(self, make(*args, **kwargs))

        return given

    return made


def _waits(
    method: Callable[Concatenate[Engine, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[SyncEngine, P], R]:
    """The engine's method, with the same arguments and the same words, as one that waits."""

    @wraps(method)
    def waiting(self: SyncEngine, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.wait_for(lambda engine: method(engine, *args, **kwargs))

    return waiting


class SyncEngine:
    """Runs the given sagas; use it as a context manager. Takes what `Engine` takes, raises what it raises.

    A call that still waits at the close raises `RunRefused`; what is durable goes on at the next opening.
    """

    @_made_by(Engine)
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._opening: _Opening | None = None

    def __enter__(self) -> SyncEngine:
        _require_no_loop()
        if self._opening is not None:
            raise RunRefused("the engine is open already; share it between threads, or make one more")
        opening = self._opening = _Opening(self._engine)
        try:
            opening.enter()
        except BaseException:
            self._opening = None
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        _require_no_loop()
        opening, self._opening = self._opening, None
        assert opening is not None, "only an opened engine is closed"
        opening.leave()

    run = _waits(Engine.run)
    start = _waits(Engine.start)
    state = _waits(Engine.state)
    cancel = _waits(Engine.cancel)
    request = _waits(Engine.request)
    act = _waits(Engine.act)
    signal = _waits(Engine.signal)
    pause = _waits(Engine.pause)
    resume = _waits(Engine.resume)
    retry = _waits(Engine.retry)
    skip = _waits(Engine.skip)
    resolve = _waits(Engine.resolve)
    abandon = _waits(Engine.abandon)
    redrive = _waits(Engine.redrive)
    undo = _waits(Engine.undo)
    recover = _waits(Engine.recover)

    def result(self, run_id: str, *, timeout_s: float | None = None) -> RunResult:
        """Waits for a run's end, at most `timeout_s` seconds.

        Raises `TimeoutError` when that is over (the run goes on, and may be waited for again), `RunRefused`
        for an unknown or stranded run, or when the engine closes before the end.
        """
        if timeout_s is not None and not timeout_s > 0:
            raise SagaRefused(
                f"timeout_s is {timeout_s!r}; give more than 0, or use state, which never waits"
            )
        late = f"run {run_id!r} has not ended within {timeout_s} s; it goes on, so ask again"
        return self.wait_for(lambda engine: engine.result(run_id), timeout_s, late)

    @property
    def stranded(self) -> Mapping[str, str]:
        """Open runs that this engine cannot carry on, by id, each with the reason."""
        return self._engine.stranded

    @property
    def parked(self) -> Mapping[str, str]:
        """Runs that wait because the journal refuses to write, by id, each with its words."""
        return self._engine.parked

    @property
    def guards(self) -> ServiceGuards:
        """The breakers, limits and retry budgets of the services."""
        return self._engine.guards

    @property
    def listeners(self) -> Listeners:
        """The listeners' thread: counts of failures and drops, and `drain`."""
        return self._engine.listeners

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._engine.now()

    def wait_for(
        self,
        make: Callable[[Engine], Coroutine[Any, Any, R]],
        timeout_s: float | None = None,
        late: str = "the engine has not answered in time; ask again",
    ) -> R:
        """What a coroutine made with the engine comes to, run in the engine's loop.

        Raises what it raises, `TimeoutError` saying `late` after `timeout_s` seconds, and `RunRefused` when
        the engine is closed or an event loop runs in this thread.
        """
        _require_no_loop()
        opening = self._opening
        if opening is None:
            raise RunRefused(CLOSED)
        waiting = opening.submit(lambda: make(self._engine))
        try:
            return waiting.result(timeout_s)
        except CancelledError:
            raise RunRefused("the engine closed before it answered; open it and ask again") from None
        except TimeoutError:
            if waiting.done():  # Then it is what the coroutine raised.
                raise
            raise TimeoutError(late) from None
        finally:
            waiting.cancel()


class _Opening:
    """One opening of an engine, in a thread of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # A daemon, so that a second Ctrl-C leaves at once: to the journal that is a crash like any other.
        self._thread = threading.Thread(target=self._live, name="sagacity-engine", daemon=True)
        self._opened: Future[None] = Future()
        self._over = (
            threading.Event()
        )  # Ctrl-C may come while the thread starts, and none can be joined then.
        self._problem: BaseException | None = None  # What ended the thread, if nobody was told before.
        self._gate = threading.Lock()  # Between the loop's end and those who hand something to it.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving: asyncio.Task[None] | None = None
        self._left = False

    def enter(self) -> None:
        """Returns when the engine is open; raises why it cannot be opened."""
        try:
            self._start()
            self._opened.result()
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Closes the engine and returns when it is closed; raises what closing it raises."""
        with self._gate:
            self._left = True
            if self._loop is not None and self._serving is not None:
                self._loop.call_soon_threadsafe(self._serving.cancel)
        self._over.wait()
        if self._thread.is_alive():
            self._thread.join()
        if self._problem is not None:
            raise self._problem

    def submit(self, make: Callable[[], Coroutine[Any, Any, R]]) -> Future[R]:
        """Hands a coroutine to the loop, unless it is being left."""
        with self._gate:
            if self._left or self._loop is None:
                raise RunRefused(CLOSED)
            return asyncio.run_coroutine_threadsafe(make(), self._loop)

    def _start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError:  # The system has no thread left, so there is none to wait for.
            self._over.set()
            raise

    def _live(self) -> None:
        problem: BaseException | None = None
        try:
            asyncio.run(self._serve())
        except BaseException as raised:  # noqa: BLE001  whoever waits must be told, whatever it is
            problem = raised
        if self._opened.done():
            self._problem = problem
        else:
            self._opened.set_exception(problem or RunRefused(CLOSED))
        self._over.set()

    async def _serve(self) -> None:
        with self._gate:
            if self._left:
                return
            self._loop, self._serving = asyncio.get_running_loop(), asyncio.current_task()
        try:
            with suppress(asyncio.CancelledError):
                async with self._engine:
                    self._opened.set_result(None)
                    await asyncio.get_running_loop().create_future()  # Until it is cancelled.
        finally:
            with self._gate:
                self._loop = None


def _require_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RunRefused(
        "an event loop runs in this thread, and waiting here would hold it up; "
        "use 'async with Engine(...)', or call from another thread with asyncio.to_thread"
    )
