"""What stands between a run and what it shares with others: services, and resources that one run holds."""
