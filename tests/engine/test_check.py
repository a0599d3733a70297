"""`check` is the only gate: it accepts a plan exactly when the rules, stated again slowly, do."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagacity_engine.errors import PlanRefused
from sagacity_engine.parts import (
    Approval,
    Breaker,
    Compensation,
    Kind,
    LaunchFreedom,
    SagaFreedom,
    StepFreedom,
)
from sagacity_engine.plan import Plan, StepPlan, author_plan, check, require_legal
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, OnTimeout, Strategy


@st.composite
def sagas(draw: st.DrawFn) -> Saga:
    """Definitions of up to six steps with every kind, some freedoms and some bounds."""
    count = draw(st.integers(1, 6))
    pivot = draw(st.integers(-1, count - 1))
    steps: list[Step] = []
    for number in range(count):
        names = [step.name for step in steps if not step.alternative_to]
        before = tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=3))) if names else ()
        early = pivot < 0 or number < pivot
        kind = draw(st.sampled_from([Kind.COMPENSATABLE, Kind.READ_ONLY])) if early else Kind.RETRIABLE
        undo = Compensation() if kind is Kind.RETRIABLE and draw(st.booleans()) else None
        idempotent = draw(st.booleans())
        step = Step(
            name=f"s{number}",
            kind=Kind.PIVOT if number == pivot else kind,
            after=before,
            idempotent=idempotent,
            compensation=None if number == pivot else undo,
            breaker=draw(st.sampled_from([None, None, Breaker()])),
            on_failure=draw(
                st.sampled_from([None, None, OnFailure(transient=Strategy.RETRY_WITH_COMPENSATION)])
            ),
            freedom=StepFreedom(
                start_to_close_timeout_s=draw(st.sampled_from([None, (5.0, 20.0)])),
                maximum_attempts=draw(st.sampled_from([None, (1, 4)])),
                hedge_delay_s=draw(st.sampled_from([None, *[(0.5, 2.0)] * 3])) if idempotent else None,
            ),
        )
        if number != pivot:
            step = draw(turned(step, steps, pivot, early=early))
        steps.append(step)
    flags = {
        name: draw(st.booleans())
        for name in ("reorder", "parallel", "timeouts", "retries", "breakers", "compensation")
    }
    launch = LaunchFreedom(wait_s_max=draw(st.sampled_from([0.0, 30.0])))
    return Saga(name="s", steps=tuple(steps), freedom=SagaFreedom(**flags, launch=launch))


@st.composite
def turned(draw: st.DrawFn, step: Step, steps: list[Step], pivot: int, *, early: bool) -> Step:
    """The step as it is, or optional, a savepoint, an approval, a saga, or another's alternative."""
    replaced = {other.alternative_to for other in steps}
    replaced |= {before for other in steps for before in other.after}  # An alternative comes before those.
    free = [
        other.name
        for number, other in enumerate(steps)
        if not (other.optional or other.alternative_to or number == pivot or other.name in replaced)
        and early == (pivot < 0 or number < pivot)
    ]
    match draw(st.sampled_from(["plain", "plain", "optional", "savepoint", "approval", "alternative"])):
        case "optional":
            return replace(step, optional=True)
        case "savepoint" if early:
            return replace(step, savepoint=True)
        case "approval" if step.compensation is None:
            return Step(name=step.name, kind=step.kind, after=step.after, approval=Approval())
        case "alternative" if free:
            return replace(step, after=(), alternative_to=draw(st.sampled_from(free)))
        case _:
            return step


BREAKERS: list[Any] = [
    Breaker(),
    Breaker(failure_threshold=2, open_s=5, probes=3),
    Breaker(failure_threshold=True),
    Breaker(failure_threshold=0),
    Breaker(failure_threshold=10**30),
    Breaker(failure_threshold=2.5),  # type: ignore[arg-type]  # hostile on purpose
    Breaker(open_s=math.nan),
    Breaker(open_s=math.inf),
    Breaker(open_s=0.0),
    Breaker(open_s=True),
    Breaker(probes=True),
    Breaker(probes=-1),
    Breaker(probes=math.nan),  # type: ignore[arg-type]  # hostile on purpose
]

