"""What all tests of the workspace share."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

for _folder in ("tests/support", "image"):
    sys.path.insert(0, str(Path(__file__).parent / _folder))

# A busy machine is no reason to fail, and CI looks at the same examples each time.
settings.register_profile("perfopt", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("perfopt")


# Importing readline sets a width, which the workers of pytest-xdist inherit: output is to be as in a pipe.
os.environ.pop("COLUMNS", None)


def pytest_runtest_setup(item):
    from prometheus_server import prometheus_is_installed
    from victoria_server import victoria_is_installed

    for marker, package, installed in (
        ("prometheus", "prometheus", prometheus_is_installed),
        ("victoria", "victoria-metrics", victoria_is_installed),
    ):
        if item.get_closest_marker(marker) and not installed():
            if os.environ.get("CI"):
                pytest.fail(f"{package} is not installed: in CI no test is left out")
            pytest.skip(f"{package} is not installed (apt-get install {package})")
