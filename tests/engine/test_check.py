"""`check` is the only gate: it accepts a plan exactly when the rules, stated again slowly, do."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagacity_engine.errors import PlanRefused
from sagacity_engine.parts import Compensation, Kind, SagaFreedom, StepFreedom
from sagacity_engine.plan import Plan, StepPlan, author_plan, check, require_legal
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, Strategy


@st.composite
def sagas(draw: st.DrawFn) -> Saga:
    """Definitions of up to six steps with every kind, some freedoms and some bounds."""
    count = draw(st.integers(1, 6))
    pivot = draw(st.integers(-1, count - 1))
    steps: list[Step] = []
    for number in range(count):
        names = [step.name for step in steps]
        before = tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=3))) if names else ()
        early = pivot < 0 or number < pivot
        kind = draw(st.sampled_from([Kind.COMPENSATABLE, Kind.READ_ONLY])) if early else Kind.RETRIABLE
        undo = Compensation() if kind is Kind.RETRIABLE and draw(st.booleans()) else None
        steps.append(
            Step(
                name=f"s{number}",
                kind=Kind.PIVOT if number == pivot else kind,
                after=before,
                compensation=None if number == pivot else undo,
                freedom=StepFreedom(
                    start_to_close_timeout_s=draw(st.sampled_from([None, (5.0, 20.0)])),
                    maximum_attempts=draw(st.sampled_from([None, (1, 4)])),
                ),
            )
        )
    flags = {
        name: draw(st.booleans()) for name in ("reorder", "parallel", "timeouts", "retries", "compensation")
    }
    return Saga(name="s", steps=tuple(steps), freedom=SagaFreedom(**flags))


@st.composite
def plans(draw: st.DrawFn, saga: Saga) -> Plan:
    """Plans near the author's: some steps moved, some arcs dropped or added, some numbers changed."""
    plan = author_plan(saga)
    order = draw(st.permutations(plan.steps)) if draw(st.booleans()) else list(plan.steps)
    steps: list[StepPlan] = []
    for step in order:
        listed = tuple(each.name for each in steps)
        after = draw(
            st.sampled_from(
                [step.after, tuple(sorted(saga.arcs[step.name])), listed, listed[-1:], step.after[1:]]
            )
        )
        if draw(st.sampled_from([False, False, False, True])):
            after = tuple(sorted({*after, draw(st.sampled_from(saga.names))}))
        timeout_s = draw(
            st.sampled_from([step.start_to_close_timeout_s] * 4 + [5.0, 20.0, 20.01, math.nan, math.inf, -1])
        )
        retry = replace(step.retry, maximum_attempts=draw(st.sampled_from([3, 3, 3, 1, 4, 5, 0])))
        if draw(st.sampled_from([False] * 9 + [True])):
            retry = replace(retry, maximum_interval_s=31.0)
        on_failure = draw(
            st.sampled_from([OnFailure()] * 4 + [OnFailure(unknown=Strategy.RETRY_WITH_COMPENSATION)])
        )
        steps.append(
            StepPlan(
                name=step.name,
                after=after,
                start_to_close_timeout_s=timeout_s,
                retry=retry,
                on_failure=on_failure,
            )
        )
    return replace(plan, steps=tuple(steps))


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
    """The arcs of a definition, restated: data, and what the pivot adds."""
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
    return all(legal_numbers(step, saga) for step in plan.steps)


def legal_numbers(step: StepPlan, saga: Saga) -> bool:
    own = saga.by_name[step.name]
    timeouts = own.freedom.start_to_close_timeout_s if saga.freedom.timeouts else None
    attempts = own.freedom.maximum_attempts if saga.freedom.retries else None
    low_s, high_s = timeouts or (own.start_to_close_timeout_s,) * 2
    low, high = attempts or (own.retry.maximum_attempts,) * 2
    others = ("initial_interval_s", "backoff_coefficient", "maximum_interval_s", "non_retryable_error_types")
    return (
        low_s <= step.start_to_close_timeout_s <= high_s
        and low <= step.retry.maximum_attempts <= high
        and all(getattr(step.retry, name) == getattr(own.retry, name) for name in others)
        and (saga.freedom.compensation or step.on_failure == OnFailure())
    )


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


def test_the_plans_of_the_comparison_are_of_both_sorts() -> None:
    """The random plans are neither all legal nor all illegal, so that agreement means something."""
    seen: list[bool] = []

    @given(st.data())
    @settings(max_examples=300)
    def watch(data: st.DataObject) -> None:
        saga = data.draw(sagas())
        seen.append(check(data.draw(plans(saga)), saga) == ())

    watch()
    assert 50 < sum(seen) < len(seen) - 50


@given(sagas())
def test_the_authors_plan_is_always_legal(saga: Saga) -> None:
    """Whatever the definition, its own plan passes."""
    assert check(author_plan(saga), saga) == ()
    assert require_legal(author_plan(saga), saga) == author_plan(saga)


FREE = SagaFreedom(reorder=True, parallel=True, timeouts=True, retries=True, breakers=True, compensation=True)
BOUNDS = StepFreedom(start_to_close_timeout_s=(1.0, 30.0), maximum_attempts=(1, 5))
SAGA = Saga(
    name="s",
    steps=(
        Step(name="a", freedom=BOUNDS),
        Step(name="b", after=("a",), freedom=BOUNDS),
        Step(name="c", freedom=BOUNDS),
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
        lambda: replace(GOOD, steps=shuffled("b", "a", "c", "pay", "tell")),
        "step 'b' is listed before 'a'",
    ),
    "a data arc dropped": (lambda: edited("b", after=()), "step 'b' no longer waits for 'a'"),
    "the pivot crossed": (lambda: edited("pay", after=("a", "b")), "step 'pay' no longer waits for 'c'"),
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
        (with_step("c", after=()), "joined or separated without the freedom 'parallel'"),
    ):
        assert words in "; ".join(check(plan, saga))
