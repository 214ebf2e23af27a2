"""What all tests of the workspace share."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "tests" / "support"))

# A busy machine is no reason to fail, and CI looks at the same examples each time.
settings.register_profile("perfopt", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("perfopt")


def pytest_runtest_setup(item):
    from prometheus_server import prometheus_is_installed

    if item.get_closest_marker("prometheus") and not prometheus_is_installed():
        if os.environ.get("CI"):
            pytest.fail("prometheus and promtool are not installed: in CI no test is left out")
        pytest.skip("prometheus and promtool are not installed (apt-get install prometheus)")
