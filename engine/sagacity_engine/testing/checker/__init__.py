"""The independent checker: reads a run's events and its effects, and judges by books of its own."""
