"""One run's whole story as a JSON document, for scripts. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagacity_api.cli.sagas_next import offers
from sagacity_api.cli.sagas_words import event_words
from sagacity_api.oversight import Sight
from sagacity_engine import RunSummary, Status, author_plan, plan_document
from sagacity_engine.codec import encode
from sagacity_engine.events import Event
from sagacity_engine.machine.endings import troubles
from sagacity_engine.machine.run_state import RunState


def run_document(
    journal: Path, seen: Sight, inner: Mapping[str, RunSummary], *, with_events: bool
) -> dict[str, Any]:
    """The story of a run; `inner` has the run inside each step that is a saga. Fields may be added."""
    state, started, saga = seen.state, seen.state.started, seen.state.saga
    return {
        "run_id": started.run_id,
        "saga": saga.name,
        "version": saga.version,
        "definition_hash": saga.definition_hash,
        "status": state.status.value,
        "reason": seen.line.reason,
        "step": seen.line.step,
        "started_at": started.at,
        "ended_at": None if state.ended is None else state.ended.at,
        "paused_at": state.paused_at,
        "parent": started.parent,
        "locks": list(started.locks),
        "holds_locks": state.locked,
        "turned_back": None if state.abort is None else state.abort.cause,
        "advice": {
            "id": started.advice_id,
            "model_version": started.model_version,
            "arm": started.arm,
            "propensity": started.propensity,
            "fallback": started.fallback,
            "reasons": list(started.reasons),
        },
        "plan": plan_document(state.plan),
        "authors_plan": state.plan == author_plan(saga),
        "input": dict(started.input),
        "context": dict(started.context),
        "outputs": dict(state.outputs),
        "steps": [_step_json(state, name, inner) for name in state.plan.names],
        "attention": [
            {"step": step, "reason": reason}
            for step, reason in (troubles(state) if state.status is Status.NEEDS_ATTENTION else ())
        ],
        "timeline": [{"at": event.at, "words": event_words(saga, event)} for event in seen.events],
        **({"events": [_event_json(event) for event in seen.events]} if with_events else {}),
        "next": [
            {"command": offer.command(journal, started.run_id), "meaning": offer.meaning}
            for offer in offers(state)
        ],
    }


def _step_json(state: RunState, name: str, inner: Mapping[str, RunSummary]) -> dict[str, Any]:
    step, declared = state.steps[name], state.saga.by_name[name]
    return {
        "name": name,
        "kind": declared.kind.value,
        "service": declared.service,
        "phase": step.phase.value,
        "attempts": step.attempts,
        "undo_attempts": step.undo_attempts,
        "probes": step.probes,
        "due_at": step.due_at,
        "error": step.error,
        "inner_run": inner[name].run_id if name in inner else None,
    }


def _event_json(event: Event) -> dict[str, Any]:
    kind, body = encode(event)
    return {"kind": kind, **json.loads(body)}
