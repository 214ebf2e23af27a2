"""Replays a model of the registry against the active one, and promotes it when it is better."""
