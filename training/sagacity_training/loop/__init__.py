"""Learning again when the world has changed, and letting a new model in step by step."""
