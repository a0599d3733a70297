"""Steps of a Conductor workflow by both of their names: what a task undoes may be told by either.

A task has a reference name, which is its step's, and the name of its task definition. The reference name is
asked first; a definition's name counts where only one step has it.
"""

from __future__ import annotations

from sagacity_data.importers.compensations import UndoNames


class StepNames:
    """The steps that were there so far; adding one and asking take the same short time."""

    def __init__(self) -> None:
        self._steps, self._tasks = UndoNames(), UndoNames()
        self._step_of: dict[str, str] = {}  # By the name of a definition; empty where several steps have it.

    def add(self, step: str, task: str) -> None:
        """Note a step and the name of its task definition."""
        self._steps.add(step)
        self._tasks.add(task)
        if self._step_of.setdefault(task, step) != step:
            self._step_of[task] = ""

    def undone_by(self, step: str, task: str) -> str | None:
        """The step that a task of these two names undoes; None where neither tells."""
        undone = self._steps.undone_by(step)
        if undone is None and task != step:
            undone = self._step_of.get(self._tasks.undone_by(task) or "") or None
        return None if undone == step else undone
