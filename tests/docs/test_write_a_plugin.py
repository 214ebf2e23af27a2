"""The examples of docs/how-to/write-a-plugin.md are what a strict type checker accepts."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/how-to/write-a-plugin.md"
SAVED = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_documented_plugin_passes_mypy_strict(tmp_path: Path) -> None:
    files = SAVED.findall(PAGE.read_text("utf-8"))
    assert files
    for name, text in files:
        (tmp_path / name).write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout
