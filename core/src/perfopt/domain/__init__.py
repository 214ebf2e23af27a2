"""Frozen domain types: no arrays, no I/O. Units stand in the names."""
