"""What the plain values of an event's fields look like where nothing is to be converted or refused.

Nearly every event of a journal is as this version wrote it. Its class says what type each field has, so that
a body whose values all have the very type can be made into the event at once. Any other body is
`wire.from_plain`'s, which converts what it may and refuses the rest in words: a body is never read here that
is not read there, and never as something else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from sagacity_engine.drafts import maker

E = TypeVar("E")


class Form(NamedTuple):
    """The types of a field's values, None for any; or the members that its texts name; or the types of what
    a list has that becomes a tuple."""

    types: frozenset[type] | None = None
    members: Mapping[object, StrEnum | None] | None = None
    parts: frozenset[type] | None = None


class EventForm(Generic[E]):
    """The forms of one class of events; looks the class up once."""

    def __init__(self, kind: type[E]) -> None:
        hints = get_type_hints(kind)
        fields = dataclasses.fields(kind)  # type: ignore[arg-type]
        self._forms = {field.name: _form(hints[field.name]) for field in fields}
        self._made_anew: dict[str, Callable[[], Any]] = {
            field.name: field.default_factory
            for field in fields
            if field.default_factory is not dataclasses.MISSING
        }
        self._make: Callable[..., E] = maker(kind)

    def read(self, body: Mapping[str, Any]) -> E | None:
        """The event of a body that came from JSON; None where `wire.from_plain` is to judge it.

        A field that is a dataclass is taken as it is when its value is one already.
        """
        forms, values = self._forms, dict(body)
        try:
            for name, value in body.items():
                types, members, parts = forms[name]
                if members is not None:
                    values[name] = members[value]
                elif parts is not None and type(value) is list and parts.issuperset(map(type, value)):
                    values[name] = tuple(value)
                elif types is not None and type(value) not in types:
                    return None
            for name, make in self._made_anew.items():
                if name not in values:
                    values[name] = make()
            return self._make(**values)
        except (KeyError, TypeError):  # A field too many or too few, or a value that names no member.
            return None


def _form(hint: Any) -> Form:
    origin = get_origin(hint)
    inner = [option for option in get_args(hint) if option is not NoneType]
    if hint is Any:
        return Form()
    if origin is UnionType and len(inner) == 1:
        return _or_none(_form(inner[0]))
    if origin is tuple and inner[1:] == [Ellipsis]:
        return Form(types=_NOTHING, parts=_form(inner[0]).types)
    if origin is not None:
        return Form(types=_OBJECTS if origin is Mapping else _NOTHING)
    if issubclass(hint, StrEnum):
        return Form(members={member.value: member for member in hint})
    return Form(types=frozenset({hint}))


def _or_none(form: Form) -> Form:
    if form.members is not None:
        return Form(members={**form.members, None: None})
    return Form(types=None if form.types is None else form.types | {NoneType})


_NOTHING: frozenset[type] = frozenset()
_OBJECTS: frozenset[type] = frozenset({dict})
