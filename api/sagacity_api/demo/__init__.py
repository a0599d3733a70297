"""The demo: the whole loop in one command, on a simulated season and on real processes."""

from sagacity_api.demo.story import DemoRefused, run_demo

__all__ = ["DemoRefused", "run_demo"]
