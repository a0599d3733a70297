"""Live and replayed features agree on random histories, and the future never reaches them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from sagacity_data import AttemptOutcome, AttemptRow, LaunchFeatures, Recorder, Row, RunRow, replayed
from sagacity_engine import Direction, FailureClass, Launch, RetryPolicy, Saga, Status, Step
from sagacity_engine.advisor import author_advice
from sagacity_engine.events import AttemptStarted
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.virtual.host import Reply, VirtualHost

RETRY = RetryPolicy(initial_interval_s=4.0, maximum_attempts=3)
SAGAS = (
    Saga(
        name="one",
        steps=(
            Step(name="a", service="s", region="eu", retry=RETRY, idempotent=True),
            Step(name="b", service="t", region="us", retry=RETRY),
            Step(name="c", service="s", retry=RETRY, start_to_close_timeout_s=4.0),
        ),
    ),
    Saga(
        name="two",
        steps=(Step(name="a", service="t", retry=RETRY), Step(name="b", service="s", optional=True)),
        stages=(("a", "b"),),
    ),
)
BY_HASH = {saga.definition_hash: saga for saga in SAGAS}


@dataclass
class Moody:
    """Services whose answers are drawn from a seed: whole seconds, so that many things happen at once."""

    draw: random.Random

    def call(self, state: RunState, attempt: AttemptStarted) -> Reply:
        """Success, refusal of some class, lost reply, or an answer too late."""
        if self.draw.random() < 0.6:
            return Reply(duration_s=self.draw.choice([0.0, 1.0, 2.0, 3.5, 30.0]))
        return Reply(
            duration_s=self.draw.choice([0.0, 1.0, 2.0]),
            error_type="No",
            failure_class=self.draw.choice(list(FailureClass)),
            lost=self.draw.random() < 0.2,
        )

    def settled(self, state: RunState, attempt: AttemptStarted, at: float) -> None:
        """Nothing to do."""


def lived(seed: int, launches: list[tuple[int, int, str]]) -> tuple[list[Row], LaunchFeatures]:
    """The rows of a random history as they were recorded live, and the fold that was used."""
    draw, rows, features = random.Random(seed), list[Row](), LaunchFeatures()
    recorder = Recorder(features)
    host = VirtualHost(
        Moody(draw),
        lambda *_: draw.choice([0.0, 0.5, 1.0]),
        lambda state, event: rows.extend(recorder.observe(state, event)),
    )
    for number, (at, saga, season) in enumerate(launches):
        launch = Launch(run_id=f"r{number}", context={"season": season, "n": number}, at=float(at))
        host.launch(SAGAS[saga], launch, lambda saga, _: author_advice(saga, "no advisor"))
    host.run()
    return rows, features


HISTORIES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 1), st.sampled_from(["low", "high"])),
    min_size=1,
    max_size=12,
)


@given(seed=st.integers(0, 2**32), launches=HISTORIES, shuffle=st.randoms())
def test_replayed_features_are_the_live_ones(
    seed: int, launches: list[tuple[int, int, str]], shuffle: random.Random
) -> None:
    """Stored rows, stripped of features, shuffled and replayed, get back exactly what was recorded live."""
    live, _ = lived(seed, launches)
    assert all(row.features for row in live if isinstance(row, AttemptRow))
    stripped = [replace(row, features={}) if isinstance(row, AttemptRow) else row for row in live]
    order = list(range(len(live)))
    shuffle.shuffle(order)
    again = replayed([stripped[n] for n in order], BY_HASH)
    assert again == [live[n] for n in order]


@given(seed=st.integers(0, 2**32), launches=HISTORIES, cut=st.integers(1, 60))
def test_the_future_changes_no_feature(seed: int, launches: list[tuple[int, int, str]], cut: int) -> None:
    """What ends, starts or is launched at the cut or later can be anything: features up to the cut stay."""
    rows, _ = lived(seed, launches)
    kept = [row for row in rows if row.launch_at is not None and row.launch_at <= cut]
    others = [other for row in kept if (other := altered_after(row, cut)) is not None]
    future = future_rows(kept, cut)
    before = {key: value for key, value in features_of(rows).items() if key in keys_until(kept, cut)}
    after = features_of(replayed([*others, *future], BY_HASH))
    shared = before.keys() & after.keys()
    assert {key: after[key] for key in shared} == {key: before[key] for key in shared}


def features_of(rows: list[Row]) -> dict[tuple[str, str], object]:
    return {(row.run_id, row.step): dict(row.features) for row in rows if isinstance(row, AttemptRow)}


def keys_until(rows: list[Row], cut: int) -> set[tuple[str, str]]:
    return {(row.run_id, row.step) for row in rows if isinstance(row, AttemptRow)}


def altered_after(row: Row, cut: int) -> Row | None:
    """The row with everything that became known at the cut or later turned into something else."""
    if isinstance(row, RunRow):
        if row.ended_at is None or row.ended_at < cut:
            return row
        return replace(row, ended_at=row.ended_at + 7.0, status=Status.NEEDS_ATTENTION)
    if row.started_at is not None and row.started_at >= cut:
        return None
    if row.ended_at is None or row.ended_at < cut:
        return row
    worse = (
        AttemptOutcome.TIMED_OUT if row.outcome is not AttemptOutcome.TIMED_OUT else AttemptOutcome.SUCCEEDED
    )
    return replace(row, ended_at=row.ended_at + 7.0, outcome=worse, failure_class=None)


def future_rows(rows: list[Row], cut: int) -> list[AttemptRow]:
    """Copies of attempts as if made by runs launched at the cut, all of them failing."""
    return [
        replace(
            row,
            run_id=f"future {row.run_id}",
            launch_at=float(cut),
            started_at=float(cut),
            ended_at=float(cut),
            outcome=AttemptOutcome.LOST_REPLY,
            direction=Direction.FORWARD,
        )
        for row in rows
        if isinstance(row, AttemptRow)
    ]


@given(seed=st.integers(0, 2**32), launches=HISTORIES)
def test_a_restored_fold_goes_on_alike(seed: int, launches: list[tuple[int, int, str]]) -> None:
    """After any history, the snapshot as JSON gives a fold with the same features."""
    _, features = lived(seed, launches)
    restored = LaunchFeatures.restore(json.loads(json.dumps(features.snapshot())))
    for saga in SAGAS:
        assert restored.features(saga, {}, 1_000.0) == features.features(saga, {}, 1_000.0)


def test_definitions_that_are_not_given_get_no_features() -> None:
    """Rows of a definition that replay does not know stay without features, and still count as history."""
    rows, _ = lived(3, [(0, 0, "low"), (50, 1, "low")])
    again = replayed(rows, {SAGAS[1].definition_hash: SAGAS[1]})
    told = {row.saga: row.features for row in again if isinstance(row, AttemptRow)}
    assert told["one"] == {}
    live = [row for row in rows if isinstance(row, AttemptRow) and row.saga == "two"]
    assert [row for row in again if isinstance(row, AttemptRow) and row.saga == "two"] == live
