"""Watching an engine: traces, metrics, and events for a remote advisor. Each is a listener."""

from sagacity_api.telemetry.event_queue import Fate, PostCounts
from sagacity_api.telemetry.extras import ExtraMissing
from sagacity_api.telemetry.metrics import RunMetrics
from sagacity_api.telemetry.post_policy import PostPolicy
from sagacity_api.telemetry.poster import EventPoster
from sagacity_api.telemetry.readings import Readings
from sagacity_api.telemetry.tracing import RunTracer

__all__ = [
    "EventPoster",
    "ExtraMissing",
    "Fate",
    "PostCounts",
    "PostPolicy",
    "Readings",
    "RunMetrics",
    "RunTracer",
]
