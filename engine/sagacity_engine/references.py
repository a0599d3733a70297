"""References inside declarative actions: `${input.trip_id}` and `${steps.book_flight.output.id}`.

A reference to a step's output is also a data dependency, so the definition adds the arc. A text that is one
reference and nothing else becomes the referenced value itself; inside a longer text it becomes text. A `${`
always begins a reference: what is no reference is refused when the definition is read, not sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from sagacity_engine.errors import SagaRefused

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_USABLE = "write ${input.field} or ${steps.name.output.field}"


def referenced_steps(value: object, where: str = "") -> tuple[str, ...]:
    """Names of the steps whose outputs `value` refers to, sorted.

    Raises `SagaRefused` on a reference that could never be followed; `where` begins the sentence.

    >>> referenced_steps({"body": {"flight": "${steps.book_flight.output.id}"}})
    ('book_flight',)
    """
    return tuple(sorted({path[1] for path in _paths(value, where) if path[0] == "steps"}))


def resolve(value: object, run_input: Mapping[str, object], outputs: Mapping[str, object]) -> object:
    """`value` with every reference replaced; raises `SagaRefused` when the referenced value is absent."""
    if isinstance(value, str):
        return _resolve_text(value, run_input, outputs)
    if isinstance(value, Mapping):
        return {key: resolve(item, run_input, outputs) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(item, run_input, outputs) for item in value]
    return value


def _resolve_text(text: str, run_input: Mapping[str, object], outputs: Mapping[str, object]) -> object:
    whole = _REFERENCE.fullmatch(text)
    if whole:
        return _look_up(whole.group(1), run_input, outputs)
    return _REFERENCE.sub(lambda match: str(_look_up(match.group(1), run_input, outputs)), text)


def _look_up(reference: str, run_input: Mapping[str, object], outputs: Mapping[str, object]) -> object:
    path = _parse(reference)
    found: object = run_input if path[0] == "input" else outputs.get(path[1])
    for key in path[1:] if path[0] == "input" else path[3:]:
        if not isinstance(found, Mapping) or key not in found:
            raise SagaRefused(f"${{{reference}}} refers to {key!r}, which is not there")
        found = found[key]
    return found


def _paths(value: object, where: str) -> Iterator[list[str]]:
    if isinstance(value, str):
        for match in _REFERENCE.finditer(value):
            yield _parse(match.group(1), where)
        _require_closed(value, where)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, str) and "${" in key:
                raise SagaRefused(
                    _begun(where) + f"the key {key[:60]!r} holds a reference, which only values may; name it"
                )
            yield from _paths(item, where)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item, where)


def _require_closed(text: str, where: str) -> None:
    if "${" in (rest := _REFERENCE.sub("", text)):
        begun = rest[rest.index("${") :][:60]
        raise SagaRefused(_begun(where) + f"{begun!r} begins a reference that no '}}' ends; {_USABLE}")


def _parse(reference: str, where: str = "") -> list[str]:
    # Step names may hold dots, so the name is what stands between "steps." and ".output".
    if step := re.fullmatch(r"steps\.(.+?)\.output((?:\.[^.]+)*)", reference):
        return ["steps", step.group(1), "output", *step.group(2).split(".")[1:]]
    if re.fullmatch(r"input(?:\.[^.]+)+", reference):
        return reference.split(".")
    raise SagaRefused(_begun(where) + f"${{{reference[:60]}}} is no usable reference; {_USABLE}")


def _begun(where: str) -> str:
    return f"{where}: " if where else ""
