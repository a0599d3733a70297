"""What this package refuses."""

from __future__ import annotations


class OptimizerError(Exception):
    """Base of every error this package raises."""


class ForecastRefused(OptimizerError):
    """The forecast does not fit the saga; the message names the step."""


class PlanNotEvaluable(OptimizerError):
    """The plan is not for this saga or has no order; only legal plans can be evaluated."""
