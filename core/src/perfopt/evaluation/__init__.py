"""Replays: what would have happened, and how DESIGN.md section 5 scores it. Pure."""
