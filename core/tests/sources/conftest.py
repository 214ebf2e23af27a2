import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
for support in (ROOT / "tests" / "support", Path(__file__).parent):
    if str(support) not in sys.path:
        sys.path.insert(0, str(support))


def pytest_runtest_setup(item):
    from prometheus_server import prometheus_is_installed

    if item.get_closest_marker("prometheus") and not prometheus_is_installed():
        if os.environ.get("CI"):
            pytest.fail("prometheus and promtool are not installed: in CI no test is left out")
        pytest.skip("prometheus and promtool are not installed (apt-get install prometheus)")


@pytest.fixture(scope="session")
def prometheus_url(tmp_path_factory):
    from prometheus_cluster import build_cluster
    from prometheus_server import prometheus_server

    directory = tmp_path_factory.mktemp("prometheus")
    with prometheus_server(build_cluster(directory / "samples.om"), directory) as url:
        yield url
