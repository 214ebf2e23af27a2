"""Simulated outside systems, for demonstrations and tests; part of the extra `embedded`."""
