"""The Python face: decorated functions say everything a document can, in the same words."""

from typing import Any

import pytest
import yaml

from sagacity_engine import Call, Direction, Handler, SagaRefused, bind, define, read_saga, saga_document
from sagacity_engine.authoring import SagaBuilder
from sagacity_engine.events import Answer
from sagacity_engine.handlers import Found
from sagacity_engine.parts import (
    Breaker,
    Compensation,
    Kind,
    LaunchFreedom,
    Lock,
    OnExpiry,
    Probe,
    SagaFreedom,
    StepFreedom,
    WhenHeld,
)
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.strategy import OnFailure, OnTimeout, Strategy

DOCUMENT = """
saga: stay
deadline_s: 86400
locks: [{key: "room-${input.room}", when_held: wait}, {key: "guest-${input.guest}"}]
retry_budget: 20
rollbacks_max: 2
freedom: {launch: {wait_s_max: 60}}
steps:
  - name: hold_room
    savepoint: true
    schedule_to_start_timeout_s: 5
    schedule_to_close_timeout_s: 60
    heartbeat_timeout_s: 3
    idempotent: true
    on_timeout: RETRY
    breaker: {failure_threshold: 3, open_s: 20, probes: 2}
    freedom: {hedge_delay_s: [0.5, 2]}
    compensation: {after_failure: true, cost: 2}
    probe: {start_to_close_timeout_s: 2, retry: {maximum_attempts: 4}}
  - {name: host_says_yes, kind: read_only, approval: {signal: host, expires_after_s: 9, on_expiry: approve}}
  - name: charge_card
    on_failure: {transient: FORWARD_RECOVERY, permanent: ROLLBACK_TO_SAVEPOINT}
    probe: {}
  - {name: charge_wallet, alternative_to: charge_card}
  - {name: welcome_basket, optional: true, skip_loss: 3, on_timeout: SKIP}
  - name: transfer
    sub_saga:
      saga: {saga: cab, steps: [{name: book_cab}, {name: tell_driver, kind: read_only}]}
      input: {guest: "${input.guest}", room: "${steps.hold_room.output.id}"}
  - name: confirm
    kind: retriable
    after: [transfer, host_says_yes]
    on_failure: {transient: IMMEDIATE_FULL_COMPENSATION, permanent: IMMEDIATE_FULL_COMPENSATION,
                 cascading: IMMEDIATE_FULL_COMPENSATION, unknown: IMMEDIATE_FULL_COMPENSATION}
"""


def nothing(call: Call) -> None:
    """A participant that does nothing."""


def happened(call: Call) -> Found:
    """A participant that remembers."""
    return Found(Answer.HAPPENED, {"id": call.undoes})


def cab() -> SagaBuilder:
    builder = define("cab")
    builder.step(name="book_cab", compensate=nothing)(nothing)
    builder.step(name="tell_driver", kind="read_only")(nothing)
    return builder


def stay() -> SagaBuilder:
    """The stay of `DOCUMENT`, as a Python author writes it."""
    builder = define(
        "stay",
        deadline_s=86_400,
        locks=[Lock(key="room-${input.room}", when_held=WhenHeld.WAIT), "guest-${input.guest}"],
        retry_budget=20,
        rollbacks_max=2,
        freedom=SagaFreedom(launch=LaunchFreedom(wait_s_max=60)),
    )

    @builder.step(
        savepoint=True,
        schedule_to_start_timeout_s=5,
        schedule_to_close_timeout_s=60,
        heartbeat_timeout_s=3,
        idempotent=True,
        on_timeout="RETRY",
        breaker=Breaker(failure_threshold=3, open_s=20, probes=2),
        freedom=StepFreedom(hedge_delay_s=(0.5, 2)),
    )
    def hold_room(call: Call) -> dict[str, str]:
        return {"id": "room"}

    hold_room.compensation(cost=2, after_failure=True)(nothing)

    @hold_room.probe(start_to_close_timeout_s=2, retry=RetryPolicy(maximum_attempts=4))
    def was_room_held(call: Call) -> bool:
        return True

    asked = builder.approval("host_says_yes", signal="host", expires_after_s=9, on_expiry="approve")
    charge_card = builder.step(
        name="charge_card",
        on_failure=OnFailure(transient=Strategy.FORWARD_RECOVERY, permanent=Strategy.ROLLBACK_TO_SAVEPOINT),
        compensate=nothing,
        probe=happened,
        probe_policy=Probe(),
    )(nothing)
    builder.step(name="charge_wallet", alternative_to=charge_card, compensate=nothing)(nothing)
    builder.step(
        name="welcome_basket", optional=True, skip_loss=3, on_timeout=OnTimeout.SKIP, compensate=nothing
    )(nothing)
    moved = builder.sub_saga(
        cab(),
        name="transfer",
        input={"guest": "${input.guest}", "room": "${steps.hold_room.output.id}"},
    )
    builder.step(
        name="confirm",
        kind=Kind.RETRIABLE,
        after=[moved, asked],
        on_failure="IMMEDIATE_FULL_COMPENSATION",
    )(nothing)
    return builder


def test_python_says_all_that_a_document_says() -> None:
    """Every newer field, written both ways, is one definition with one hash."""
    written, read = stay().build(), read_saga(yaml.safe_load(DOCUMENT))
    assert written == read
    assert written.definition_hash == read.definition_hash
    assert saga_document(written) == saga_document(read)
    assert read_saga(saga_document(written)) == written


