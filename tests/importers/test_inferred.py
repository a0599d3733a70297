"""Definitions inferred from history: order, kinds and numbers as they were seen, and names that are legal."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from sagacity_data import AttemptOutcome, replayed
from sagacity_data.importers.foreign_runs import ForeignAttempt, ForeignRun, rows_of
from sagacity_data.inferred import infer_sagas, sagas_of, with_definitions, with_features
from sagacity_data.rows import AttemptRow, Row
from sagacity_data.saga_evidence import SagaEvidence
from sagacity_data.taxonomy import default_taxonomy
from sagacity_engine import Direction, Kind, Saga, Status, author_plan, check, read_saga, saga_document

T0 = 1_700_000_000.0
UNDO, FAILED, OPEN = Direction.UNDO, AttemptOutcome.FAILED, AttemptOutcome.OPEN


def tried(
    step: str,
    start: float | None = None,
    end: float | None = None,
    outcome: AttemptOutcome = AttemptOutcome.SUCCEEDED,
    **more: object,
) -> ForeignAttempt:
    """An attempt from `start` to `end`, in seconds after the run's launch."""
    return ForeignAttempt(
        step=step,
        outcome=outcome,
        started_at=None if start is None else T0 + start,
        ended_at=None if end is None else T0 + end,
        **more,  # type: ignore[arg-type]  # each test gives what it needs
    )


def rows(*runs: Sequence[ForeignAttempt], saga: str = "trip") -> list[Row]:
    """The rows of runs of one saga type."""
    found: list[Row] = []
    for number, attempts in enumerate(runs):
        run = ForeignRun(
            run_id=f"{saga}-{number}",
            saga=saga,
            status=Status.COMPLETED,
            attempts=tuple(attempts),
            launch_at=T0,
        )
        found += rows_of(run, "test", default_taxonomy())
    return found


def inferred(*runs: Sequence[ForeignAttempt]) -> Saga:
    (saga,) = infer_sagas(rows(*runs)).values()
    return saga


def arcs(saga: Saga) -> dict[str, set[str]]:
    return {step.name: set(step.after) for step in saga.steps}


def test_steps_in_turn_come_after_each_other() -> None:
    """Three steps one after the other give a chain, without the arc that the chain implies."""
    saga = inferred([tried("a", 0, 1), tried("b", 1, 2), tried("c", 2, 3)])
    assert saga.names == ("a", "b", "c")
    assert arcs(saga) == {"a": set(), "b": {"a"}, "c": {"b"}}


def test_one_overlap_frees_two_steps_of_each_other() -> None:
    """Two steps that were in turn in one run and overlapped in another depend on neither other."""
    saga = inferred(
        [tried("a", 0, 1), tried("b", 1, 2), tried("c", 2, 3), tried("d", 3, 4)],
        [tried("a", 0, 1), tried("c", 1, 3), tried("b", 2, 4), tried("d", 4, 5)],
    )
    assert arcs(saga) == {"a": set(), "b": {"a"}, "c": {"a"}, "d": {"b", "c"}}


def test_an_overlap_with_what_never_ended_counts() -> None:
    """A step that is still open when another starts is not before it."""
    saga = inferred([tried("a", 0, outcome=OPEN), tried("b", 1, 2)])
    assert arcs(saga) == {"a": set(), "b": set()}


def test_a_retried_step_has_settled_with_its_first_success() -> None:
    """What starts before a retry is not after the step; what a loop repeats later frees nothing."""
    retried = [tried("a", 0, 1, FAILED), tried("b", 2, 3), tried("a", 4, 5, attempt=2)]
    assert arcs(inferred(retried)) == {"a": set(), "b": set()}
    repeated = [tried("a", 0, 1), tried("b", 2, 3), tried("a", 4, 5, attempt=2)]
    assert arcs(inferred(repeated)) == {"a": set(), "b": {"a"}}


def test_without_times_the_order_of_the_history_counts() -> None:
    """Steps without times are in turn as listed, unless some run lists them the other way round."""
    assert arcs(inferred([tried("a"), tried("b"), tried("c")])) == {"a": set(), "b": {"a"}, "c": {"b"}}
    both = inferred([tried("a"), tried("b"), tried("c")], [tried("b"), tried("a"), tried("c")])
    assert arcs(both) == {"a": set(), "b": set(), "c": {"a", "b"}}


