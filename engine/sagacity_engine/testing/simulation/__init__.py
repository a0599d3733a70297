"""The whole engine simulated from a seed: real host, all else drawn; what must hold, and what was met."""
