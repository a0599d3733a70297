"""The journal in a SQLite file: one writing thread, many readers, and a lease on the right to write."""
