"""A policy that never ran: who is to be advised, said by the saga and what is known of a run at its launch.

    {"default": "author", "rules": [
        {"saga": "goa-trip", "context": {"season": "high"}, "advised_probability": 1.0},
        {"context": {"tier": "gold"}, "advised_probability": 0.5}]}

The first rule whose every condition holds decides; without one the default does. `default` is "advised",
"author", or a probability of being advised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from sagacity_data.rows import ContextValues
from sagacity_training.errors import TrainingError

RULES_MAX: Final = 1_000
_SHARES: Final = {"advised": 1.0, "author": 0.0}


class CandidateRefused(TrainingError):
    """A document that describes no policy; the message names the place and the way out."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Runs of `saga` (any, if empty) with all of `context` are advised with this probability."""

    saga: str
    context: ContextValues
    advised_probability: float

    def holds(self, saga: str, context: ContextValues) -> bool:
        """Whether this rule speaks of such a run."""
        return self.saga in ("", saga) and all(
            key in context and context[key] == value for key, value in self.context.items()
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy over the two arms; `advised_probability` is what it would have done."""

    default: float
    rules: Sequence[Rule] = ()

    def advised_probability(self, saga: str, context: ContextValues) -> float:
        """P(such a run is advised)."""
        for rule in self.rules:
            if rule.holds(saga, context):
                return rule.advised_probability
        return self.default


ADVISE_ALL: Final = Candidate(1.0)
ADVISE_NONE: Final = Candidate(0.0)


def candidate_of(document: object) -> Candidate:
    """The policy that a parsed JSON document describes. Raises `CandidateRefused`."""
    told = _object(document, "the policy", {"default", "rules"})
    rules = told.get("rules", [])
    if not isinstance(rules, list) or len(rules) > RULES_MAX:
        raise CandidateRefused(f"'rules' must be a list of at most {RULES_MAX} rules")
    if "default" not in told:
        raise CandidateRefused('the policy lacks \'default\'; give "advised", "author" or a probability')
    return Candidate(_share(told["default"], "'default'"), tuple(map(_rule, rules, range(1, len(rules) + 1))))


def _rule(document: object, number: int) -> Rule:
    place = f"rule {number}"
    told = _object(document, place, {"saga", "context", "advised_probability"})
    saga, context = told.get("saga", ""), told.get("context", {})
    if not isinstance(saga, str):
        raise CandidateRefused(f"{place}: 'saga' is {saga!r}; give the name of a saga type")
    if not isinstance(context, dict) or not all(
        isinstance(value, (str, int, float, bool)) for value in context.values()
    ):
        raise CandidateRefused(f"{place}: 'context' must map keys to texts, numbers or truth values")
    if "advised_probability" not in told:
        raise CandidateRefused(f"{place} lacks 'advised_probability'; give a number from 0 to 1")
    return Rule(saga, context, _share(told["advised_probability"], f"{place}: 'advised_probability'"))


def _object(document: object, place: str, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise CandidateRefused(f"{place} must be an object, not {type(document).__name__}")
    if unknown := sorted(set(document) - known):
        raise CandidateRefused(f"{place} has the unknown key {unknown[0]!r}; it may have {sorted(known)}")
    return document


def _share(value: object, place: str) -> float:
    if isinstance(value, str) and value in _SHARES:
        return _SHARES[value]
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and isfinite(value)
        and 0 <= value <= 1
    ):
        return float(value)
    raise CandidateRefused(f'{place} is {value!r}; give "advised", "author" or a number from 0 to 1')
