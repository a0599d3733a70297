"""The processes of the soak: a ledger that outlives everybody, engines that are killed, and the verdict."""
