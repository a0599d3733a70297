"""What a step, a lock and a budget may not be: every rule's sentence, with the value and the way out."""

import math
from typing import Any

import pytest

from sagacity_engine import Compensation, Kind, RetryPolicy, Saga, SagaRefused, Step, StepFreedom, read_saga
from sagacity_engine.parts import Breaker
from sagacity_engine.saga import SubSaga

STEP = {"name": "a"}


def saga(*steps: Any, **fields: Any) -> dict[str, Any]:
    return {"saga": "s", "steps": list(steps) or [STEP], **fields}


SUB: dict[str, Any] = {"name": "a", "sub_saga": {"saga": saga()}}
PIVOT = {"name": "p", "kind": "pivot"}
ROLL = {"on_failure": {"permanent": "ROLLBACK_TO_SAVEPOINT"}}
FORWARD = {"on_failure": {"unknown": "FORWARD_RECOVERY"}}


def approval(**fields: Any) -> dict[str, Any]:
    return {"name": "a", "kind": "read_only", "approval": {}, **fields}


def alternative(**fields: Any) -> dict[str, Any]:
    return {"name": "b", "alternative_to": "a", **fields}


def nested(levels: int) -> dict[str, Any]:
    document = saga()
    for _ in range(levels - 1):
        document = saga({"name": "a", "sub_saga": {"saga": document}})
    return document


