"""An asyncio event loop whose time is virtual: when nothing is ready, it is the next timer's time at once.

    result = run_in_virtual_time(main(), seed=7)

An hour's wait costs nothing, and nothing depends on how fast the machine is: the same coroutine with the same
seed does the same things in the same order. Plain functions that are handed to threads run in the loop's own
thread, after a drawn delay and as many at a time as their pool has threads; such a function calls `block` in
place of `time.sleep`. There is no real I/O: what reads a socket or a pipe does not work here, and what blocks
for real holds up everything. When nothing could ever happen any more, `Deadlock` is raised.

A `Process` is a coroutine with all that it starts, which can be killed: from one moment to the next none of
its tasks, timers and callbacks run any more, and no `finally` of theirs reaches anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary, WeakSet

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

THREAD_S_MAX = 0.002
"""The longest that a plain function waits for its thread to begin, in virtual seconds, if one is free."""

PASSES_MAX, TICK_S = 1_000, 1e-6
"""So many passes in a row take no time; each one after that takes this long. Else who looks at the clock
again and again until a moment has come, a rounding error away, would look for ever."""


class Deadlock(RuntimeError):
    """Nothing is ready and no timer is set: whatever is awaited will never come."""


def run_in_virtual_time(main: Coroutine[Any, Any, T], seed: int | str = 0) -> T:
    """What the coroutine returns; the time that passes in it is virtual and begins at 0.

    Raises what the coroutine raises, or `Deadlock`.

    >>> async def nap() -> float:
    ...     await asyncio.sleep(3600)
    ...     return asyncio.get_running_loop().time()
    >>> run_in_virtual_time(nap())
    3600.0
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner:
        return runner.run(main)


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop. `seed` decides how long plain functions wait for a thread."""

    def __init__(self, seed: int | str = 0) -> None:
        super().__init__()
        self._selector = _Leap(self)  # What `BaseEventLoop` waits with.
        self._at = 0.0
        self._blocked_s = 0.0
        self._draw = random.Random(f"threads/{seed}").random
        self._pools: WeakKeyDictionary[Executor, _Threads] = WeakKeyDictionary()
        self._threads = _Threads(self, math.inf)
        self.set_task_factory(_noted)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._at

    def leap(self, by_s: float) -> None:
        """Lets time pass at once."""
        self._at += by_s

    def block(self, seconds: float) -> None:
        """Called by a plain function in a virtual thread: its reply comes that much later.

        What the function does, it does at its beginning; only its return waits.
        """
        self._blocked_s += seconds

    def spawn(self, main: Coroutine[Any, Any, Any]) -> Process:
        """Starts the coroutine as a process, which can be killed."""
        return Process(self, main)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As everywhere; a dead process's calls are never made."""
        owner = _owner(context)
        if owner is None:
            return super().call_soon(callback, *args, context=context)
        return super().call_soon(owner.call, callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """The only thread is the loop's own."""
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As everywhere; a dead process's calls are never made."""
        owner = _owner(context)
        if owner is None:
            return super().call_at(when, callback, *args, context=context)
        return super().call_at(when, owner.call, callback, *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Runs the function in this thread, after a delay and when its pool has a thread free."""
        future: asyncio.Future[T] = self.create_future()
        owner = _owner(None)
        if owner is None or owner.alive:
            self._pool(executor).put(lambda: func(*args), future)
        return future

    def run_blocking(self, func: Callable[[], T]) -> tuple[T | None, BaseException | None, float]:
        """What the function returned or raised, and how long it said it blocks."""
        outer, self._blocked_s = self._blocked_s, 0.0
        try:
            return func(), None, self._blocked_s
        except BaseException as problem:  # noqa: BLE001  as a thread would, it belongs to whoever awaits it
            return None, problem, self._blocked_s
        finally:
            self._blocked_s = outer

    def thread_delay_s(self) -> float:
        """A drawn time until a free thread begins."""
        return self._draw() * THREAD_S_MAX

    def _pool(self, executor: Executor | None) -> _Threads:
        if executor is None:
            return self._threads
        pool = self._pools.get(executor)
        if pool is None:
            pool = self._pools[executor] = _Threads(self, getattr(executor, "_max_workers", math.inf))
        return pool

    def _process_events(self, event_list: list[object]) -> None:
        """There is no I/O."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


class Process:
    """A coroutine and all that it starts; `alive` until it is killed."""

    def __init__(self, loop: VirtualLoop, main: Coroutine[Any, Any, Any]) -> None:
        self.alive = True
        self._loop = loop
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._context = copy_context()
        self._context.run(_PROCESS.set, self)
        self.task = self.start(main)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Starts one more task in the process."""
        return self._context.run(self._loop.create_task, work)

    def call(self, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """Makes the call, unless the process is dead."""
        if self.alive:
            callback(*args)

    def note(self, task: asyncio.Task[Any]) -> None:
        """The process has one more task."""
        self._tasks.add(task)

    def kill(self) -> None:
        """Ends it at once. Not to be called from within the process."""
        self.alive = False
        for task in asyncio.all_tasks(self._loop):
            if task in self._tasks or _context_of(task).get(_PROCESS) is self:
                self._context.copy().run(_bury, task)


def current_process() -> Process | None:
    """The process in which this is called; None outside all of them."""
    return _PROCESS.get()


class _Threads:
    """A pool of virtual threads; first come, first served."""

    def __init__(self, loop: VirtualLoop, most: float) -> None:
        self._loop = loop
        self._free = most
        self._waiting: deque[tuple[Callable[[], Any], asyncio.Future[Any], Context]] = deque()

    def put(self, work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self._waiting.append((work, future, copy_context()))
        self._next()

    def _next(self) -> None:
        while self._free > 0 and self._waiting:
            work, future, context = self._waiting.popleft()
            if not future.cancelled():  # Like a real pool: what was cancelled in time is never begun.
                self._free -= 1
                self._loop.call_later(self._loop.thread_delay_s(), self._run, work, future, context=context)

    def _run(self, work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            self._leave()
            return
        result, problem, blocked_s = self._loop.run_blocking(work)
        if blocked_s:
            self._loop.call_later(blocked_s, self._end, future, result, problem)
        else:
            self._end(future, result, problem)

    def _end(self, future: asyncio.Future[Any], result: object, problem: BaseException | None) -> None:
        if future.done():
            pass  # Nobody waits for it any more.
        elif problem is None:
            future.set_result(result)
        else:
            future.set_exception(problem)
        self._leave()

    def _leave(self) -> None:
        self._free += 1
        self._next()


class _Leap:
    """Waits by letting time pass."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._passes = 0  # In a row, in which no time passed.

    def select(self, timeout_s: float | None) -> list[object]:
        if timeout_s is None:
            raise Deadlock("nothing is ready and no timer is set; what is awaited will never come")
        self._passes += 1
        if timeout_s > 0:
            self._loop.leap(timeout_s)
            self._passes = 0
        elif self._passes > PASSES_MAX:
            self._loop.leap(TICK_S)
        return []


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def _owner(context: Context | None) -> Process | None:
    return _PROCESS.get() if context is None else context.get(_PROCESS)


def _noted(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
    owner = _owner(options.get("context"))
    if owner is not None:
        owner.note(task)
    return task


def _context_of(task: asyncio.Task[Any]) -> Context:
    """Where tasks can tell: those that begin at once, which no factory has seen, are of such a Python."""
    tell: Callable[[], Context] = getattr(task, "get_context", Context)
    return tell()


def _bury(task: asyncio.Task[Any]) -> None:
    """Unwinds a dead task where nothing that its `finally` does can reach anybody."""
    setattr(task, "_log_destroy_pending", False)  # noqa: B010  the attribute is no part of the declared type
    asyncio._unregister_task(task)  # noqa: SLF001  documented for those who extend asyncio
    made: Any = task.get_coro()
    for _ in range(100):
        with contextlib.suppress(RuntimeError):  # It awaits while it is being unwound: it is told again.
            made.close()
            return
