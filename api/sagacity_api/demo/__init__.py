"""The demo: the whole loop in one command, on a simulated season and on real processes."""

from sagacity_api.demo.live import LiveFailed
from sagacity_api.demo.story import DemoRefused, Scale, run_demo

__all__ = ["DemoRefused", "LiveFailed", "Scale", "run_demo"]
