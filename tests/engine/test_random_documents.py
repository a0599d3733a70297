"""Whatever is handed in as a definition or a plan is read, or refused in words: never another exception."""

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sagacity_engine import PlanRefused, SagaRefused, author_plan, check, plan_document, read_plan, read_saga

FULL: dict[str, Any] = {
    "saga": "s",
    "deadline_s": 60,
    "stages": [["a"], ["b", "n"], ["alt"], ["c"], ["p"], ["r"]],
    "locks": [{"key": "k-${input.k}", "when_held": "wait"}],
    "retry_budget": 3,
    "rollbacks_max": 2,
    "freedom": {"launch": {"wait_s_max": 3}, "timeouts": True, "breakers": True, "compensation": True},
    "steps": [
        {
            "name": "a",
            "savepoint": True,
            "idempotent": True,
            "heartbeat_timeout_s": 2,
            "schedule_to_close_timeout_s": 9,
            "on_timeout": "RETRY",
            "action": {"http": {"url": "http://x/${input.k}", "body": {"list": ["${input.y}", None]}}},
            "compensation": {"action": {"http": {"body": "${steps.a.output.id}"}}, "after_failure": True},
            "probe": {"action": {"http": {}}},
            "breaker": {"failure_threshold": 3},
            "freedom": {"hedge_delay_s": [1, 2], "start_to_close_timeout_s": [1, 20]},
        },
        {
            "name": "b",
            "on_failure": {"permanent": "ROLLBACK_TO_SAVEPOINT", "transient": "FORWARD_RECOVERY"},
        },
        {"name": "n", "kind": "read_only", "approval": {"signal": "yes", "expires_after_s": 5}},
        {"name": "alt", "alternative_to": "b"},
        {
            "name": "c",
            "sub_saga": {
                "saga": {"saga": "t", "steps": [{"name": "d", "optional": True, "skip_loss": 2}]},
                "input": {"u": "${steps.a.output}"},
            },
        },
        {"name": "p", "kind": "pivot"},
        {"name": "r", "kind": "retriable", "retry": {"non_retryable_error_types": ["X"]}},
    ],
}
SPICE: list[Any] = [
    None, True, False, 0, 1, -1, 2.5, 10**400, float("nan"), float("inf"), "", "a", "b", "z", "p", "pivot",
    "retriable", "optional", "${steps.z.output}", "${steps.p.output.x}", "${input.x", "\ud800", "x" * 300,
    "RETRY", "ROLLBACK_TO_SAVEPOINT", [], {}, ["a"], ["p", "p"], {"a": "b"}, [[]], {"saga": {}}, {"key": "k"},
    "${",
]  # fmt: skip
KEYS = [
    "after", "kind", "optional", "savepoint", "alternative_to", "approval", "sub_saga", "probe", "breaker",
    "on_failure", "on_timeout", "skip_loss", "compensation", "freedom", "idempotent", "locks", "stages", "x",
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value inside, the containers too."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in items for found in places(item, (*path, key)))]


@st.composite
def spoiled(draw: st.DrawFn, document: dict[str, Any]) -> Any:
    """The document with one to three values replaced, removed, added or repeated."""
    made: Any = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(made)))
        if not path:
            continue
        parent = made
        for key in path[:-1]:
            parent = parent[key]
        value = draw(st.sampled_from(SPICE))
        match draw(st.sampled_from(["replace", "remove", "add", "repeat"])):
            case "replace":
                parent[path[-1]] = copy.deepcopy(value)
            case "remove":
                del parent[path[-1]]
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from(KEYS))] = copy.deepcopy(value)
            case _:
                if isinstance(parent, list):
                    parent.append(copy.deepcopy(parent[path[-1]]))
    return made


def test_the_document_that_is_spoiled_is_legal() -> None:
    """The comparison starts from a definition that uses every part."""
    saga = read_saga(FULL)
    assert check(read_plan(plan_document(author_plan(saga))), saga) == ()


def words_against(read: Callable[[Any], object], document: Any) -> str:
    """The refusal's words; empty when the document was read. Any other exception is a failed test."""
    try:
        read(document)
    except (SagaRefused, PlanRefused) as refusal:
        return str(refusal) or "no words"
    return ""


@given(spoiled(FULL))
@settings(max_examples=1_500)
def test_a_random_document_is_read_or_refused(document: Any) -> None:
    """Nothing but `SagaRefused` comes out, in one line; what is read can be written, hashed and planned."""
    words = words_against(read_saga, document)
    assert "\n" not in words
    assert len(words) < 5_000
    if not words:
        saga = read_saga(document)
        assert len(saga.definition_hash) == 64
        assert check(author_plan(saga), saga) == ()


NAMES = st.sampled_from([*KEYS, "name", "saga", "steps"])
JUNK = st.recursive(
    st.sampled_from(SPICE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=12,
)


@given(JUNK)
def test_junk_is_refused(document: Any) -> None:
    """What has no shape at all is refused too, as a definition and as a plan."""
    assert words_against(read_saga, document)
    assert words_against(read_plan, document)


SAGA = read_saga(FULL)
PLAN = json.loads(json.dumps(plan_document(author_plan(SAGA))))


@given(spoiled(PLAN))
@settings(max_examples=500)
def test_a_random_plan_is_judged_or_refused(document: Any) -> None:
    """A plan that can be read can be judged, in words."""
    if not words_against(read_plan, document):
        assert all(isinstance(breach, str) for breach in check(read_plan(document), SAGA))


def test_both_sorts_are_drawn() -> None:
    """Some spoiled documents are legal all the same, and most are not, so that reading means something."""
    read: list[bool] = []

    @given(spoiled(FULL))
    @settings(max_examples=300)
    def watch(document: Any) -> None:
        read.append(not words_against(read_saga, document))

    watch()
    assert 10 < sum(read) < len(read) - 50