VALUES: dict[str, list[Any]] = {
    "start_to_close_timeout_s": [5.0, 20.0, 20.01, math.nan, math.inf, -1, True],
    "maximum_attempts": [1, 4, 5, 0, True, 2.5],
    "maximum_interval_s": [31.0],
    "on_failure": [OnFailure.all(way) for way in Strategy] + [OnFailure(unknown=way) for way in Strategy],
    "on_timeout": [*OnTimeout, "RETRY", "SKIP", None],
    "breaker": [None, *BREAKERS],
    "hedge_delay_s": [0.5, 1, 2.0, 2.1, 0.0, math.nan, True],
    "launch_delay_s": [30.0, 30.1, 7, -1.0, math.nan, math.inf, True],
}


@st.composite
def plans(draw: st.DrawFn, saga: Saga) -> Plan:
    """Plans near the author's: some steps moved, some arcs dropped or added, up to two numbers changed."""
    plan = author_plan(saga)
    what = ["order", "arcs", *VALUES]
    varied = {draw(st.sampled_from(what)), draw(st.sampled_from([*what, *["nothing"] * len(what)]))}
    chosen = draw(st.sampled_from(plan.names))
    steps: list[StepPlan] = []
    for step in draw(st.permutations(plan.steps)) if "order" in varied else plan.steps:
        listed = tuple(each.name for each in steps)
        after = step.after
        if varied & {"order", "arcs"}:
            arcs = tuple(sorted(saga.arcs[step.name]))
            after = draw(st.sampled_from([after, arcs, listed, listed[-1:], after[1:]]))
            if draw(st.sampled_from([False, False, False, True])):
                after = tuple(sorted({*after, draw(st.sampled_from(saga.names))}))
        varying = replace(step, after=after)
        for name in sorted(varied & VALUES.keys() - {"launch_delay_s"}) if step.name == chosen else ():
            varying = changed(varying, name, draw(st.sampled_from(VALUES[name])))
        steps.append(varying)
    delay_s = draw(st.sampled_from(VALUES["launch_delay_s"])) if "launch_delay_s" in varied else 0.0
    return replace(plan, steps=tuple(steps), launch_delay_s=delay_s)


def changed(step: StepPlan, name: str, value: Any) -> StepPlan:
    if name in {field.name for field in fields(RetryPolicy)}:
        return replace(step, retry=replace(step.retry, **{name: value}))
    return replace(step, **{name: value})


def reachable(after: dict[str, set[str]]) -> dict[str, set[str]]:
    """What comes before each name, directly or not: Warshall, on sets."""
    found = {name: set(before) for name, before in after.items()}
    for middle, name in itertools.product(after, after):
        if middle in found[name]:
            found[name] |= found[middle]
    for _ in after:
        for name in after:
            found[name] |= {far for near in found[name] for far in found[near]}
    return found


def needed(saga: Saga) -> dict[str, set[str]]:
    """The arcs of a definition, restated: data, and what the pivot and alternatives add."""
    arcs = {step.name: set(step.after) for step in saga.steps}
    behind = reachable(arcs)
    pivot = next((step.name for step in saga.steps if step.kind is Kind.PIVOT), None)
    for step in saga.steps:
        if pivot is None or step.name == pivot:
            continue
        if step.kind in (Kind.COMPENSATABLE, Kind.READ_ONLY) and pivot not in behind[step.name]:
            arcs[pivot].add(step.name)
        if step.kind is Kind.RETRIABLE and step.compensation is None:
            arcs[step.name].add(pivot)
    for step in saga.steps:
        if step.alternative_to:
            for name, before in arcs.items():
                if step.alternative_to in before and name != step.name:
                    before.add(step.name)
    return arcs


def relation(behind: dict[str, set[str]], first: str, second: str) -> str:
    if first in behind[second]:
        return "before"
    return "after" if second in behind[first] else "beside"


