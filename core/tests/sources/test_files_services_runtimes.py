"""What a services file says of a container's runtime reaches the state that strategies see."""

from datetime import UTC, datetime

import pytest

from perfopt.config.loading import FilesConfig
from perfopt.errors import InvalidInputError
from perfopt.sources.files.services import read_services
from perfopt.sources.files.source import FileSource

SAMPLES = "series_id,timestamp,metric,value\nweb,2026-01-01T00:00:00Z,cpu_cores,0.5\n"
SERVICES = """\
defaults:
  annotations: {team: core, perfopt.io/runtime: go1.23}
services:
  web:
    image: registry.example/web:1.2
    env: {GOMAXPROCS: "8"}
    command: [/web]
    args: [--listen, ":8080"]
    annotations: {perfopt.io/runtime: go1.24}
"""


def services(tmp_path, text):
    (tmp_path / "services.yaml").write_text(text)
    return read_services(tmp_path / "services.yaml")


async def test_image_environment_and_arguments_are_read(tmp_path):
    (tmp_path / "samples.csv").write_text(SAMPLES)
    source = FileSource(
        "files", FilesConfig(paths=str(tmp_path / "samples.csv")), services(tmp_path, SERVICES)
    )
    (web,) = await source.inventory(datetime(2026, 1, 2, tzinfo=UTC))
    (container,) = web.state.containers
    assert container.image == "registry.example/web:1.2"
    assert container.env == {"GOMAXPROCS": "8"}
    assert (container.command, container.args) == (("/web",), ("--listen", ":8080"))
    assert web.annotations == {"team": "core", "perfopt.io/runtime": "go1.24"}


async def test_what_is_not_stated_is_unknown_and_not_empty(tmp_path):
    (tmp_path / "samples.csv").write_text(SAMPLES)
    source = FileSource(
        "files", FilesConfig(paths=str(tmp_path / "samples.csv")), services(tmp_path, "services: {web: {}}")
    )
    (web,) = await source.inventory(datetime(2026, 1, 2, tzinfo=UTC))
    assert web.state.containers[0].env is None
    assert web.state.containers[0].args is None


def test_a_number_in_the_environment_is_refused_with_its_line(tmp_path):
    with pytest.raises(InvalidInputError, match=r"Expected text, got integer.*services\.yaml:3"):
        services(tmp_path, "services:\n  web:\n    env: {GOMAXPROCS: 8}\n")
