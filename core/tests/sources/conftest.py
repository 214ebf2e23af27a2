from functools import partial

import pytest


@pytest.fixture(scope="session")
def prometheus_url(tmp_path_factory):
    from prometheus_cluster import build_cluster
    from prometheus_server import prometheus_server

    directory = tmp_path_factory.mktemp("prometheus")
    with prometheus_server(build_cluster(directory / "samples.om"), directory) as url:
        yield url


@pytest.fixture(scope="session")
def field_url(tmp_path_factory):
    from field_cases import build
    from prometheus_server import prometheus_server

    directory = tmp_path_factory.mktemp("field")
    with prometheus_server(build(directory / "samples.om"), directory) as url:
        yield url


@pytest.fixture
def analyze(tmp_path):
    """Runs the command line on one world of a server."""
    from field_analysis import analyze_world

    return partial(analyze_world, tmp_path)


@pytest.fixture(scope="session")
def victoria_url(tmp_path_factory):
    """A VictoriaMetrics that takes short queries only, with some of the worlds."""
    from field_cases import build
    from victoria_server import victoria_server

    directory = tmp_path_factory.mktemp("victoria")
    exposition = build(directory / "samples.om", "oom", "containers", "names", "copies", "limits")
    with victoria_server(exposition, directory, "-search.maxQueryLen=4KB") as url:
        yield url
