"""The policy ladder: judges models by the decisions they cause, in worlds whose truth is known."""
