"""Forecasts of single steps, and the bundle that carries them."""
