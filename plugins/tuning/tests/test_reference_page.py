import re
from pathlib import Path

from perfopt_tuning.knobs.read import shipped_catalogue

PAGE = (Path(__file__).parents[3] / "docs/reference/tuning.md").read_text(encoding="utf-8")


def test_page_lists_the_shipped_knobs_and_no_others():
    table = PAGE.split("## Knobs")[1].split("\n\n")[1]
    assert sorted(re.findall("`([^`]+)`", table)) == sorted(shipped_catalogue().knobs)