def legal(plan: Plan, saga: Saga) -> bool:
    """The rules of a plan, stated again, slowly."""
    after = {step.name: set(step.after) for step in plan.steps}
    names = [step.name for step in plan.steps]
    if sorted(names) != sorted(step.name for step in saga.steps):
        return False
    if not any(  # Some order lets every step wait for all it names, and the listing is one.
        all(after[name] <= set(order[:place]) for place, name in enumerate(order)) for order in [names]
    ):
        return False
    if any(not before <= after[name] for name, before in needed(saga).items()):
        return False
    author = {name: set() if place == 0 else {saga.names[place - 1]} for place, name in enumerate(saga.names)}
    ours, theirs = reachable(after), reachable(author)
    for first, second in itertools.combinations(names, 2):
        mine, was = relation(ours, first, second), relation(theirs, first, second)
        if mine == was:
            continue
        turned = "beside" not in (mine, was)
        if not (saga.freedom.reorder and saga.freedom.parallel) and not (
            saga.freedom.reorder if turned else saga.freedom.parallel
        ):
            return False
    delay_s = plan.launch_delay_s
    if isinstance(delay_s, bool) or not 0 <= delay_s <= saga.freedom.launch.wait_s_max:
        return False
    return all(
        legal_numbers(step, saga) and legal_ways(step, saga) and legal_calls(step, saga)
        for step in plan.steps
    )


def legal_numbers(step: StepPlan, saga: Saga) -> bool:
    own = saga.by_name[step.name]
    timeouts = own.freedom.start_to_close_timeout_s if saga.freedom.timeouts else None
    attempts = own.freedom.maximum_attempts if saga.freedom.retries else None
    low_s, high_s = timeouts or (own.start_to_close_timeout_s,) * 2
    low, high = attempts or (own.retry.maximum_attempts,) * 2
    others = ("initial_interval_s", "backoff_coefficient", "maximum_interval_s", "non_retryable_error_types")
    return (
        type(step.start_to_close_timeout_s) is not bool
        and low_s <= step.start_to_close_timeout_s <= high_s
        and type(step.retry.maximum_attempts) is int
        and low <= step.retry.maximum_attempts <= high
        and all(getattr(step.retry, name) == getattr(own.retry, name) for name in others)
    )


def legal_ways(step: StepPlan, saga: Saga) -> bool:
    """What the plan does on failures and timeouts, restated."""
    own = saga.by_name[step.name]
    replaced = {other.alternative_to for other in saga.steps}
    usual = OnFailure.all(Strategy.FORWARD_RECOVERY) if own.name in replaced else OnFailure()
    if step.on_failure != (own.on_failure or usual) and not saga.freedom.compensation:
        return False
    ways = {getattr(step.on_failure, name) for name in ("transient", "permanent", "cascading", "unknown")}
    if Strategy.FORWARD_RECOVERY in ways and own.name not in replaced:
        return False
    behind = reachable(needed(saga))
    pivot = next((other.name for other in saga.steps if other.kind is Kind.PIVOT), None)
    savepoints = [other.name for other in saga.steps if other.savepoint and other.name != own.name]
    if Strategy.ROLLBACK_TO_SAVEPOINT in ways and (
        own.optional
        or own.name == pivot
        or pivot in behind[own.name]
        or all(own.name in behind[savepoint] for savepoint in savepoints)
    ):
        return False
    allowed = {
        None: True,
        "RETRY": own.idempotent or own.kind is Kind.READ_ONLY,
        "SKIP": own.optional,
        "COMPENSATE": own.name != pivot,
    }
    return allowed[step.on_timeout] and (step.on_timeout == own.on_timeout or saga.freedom.timeouts)


def legal_calls(step: StepPlan, saga: Saga) -> bool:
    """How the plan deals with sick services and slow calls, restated."""
    own, breaker = saga.by_name[step.name], step.breaker
    if breaker is not None and not (
        own.approval is None
        and type(breaker.failure_threshold) is int
        and breaker.failure_threshold in range(1, 1_000_001)
        and type(breaker.open_s) is not bool
        and 0 < breaker.open_s <= 10 * 366 * 86_400
        and type(breaker.probes) is int
        and breaker.probes in range(1, 1_000_001)
    ):
        return False
    if breaker != own.breaker and not saga.freedom.breakers:
        return False
    if step.hedge_delay_s is None:
        return True
    low_s, high_s = own.freedom.hedge_delay_s or (1, 0)
    return own.idempotent and type(step.hedge_delay_s) is not bool and low_s <= step.hedge_delay_s <= high_s


