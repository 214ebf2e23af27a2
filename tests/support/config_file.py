"""A configuration file for a test."""

from pathlib import Path

GOOD = """
default_source: prod
sources:
  prod:
    type: prometheus
    url: https://metrics:s3cr3t@prometheus.example/base
    bearer_token: abc
    headers: {X-Scope-OrgID: trading, Authorization: Basic Zm9v}
  traces:
    type: files
    paths: [a.parquet, b.parquet]
price_books:
  onprem: {currency: EUR, cpu_core_hour: 0.018, memory_gib_hour: 0.0024}
price_book: onprem
engine:
  deadline_seconds: 20
"""


def write_config(folder: Path, text: str) -> Path:
    """Writes `perfopt.yaml` in a folder; returns its path."""
    path = folder / "perfopt.yaml"
    path.write_text(text, encoding="utf-8")
    return path