def test_times_win_over_the_order_of_the_history() -> None:
    """Where any run has both times they decide, whatever runs without times list."""
    saga = inferred([tried("a", 0, 5), tried("b", 1, 2)], [tried("a"), tried("b")])
    assert arcs(saga) == {"a": set(), "b": set()}


def test_instantaneous_steps_of_one_moment_stand_as_listed() -> None:
    """Steps that begin and end at one instant come after each other as the history lists them."""
    assert arcs(inferred([tried("b", 3, 3), tried("a", 3, 3)])) == {"b": set(), "a": {"b"}}


def test_branches_that_never_met_are_independent() -> None:
    """Steps of different branches have no order between them; both follow what came before."""
    saga = inferred([tried("a", 0, 1), tried("left", 1, 2)], [tried("a", 0, 1), tried("right", 1, 2)])
    assert arcs(saga) == {"a": set(), "left": {"a"}, "right": {"a"}}


def test_a_circle_over_runs_that_never_met_is_broken() -> None:
    """Orders of different runs that contradict each other in a circle still give a legal definition."""
    saga = inferred(
        [tried("a", 0, 1), tried("b", 1, 2)],
        [tried("b", 0, 1), tried("c", 1, 2)],
        [tried("c", 0, 1), tried("a", 1, 2)],
    )
    assert saga.names == ("a", "b", "c")
    assert arcs(saga) == {"a": set(), "b": {"a"}, "c": {"b"}}


def test_kinds_follow_from_undos() -> None:
    """A step that some run undid is compensatable with the undo's numbers, any other is retriable."""
    saga = inferred(
        [tried("book", 0, 1), tried("pay", 1, 2, FAILED), tried("book", 2, 3, direction=UNDO, timeout_s=7.0)],
        [tried("book", 0, 1), tried("pay", 1, 2)],
    )
    book, pay = saga.steps
    assert (book.kind, pay.kind) == (Kind.COMPENSATABLE, Kind.RETRIABLE)
    assert book.compensation is not None
    assert book.compensation.start_to_close_timeout_s == 7.0
    assert pay.compensation is None


def test_numbers_are_the_most_frequent_ones_seen() -> None:
    """Service, timeout and attempts are modes; without any told, what was seen would have fitted."""
    told = [
        [tried("a", 0, 1, service=service, timeout_s=timeout, maximum_attempts=most)]
        for service, timeout, most in (("x", 5.0, 4), ("y", 5.0, 2), ("y", 60.0, 4))
    ]
    (step,) = inferred(*told).steps
    assert (step.service, step.start_to_close_timeout_s, step.retry.maximum_attempts) == ("y", 5.0, 4)
    seen = [tried("a", 0, 1, FAILED), tried("a", 2, 102, attempt=2)]
    (step,) = inferred(seen).steps
    assert (step.service, step.start_to_close_timeout_s, step.retry.maximum_attempts) == ("a", 100.0, 2)


def test_names_become_legal_and_stay_apart() -> None:
    """Any text becomes a legal name; names that would become equal are marked; rows get the same names."""
    names = ["Create Fine", "pay/card", "pay card", "ok_name", "…", "x" * 300]
    history = rows([tried(name, place, place + 1) for place, name in enumerate(names)], saga="road fines")
    sagas = infer_sagas(history)
    saga = sagas["road fines"]
    assert saga.name == "road_fines"
    first, card, other, fine, odd, long = saga.names
    assert (first, fine, odd, long) == ("Create_Fine", "ok_name", "unnamed", "x" * 128)
    assert card.startswith("pay_card-")
    assert other.startswith("pay_card-")
    assert card != other
    defined = with_definitions(history, sagas)
    assert [row.step for row in defined if isinstance(row, AttemptRow)] == list(saga.names)
    assert {row.saga for row in defined} == {"road_fines"}
    assert {row.definition_hash for row in defined} == {saga.definition_hash}


def test_rows_that_have_a_definition_are_left_alone() -> None:
    """Neither are they inferred from nor changed; the same holds for steps that a definition lacks."""
    history = rows([tried("a", 0, 1)])
    defined = with_definitions(history, infer_sagas(history))
    assert infer_sagas(defined) == {}
    assert with_definitions(defined, infer_sagas(history)) == defined
    stranger = rows([tried("b", 0, 1)])
    assert with_definitions(stranger, infer_sagas(history))[0] == stranger[0]


