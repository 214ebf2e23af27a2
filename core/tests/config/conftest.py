"""A configuration file in which everything is right."""

from pathlib import Path

import pytest
from config_file import GOOD, write_config


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_config(tmp_path, GOOD)