CASES: dict[str, tuple[object, str]] = {
    "schedule to start": (
        saga({"name": "a", "schedule_to_start_timeout_s": 0}),
        r"step 'a': schedule_to_start_timeout_s is 0\.0; it must be more than 0",
    ),
    "schedule to close": (
        saga({"name": "a", "schedule_to_close_timeout_s": -1}),
        r"schedule_to_close_timeout_s is -1\.0; it must be more than 0 and at most 3\.16",
    ),
    "heartbeat": (
        saga({"name": "a", "heartbeat_timeout_s": math.nan}),
        "heartbeat_timeout_s is nan; it must be more than 0",
    ),
    "late heartbeat": (
        saga({"name": "a", "heartbeat_timeout_s": 10}),
        "heartbeat_timeout_s is 10, which start_to_close_timeout_s 10 always forestalls; make it shorter",
    ),
    "timeout retried without a key": (
        saga({"name": "a", "on_timeout": "RETRY"}),
        "on_timeout RETRY needs an idempotent step: .* taken effect; choose another, or leave it out",
    ),
    "timeout of a required step skipped": (
        saga({"name": "a", "on_timeout": "SKIP"}),
        "step 'a': on_timeout SKIP needs an optional step; choose another, or leave it out",
    ),
    "timeout of the pivot compensated": (
        saga({**PIVOT, "on_timeout": "COMPENSATE"}),
        "step 'p': on_timeout COMPENSATE never applies to the pivot: .* is not taken back; choose another",
    ),
    "unknown word for a timeout": (
        saga({"name": "a", "on_timeout": "PANIC"}),
        r"steps\[0\]\.on_timeout is 'PANIC'; it must be one of RETRY, SKIP, COMPENSATE",
    ),
    "negative loss": (
        saga({"name": "a", "optional": True, "skip_loss": -1}),
        r"step 'a': skip_loss is -1\.0; it must be at least 0",
    ),
    "loss of a required step": (
        saga({"name": "a", "skip_loss": 2}),
        "step 'a': has a skip_loss and is not optional; make it optional, or leave the loss out",
    ),
    "probe timeout": (
        saga({"name": "a", "probe": {"start_to_close_timeout_s": 0}}),
        r"step 'a': probe\.start_to_close_timeout_s is 0\.0",
    ),
    "probe attempts": (
        saga({"name": "a", "probe": {"retry": {"maximum_attempts": 0}}}),
        r"step 'a': probe\.retry\.maximum_attempts is 0; it must be at least 1",
    ),
    "probe of a reading": (
        saga({"name": "a", "kind": "read_only", "probe": {}}),
        "step 'a': is read_only and has a probe, but leaves no effect to ask about; remove the probe",
    ),
    "breaker threshold": (
        saga({"name": "a", "breaker": {"failure_threshold": 0}}),
        r"step 'a': breaker\.failure_threshold is 0; it must be at least 1",
    ),
    "breaker open": (
        saga({"name": "a", "breaker": {"open_s": 0}}),
        r"breaker\.open_s is 0\.0; it must be more",
    ),
    "breaker probes": (saga({"name": "a", "breaker": {"probes": 10**7}}), r"breaker\.probes is 10000000; it"),
    "approval that leaves an effect": (
        saga(approval(kind="compensatable")),
        "step 'a': waits for an approval, which leaves no effect, and is compensatable; make it read_only",
    ),
    "approval with a compensation": (
        saga(approval(kind="retriable", compensation={})),
        "waits for an approval, which leaves no effect, and is retriable; make it read_only",
    ),
    "approval with an action": (
        saga(approval(action={"http": {}})),
        "step 'a': waits for an approval and has an action; put the action into a step after it",
    ),
    "approval with a saga": (
        saga(approval(sub_saga={"saga": saga()})),
        "step 'a': waits for an approval and has an action",
    ),
    "approval with a probe": (
        saga(approval(kind="retriable", probe={})),
        "waits for an approval and has probe, which only a call of a service can have; remove it",
    ),
    "approval with a breaker": (
        saga(approval(breaker={})),
        "waits for an approval and has breaker, which only a call of a service can have; remove it",
    ),
    "approval with a timeout": (
        saga(approval(schedule_to_close_timeout_s=5)),
        "waits for an approval and has schedule_to_close_timeout_s, which only a call",
    ),
    "approval with a hedge": (
        saga(approval(idempotent=True, freedom={"hedge_delay_s": [1, 2]})),
        r"waits for an approval and has freedom\.hedge_delay_s, which only a call",
    ),
    "approval expires at once": (
        saga(approval(approval={"expires_after_s": 0})),
        r"step 'a': approval\.expires_after_s is 0\.0; it must be more than 0",
    ),
    "approval with an odd end": (
        saga(approval(approval={"on_expiry": "escalate"})),
        r"approval\.on_expiry is 'escalate'; it must be one of approve, reject",
    ),
    "unprintable signal": (
        saga(approval(approval={"signal": "a\nb"})),
        r"step 'a': approval\.signal is 'a\\nb'; it must be at most 128 printable characters",
    ),
    "one signal for two": (
        saga(approval(), {**approval(), "name": "b", "approval": {"signal": "a"}}),
        "step 'a': waits for signal 'a', as step 'b' does; give each a signal of its own",
    ),
    "sub-saga with an action": (
        saga({**SUB, "action": {"http": {}}}),
        "step 'a': is a saga of its own and has an action; keep one of them",
    ),
    "sub-saga with a probe": (saga({**SUB, "probe": {}}), "is a saga of its own and has probe, which only"),
    "sub-saga with a heartbeat": (
        saga({**SUB, "heartbeat_timeout_s": 5}),
        "is a saga of its own and has heartbeat_timeout_s, which only a call",
    ),
    "sub-saga with an undo of its own": (
        saga({**SUB, "compensation": {"action": {"http": {}}}}),
        "is a saga of its own, whose compensation takes it back; remove the compensation's action",
    ),
    "sub-saga undone after its failure": (
        saga({**SUB, "compensation": {"after_failure": True}}),
        "is a saga of its own, which takes itself back when it fails; leave out after_failure",
    ),
    "sub-saga that only reads": (
        saga({**SUB, "kind": "read_only"}),
        "step 'a': is a saga of its own and read_only; make it compensatable",
    ),
    "sub-saga that cannot be taken back": (
        saga({**SUB, "sub_saga": {"saga": saga(PIVOT)}}),
        "is a saga with a pivot, 'p', so it cannot be taken back; make it the pivot, or retriable after it",
    ),
    "sub-saga that waits for locks": (
        saga({**SUB, "sub_saga": {"saga": saga(locks=[{"key": "room"}])}}),
        "is the saga 's', whose locks are waited for while .*declare the locks on the outermost saga",
    ),
    "sub-saga that is none": (
        saga({**SUB, "sub_saga": {"saga": saga(steps=[])}}),
        "saga 's' has no steps",
    ),
    "sub-saga without a name": (
        saga({**SUB, "sub_saga": {"saga": {"steps": [STEP]}}}),
        r"steps\[0\]\.sub_saga\.saga lacks 'saga'; add it",
    ),
    "sub-sagas too deep": (nested(5), "the document nests sagas more than 4 deep; make it flatter"),
    "sub-sagas deeper than Python counts": (nested(100_000), "nests sagas more than 4 deep; make it flatter"),
    "sub-sagas too large": (
        saga(
            *(
                {"name": f"s{n}", "sub_saga": {"saga": saga(*({"name": f"t{m}"} for m in range(100)))}}
                for n in range(5)
            )
        ),
        "the document has 505 steps with its sub-sagas; the most is 500",
    ),
    "alternative to nothing": (
        saga(STEP, {"name": "b", "alternative_to": "z"}),
        "step 'b' is after 'z', which is no step of this saga; the steps are a, b",
    ),
    "alternative to itself": (saga({"name": "a", "alternative_to": "a"}), "in a circle: a after a"),
    "alternative listed first": (saga(alternative(), STEP), "step 'b' is listed before 'a'.*swap them"),
    "alternative listed after what needs its step": (
        saga(STEP, {"name": "c", "after": ["a"]}, alternative()),
        "step 'c' is listed before 'b', the alternative to 'a', which must precede it; swap them",
    ),
    "two alternatives": (
        saga(STEP, alternative(), {**alternative(), "name": "c"}),
        "step 'b': 'a' has another alternative, 'c'; keep one",
    ),
    "alternative to an alternative": (
        saga(STEP, alternative(), {"name": "c", "alternative_to": "b"}),
        "step 'c': is the alternative to 'b', which is one itself; an alternative has none",
    ),
    "alternative to the pivot": (
        saga(PIVOT, {"name": "b", "kind": "retriable", "alternative_to": "p"}),
        "step 'b': is the alternative to 'p', and one of them is the pivot; a pivot has none",
    ),
    "alternative to an optional step": (
        saga({"name": "a", "optional": True}, alternative()),
        "step 'b': is the alternative to 'a', and one of them is optional; make both required",
    ),
    "needing the alternative": (
        saga(STEP, alternative(), {"name": "c", "after": ["b"]}),
        "step 'b': step 'c' is after it; name 'a', for which it stands in",
    ),
    "alternative after the pivot only": (
        saga(STEP, alternative(kind="retriable"), PIVOT),
        "the order runs in a circle: b after p after b; let an alternative need only what its step needs",
    ),
    "alternative that needs what needs its step": (
        saga(STEP, {"name": "c", "after": ["a"]}, alternative(after=["c"])),
        "the order runs in a circle: .*; let an alternative need only what its step needs",
    ),
    "savepoint after the pivot": (
        saga(PIVOT, {"name": "r", "kind": "retriable", "savepoint": True}),
        "step 'r': is a savepoint at or after the pivot, where nothing is taken back; move it before",
    ),
    "savepoint at the pivot": (saga({**PIVOT, "savepoint": True}), "is a savepoint at or after the pivot"),
    "savepoint that may not run": (
        saga({"name": "a", "savepoint": True, "optional": True}),
        "step 'a': is a savepoint and may not run at all; mark a step that always runs",
    ),
    "savepoint that is an alternative": (
        saga(STEP, alternative(savepoint=True)),
        "step 'b': is a savepoint and may not run at all",
    ),
    "forward without an alternative": (
        saga({"name": "a", **FORWARD}),
        r"step 'a': on_failure\.unknown: FORWARD_RECOVERY needs a step that is 'alternative_to' this one;",
    ),
    "back without a savepoint": (
        saga({"name": "a", **ROLL}),
        r"on_failure\.permanent: ROLLBACK_TO_SAVEPOINT needs a step with 'savepoint: true' that may",
    ),
    "back to a later savepoint": (
        saga({"name": "a", **ROLL}, {"name": "b", "savepoint": True, "after": ["a"]}),
        "ROLLBACK_TO_SAVEPOINT needs a step with 'savepoint: true' that may come before; mark one",
    ),
    "back to itself": (
        saga({"name": "a", "savepoint": True, **ROLL}),
        "ROLLBACK_TO_SAVEPOINT needs a step with 'savepoint: true' that may come before",
    ),
    "back from the pivot": (
        saga({"name": "a", "savepoint": True}, {**PIVOT, **ROLL}),
        "ROLLBACK_TO_SAVEPOINT ends at the pivot; nothing is taken back from there on",
    ),
    "back from behind the pivot": (
        saga({"name": "a", "savepoint": True}, PIVOT, {"name": "r", "kind": "retriable", **ROLL}),
        "step 'r': on_failure.permanent: ROLLBACK_TO_SAVEPOINT ends at the pivot",
    ),
    "back from an optional step": (
        saga({"name": "a", "savepoint": True}, {"name": "b", "optional": True, **ROLL}),
        "ROLLBACK_TO_SAVEPOINT never applies to an optional step, without which the run goes on",
    ),
    "unknown strategy": (
        saga({"name": "a", "on_failure": {"transient": "HOPE"}}),
        r"on_failure\.transient is 'HOPE'; it must be one of STANDARD_COMPENSATION, ",
    ),
    "hedge without a key": (
        saga({"name": "a", "freedom": {"hedge_delay_s": [1, 2]}}),
        r"step 'a': freedom\.hedge_delay_s needs an idempotent step, which a hedge may call twice; leave it",
    ),
    "hedge bounds reversed": (
        saga({"name": "a", "idempotent": True, "freedom": {"hedge_delay_s": [2, 1]}}),
        r"freedom\.hedge_delay_s is \[2\.0, 1\.0\], which holds nothing; put the lower bound first",
    ),
    "endless delay of the launch": (
        saga(freedom={"launch": {"wait_s_max": math.inf}}),
        r"freedom\.launch\.wait_s_max is inf; it must be at least 0",
    ),
    "negative retry budget": (saga(retry_budget=-1), "retry_budget is -1; it must be at least 0"),
    "fraction of a retry budget": (
        saga(retry_budget=1.5),
        r"retry_budget is 1\.5; it must be a whole number",
    ),
    "too many rollbacks": (saga(rollbacks_max=101), "rollbacks_max is 101; it must be .* at most 100"),
    "too many locks": (
        saga(locks=[{"key": f"k{n}"} for n in range(17)]),
        "saga 's' has 17 locks; the most is 16",
    ),
    "nameless lock": (saga(locks=[{"key": ""}]), "a lock's key is empty; name the resource, such as 'room-"),
    "long lock": (
        saga(locks=[{"key": "x" * 257}]),
        r"the lock 'x+'\.\.\. has 257 characters; the most is 256",
    ),
    "lock twice": (
        saga(locks=[{"key": "k"}, {"key": "k", "when_held": "wait"}]),
        "the lock 'k' is declared twice; once is enough",
    ),
    "lock on an output": (
        saga(locks=[{"key": "k-${steps.a.output.id}"}]),
        "refers to step 'a'; locks are taken before any step, so refer to the input only",
    ),
    "lock on a bad reference": (
        saga(locks=[{"key": "k-${room}"}]),
        r"the lock 'k-\$\{room\}': \$\{room\} is no usable reference",
    ),
    "lock with an odd way": (
        saga(locks=[{"key": "k", "when_held": "fight"}]),
        r"locks\[0\]\.when_held is 'fight'; it must be one of wait, reject, queue",
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


LEGAL: dict[str, Any] = {
    "four sagas in one another": nested(4),
    "every word for a timeout": saga(
        {"name": "a", "idempotent": True, "on_timeout": "RETRY"},
        {"name": "b", "optional": True, "on_timeout": "SKIP", "skip_loss": 3},
        {"name": "c", "kind": "read_only", "on_timeout": "RETRY"},
        {**PIVOT, "idempotent": True, "on_timeout": "RETRY"},
        {"name": "r", "kind": "retriable", "on_timeout": "COMPENSATE"},
    ),
    "a probe of the pivot": saga({**PIVOT, "probe": {"action": {"http": {"body": "${input.id}"}}}}),
    "an approval after the pivot": saga(PIVOT, approval(kind="retriable", after=["p"])),
    "an approval instead of a check": saga(STEP, {**alternative(kind="read_only"), "approval": {}}),
    "a saga with a pivot as the pivot": saga({**PIVOT, "sub_saga": {"saga": saga(PIVOT)}}),
    "a saga whose locks reject": saga(
        {**SUB, "sub_saga": {"saga": saga(locks=[{"key": "room", "when_held": "reject"}])}}
    ),
    "back to a savepoint beside it": saga({"name": "a", "savepoint": True}, {"name": "b", **ROLL}),
    "an alternative after the pivot": saga(
        PIVOT,
        {"name": "a", "kind": "retriable", "after": ["p"]},
        {**alternative(kind="retriable")},
    ),
    "a savepoint before what may not be undone": saga(
        {"name": "a", "savepoint": True}, {"name": "r", "kind": "retriable", "compensation": {}}, PIVOT
    ),
}


@pytest.mark.parametrize("what", LEGAL)
def test_what_the_rules_leave_alone(what: str) -> None:
    """Next to each refusal lies a definition that is legal."""
    assert read_saga(LEGAL[what]).name == "s"


def in_python(**fields: Any) -> Saga:
    return Saga(name="s", steps=(Step(name="a", **fields.pop("step", {})),), **fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"retry_budget": True}, "retry_budget is True; it must be a whole number"),
        ({"rollbacks_max": 1.0}, r"rollbacks_max is 1\.0; it must be a whole number"),
        ({"deadline_s": "soon"}, "deadline_s is 'soon'; it must be a number"),
        ({"step": {"cost": True}}, "step 'a': cost is True; it must be a number"),
        ({"step": {"retry": RetryPolicy(maximum_attempts=2.5)}}, r"is 2\.5; it must be a whole"),  # type: ignore[arg-type]
        ({"step": {"breaker": Breaker(probes=True)}}, r"breaker\.probes is True; it must be a whole"),
        ({"step": {"breaker": Breaker(failure_threshold=1.5)}}, r"failure_threshold is 1\.5; it"),  # type: ignore[arg-type]
        (
            {"step": {"freedom": StepFreedom(maximum_attempts=(1, 3.5))}},  # type: ignore[arg-type]
            r"freedom\.maximum_attempts is \[1, 3\.5\]; they must be whole numbers",
        ),
        (
            {"step": {"kind": Kind.RETRIABLE, "compensation": Compensation(cost=math.nan)}},
            r"compensation\.cost is nan",
        ),
    ],
    ids=repr,
)
def test_python_gets_no_more_past_the_rules(fields: dict[str, Any], words: str) -> None:
    """What a document could not even say is refused when it is built in Python."""
    with pytest.raises(SagaRefused, match=words):
        in_python(**fields)


def test_python_nests_no_deeper_than_a_document() -> None:
    """Five sagas in one another, and five hundred and one steps over all of them, are refused."""
    with pytest.raises(SagaRefused, match="step 'a': nests sagas more than 4 deep; make it flatter"):
        in_python(step={"sub_saga": SubSaga(saga=read_saga(nested(4)))})
    inner = read_saga(saga(*({"name": f"s{n}"} for n in range(500))))
    with pytest.raises(SagaRefused, match="saga 's' has 501 steps with its sub-sagas; the most is 500"):
        in_python(step={"sub_saga": SubSaga(saga=inner)})
