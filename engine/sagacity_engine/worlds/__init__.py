"""Simulated services with known truth. Only the ladder, the demo and tests may look in here."""

from sagacity_engine.worlds.goa import GOA_LAW, goa_trip
from sagacity_engine.worlds.law import StepLaw, WorldLaw
from sagacity_engine.worlds.traffic import Trip, trips
from sagacity_engine.worlds.world import World

__all__ = ["GOA_LAW", "StepLaw", "Trip", "World", "WorldLaw", "goa_trip", "trips"]
