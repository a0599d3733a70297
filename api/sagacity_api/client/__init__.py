"""Asking a Sagacity service from Python: an advisor for engines, a client for people."""

from sagacity_api.answers import (
    FreedomValue,
    Model,
    Numbers,
    Prediction,
    Reason,
    Recommendation,
    RiskFactor,
    StepRisk,
)
from sagacity_api.client.advisor import HttpAdvisor
from sagacity_api.client.breaker import Breaker, Circuit
from sagacity_api.client.errors import (
    AdviceRefused,
    BreakerOpen,
    ClientError,
    ReplyRefused,
    ServiceFailed,
    ServiceRefused,
    ServiceTooSlow,
    ServiceUnreachable,
)
from sagacity_api.client.http_steps import http_bound
from sagacity_api.client.sdk import AsyncClient, Client

__all__ = [
    "AdviceRefused",
    "AsyncClient",
    "Breaker",
    "BreakerOpen",
    "Circuit",
    "Client",
    "ClientError",
    "FreedomValue",
    "HttpAdvisor",
    "Model",
    "Numbers",
    "Prediction",
    "Reason",
    "Recommendation",
    "ReplyRefused",
    "RiskFactor",
    "ServiceFailed",
    "ServiceRefused",
    "ServiceTooSlow",
    "ServiceUnreachable",
    "StepRisk",
    "http_bound",
]