@pytest.mark.slow
@given(st.data())
@settings(max_examples=600)
def test_check_agrees_with_the_rules_restated(data: st.DataObject) -> None:
    """Accepted if and only if the oracle accepts; and every accepted plan runs every arc in order."""
    saga = data.draw(sagas())
    plan = data.draw(plans(saga))
    found = check(plan, saga)
    assert (found == ()) == legal(plan, saga), found
    if found == ():
        after = {step.name: set(step.after) for step in plan.steps}
        for order in itertools.islice(itertools.permutations(saga.names), 150):
            if all(after[name] <= set(order[:place]) for place, name in enumerate(order)):
                assert all(needed(saga)[name] <= set(order[:place]) for place, name in enumerate(order))


@pytest.mark.slow
@given(st.data())
@settings(max_examples=300)
def test_check_agrees_on_every_single_change(data: st.DataObject) -> None:
    """With every freedom granted, each value of each field of one step is judged as the oracle judges it."""
    saga = replace(data.draw(sagas()), freedom=FREE)
    plan = author_plan(saga)
    chosen = data.draw(st.sampled_from(plan.names))
    for name, values in VALUES.items():
        for value in values:
            if name == "launch_delay_s":
                varied = replace(plan, launch_delay_s=value)
            else:
                steps = [changed(each, name, value) if each.name == chosen else each for each in plan.steps]
                varied = replace(plan, steps=tuple(steps))
            found = check(varied, saga)
            assert (found == ()) == legal(varied, saga), (name, value, found)


@pytest.mark.slow
def test_the_plans_of_the_comparison_are_of_both_sorts() -> None:
    """Some random plans are legal though they differ in each way, and many are not: agreement counts."""
    seen: list[bool] = []
    ways: set[str] = set()

    @given(st.data())
    @settings(max_examples=1_000)
    def watch(data: st.DataObject) -> None:
        saga = data.draw(sagas())
        plan = data.draw(plans(saga))
        seen.append(check(plan, saga) == ())
        if seen[-1]:
            ways.update(differences(plan, author_plan(saga)))

    watch()
    assert 100 < sum(seen) < len(seen) - 100
    assert ways == {
        "after", "start_to_close_timeout_s", "retry", "on_failure", "on_timeout", "breaker", "hedge_delay_s",
        "launch_delay_s",
    }  # fmt: skip


def differences(plan: Plan, author: Plan) -> Iterator[str]:
    if plan.launch_delay_s != author.launch_delay_s:
        yield "launch_delay_s"
    for step in plan.steps:
        for field in fields(StepPlan):
            if getattr(step, field.name) != getattr(author.by_name[step.name], field.name):
                yield field.name


@given(sagas())
def test_the_authors_plan_is_always_legal(saga: Saga) -> None:
    """Whatever the definition, its own plan passes."""
    assert check(author_plan(saga), saga) == ()
    assert require_legal(author_plan(saga), saga) == author_plan(saga)


FREE = SagaFreedom(
    reorder=True,
    parallel=True,
    timeouts=True,
    retries=True,
    breakers=True,
    compensation=True,
    launch=LaunchFreedom(wait_s_max=60),
)
BOUNDS = StepFreedom(start_to_close_timeout_s=(1.0, 30.0), maximum_attempts=(1, 5))
SAGA = Saga(
    name="s",
    steps=(
        Step(name="a", freedom=BOUNDS),
        Step(name="b", after=("a",), freedom=BOUNDS),
        Step(name="c", idempotent=True, freedom=replace(BOUNDS, hedge_delay_s=(1.0, 5.0))),
        Step(name="ask", kind=Kind.READ_ONLY, approval=Approval()),
        Step(name="pay", kind=Kind.PIVOT, freedom=BOUNDS),
        Step(name="tell", kind=Kind.RETRIABLE, freedom=BOUNDS),
    ),
    freedom=FREE,
)
GOOD = author_plan(SAGA)


def edited(name: str, **changes: object) -> Plan:
    return replace(
        GOOD,
        steps=tuple(replace(step, **changes) if step.name == name else step for step in GOOD.steps),  # type: ignore[arg-type]  # fields by name
    )


