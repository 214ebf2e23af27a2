"""docs/how-to/troubleshoot.md explains every code that an analysis, a preview or a job can answer with."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfopt.domain.enums import DeclineCode
from perfopt.engine.assembly import _WARNING_CODES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/troubleshoot.md").read_text(encoding="utf-8")
EXPLAINED = {
    code
    for line in PAGE.splitlines()
    if line.startswith("| `")
    for code in re.findall(r"`(\w+)`", line.split("|")[1])
}


def calls(name: str) -> Iterator[ast.Call]:
    for folder in ("core/src", "api/src"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name:
                    yield node


def written_codes(name: str) -> set[str]:
    """Returns the codes that the source gives to calls of NAME as text."""
    return {
        str(keyword.value.value)
        for call in calls(name)
        for keyword in call.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
    }


WARNINGS = written_codes("AnalysisWarning") | set(_WARNING_CODES.values())


def test_warnings_are_found():
    assert {"plan_vetoed", "merge_failed", "plugin_crashed"} <= WARNINGS


@pytest.mark.parametrize("code", sorted({*DeclineCode, *WARNINGS}))
def test_code_has_its_cause_and_remedy(code):
    assert code in EXPLAINED


@pytest.mark.parametrize("code", sorted(written_codes("JobError")))
def test_error_of_a_job_has_its_cause(code):
    assert code in EXPLAINED or f"`{code}`" in PAGE
