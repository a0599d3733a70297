"""Which cases of an event log succeeded, and from when on the log tells: four kinds of rule.

An `Outcome` carries two instants besides the answer. `first_us` is when the log begins to tell: only events
strictly before it may be used to predict. `last_us` is when the answer is final: a model that is trained at
some moment may learn only from cases whose `last_us` lies before it.

| rule | a case succeeds if | told from | final at | no outcome |
|---|---|---|---|---|
| activities | the last outcome event means success | first outcome event | last one | none in the case |
| contains | the activity occurs | its first event, else the case's end | the same | never |
| attribute | the case attribute has the value | the case's end | the same | attribute is missing |
| within | the case took at most so long | its end or the limit, if earlier | the same | never |

"First" and "last" are by instant, and among events of one instant by their place in the file. A case is taken
to end with its last event: a log says nothing else about ends, so cases still open when it was written count
as ended. Of a rule about time that would be wrong near the log's end: a case that started there cannot yet be
known to be late. `follow_up_s` says how long the log must go on after a case's start before the rule may be
asked about it; who trains leaves younger cases out, the fast ones among them too, for they would be all that
is known.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, Final

from sagacity_data.errors import DataError
from sagacity_data.event_log import AttributeValue, Case

_MICROSECONDS: Final = 1_000_000
_SECONDS_MAX: Final = 1e11


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case; instants in microseconds since 1970, UTC."""

    success: bool
    first_us: int
    last_us: int


class RuleRefused(DataError):
    """The options for what counts as success are missing, contradictory, or match nothing in the log."""


@dataclass(frozen=True, slots=True)
class OutcomeActivities:
    """The last event of `activities` decides: success where it is one of `success`."""

    kind: ClassVar[str] = "activities"
    activities: tuple[str, ...]
    success: tuple[str, ...]

    def decide(self, case: Case) -> Outcome | None:
        """The outcome, or None for a case without any outcome event."""
        told = [event for event in case.events if event.activity in self.activities]
        if not told:
            return None
        last_us = max(event.at_us for event in told)
        deciding = [event for event in told if event.at_us == last_us][-1]
        return Outcome(deciding.activity in self.success, min(event.at_us for event in told), last_us)


@dataclass(frozen=True, slots=True)
class ContainsActivity:
    """A case succeeds if `activity` occurs in it."""

    kind: ClassVar[str] = "contains"
    activity: str

    def decide(self, case: Case) -> Outcome | None:
        """The outcome; every case has one."""
        seen = [event.at_us for event in case.events if event.activity == self.activity]
        told_us = min(seen) if seen else case.end_us
        return Outcome(bool(seen), told_us, told_us)


@dataclass(frozen=True, slots=True)
class AttributeEquals:
    """A case succeeds if its attribute `key` is `value`; numbers and truth values compare as such."""

    kind: ClassVar[str] = "attribute"
    key: str
    value: str

    def decide(self, case: Case) -> Outcome | None:
        """The outcome, or None for a case without the attribute."""
        held = case.attributes.get(self.key)
        if held is None:
            return None
        return Outcome(_same(held, self.value), case.end_us, case.end_us)


@dataclass(frozen=True, slots=True)
class CompletedWithin:
    """A case succeeds if no more than `duration_s` seconds lie between its first and its last event."""

    kind: ClassVar[str] = "within"
    duration_s: float

    def decide(self, case: Case) -> Outcome | None:
        """The outcome; every case has one. A late case is known to be late when the limit has passed."""
        limit_us = case.start_us + round(self.duration_s * _MICROSECONDS)
        end_us = case.end_us
        told_us = min(end_us, limit_us)
        return Outcome(end_us <= limit_us, told_us, told_us)


OutcomeRule = OutcomeActivities | ContainsActivity | AttributeEquals | CompletedWithin


def parse_outcome_rule(
    *,
    outcome_activities: str | None = None,
    success: str | None = None,
    success_contains: str | None = None,
    success_attribute: str | None = None,
    success_within: float | str | None = None,
) -> OutcomeRule:
    """The rule that the command line's options describe; exactly one kind must be given.

    Lists are separated by commas; a name that holds a comma is written in double quotes. `success_within` is
    in seconds. Raises `RuleRefused`, naming the options.

    >>> parse_outcome_rule(outcome_activities='ACCEPTED,"DECLINED, late"', success="ACCEPTED").activities
    ('ACCEPTED', 'DECLINED, late')
    """
    given = {
        "--outcome-activities": outcome_activities,
        "--success-contains": success_contains,
        "--success-attribute": success_attribute,
        "--success-within": success_within,
    }
    chosen = [option for option, value in given.items() if value is not None]
    if not chosen and success is not None:
        raise RuleRefused("--success needs --outcome-activities A,B,C: the activities that can end a case")
    if len(chosen) != 1:
        said = " and ".join(chosen) if chosen else "no rule"
        raise RuleRefused(f"{said} given for what counts as success; give exactly one of {', '.join(given)}")
    if outcome_activities is not None:
        return _activities_rule(outcome_activities, success)
    if success is not None:
        raise RuleRefused(
            f"--success belongs to --outcome-activities and contradicts {chosen[0]}; drop one of them"
        )
    if success_contains is not None:
        return ContainsActivity(_named(success_contains, "--success-contains"))
    if success_attribute is not None:
        return _attribute_rule(success_attribute)
    assert success_within is not None  # it is the one that was chosen
    return CompletedWithin(_seconds(success_within))