def test_inferred_definitions_let_history_be_replayed() -> None:
    """Replay gives imported attempts the features of their launch once they have a definition."""
    history = rows([tried("charge it", 0, 1, FAILED), tried("charge it", 1, 3, attempt=2)])
    sagas = infer_sagas(history)
    by_hash = {saga.definition_hash: saga for saga in sagas.values()}
    with_features = replayed(with_definitions(history, sagas), by_hash)
    assert [bool(row.features) for row in with_features if isinstance(row, AttemptRow)] == [True, True]


def test_features_that_were_recorded_stay() -> None:
    """Launches without features get some, those that have theirs keep them, and all rows stay in place."""
    history = rows([tried("a", 0, 1)], [tried("a", 5, 6)])
    recorded = [
        replace(row, features={"weekday": 3.0})
        if isinstance(row, AttemptRow) and row.run_id == "trip-1"
        else row
        for row in history
    ]
    ready = [row for row in with_features(recorded, {}) if isinstance(row, AttemptRow)]
    assert [row.run_id for row in ready] == ["trip-0", "trip-1"]
    assert "weekday" in ready[0].features
    assert len(ready[0].features) > 1
    assert ready[1].features == {"weekday": 3.0}


def test_the_order_of_rows_does_not_matter() -> None:
    """Rows in any order give the same definitions."""
    history = rows(
        [tried("a", 0, 1), tried("b", 1, 2), tried("c", 1.5, 3)], [tried("a", 0, 2), tried("c", 2, 3)]
    )
    shuffled = list(history)
    random.Random(7).shuffle(shuffled)
    assert infer_sagas(shuffled) == infer_sagas(history)


def test_evidence_of_two_files_joins_into_one() -> None:
    """Evidence gathered apart and joined gives what evidence gathered at once gives."""
    runs = [[tried("a", 0, 1), tried("b", 1, 2)], [tried("c", 0, 1), tried("b", 0, 2), tried("a", 2, 3)]]
    whole = SagaEvidence()
    parts = SagaEvidence(), SagaEvidence()
    parts = parts[0], SagaEvidence(parts[0].bits)
    for part, run in zip(parts, runs, strict=True):
        whole.add(rows(run))
        part.add(rows(run))
    parts[0].join(parts[1])
    assert sagas_of(parts[0]) == sagas_of(whole)


def test_too_many_steps_and_arcs_stay_legal() -> None:
    """Beyond 500 steps the rarest are left out; beyond 5,000 dependencies the steps are put in one line."""
    many = inferred(
        [tried(f"s{number:04}", number, number + 1) for number in range(600)], [tried("s0599", 0, 1)]
    )
    assert len(many.steps) == 500
    assert "s0599" in many.names
    wide = [tried(f"a{number:03}", 0, 1) for number in range(100)]
    wide += [tried(f"b{number:03}", 1, 2) for number in range(100)]
    line = inferred(wide)
    assert [step.after for step in line.steps[1:]] == [(name,) for name in line.names[:-1]]


@pytest.mark.parametrize("seed", range(40))
def test_any_history_gives_a_legal_definition(seed: int) -> None:
    """Random attempts, with and without times, give a definition that reads back and whose plan is legal."""
    rng = random.Random(seed)
    runs = []
    for _ in range(rng.randrange(1, 8)):
        attempts = []
        for _ in range(rng.randrange(1, 15)):
            start = rng.choice([None, rng.randrange(20)])
            end = None if start is None or rng.random() < 0.2 else start + rng.randrange(5)
            outcome, direction = rng.choice(list(AttemptOutcome)), rng.choice(list(Direction))
            timeout_s = rng.choice([None, 0.0, 1e300, 3.5])
            step = rng.choice(["a", "b b", "b_b", "c", "", "é"])
            attempts.append(tried(step, start, end, outcome, direction=direction, timeout_s=timeout_s))
        runs.append(attempts)
    saga = inferred(*runs)
    assert read_saga(saga_document(saga)) == saga
    assert check(author_plan(saga), saga) == ()
