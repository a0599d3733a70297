"""The command line: `sagacity`."""
