"""The saga state machine: a run as the fold of its events, and what it is owed next; no clock, no I/O."""