def test_bound_functions_are_where_an_engine_looks_for_them() -> None:
    """Actions, undos and probes are handlers; an approval has none; a sub-saga is bound within."""
    bound = stay().bind()
    assert set(bound.handlers) == {"hold_room", "charge_card", "charge_wallet", "welcome_basket", "confirm"}
    assert set(bound.inner) == {"transfer"}
    assert bound.inner["transfer"].handlers["book_cab"] == Handler(nothing, nothing)
    probe = bound.handlers["hold_room"].probe
    assert probe is not None
    assert probe(question()) is True
    assert bound.handlers["charge_card"].probe is happened


def question() -> Call:
    return Call(run_id="r", saga="stay", step="hold_room", direction=Direction.PROBE, attempt=1)


def test_a_probe_is_still_a_function() -> None:
    """Decorating gives back what was decorated, and a sub-saga may come bound already."""
    builder = define("s")
    step = builder.step(name="a", compensate=nothing)(nothing)
    assert step.probe()(happened) is happened
    assert happened(question()).output == {"id": question().undoes}
    builder.sub_saga(cab().bind())
    saga = builder.bind().saga
    assert saga.names == ("a", "cab")
    assert saga.by_name["cab"].after == ()
    assert saga.by_name["a"].probe == Probe()


def test_one_strategy_is_meant_for_every_class() -> None:
    """A strategy given alone stands for all four; an approval takes one too."""
    builder = define("s")
    builder.step(name="a", compensate=nothing, on_failure=Strategy.RETRY_WITH_COMPENSATION)(nothing)
    builder.approval("b", on_failure="RETRY_WITH_COMPENSATION", on_expiry=OnExpiry.REJECT)
    both = [step.on_failure for step in builder.build().steps]
    assert both == [OnFailure.all(Strategy.RETRY_WITH_COMPENSATION)] * 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"on_timeout": "PANIC"}, "on_timeout is 'PANIC'; it must be one of RETRY, SKIP, COMPENSATE"),
        ({"on_failure": "HOPE"}, "on_failure is 'HOPE'; it must be one of STANDARD_COMPENSATION, RETRY"),
        ({"kind": "odd"}, "kind is 'odd'; it must be one of compensatable"),
    ],
)
def test_unknown_words_are_refused_at_once(fields: dict[str, Any], words: str) -> None:
    """A word that is none raises where it is written, naming those there are."""
    with pytest.raises(SagaRefused, match=words):
        define("s").step(**fields)


def test_what_is_given_twice_is_refused() -> None:
    """A second probe, and an approval whose end is no word, raise where they are written."""
    builder = define("s")
    step = builder.step(name="a", compensate=nothing, probe=happened)(nothing)
    with pytest.raises(SagaRefused, match="step 'a' has two probes; keep one"):
        step.probe()(happened)
    with pytest.raises(SagaRefused, match="on_expiry is 'escalate'; it must be one of approve, reject"):
        builder.approval("b", on_expiry="escalate")


def test_functions_that_nothing_calls_are_refused() -> None:
    """Each function too few or too many is named with its step."""
    document = {
        "saga": "s",
        "steps": [
            {"name": "a", "probe": {}},
            {"name": "b", "kind": "read_only", "approval": {}},
            {"name": "c", "sub_saga": {"saga": {"saga": "t", "steps": [{"name": "d", "kind": "read_only"}]}}},
        ],
    }
    saga = read_saga(document)
    inner = bind(read_saga(document["steps"][2]["sub_saga"]["saga"]), {"d": Handler(nothing)})  # type: ignore[index]
    whole = Handler(nothing, nothing, happened)
    other = bind(read_saga({"saga": "t", "steps": [{"name": "e", "kind": "pivot"}]}), {"e": Handler(nothing)})
    for handlers, inners, words in (
        ({"a": Handler(nothing, nothing)}, {"c": inner}, "step 'a' .* has a probe that it does not have a"),
        ({"a": whole}, {}, "step 'c' .* is a saga whose functions are missing; bind it and hand it in"),
        ({"a": whole}, {"c": other}, "step 'c' .* is bound to another saga than it declares"),
        ({"a": whole, "b": Handler(nothing)}, {"c": inner}, "step 'b' .* waits for an approval, which calls"),
        ({"a": whole, "c": Handler(nothing)}, {"c": inner}, "step 'c' .* is a saga of its own, which calls"),
        (
            {"a": whole},
            {"c": inner, "a": inner},
            "step 'a' .* is no saga of its own; leave the inner",
        ),
        ({"a": whole}, {"c": inner, "z": inner}, "'z' is no step of saga 's'; the steps are a, b, c"),
    ):
        with pytest.raises(SagaRefused, match=words):
            bind(saga, handlers, inners)
    assert bind(saga, {"a": whole}, {"c": inner}).inner["c"] is inner
    plain = read_saga({"saga": "s", "steps": [{"name": "a", "kind": "pivot"}]})
    with pytest.raises(SagaRefused, match="has a function for a probe that it does not declare"):
        bind(plain, {"a": Handler(nothing, None, happened)})
    assert Compensation().after_failure is False
