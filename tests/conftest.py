"""What tests across distributions share."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))


def pytest_runtest_setup(item):
    from prometheus_server import prometheus_is_installed

    if item.get_closest_marker("prometheus") and not prometheus_is_installed():
        if os.environ.get("CI"):
            pytest.fail("prometheus and promtool are not installed: in CI no test is left out")
        pytest.skip("prometheus and promtool are not installed (apt-get install prometheus)")
