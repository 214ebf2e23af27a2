"""A configuration file for a test."""

from pathlib import Path


def write_config(folder: Path, text: str) -> Path:
    """Writes `perfopt.yaml` in a folder; returns its path."""
    path = folder / "perfopt.yaml"
    path.write_text(text, encoding="utf-8")
    return path
