"""Which state of a state machine undoes which step, recovered from its Catch chains.

Step Functions has no compensations, only ways back: the Catch of a late step leads over `CancelB` and
`CancelA` to a Fail. Two things tell which cancels which. A name that takes back one step's name counts,
unless that step comes after every Catch that leads there. Where names are silent, the entries tell: a state
that only the Catch of the third step and later ones lead to undoes the third step (in machines where a failed
step is cleaned up itself) or the second (in those where only what succeeded is). Names elsewhere in the
machine say which of the two it is, else whether the first step's own Catch undoes anything. If one chain is
entered by all, it takes back the steps in reverse, provided that there are as many of either.

A message to somebody (`SendingSMSFailure`, anything for SNS) undoes nothing. What stays in doubt is noted and
left out, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sagacity_data.converters.asl_paths import MainWay, WayBack, Work, main_way
from sagacity_data.converters.asl_services import called
from sagacity_data.converters.asl_states import State, read_machine
from sagacity_data.importers.compensations import UndoNames

_TELLING_SERVICES: Final = frozenset({"sns", "ses", "sesv2", "events", "logs", "cloudwatch", "chatbot"})
_TELLING_WORDS: Final = frozenset(
    {"alert", "announce", "email", "emit", "fail", "handle", "inform", "log", "mail", "mark", "message"}
    | {"notify", "page", "publish", "record", "report", "send", "sending", "sms", "tell", "warn"}
)
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(slots=True, eq=False)
class Undos:
    """What undoes what, by the names of states; `notes` say what stayed in doubt."""

    of: dict[str, State] = field(default_factory=dict)  # The undoing state, by the step that it undoes.
    notes: list[str] = field(default_factory=list)

    @property
    def links(self) -> dict[str, str]:
        """The step undone, by the name of the state that undoes it."""
        return {state.name: step for step, state in self.of.items()}


def undo_links(document: object) -> Mapping[str, str]:
    """The steps that states of a definition undo, by the states' names. Raises `ConvertRefused`."""
    machine, _ = read_machine(document, "definition")
    return undos_of(main_way(machine, "definition", undone)).links


def undone(name: str, steps: Iterable[str]) -> str | None:
    """The one of `steps` that a state called `name` undoes, by its name."""
    return UndoNames(steps).undone_by(name)


def undos_of(way: MainWay) -> Undos:
    """What undoes the steps of a main way."""
    return _Recovery(way).undos()


def takes_back(work: Work, undos: Undos) -> bool:
    """Whether a failure of the step leads to any undo."""
    undoing = {state.name for state in undos.of.values()}
    return any(task.name in undoing for back in work.backs for task in back.tasks)


class _Recovery:
    """The steps, by place, and the states on ways back that may undo them."""

    def __init__(self, way: MainWay) -> None:
        self._works = way.works
        self._place = {work.state.name: place for place, work in enumerate(way.works)}
        self._entered: dict[str, list[int]] = {}  # By state on ways back: the places they are entered from.
        self._states: dict[str, State] = {}
        for place, work in enumerate(way.works):
            for task in _tasks(work.backs):
                self._states[task.name] = task
                self._entered.setdefault(task.name, []).append(place)
        self._undos = Undos()

    def undos(self) -> Undos:
        self._by_name()
        silent = [name for name in self._states if not self._placed(name) and not _tells(self._states[name])]
        groups: dict[tuple[int, int], list[str]] = {}
        for name in silent:
            entered = self._entered[name]
            groups.setdefault((entered[0], entered[-1]), []).append(name)
        cleans_itself = self._cleans_itself(silent)
        for (first, last), names in groups.items():
            self._by_entry(names, first, last, cleans_itself)
        self._note_telling()
        return self._undos

    def _by_name(self) -> None:
        names = UndoNames(self._place)
        for name, state in self._states.items():
            step = names.undone_by(name)
            if step is None or self._place[step] > self._entered[name][-1]:
                continue
            if step in self._undos.of:
                taken = self._undos.of[step].name
                self._undos.notes.append(f"{name!r} undoes {step!r} as {taken!r} does: one undo is kept")
                continue
            self._undos.of[step] = state

    def _placed(self, name: str) -> bool:
        kept = any(state.name == name for state in self._undos.of.values())
        return kept or any(note.startswith(f"{name!r} undoes") for note in self._undos.notes)

    def _cleans_itself(self, silent: Iterable[str]) -> bool:
        """Whether the Catch of a step undoes that step too: as names tell, or else the first Catch."""
        votes = [self._place[step] == self._entered[state.name][0] for step, state in self._undos.of.items()]
        if votes:
            return 2 * sum(votes) >= len(votes)
        return any(self._entered[name][0] == 0 for name in silent)

    def _by_entry(self, names: list[str], first: int, last: int, cleans_itself: bool) -> None:
        """What states entered from the places `first` to `last` undo."""
        at = first if cleans_itself else first - 1
        if len(names) == 1 and at >= 0 and self._free(at) and self._told_apart(at):
            self._undos.of[self._works[at].state.name] = self._states[names[0]]
            return
        until = last if cleans_itself else last - 1
        free = [place for place in range(until + 1) if self._free(place)]
        if len(free) == len(names) and (len(names) > 1 or len(free) == 1):
            for name, place in zip(names, reversed(free), strict=True):
                self._undos.of[self._works[place].state.name] = self._states[name]
            return
        for name in names:
            self._undos.notes.append(
                f"neither names nor Catch chains tell what {name!r} undoes: it is left out; give the step "
                "that it undoes a compensation yourself"
            )

    def _told_apart(self, place: int) -> bool:
        """Whether entries tell steps apart: later Catches lead to more, and the step has none beside it."""
        further = any(
            entered[0] > 0 for name, entered in self._entered.items() if not _tells(self._states[name])
        )
        return further and not self._works[place].beside

    def _free(self, place: int) -> bool:
        return self._works[place].state.name not in self._undos.of

    def _note_telling(self) -> None:
        for name, state in self._states.items():
            if _tells(state) and not self._placed(name):
                note = f"{name!r} undoes nothing and is left out: have a listener tell people of a failed run"
                self._undos.notes.append(note)


def _tasks(backs: Iterable[WayBack]) -> list[State]:
    """The work on ways back that do not join the main way again, each once."""
    tasks = {task.name: task for back in backs if not back.joins for task in back.tasks}
    return list(tasks.values())


def _tells(state: State) -> bool:
    service, _ = called(str(state.told.get("Resource", "")))
    words = [word.lower() for word in _WORD.findall(state.name)]
    return service.removeprefix("aws-sdk:") in _TELLING_SERVICES or bool(_TELLING_WORDS & set(words[:1]))
