"""Every definition that breaks a rule is refused with the offending value and the way out, and quickly."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from sagacity_engine import SagaRefused, read_saga

STEP = {"name": "a"}


def saga(*steps: Any, **fields: Any) -> dict[str, Any]:
    return {"saga": "s", "steps": list(steps) or [STEP], **fields}


def deep(levels: int) -> Any:
    value: Any = "${input.x}"
    for _ in range(levels):
        value = {"in": value}
    return value


CASES: dict[str, tuple[object, str]] = {
    "no mapping": ([1, 2], r"the document is \[1, 2\]; it must be a mapping of fields"),
    "nothing": (None, "the document is None"),
    "no name": ({"steps": [STEP]}, "the document lacks 'saga'; add it"),
    "no steps": (saga(steps=[]), "saga 's' has no steps; give it at least one"),
    "bad name": (saga({"name": "a b"}), "step name 'a b' is not usable; start with"),
    "empty name": (saga({"name": ""}), "step name '' is not usable"),
    "long name": (saga({"name": "x" * 129}), "is not usable"),
    "unknown field": (
        saga({"name": "a", "colour": 5}),
        r"steps\[0\] has an unknown field 'colour'; the fields are",
    ),
    "misspelt field": (
        saga({"name": "a", "idempotant": True}),
        "unknown field 'idempotant'; did you mean 'idempotent'",
    ),
    "unknown field on top": (saga(colour="red"), "the document has an unknown field 'colour'"),
    "duplicate": (saga(STEP, STEP), "two steps are named 'a'; every step needs a name of its own"),
    "dangling": (saga({"name": "a", "after": ["z"]}), "step 'a' is after 'z', which is no step"),
    "dangling reference": (
        saga({"name": "a", "action": {"u": "${steps.z.output.id}"}}),
        "step 'a': action refers to the output of 'z', which is no step of this saga; the steps are a",
    ),
    "bad reference": (
        saga({"name": "a", "action": {"u": "${env.HOME}"}}),
        r"step 'a': action: \$\{env\.HOME\} is no usable reference; write \$\{input\.field\}",
    ),
    "reference to everything": (
        saga({"name": "a", "action": {"u": "${input}"}}),
        r"\$\{input\} is no usable",
    ),
    "open reference": (
        saga({"name": "a", "action": {"u": ["x", "a ${input.id and b"]}}),
        r"step 'a': action: '\$\{input\.id and b' begins a reference that no '\}' ends; write",
    ),
    "reference in a key": (
        saga({"name": "a", "action": {"u": {"${input.id}": 1}}}),
        r"step 'a': action: the key '\$\{input\.id\}' holds a reference, which only values may",
    ),
    "reference to a later step": (
        saga({"name": "a", "action": {"u": "${steps.b.output}"}}, {"name": "b"}),
        "step 'a': action refers to the output of 'b', which is listed after it; swap them, or refer to an",
    ),
    "reference of an undo to a later step": (
        saga({"name": "a", "compensation": {"action": {"u": "${steps.b.output}"}}}, {"name": "b"}),
        "step 'a': compensation.action refers to the output of 'b', which is listed after it",
    ),
    "reference to the own output": (
        saga({"name": "a", "action": {"u": "${steps.a.output.id}"}}),
        "action refers to the output of 'a', its own, which is not there yet; refer to an earlier step",
    ),
    "probe refers to the own output": (
        saga({"name": "a", "probe": {"action": {"u": "${steps.a.output.id}"}}}),
        "probe.action refers to the output of 'a', its own, which is not there yet",
    ),
    "dangling reference of a sub-saga": (
        saga({"name": "a", "sub_saga": {"saga": saga(), "input": {"u": "${steps.z.output}"}}}),
        "step 'a': sub_saga.input refers to the output of 'z', which is no step",
    ),
    "alternative refers to what it replaces": (
        saga(STEP, {"name": "b", "alternative_to": "a", "action": {"u": "${steps.a.output}"}}),
        "step 'b': action refers to the output of 'a', in whose place it runs, so there is none",
    ),
    "named twice": (saga(STEP, {"name": "b", "after": ["a", "a"]}), "step 'b' names a step twice in 'after'"),
    "cycle": (
        saga({"name": "a", "after": ["b"]}, {"name": "b", "after": ["a"]}),
        "the dependencies run in a circle: a after b after a; remove one",
    ),
    "after itself": (saga({"name": "a", "after": ["a"]}), "in a circle: a after a"),
    "listed too late": (
        saga({"name": "b", "after": ["a"]}, STEP),
        "step 'b' is listed before 'a'.*swap them",
    ),
    "two pivots": (
        saga({"name": "p", "kind": "pivot"}, {"name": "q", "kind": "pivot"}),
        "'p' and 'q' are both pivots",
    ),
    "compensatable after the pivot": (
        saga({"name": "p", "kind": "pivot"}, {"name": "a", "after": ["p"]}),
        "step 'a' is compensatable but follows the pivot 'p'.*move it before the pivot, or make it retriable",
    ),
    "pivot listed before a fallible step": (
        saga({"name": "p", "kind": "pivot"}, STEP),
        "step 'p' is listed before 'a', which must precede it",
    ),
    "retriable before the pivot": (
        saga({"name": "r", "kind": "retriable"}, {"name": "p", "kind": "pivot", "after": ["r"]}),
        "step 'r' is retriable, comes before the pivot 'p' and has no compensation",
    ),
    "pivot with compensation": (
        saga({"name": "p", "kind": "pivot", "compensation": {}}),
        "is pivot and has a compensation",
    ),
    "optional pivot": (saga({"name": "p", "kind": "pivot", "optional": True}), "is the pivot and optional"),
    "unknown kind": (
        saga({"name": "a", "kind": "maybe"}),
        r"steps\[0\]\.kind is 'maybe'; it must be one of compensatable",
    ),
    "negative timeout": (
        saga({"name": "a", "start_to_close_timeout_s": -1}),
        r"step 'a': start_to_close_timeout_s is -1\.0; it must be more than 0",
    ),
    "zero timeout": (saga({"name": "a", "start_to_close_timeout_s": 0}), r"start_to_close_timeout_s is 0\.0"),
    "NaN": (saga({"name": "a", "cost": math.nan}), "step 'a': cost is nan"),
    "infinite": (saga({"name": "a", "cost": math.inf}), "step 'a': cost is inf"),
    "huge": (saga({"name": "a", "cost": 10**400}), "it must be a number of ordinary size"),
    "huge whole number": (
        saga({"name": "a", "retry": {"maximum_attempts": 10**400}}),
        "maximum_attempts is 1000.*at most 1000",
    ),
    "endless number": (
        saga({"name": "a", "retry": {"maximum_attempts": 10**5000}}),
        "is too large a int to show",
    ),
    "deep nesting for a name": (
        saga({"name": deep(100_000)}),
        "is too large a dict to show; it must be text",
    ),
    "huge timeout": (
        saga({"name": "a", "start_to_close_timeout_s": 1e300}),
        "start_to_close_timeout_s is 1e.300",
    ),
    "negative deadline": (saga(deadline_s=-5), r"deadline_s is -5\.0"),
    "negative cost of time": (
        saga(policy={"latency_cost_per_s": -1}),
        r"policy\.latency_cost_per_s is -1\.0",
    ),
    "no attempts": (saga({"name": "a", "retry": {"maximum_attempts": 0}}), r"retry\.maximum_attempts is 0"),
    "too many attempts": (
        saga({"name": "a", "retry": {"maximum_attempts": 10**9}}),
        "maximum_attempts is 1000000000",
    ),
    "shrinking backoff": (
        saga({"name": "a", "retry": {"backoff_coefficient": 0.5}}),
        r"backoff_coefficient is 0\.5",
    ),
    "bounds without the own": (
        saga({"name": "a", "freedom": {"maximum_attempts": [4, 5]}}),
        r"freedom\.maximum_attempts is \[4, 5\] and leaves out the author's own 3",
    ),
    "bounds reversed": (saga({"name": "a", "freedom": {"maximum_attempts": [5, 1]}}), r"is \[5, 1\]"),
    "bounds of one": (
        saga({"name": "a", "freedom": {"maximum_attempts": [3]}}),
        "it must be a list of 2 values",
    ),
    "text for a number": (saga({"name": "a", "cost": "5"}), r"steps\[0\]\.cost is '5'; it must be a number"),
    "truth for a number": (
        saga({"name": "a", "cost": True}),
        r"steps\[0\]\.cost is True; it must be a number",
    ),
    "number for truth": (saga({"name": "a", "idempotent": 1}), r"idempotent is 1; it must be true or false"),
    "fraction of attempts": (
        saga({"name": "a", "retry": {"maximum_attempts": 1.5}}),
        r"is 1\.5; it must be a whole number",
    ),
    "number for a name": (saga({"name": 5}), r"steps\[0\]\.name is 5; it must be text"),
    "text for a list": (saga({"name": "a", "after": "b"}), r"after is 'b'; it must be a list"),
    "text for a mapping": (
        saga({"name": "a", "action": "go"}),
        r"action is 'go'; it must be a mapping with text keys",
    ),
    "null name": (saga({"name": None}), r"steps\[0\]\.name is None; it must be text"),
    "stages leave one out": (
        saga(STEP, {"name": "b"}, stages=[["a"]]),
        "stages must hold every step exactly once; look at 'b'",
    ),
    "stages twice": (saga(STEP, stages=[["a"], ["a"]]), "exactly once; look at 'a'"),
    "stages too early": (
        saga(STEP, {"name": "b", "after": ["a"]}, stages=[["a", "b"]]),
        "stages start 'b' together with or before 'a'",
    ),
    "retriable before the pivot by the way": (
        saga(
            {"name": "r", "kind": "retriable"},
            {"name": "c", "after": ["r"]},
            {"name": "p", "kind": "pivot"},
        ),
        "the order runs in a circle: .*r after p.*give a retriable step before the pivot a compensation",
    ),
    "deep nesting": (
        saga({"name": "a", "action": deep(100_000)}),
        "step 'a': action is nested more than 32 deep; make it flatter",
    ),
    "too many steps": (saga(*({"name": f"s{n}"} for n in range(501))), "has 501 steps; the most is 500"),
    "a hundred thousand steps": (
        saga(*({"name": f"s{n}"} for n in range(100_000))),
        "has 100000 steps; the most is 500",
    ),
    "too many arcs": (
        saga(*({"name": f"s{n}", "after": [f"s{m}" for m in range(n)]} for n in range(120))),
        "more than 5000 dependencies",
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_refused_in_words(what: str) -> None:
    """The refusal names the place, the value and the way out, in one line of bounded length."""
    document, words = CASES[what]
    with pytest.raises(SagaRefused, match=words) as refusal:
        read_saga(document)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 5_000


class Counted(dict[str, Any]):
    """A step's mapping that counts how often it is looked at."""

    looks = 0

    def __iter__(self) -> Iterator[str]:
        Counted.looks += 1
        return super().__iter__()


def test_refusing_too_many_steps_looks_at_none() -> None:
    """A hundred thousand steps are refused by their number alone, before any work is done on them."""
    with pytest.raises(SagaRefused, match="has 100000 steps"):
        read_saga(saga(*(Counted(name=f"s{number}") for number in range(100_000))))
    assert Counted.looks == 0
    read_saga(saga(Counted(name="a")))
    assert Counted.looks > 0


def test_a_definition_is_not_changed_by_its_document() -> None:
    """Changing the mapping after reading does not change what was read."""
    document = saga({"name": "a", "action": {"http": {"url": "http://x"}}})
    read = read_saga(document)
    before = read.definition_hash
    document["steps"][0]["action"]["http"]["url"] = "http://evil"
    action = read.steps[0].action
    assert isinstance(action, Mapping)
    assert (
        read_saga(saga({"name": "a", "action": {"http": {"url": "http://x"}}})).definition_hash,
        action,
    ) == (
        before,
        {"http": {"url": "http://x"}},
    )