def attempts(number: float) -> RetryPolicy:
    return RetryPolicy(maximum_attempts=number)  # type: ignore[arg-type]  # hostile on purpose


def shuffled(*names: str) -> tuple[StepPlan, ...]:
    return tuple(GOOD.by_name[name] for name in names)


HOSTILE: dict[str, tuple[Callable[[], Plan], str]] = {
    "a step dropped": (lambda: replace(GOOD, steps=GOOD.steps[1:]), "step 'a' is missing"),
    "every step dropped": (lambda: replace(GOOD, steps=()), "step 'a' is missing"),
    "a step added": (
        lambda: replace(GOOD, steps=(*GOOD.steps, replace(GOOD.steps[0], name="x"))),
        "step 'x' is not a step of the saga",
    ),
    "a step twice": (lambda: replace(GOOD, steps=(*GOOD.steps, GOOD.steps[0])), "names a step twice"),
    "another saga": (lambda: replace(GOOD, saga="t"), "the plan is for saga 't', not 's'"),
    "another definition": (lambda: replace(GOOD, definition_hash="0" * 64), "made for another definition"),
    "a step from nowhere": (lambda: edited("b", after=("a", "x")), "waits for 'x', which is no step"),
    "a step waits for itself": (lambda: edited("a", after=("a",)), "wait for each other in a circle"),
    "a circle": (lambda: edited("a", after=("b",)), "wait for each other in a circle"),
    "listed too early": (
        lambda: replace(GOOD, steps=shuffled("b", "a", "c", "ask", "pay", "tell")),
        "step 'b' is listed before 'a'",
    ),
    "a data arc dropped": (lambda: edited("b", after=()), "step 'b' no longer waits for 'a'"),
    "the pivot crossed": (
        lambda: edited("pay", after=("a", "b", "ask")),
        "step 'pay' no longer waits for 'c'",
    ),
    "a retriable step before the pivot": (
        lambda: edited("tell", after=()),
        "'tell' no longer waits for 'pay'",
    ),
    "timeout too long": (lambda: edited("a", start_to_close_timeout_s=30.1), r"is 30\.1, outside \[1, 30\]"),
    "timeout zero": (lambda: edited("a", start_to_close_timeout_s=0.0), r"is 0\.0, outside"),
    "timeout NaN": (lambda: edited("a", start_to_close_timeout_s=math.nan), "is nan, outside"),
    "timeout infinite": (lambda: edited("a", start_to_close_timeout_s=math.inf), "is inf, outside"),
    "attempts too many": (lambda: edited("a", retry=attempts(6)), r"maximum_attempts is 6, outside \[1, 5\]"),
    "attempts none": (lambda: edited("a", retry=attempts(0)), "maximum_attempts is 0"),
    "attempts NaN": (lambda: edited("a", retry=attempts(math.nan)), "maximum_attempts is nan"),
    "backoff changed": (lambda: edited("a", retry=RetryPolicy(backoff_coefficient=1e9)), "no freedom covers"),
    "attempts in fractions": (
        lambda: edited("a", retry=attempts(2.5)),
        "step 'a': maximum_attempts is 2.5, no whole number",
    ),
    "attempts of truth": (lambda: edited("a", retry=attempts(True)), "maximum_attempts is True, outside"),
    "timeout in words": (lambda: edited("a", start_to_close_timeout_s="soon"), "is 'soon', outside"),
    "forward without an alternative": (
        lambda: edited("a", on_failure=OnFailure(unknown=Strategy.FORWARD_RECOVERY)),
        "step 'a': FORWARD_RECOVERY needs a step that is 'alternative_to' this one",
    ),
    "back without a savepoint": (
        lambda: edited("a", on_failure=OnFailure.all(Strategy.ROLLBACK_TO_SAVEPOINT)),
        "step 'a': ROLLBACK_TO_SAVEPOINT needs a step with 'savepoint: true' that may come before",
    ),
    "back from the pivot": (
        lambda: edited("pay", on_failure=OnFailure.all(Strategy.ROLLBACK_TO_SAVEPOINT)),
        "step 'pay': ROLLBACK_TO_SAVEPOINT ends at the pivot",
    ),
    "back from behind the pivot": (
        lambda: edited("tell", on_failure=OnFailure.all(Strategy.ROLLBACK_TO_SAVEPOINT)),
        "step 'tell': ROLLBACK_TO_SAVEPOINT ends at the pivot",
    ),
    "retry of what is not idempotent": (
        lambda: edited("a", on_timeout=OnTimeout.RETRY),
        "step 'a': on_timeout RETRY needs an idempotent step",
    ),
    "the same in plain text": (lambda: edited("a", on_timeout="RETRY"), "RETRY needs an idempotent step"),
    "a required step skipped": (
        lambda: edited("a", on_timeout=OnTimeout.SKIP),
        "SKIP needs an optional step",
    ),
    "the pivot's timeout compensated": (
        lambda: edited("pay", on_timeout=OnTimeout.COMPENSATE),
        "on_timeout COMPENSATE never applies to the pivot",
    ),
    "a breaker that never opens": (
        lambda: edited("a", breaker=Breaker(failure_threshold=10**30)),
        "step 'a': breaker.failure_threshold is 1000.*; it must be at least 1 and at most 1e.06",
    ),
    "a breaker of truth": (lambda: edited("a", breaker=Breaker(probes=True)), "probes is True; it must be a"),
    "a breaker open for NaN": (lambda: edited("a", breaker=Breaker(open_s=math.nan)), "open_s is nan; it"),
    "a hedge nobody granted": (
        lambda: edited("a", hedge_delay_s=1.0),
        "step 'a': the plan hedges without the freedom 'hedge_delay_s' of an idempotent step",
    ),
    "a hedge too early": (lambda: edited("c", hedge_delay_s=0.1), r"hedge_delay_s is 0\.1, outside \[1, 5\]"),
    "a hedge of truth": (lambda: edited("c", hedge_delay_s=True), r"hedge_delay_s is True, outside"),
    "a breaker for a person": (
        lambda: edited("ask", breaker=Breaker()),
        "step 'ask': the plan gives a breaker to a step that calls no service",
    ),
    "a launch too late": (
        lambda: replace(GOOD, launch_delay_s=61),
        r"launch_delay_s is 61, outside \[0, 60\]",
    ),
    "a launch at NaN": (lambda: replace(GOOD, launch_delay_s=math.nan), "launch_delay_s is nan, outside"),
    "a launch before now": (lambda: replace(GOOD, launch_delay_s=-1), "launch_delay_s is -1, outside"),
    "a launch of truth": (lambda: replace(GOOD, launch_delay_s=True), "launch_delay_s is True, outside"),
    "error types changed": (
        lambda: edited("a", retry=RetryPolicy(non_retryable_error_types=("Busy",))),
        "no freedom covers",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_plans_are_refused(what: str) -> None:
    """With every freedom granted, each of these is still refused, in words that name the place."""
    make, words = HOSTILE[what]
    with pytest.raises(PlanRefused, match=words):
        require_legal(make(), SAGA)


def test_without_freedoms_only_the_authors_plan_is_legal() -> None:
    """Freedom defaults to none: any other order, number or strategy is refused."""
    saga = replace(SAGA, freedom=SagaFreedom())
    good = author_plan(saga)
    assert check(good, saga) == ()

    def with_step(name: str, **changes: object) -> Plan:
        return replace(
            good,
            steps=tuple(replace(step, **changes) if step.name == name else step for step in good.steps),  # type: ignore[arg-type]  # fields by name
        )

    strategy = OnFailure(transient=Strategy.IMMEDIATE_FULL_COMPENSATION)
    for plan, words in (
        (with_step("a", start_to_close_timeout_s=9.0), "and the author's is 10"),
        (with_step("a", retry=attempts(2)), "and the author's is 3"),
        (with_step("a", on_failure=strategy), "without the freedom 'compensation'"),
        (with_step("a", breaker=Breaker()), "the breaker without the freedom 'breakers'"),
        (with_step("a", on_timeout=OnTimeout.COMPENSATE), "on_timeout without the freedom 'timeouts'"),
        (replace(good, launch_delay_s=0.1), "launch_delay_s is 0.1, outside [0, 0]"),
        (with_step("c", after=()), "joined or separated without the freedom 'parallel'"),
    ):
        assert words in "; ".join(check(plan, saga))
