"""What `perfopt analyze` prints of a field world."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from perfopt.cli.main import cli

RESOURCE, SCALING = "RESOURCE_OPTIMIZATION", "SCALING_OPTIMIZATION"
PLAIN = ("234m", "385Mi")
"""What the worlds' container gets where nothing is amiss: flat use of 200m and 300 MiB."""


def analyze_world(
    directory: Path,
    url: str,
    world: str,
    *options: str,
    types: str = RESOURCE,
    until: str = "2026-11-23T00:00:00Z",
    period: str = "4d",
) -> Result:
    """Runs the command line on one world; gives its exit status, what it prints, and errors."""
    config = directory / "perfopt.yaml"
    source = {"type": "prometheus", "url": url, "matchers": [f'world="{world}"']}
    config.write_text(json.dumps({"sources": {world: source}}))
    given = ["--until", until, "--period", period, "--types", types, "--format", "json"]
    command = ["analyze", "--config", str(config), "--all", *given, *options]
    return CliRunner().invoke(cli, command, prog_name="perfopt")


def results(answer: Result) -> dict[str, Any]:
    """Returns the results by service; JSON has no NaN, so one in it fails."""
    assert answer.exit_code == 0, answer.output
    document = json.loads(answer.stdout, parse_constant=pytest.fail)
    return {result["service_name"]: result for result in document["results"]}
