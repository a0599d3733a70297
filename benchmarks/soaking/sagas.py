"""Sagas of every shape whose functions call the ledger's process, some of them badly."""

import asyncio
import json
import random
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sagacity_engine import (
    BoundSaga,
    Call,
    FailureClass,
    Handler,
    OutcomeUnknown,
    Saga,
    Step,
    StepError,
    bind,
)
from sagacity_engine.events import Answer
from sagacity_engine.handlers import Found
from sagacity_engine.parts import OnExpiry
from sagacity_engine.testing import random_saga

SAGAS = 24
REFUSES, LOSES = 0.08, 0.04
ANSWER_BYTES_MAX = 1 << 26


def bound_sagas(path: str) -> list[BoundSaga]:
    """The same sagas in every process; `path` is the ledger's socket."""
    rng = random.Random("soak")
    return [_bound(_quick(random_saga(rng, name=f"saga-{number}")), path, rng) for number in range(SAGAS)]


def _quick(saga: Saga) -> Saga:
    """The saga with waits short enough for a soak of seconds; what nobody approves approves itself."""
    return replace(saga, steps=tuple(map(_quick_step, saga.steps)))


def _quick_step(step: Step) -> Step:
    if step.sub_saga is not None:
        return replace(step, sub_saga=replace(step.sub_saga, saga=_quick(step.sub_saga.saga)))
    if step.approval is not None:
        quick = replace(step.approval, expires_after_s=0.1, on_expiry=OnExpiry.APPROVE)
        return replace(step, approval=quick)
    wait = min(step.retry.initial_interval_s, 0.05)
    return replace(step, retry=replace(step.retry, initial_interval_s=wait))


def _bound(saga: Saga, path: str, rng: random.Random) -> BoundSaga:
    handlers: dict[str, Handler] = {}
    inner: dict[str, BoundSaga] = {}
    for step in saga.steps:
        if step.sub_saga is not None:
            inner[step.name] = _bound(step.sub_saga.saga, path, rng)
        elif step.approval is None:
            undoable, probed = step.compensation is not None, step.probe is not None
            handlers[step.name] = Handler(
                action=_function(path, "act", rng),
                compensation=_function(path, "undo", rng) if undoable else None,
                probe=_function(path, "ask", rng) if probed else None,
            )
    return bind(saga, handlers, inner)


def _function(path: str, what: str, rng: random.Random) -> Callable[[Call], Any]:
    """An `async` function, or a plain one that a thread runs."""

    async def call_async(call: Call) -> Any:
        _refuse(call, what)
        reader, writer = await asyncio.open_unix_connection(path, limit=ANSWER_BYTES_MAX)
        try:
            writer.write(_message(call, what))
            line = await reader.readline()
        finally:
            writer.close()
        return _told(call, what, line)

    def call_plain(call: Call) -> Any:
        _refuse(call, what)
        return _told(call, what, ask(path, _message(call, what)))

    return call_plain if rng.random() < 0.25 else call_async


def ask(path: str, message: bytes) -> bytes:
    """The ledger's answer, waited for."""
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as answer:
        connection.connect(path)
        connection.sendall(message)
        return answer.readline()


def _message(call: Call, what: str) -> bytes:
    names = ("run_id", "saga", "step", "attempt", "again")
    fields = {name: getattr(call, name) for name in names}
    return json.dumps({"what": what, "direction": call.direction.value, **fields}).encode() + b"\n"


def _luck(call: Call, purpose: str) -> float:
    return random.Random(f"{call.idempotency_key}/{call.attempt}/{purpose}").random()


def _refuse(call: Call, what: str) -> None:
    if what != "ask" and _luck(call, "refuses") < REFUSES:
        raise StepError("Busy", "not now", FailureClass.TRANSIENT)


def _told(call: Call, what: str, line: bytes) -> Any:
    if not line.endswith(b"\n") or _luck(call, "loses") < LOSES:
        raise OutcomeUnknown("the reply was lost")
    answer = json.loads(line)
    if "refused" in answer:
        raise StepError(answer["refused"], failure_class=FailureClass.PERMANENT)
    return Found(Answer(answer["answer"]), answer["output"]) if what == "ask" else answer["output"]
