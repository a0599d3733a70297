"""The stories that listeners are tested with leave nothing out."""

from typing import Any, get_args

from sagacity_engine import Event, Status
from sagacity_engine.events import Action, OperatorActed, RunEnded


def test_every_kind_of_event_is_told(stories: dict[str, Any], play: Any) -> None:
    """Every kind of event, every status that ends a run and most actions occur in some story."""
    told = [event for story in stories.values() for _, event in play(story, listener=lambda *_: None)]
    assert {type(event) for event in told} == set(get_args(Event))
    assert {event.status for event in told if isinstance(event, RunEnded)} == {s for s in Status if s.ended}
    acted = {event.action for event in told if isinstance(event, OperatorActed)}
    assert acted == set(Action) - {Action.RETRY}
