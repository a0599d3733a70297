"""Where a saga does something else than the state machine that it was made from, in words for its owner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sagacity_data.converters.asl_paths import Work
from sagacity_data.converters.asl_services import called
from sagacity_data.converters.asl_states import State
from sagacity_data.converters.asl_undos import Undos, takes_back


def differences(works: Sequence[Work], undos: Undos, bare: Sequence[State], pivot: int | None) -> list[str]:
    """What runs otherwise. `bare` are compensatable steps without an undo, `pivot` the pivot's place."""
    notes = []
    if bare:
        names = _listed(bare)
        notes.append(f"nothing undoes {names}: in a run that turns back the undo is empty")
    if loose := _uncaught(works, undos, len(works) if pivot is None else pivot):
        notes.append(
            f"a failure of {_listed(loose)} leads to no undo in Step Functions: here the run turns back"
        )
    if pivot is not None:
        notes.append(
            f"{works[pivot].state.name!r} is the pivot: when nobody knows whether it took effect, a person "
            "is asked, where Step Functions undoes the rest"
        )
    notes += [note for work in works for note in _of_state(work.state)]
    if _in_another_order(works, undos):
        notes.append("some Catch undoes in another order: here undos go in reverse start order")
    return notes


def _listed(states: Sequence[State]) -> str:
    return ", ".join(repr(state.name) for state in states)


def _uncaught(works: Sequence[Work], undos: Undos, until: int) -> list[State]:
    """Steps after the first one with an undo, and before the pivot, whose failure leads to no undo."""
    first = next((place for place, work in enumerate(works) if work.state.name in undos.of), until)
    return [work.state for work in works[first + 1 : until] if not takes_back(work, undos)]


def _of_state(state: State) -> Iterator[str]:
    service, action = called(str(state.told.get("Resource", "")))
    if state.type == "Map":
        yield f"the Map {state.name!r} is one step for all its items, tried again as a whole"
    elif service.endswith(("states", "sfn")) and action.startswith("startExecution"):
        yield f"{state.name!r} runs another state machine: make that a sub_saga"
    elif action.endswith("waitForTaskToken"):
        yield f"{state.name!r} waits for a callback: its action must wait for it, too"


def _in_another_order(works: Sequence[Work], undos: Undos) -> bool:
    place = {work.state.name: place for place, work in enumerate(works)}
    links = undos.links
    for work in works:
        for back in work.backs:
            undone_at = [place[links[task.name]] for task in back.tasks if task.name in links]
            if undone_at != sorted(undone_at, reverse=True):
                return True
    return False
