"""The machine in virtual time: thousands of runs a second, each replayed by its seed."""
