"""Judges plans and chooses among the legal ones."""

from sagacity_optimizer.advisor import Forecaster, ModelAdvisor
from sagacity_optimizer.earnings import Earning, what_freedoms_would_earn
from sagacity_optimizer.errors import ForecastRefused, OptimizerError, PlanNotEvaluable
from sagacity_optimizer.evaluate import evaluate
from sagacity_optimizer.evaluation import Evaluation, StepEvaluation
from sagacity_optimizer.propose import Proposal, optimize
from sagacity_optimizer.reasons import Reason, RiskFactor, risk_factors

__all__ = [
    "Earning",
    "Evaluation",
    "ForecastRefused",
    "Forecaster",
    "ModelAdvisor",
    "OptimizerError",
    "PlanNotEvaluable",
    "Proposal",
    "Reason",
    "RiskFactor",
    "StepEvaluation",
    "evaluate",
    "optimize",
    "risk_factors",
    "what_freedoms_would_earn",
]
