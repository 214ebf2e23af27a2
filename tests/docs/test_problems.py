"""docs/reference/problems.md is what the API says of each problem. Run this file to write it anew."""

from pathlib import Path

from perfopt_api.http.problems import KINDS

PAGE = Path(__file__).parents[2] / "docs/reference/problems.md"
INTRODUCTION = """# Problems

The codes of the API's problem documents (RFC 9457): `type` ends with one, `detail` says what is wrong this
time, and `errors[]` names field and remedy. `/problems/CODE` shows the same.

`python tests/docs/test_problems.py` generates this page.

| code | status | meaning |
|---|---|---|
"""


def page() -> str:
    return INTRODUCTION + "".join(
        f"| `{code}` | {kind.status} | {kind.meaning} |\n" for code, kind in sorted(KINDS.items())
    )


def test_page_is_what_the_api_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "Run python tests/docs/test_problems.py"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
