"""Whom a task calls and what a call leaves behind, from what its definition says."""

from __future__ import annotations

from typing import Final

from sagacity_data.converters.conductor_definitions import Told, sub_workflow, text_in, told_in
from sagacity_data.converters.conductor_paths import Work
from sagacity_data.importers.conductor_tasks import COMPUTED, called_host

_READING: Final = ("GET", "HEAD", "OPTIONS")


def service_of(work: Work) -> str:
    """Whose health the step shares, as the importer of executions says it; empty for the step's own name."""
    if work.type in COMPUTED:
        return "conductor"
    if work.type == "HTTP":
        return called_host(told_in(work.told.get("inputParameters")))
    if work.type == "SUB_WORKFLOW":
        return sub_workflow(work.told)[0]
    return text_in(work.told.get("sink")) if work.type == "EVENT" else work.task


def _request(told: Told) -> Told:
    given = told_in(told.get("inputParameters"))
    return told_in(given.get("http_request")) or given


def only_reads(work: Work) -> bool:
    """Whether the task leaves no effect: it asks by GET, or Conductor works it out itself."""
    if work.type == "HTTP":
        return text_in(_request(work.told).get("method")).upper() in _READING
    return work.type in COMPUTED


def sends_key(told: Told) -> bool:
    """Whether the task sends an idempotency key, so that calling twice has one effect."""
    headers = told_in(_request(told).get("headers"))
    return any(str(key).lower() == "idempotency-key" for key in headers)
