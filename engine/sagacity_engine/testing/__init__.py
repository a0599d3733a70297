"""The public test kit: what must hold for every run, and scripted or random runs to hold it against.

`play` runs a saga in virtual time against a script; the `Trial` it returns knows what breached which
invariant. Scripts are written by hand, made from a definition (`fail_at_every_step` and its kin, the
`PROFILES` of bad days) or drawn at random, as are sagas and plans.
"""

from sagacity_engine.testing.chaos import PROFILES, Profile
from sagacity_engine.testing.checker.invariants import violations
from sagacity_engine.testing.effects import Effect
from sagacity_engine.testing.random_people import Attendant, random_wishes
from sagacity_engine.testing.random_plans import random_plan
from sagacity_engine.testing.random_sagas import random_saga
from sagacity_engine.testing.random_scripts import random_script
from sagacity_engine.testing.scripts import (
    CANNOT_TELL,
    DOWN,
    LATE,
    LOST,
    REFUSED,
    compensation_failure_at_every_step,
    fail_at_every_step,
    happy_path,
    time_out_at_every_step,
    unknown_at_every_step,
)
from sagacity_engine.testing.services import (
    SUCCESS,
    TRUTH,
    Duplicated,
    Hedged,
    Script,
    Scripted,
    ScriptedServices,
    Truthful,
)
from sagacity_engine.testing.trial import Trial, play
from sagacity_engine.testing.wishes import Attend, Wish

__all__ = [
    "CANNOT_TELL",
    "DOWN",
    "LATE",
    "LOST",
    "PROFILES",
    "REFUSED",
    "SUCCESS",
    "TRUTH",
    "Attend",
    "Attendant",
    "Duplicated",
    "Effect",
    "Hedged",
    "Profile",
    "Script",
    "Scripted",
    "ScriptedServices",
    "Trial",
    "Truthful",
    "Wish",
    "compensation_failure_at_every_step",
    "fail_at_every_step",
    "happy_path",
    "play",
    "random_plan",
    "random_saga",
    "random_script",
    "random_wishes",
    "time_out_at_every_step",
    "unknown_at_every_step",
    "violations",
]