def rule_as_json(rule: OutcomeRule) -> dict[str, Any]:
    """The rule as a JSON object with its `kind`; `rule_from_json` reads it back."""
    match rule:
        case OutcomeActivities():
            fields: dict[str, Any] = {"activities": list(rule.activities), "success": list(rule.success)}
        case ContainsActivity():
            fields = {"activity": rule.activity}
        case AttributeEquals():
            fields = {"key": rule.key, "value": rule.value}
        case CompletedWithin():
            fields = {"duration_s": rule.duration_s}
    return {"kind": rule.kind, **fields}


def rule_from_json(written: Mapping[str, Any]) -> OutcomeRule:
    """The rule that `rule_as_json` wrote. Raises `RuleRefused` for anything else."""
    try:
        match written["kind"]:
            case OutcomeActivities.kind:
                return OutcomeActivities(tuple(written["activities"]), tuple(written["success"]))
            case ContainsActivity.kind:
                return ContainsActivity(str(written["activity"]))
            case AttributeEquals.kind:
                return AttributeEquals(str(written["key"]), str(written["value"]))
            case CompletedWithin.kind:
                return CompletedWithin(float(written["duration_s"]))
            case _:
                pass
    except (KeyError, TypeError, ValueError):
        pass
    raise RuleRefused(f"{written!r} is no outcome rule of this version; import the log again")


def follow_up_s(rule: OutcomeRule) -> float:
    """For how many seconds after its start a case must be in view before `rule` tells fairly of it.

    >>> follow_up_s(CompletedWithin(86_400.0)), follow_up_s(ContainsActivity("pay"))
    (86400.0, 0.0)
    """
    return rule.duration_s if isinstance(rule, CompletedWithin) else 0.0


def rule_in_words(rule: OutcomeRule) -> str:
    """The rule as one line for a reader."""
    match rule:
        case OutcomeActivities():
            return f"the last of {', '.join(rule.activities)} is {' or '.join(rule.success)}"
        case ContainsActivity():
            return f"the case contains {rule.activity}"
        case AttributeEquals():
            return f"the case attribute {rule.key} is {rule.value}"
        case CompletedWithin():
            return f"the case took at most {rule.duration_s:g} s"


def _activities_rule(outcome_activities: str, success: str | None) -> OutcomeActivities:
    activities = _names(outcome_activities, "--outcome-activities")
    if success is None:
        raise RuleRefused("--outcome-activities needs --success A: which of them means success")
    wanted = _names(success, "--success")
    if strangers := [name for name in wanted if name not in activities]:
        raise RuleRefused(
            f"--success {strangers[0]!r} is not among --outcome-activities {', '.join(activities)}"
        )
    if set(wanted) == set(activities):
        raise RuleRefused("--success names every outcome activity, so no case could fail; name fewer")
    return OutcomeActivities(activities, wanted)


def _attribute_rule(written: str) -> AttributeEquals:
    key, equals, value = written.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise RuleRefused(
            f"--success-attribute {written!r} is not KEY=VALUE; write for example status=accepted"
        )
    return AttributeEquals(key.strip(), value.strip())


def _seconds(written: float | str) -> float:
    try:
        seconds = float(written)
    except ValueError:
        seconds = float("nan")
    if not isfinite(seconds) or not 0 < seconds <= _SECONDS_MAX:
        raise RuleRefused(
            f"--success-within {written!r} is not a positive number of seconds; write 86400 for a day"
        )
    return seconds


def _names(written: str, option: str) -> tuple[str, ...]:
    rows: Sequence[list[str]] = list(csv.reader([written], skipinitialspace=True)) or [[]]
    names = tuple(dict.fromkeys(_named(name, option) for name in rows[0]))
    if not names:
        raise RuleRefused(f"{option} is empty; name at least one activity")
    return names


def _named(written: str, option: str) -> str:
    if not written.strip():
        raise RuleRefused(
            f"{option} holds an empty name; name an activity, in double quotes if it holds a comma"
        )
    return written.strip()


def _same(held: AttributeValue, wanted: str) -> bool:
    if isinstance(held, bool):
        return wanted.lower() == ("true" if held else "false")
    if isinstance(held, str):
        return held.strip() == wanted
    try:
        return float(held) == float(wanted)
    except ValueError:
        return False
