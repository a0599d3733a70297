"""Workflow definitions of Conductor that belong together, as values: which one is meant, what is beside it.

A definition alone does not say everything: the undos are in its failure workflow, a sub-workflow may have a
definition of its own, and workers' retries and timeouts stand in task definitions. All of them may be given
together, in any order; the one meant is the one that no other refers to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sagacity_data.converters.converted import ConvertRefused

Told = Mapping[str, Any]

TASKS_MAX: Final = 2_000
NESTING_MAX: Final = 20
VALUES_DEEP_MAX: Final = 200
NAME_SHOWN_MAX: Final = 80

GIVE: Final = "give a workflow definition, as GET /metadata/workflow/{name} gives it"


@dataclass(frozen=True, slots=True)
class Definitions:
    """The definition meant, and what was given beside it, by name."""

    main: Told
    workflows: Mapping[str, Told]
    tasks: Mapping[str, Told]


def read_definitions(document: object, name: str) -> Definitions:
    """What a document holds: a definition, an execution that carries its definition, or a list of several.

    Task definitions may be among them. Raises `ConvertRefused` unless exactly one workflow is meant.
    """
    _require_shallow(document, name)
    workflows: dict[str, Told] = {}
    tasks: dict[str, Told] = {}
    for told in _flat(document, name):
        if isinstance(told.get("tasks"), list):
            known = workflows.setdefault(text_in(told.get("name")), told)
            if known is not told and known != told:
                reason = f"defines the workflow {text_in(told.get('name'))!r} twice"
                raise ConvertRefused(name, "", reason, "give the version that counts")
        else:
            tasks[text_in(told.get("name"))] = told
    return Definitions(_meant(workflows, name), workflows, tasks)


def text_in(value: object) -> str:
    """Text without the space around it; empty for anything else."""
    return value.strip()[:NAME_SHOWN_MAX] if isinstance(value, str) else ""


def told_in(value: object) -> Told:
    """The object itself; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def tasks_in(value: object, name: str, place: str) -> Sequence[Told]:
    """A list of tasks. Raises `ConvertRefused` for anything else."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise ConvertRefused(name, place, "holds something else than tasks", "write it as a list of tasks")
    return value


def sub_workflow(task: Told) -> tuple[str, Told]:
    """What a SUB_WORKFLOW task runs: the workflow's name, and its definition where the task carries it."""
    param = told_in(task.get("subWorkflowParam"))
    inline = told_in(param.get("workflowDefinition", param.get("workflowDef")))
    return text_in(param.get("name")) or text_in(inline.get("name")), inline


def inner_lists(task: Told) -> Iterator[object]:
    """The lists of tasks within a task: branches of a fork, cases of a decision, the body of a loop."""
    forks = task.get("forkTasks")
    yield from forks if isinstance(forks, list) else ()
    yield from told_in(task.get("decisionCases")).values()
    yield task.get("defaultCase")
    yield task.get("loopOver")


def too_deep(name: str) -> ConvertRefused:
    """The refusal of tasks within tasks within tasks."""
    return ConvertRefused(name, "", f"nests tasks more than {NESTING_MAX} deep", "make it flatter")


def _require_shallow(document: object, name: str) -> None:
    level: list[object] = [document]
    for _ in range(VALUES_DEEP_MAX):
        inner: list[object] = []
        for value in level:
            if isinstance(value, Mapping | list):
                inner += value.values() if isinstance(value, Mapping) else value
        if not inner:
            return
        level = inner
    raise ConvertRefused(name, "", f"nests values more than {VALUES_DEEP_MAX} deep", "make it flatter")


def _flat(document: object, name: str) -> Iterator[Told]:
    listed = document if isinstance(document, list) else [document]
    for each in listed:
        for told in each if isinstance(each, list) else [each]:
            if not isinstance(told, Mapping):
                raise ConvertRefused(name, "", "holds something that is no object", GIVE)
            carried = told.get("workflowDefinition")
            definition = carried if isinstance(carried, Mapping) and "workflowId" in told else told
            if not text_in(definition.get("name")):
                raise ConvertRefused(name, "", "holds an object that is no definition: it has no name", GIVE)
            yield definition


def _meant(workflows: Mapping[str, Told], name: str) -> Told:
    referred = {text_in(told.get("failureWorkflow")) for told in workflows.values()}
    for told in workflows.values():
        referred |= {each for each in _run_by(told, name) if each != text_in(told.get("name"))}
    meant = [each for each in workflows if each not in referred]
    if len(meant) == 1:
        return workflows[meant[0]]
    if not workflows:
        raise ConvertRefused(name, "", "holds no workflow: nothing in it has tasks", GIVE)
    among = ", ".join(repr(each) for each in sorted(meant or workflows)[:5])
    reason = "does not tell which workflow is meant" + (f": {among}" if among else "")
    raise ConvertRefused(name, "", reason, "give one, with its failure workflow and its sub-workflows")


def _run_by(told: Told, name: str) -> Iterator[str]:
    """The names of the workflows that a definition runs as sub-workflows. Bounds its size on the way."""
    level, count = [told.get("tasks")], 0
    for _ in range(NESTING_MAX):
        inner: list[object] = []
        for listed in level:
            for task in listed if isinstance(listed, list) else ():
                if isinstance(task, Mapping):
                    count += 1
                    inner += inner_lists(task)
                    yield sub_workflow(task)[0]
        if count > TASKS_MAX:
            raise ConvertRefused(name, "", f"has more than {TASKS_MAX} tasks", "split it")
        if not inner:
            return
        level = inner
    if any(level):
        raise too_deep(name)
