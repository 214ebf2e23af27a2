from pathlib import Path

import pytest

from perfopt_tuning.knobs.read import shipped_catalogue

PAGE = (Path(__file__).parents[3] / "docs/reference/tuning.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", shipped_catalogue().knobs)
def test_every_knob_stands_there_with_its_formula_and_source(name):
    knob = shipped_catalogue().knobs[name]
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    assert knob.entry.source.strip() in row
    if knob.formula is not None:
        assert f"`{knob.formula.text}`" in row
    if knob.entry.minimum is not None:
        assert f"{knob.entry.minimum:g} to " in row
