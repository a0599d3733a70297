"""The public test kit: scripted participants, and the checker of what must hold for every run."""

from sagacity_engine.testing.invariants import Effect, violations
from sagacity_engine.testing.services import SUCCESS, Script, ScriptedServices

__all__ = ["SUCCESS", "Effect", "Script", "ScriptedServices", "violations"]
