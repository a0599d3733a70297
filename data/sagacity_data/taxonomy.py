"""What an error's type, status and words tell of the kind of failure, and the words without what differs.

The rules are data: `taxonomy.json` beside this file holds ours, and users put rules of their own, in the same
form, before them, and what these tell is their own word, which nothing overrules (`labels`). A rule is a
regular expression over the error's type (or status), its words, or either (the type also with its CamelCase
apart); the first that matches decides. One that tells `unknown` keeps the rules after it from deciding.
Nothing is concluded from a bare timeout but that it was slow, and from an error that no rule knows nothing.

Only the first `WORDS_MAX` characters are looked at, so that no text takes long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Any, Final, Literal, get_args

from sagacity_data.errors import TaxonomyRefused
from sagacity_data.failure_kinds import FailureKind, LabelSource

WORDS_MAX: Final = 2_000
MESSAGE_MAX: Final = 300
"""The most characters of a templated message."""

RULES_MAX: Final = 1_000
KEPT_MAX: Final = 10_000
"""How many answers are kept: histories repeat the same few errors."""

On = Literal["type", "text", "either"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a match tells. `match` is searched for without regard to case."""

    kind: FailureKind
    on: On
    match: re.Pattern[str]
    source: LabelSource = LabelSource.TAXONOMY  # Whose rule it is.


class Taxonomy:
    """Rules from errors to kinds of failure; the first that matches decides."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._known = lru_cache(KEPT_MAX)(self._decide)
        self._templates = lru_cache(KEPT_MAX)(_templated)

    def kind_of(self, error_type: str, message: str, *, timed_out: bool = False) -> FailureKind:
        """The kind that an error tells of; where no rule knows it, slow if it timed out, else unknown.

        >>> default_taxonomy().kind_of("Http503", "come back later")
        <FailureKind.OVERLOAD: 'overload'>
        """
        return self.told(error_type, message, timed_out=timed_out)[0]

    def told(
        self, error_type: str, message: str, *, timed_out: bool = False
    ) -> tuple[FailureKind, LabelSource]:
        """The same, with who says so: the user where a rule of theirs told the kind."""
        kind, source = self._known(error_type[:WORDS_MAX], message[:WORDS_MAX])
        if kind is not FailureKind.UNKNOWN:
            return kind, source
        return (FailureKind.SLOW if timed_out else kind), LabelSource.TAXONOMY

    def templated(self, message: str) -> str:
        """The message with what differs from case to case left out, on one line.

        >>> default_taxonomy().templated("order 4711 of ann@example.org refused at 10.0.0.7:443")
        'order <n> of <email> refused at <address>'
        """
        return self._templates(message[:WORDS_MAX])

    def _decide(self, error_type: str, message: str) -> tuple[FailureKind, LabelSource]:
        both = f"{error_type}\n{_HUMP.sub(' ', error_type)}\n{message}"
        words = {"type": error_type, "text": message, "either": both}
        for rule in self._rules:
            if rule.match.search(words[rule.on]):
                return rule.kind, rule.source
        return FailureKind.UNKNOWN, LabelSource.TAXONOMY


@lru_cache(1)
def default_taxonomy() -> Taxonomy:
    """Our own rules."""
    return Taxonomy(default_rules())


def users_taxonomy(document: object) -> Taxonomy:
    """A user's own rules before ours; raises `TaxonomyRefused`."""
    own = (replace(rule, source=LabelSource.USER) for rule in read_rules(document))
    return Taxonomy((*own, *default_rules()))


def default_rules() -> tuple[Rule, ...]:
    """The rules of `taxonomy.json`."""
    text = resources.files("sagacity_data").joinpath("taxonomy.json").read_text("utf-8")
    return read_rules(json.loads(text))


def read_rules(document: object) -> tuple[Rule, ...]:
    """The rules of a document `{"rules": [{"kind", "on", "match"}, ...]}`; raises `TaxonomyRefused`."""
    rules = document.get("rules") if isinstance(document, Mapping) else None
    if not isinstance(rules, list):
        raise TaxonomyRefused('a taxonomy is {"rules": [{"kind": ..., "on": ..., "match": ...}, ...]}')
    if len(rules) > RULES_MAX:
        raise TaxonomyRefused(f"{len(rules)} rules; the most is {RULES_MAX}: join some with |")
    return tuple(_rule(number, rule) for number, rule in enumerate(rules, 1))


def _rule(number: int, rule: Any) -> Rule:
    if not isinstance(rule, Mapping) or not isinstance(rule.get("match"), str):
        raise TaxonomyRefused(
            f"rule {number} is no mapping with a text `match`; give each a kind and a match"
        )
    kind, on = rule.get("kind"), rule.get("on", "either")
    if kind not in tuple(FailureKind):
        raise TaxonomyRefused(f"rule {number}: kind {str(kind)[:60]!r} is none of {', '.join(FailureKind)}")
    if on not in get_args(On):
        raise TaxonomyRefused(f"rule {number}: on {str(on)[:60]!r} is none of {', '.join(get_args(On))}")
    try:
        return Rule(FailureKind(kind), on, re.compile(rule["match"], re.IGNORECASE))
    except (re.error, OverflowError, RecursionError) as problem:
        raise TaxonomyRefused(
            f"rule {number}: {rule['match'][:60]!r} is no pattern: {problem}; mend it"
        ) from None


_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
"""Where a word ends in a name like `ConnectionReset`."""

_PARTS: Final = (
    ("url", r"[a-z][a-z0-9+.-]{1,20}://[^\s'\"<>]{1,500}"),
    ("email", r"[\w.+-]{1,100}@[\w-]{1,100}(?:\.[\w-]{1,100}){1,5}"),
    ("text", r"\"[^\"]{0,500}\"|'[^']{0,500}'|`[^`]{0,500}`"),
    ("time", r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?"),
    ("id", r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
    ("address", r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b"),
    ("token", r"\b(?=[\w+/=-]{0,199}\d)(?=[\w+/=-]{0,199}[a-z])[\w+/=-]{20,200}"),
    ("id", r"\b0x[0-9a-f]{1,32}\b|\b(?=[a-f]{0,31}\d)[0-9a-f]{8,32}\b"),
    ("n", r"[+-]?\b\d+(?:[.,]\d+)*\b|\d+"),
)
_DIFFERS: Final = re.compile(
    "|".join(f"(?P<p{n}>{form})" for n, (_, form) in enumerate(_PARTS)), re.IGNORECASE
)


def _templated(message: str) -> str:
    told = _DIFFERS.sub(lambda found: f"<{_PARTS[int((found.lastgroup or 'p0')[1:])][0]}>", message)
    return " ".join(told.split())[:MESSAGE_MAX]
