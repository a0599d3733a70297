"""Worked examples of every operation, as its OpenAPI description shows them.

The requests are sent and the replies are checked against their schemas by the test suite.
"""

from __future__ import annotations

from typing import Any

from fastapi.openapi.models import Example

TRIP: dict[str, Any] = {
    "saga": "weekend-trip",
    "version": "1",
    "steps": [
        {
            "name": "book_flight",
            "service": "flights",
            "cost": 2.0,
            "compensation": {"cost": 5.0},
            "freedom": {"start_to_close_timeout_s": [2, 30], "maximum_attempts": [1, 5]},
        },
        {"name": "book_hotel", "service": "hotels", "cost": 1.0, "compensation": {"cost": 3.0}},
        {"name": "pay", "service": "payments", "kind": "pivot", "idempotent": True, "cost": 0.5},
        {"name": "send_tickets", "service": "mail", "kind": "retriable", "idempotent": True},
    ],
    "freedom": {"reorder": True, "timeouts": True, "retries": True, "compensation": True},
    "policy": {"latency_cost_per_s": 0.05, "failure_penalty": 20},
}

FIXED_TRIP: dict[str, Any] = {key: value for key, value in TRIP.items() if key != "freedom"}

_CONTEXT = {"season": "monsoon", "party": 4, "business": False}
_AT = 1_790_000_000

PREDICT_REQUESTS: dict[str, Example] = {
    "author": {
        "summary": "A run under the author's plan, launched now",
        "value": {"saga": TRIP, "context": _CONTEXT},
    },
    "later": {"summary": "A run at a given time", "value": {"saga": TRIP, "context": {}, "at": _AT}},
}

OPTIMIZE_REQUESTS: dict[str, Example] = {
    "run": {
        "summary": "The best plan for one run",
        "value": {"saga": TRIP, "context": _CONTEXT, "run_id": "trip-4711"},
    },
    "fixed": {
        "summary": "A document that grants no freedom: what each would earn",
        "value": {"saga": FIXED_TRIP, "context": _CONTEXT, "at": _AT},
    },
    "exact": {"summary": "A longer search", "value": {"saga": TRIP, "context": {}, "exact": True}},
}

_NUMBERS = {
    "cost": 8.27,
    "success_probability": 0.9,
    "compensated_probability": 0.09,
    "attention_probability": 0.01,
    "latency_s_mean": 4.9,
    "wasted_cost": 0.61,
    "undo_cost": 0.3,
    "worst_case_s": 129.0,
}
_RISK = {
    "step": "book_hotel",
    "loss": 1.2,
    "share": 0.6,
    "reason": "'book_hotel' fails for good in 4.9 % of the runs that reach it, which then costs 24.50: "
    "60 % of all expected loss",
}
_ANSWER: dict[str, Any] = {
    "risk_factors": [_RISK],
    "model": {"version": "3f2a9c", "kind": "learned"},
    "fallback": False,
    "expires_at": 1_790_000_060.0,
    "request_id": "b7c9e1f0a2d34c5e",
}

PREDICT_REPLY: dict[str, Any] = {
    "expected": _NUMBERS,
    "steps": [
        {
            "name": "book_flight",
            "failure_probability": 0.02,
            "first_refusal_probability": 0.06,
            "classes": {"cascading": 0.3, "permanent": 0.2, "transient": 0.5},
            "duration_s_p50": 0.8,
            "duration_s_p90": 2.1,
        }
    ],
    **_ANSWER,
}

_STEP = {
    "name": "book_flight",
    "after": [],
    "start_to_close_timeout_s": 4.0,
    "retry": {
        "initial_interval_s": 1.0,
        "backoff_coefficient": 2.0,
        "maximum_interval_s": 30.0,
        "maximum_attempts": 2,
        "non_retryable_error_types": [],
    },
    "on_failure": {
        "transient": "RETRY_WITH_COMPENSATION",
        "permanent": "IMMEDIATE_FULL_COMPENSATION",
        "cascading": "STANDARD_COMPENSATION",
        "unknown": "STANDARD_COMPENSATION",
    },
}

OPTIMIZE_REPLY: dict[str, Any] = {
    "advice_id": "1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed",
    "plan": {"saga": "weekend-trip", "definition_hash": "9f86d081884c7d65", "steps": [_STEP]},
    "author": _NUMBERS,
    "advised": {**_NUMBERS, "cost": 6.9},
    "gap": 0.0,
    "reasons": [
        {
            "change": "timeout",
            "step": "book_flight",
            "text": "'book_flight' is given 4 s instead of 10 s: 0.4 % of its calls would answer later than "
            "that, under 0.1 % later than the author's",
        }
    ],
    "freedoms": [],
    **_ANSWER,
}

LIVE_REPLY: dict[str, Any] = {"status": "live", "model": None}
READY_REPLY: dict[str, Any] = {"status": "ready", "model": _ANSWER["model"]}
PROBLEM_TYPE_REPLY: dict[str, Any] = {
    "type": "/problems/saga-refused",
    "status": 422,
    "title": "The saga document breaks a rule",
    "way_out": "The detail names the value and the way out.",
}
