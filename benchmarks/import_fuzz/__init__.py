"""Spoilt files for the importers: what is spoilt, how, and what a reader may make of it."""
